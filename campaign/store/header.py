"""What stands in ``campaign.json``, as typed values: an identity, and what readers want to know."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Self

import msgspec

from ftonnx.campaign.plan.settings import Settings
from ftonnx.campaign.plan.stopping import Stopping
from ftonnx.campaign.store.identity import Identity
from ftonnx.inject import Coverage, FaultModel
from ftonnx.inject.roles import ACTIVATION
from ftonnx.sessions import saturation_caution
from ftonnx.tasks import Task
from ftonnx.words import json_fields

__all__ = [
    "MOST_BITS",
    "SCHEMA_VERSION",
    "DataInfo",
    "EngineInfo",
    "Header",
    "ModelInfo",
    "PartInfo",
    "PilotInfo",
    "SpaceInfo",
    "TensorInfo",
]

SCHEMA_VERSION: Final = 5

_MOST: Final = 2**63 - 1  # what tables and arrays hold
_Count = Annotated[int, msgspec.Meta(ge=0, le=_MOST)]
_Size = Annotated[int, msgspec.Meta(ge=1, le=_MOST)]

_Bits = Annotated[int, msgspec.Meta(ge=1, le=2**43)]
"""Bits that can flip, of no more than a terabyte: images are weighted by them, in 64 bits."""

MOST_BITS: Final = 64
"""Bits of an element, at most."""


class _Info:
    """A frozen dataclass of plain values that writes itself to JSON and reads itself back, by its fields' types."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return json_fields(self)  # type: ignore[arg-type]  # children are dataclasses

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read back what ``to_dict`` returned.

        Raises:
            ValueError: a value is missing, of another type, or out of range; the message says which.
        """
        return msgspec.convert(values, cls)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo(_Info):
    """The model that ran.

    Attributes:
        name: of it.
        path: of its file; None where it was in memory.
        sha256: of the file.
    """

    name: str
    path: str | None
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataInfo(_Info):
    """The images that it ran on.

    Attributes:
        name: of the data set.
        split: of it, if any.
        samples: number of images.
        classes: number of classes; None where labels are no class numbers.
        sha256: of images and labels as the model gets them.
        source: how the data set was opened: data (its spec), split, limit, preprocess; empty for data from Python.
    """

    name: str
    split: str | None
    samples: _Size
    classes: _Size | None
    sha256: str
    source: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Check what the command that repeats a campaign is made of."""
        if self.source and not isinstance(self.source.get("preprocess"), Mapping):
            raise ValueError("`source` says nothing of the preprocessing")

    def summary(self) -> dict[str, Any]:
        """Return all but the source."""
        found = self.to_dict()
        del found["source"]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo(_Info):
    """One stored tensor whose bits can flip.

    Attributes:
        tensor: its name.
        role: ``weight``, ``bias``, ``scale`` or ``zero_point``.
        node: name of the first node it feeds.
        op_type: that node's operator.
        shape: of it.
        dtype: of its elements.
        format: how an element's bits are seen.
        bits: number of its bits that can flip.
        flippable: numbers of an element's bits that can flip; empty where all can.
    """

    tensor: str
    role: str
    node: str
    op_type: str
    shape: tuple[_Count, ...]
    dtype: str
    format: str
    bits: _Bits
    flippable: tuple[_Count, ...] = ()

    def __post_init__(self) -> None:
        """Check that all elements have equally many bits: estimates weigh tensors by theirs."""
        each = len(self.flippable) or self.bits // max(self.elements, 1)
        if self.bits != each * self.elements or each > MOST_BITS:
            raise ValueError(f"{self.bits} bits that can flip in {self.elements} elements of {self.tensor!r}")

    @property
    def elements(self) -> int:
        """Number of its elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceInfo:
    """The bits that can flip.

    Attributes:
        bits: their number, N.
        elements: number of stored elements.
        formats: how elements are seen as bits.
        sha256: equal for models that meet the same flips.
        tensors: in the order of the graph.
        coverage: how much of what the model stores that is, and why the rest cannot flip.
    """

    bits: _Bits
    elements: _Count
    formats: tuple[str, ...]
    sha256: str
    tensors: tuple[TensorInfo, ...]
    coverage: Coverage

    def __post_init__(self) -> None:
        """Check that the tensors make up the space, and what is left out the rest of the model."""
        bits = sum(tensor.bits for tensor in self.tensors)
        if self.bits != bits:
            raise ValueError(f"{self.bits} bits that can flip, of tensors with {bits}")
        elements = sum(tensor.elements for tensor in self.tensors)
        if self.elements != elements:
            raise ValueError(f"{self.elements} elements that can flip, of tensors with {elements}")
        stored = elements + self.coverage.left_out
        if self.coverage.elements != stored:
            raise ValueError(f"{self.coverage.elements} stored elements, of tensors with {stored}")

    @property
    def has_activations(self) -> bool:
        """Whether some bits are those of computed tensors, which no upset rate of a memory is about."""
        return any(tensor.role == ACTIVATION for tensor in self.tensors)

    def summary(self) -> dict[str, Any]:
        """Return the sizes as JSON values."""
        return {
            "bits": self.bits,
            "elements": self.elements,
            "stored": self.coverage.elements,
            "tensors": len(self.tensors),
            "formats": list(self.formats),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        tensors = [each.to_dict() for each in self.tensors]
        return self.summary() | {"sha256": self.sha256, "tensors": tensors, "coverage": self.coverage.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SpaceInfo":
        """Read back what ``to_dict`` returned.

        Raises:
            ValueError: a value is missing, of another type, or out of range; the message says which.
        """
        given = {**values, "coverage": Coverage.from_dict(values["coverage"])}
        return msgspec.convert(given, cls)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo(_Info):
    """What ran it.

    Attributes:
        strategy: in use.
        fallback: why another one is not; None where it was not asked for.
        providers: execution providers in use.
        threads: intra-op threads asked for.
        onnxruntime: version.
        saturating: number of operators that this processor's kernels compute inexactly, see ``saturating_operators``.
    """

    strategy: str
    fallback: str | None
    providers: tuple[str, ...]
    threads: _Size | None
    onnxruntime: str
    saturating: _Count = 0

    @property
    def caution(self) -> str | None:
        """What a reader of the numbers must know of the processor."""
        return saturation_caution(self.saturating)


@dataclass(frozen=True, slots=True, kw_only=True)
class PilotInfo(_Info):
    """What a pilot found, which chose the number of images that share a pattern.

    Attributes:
        images_per_pattern: what it chose.
        correlation: of the images that share a pattern, at each rate above 0.
        unit_seconds: what a unit takes besides its images.
        image_seconds: what it takes for each of them.
        sizes: the numbers of images in question.
        costs: the expected variance of the mean times the seconds of each, relative to the pilot's own number.
    """

    images_per_pattern: _Size
    correlation: tuple[float, ...]
    unit_seconds: float
    image_seconds: float
    sizes: tuple[_Size, ...]
    costs: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartInfo(_Info):
    """A results folder that was merged with others.

    Attributes:
        folder: its path.
        units: that it held.
        strategy: that ran them.
        machine: python, onnx, platform, cpu and host.
        other_batches: batches whose fault-free outputs differ in some bit from those of the folder that had them first.
        other_images: their images that are taken for something else; None where the task does not say.
    """

    folder: str
    units: _Count
    strategy: str
    machine: Mapping[str, str]
    other_batches: _Count = 0
    other_images: _Count | None = 0

    @property
    def place(self) -> str:
        """Where it ran, for people."""
        return f"{self.machine.get('host', 'an unknown host')}, {self.machine.get('cpu', 'an unknown processor')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The content of ``campaign.json``.

    Attributes:
        identity: what decides the counts.
        model: the model.
        data: the images.
        space: the bits that can flip.
        levels: flips per bit at which units are run: the rates, or the one level of injections.
        engine: what ran it.
        machine: python, onnx, platform, cpu, host.
        stopping: when the campaign may end early, and whether it has; None where it may not.
        pilot: what chose the number of images per pattern; None where it was given.
        parts: the folders that were merged in this one; empty where one machine has run it.
        begun_as: fingerprint of the smaller campaign that the folder began as, by which its rows are checked; None
            where it has not grown.
    """

    identity: Identity
    model: ModelInfo
    data: DataInfo
    space: SpaceInfo
    levels: tuple[float, ...]
    engine: EngineInfo
    machine: Mapping[str, str]
    stopping: Stopping | None = None
    pilot: PilotInfo | None = None
    parts: tuple[PartInfo, ...] = ()
    begun_as: str | None = None

    def __post_init__(self) -> None:
        """Check what has to agree for the counts to be told tensor by tensor."""
        most = None if self.per_tensor is None else self.per_tensor * len(self.space.tensors)
        if most is not None and self.patterns > most:
            raise ValueError(f"{self.patterns} patterns tensor by tensor, of {most}")

    @property
    def parts_caution(self) -> str | None:
        """What a reader must know of merged parts: that they did not all compute the same without faults."""
        others = [part for part in self.parts if part.other_batches]
        if not others:
            return None
        counts = [part.other_images for part in others]
        known = [count for count in counts if count is not None]
        images = f", {sum(known)} images are taken for something else" if len(known) == len(counts) else ""
        return (
            f"fault-free outputs of {len(others)} of {len(self.parts)} merged parts differ from those of the others "
            f"(such as {others[0].folder} on {others[0].place}{images}): units on different processors are not quite "
            "of the same kind"
        )

    @property
    def row_key(self) -> str:
        """What the check values of rows begin with: they stay what they are while the campaign grows."""
        return self.begun_as or self.identity.fingerprint

    def grown_to(self, larger: "Header") -> Self:
        """Return what the folder says once it has grown to a larger campaign; this value where that is the same one."""
        if larger.identity.fingerprint == self.identity.fingerprint:
            return self
        return replace(
            self,
            identity=larger.identity,
            data=larger.data,
            levels=larger.levels,
            begun_as=self.row_key,
        )

    @property
    def faults(self) -> FaultModel:
        """The fault model."""
        return self.identity.faults

    @property
    def task(self) -> Task:
        """The task."""
        return self.identity.task

    @property
    def settings(self) -> Settings:
        """The settings that decide the counts."""
        return self.identity.settings

    @property
    def batches(self) -> int:
        """Number of batches of the data set, each of images that share a pattern."""
        return math.ceil(self.data.samples / self.settings.images_per_unit)

    @property
    def patterns(self) -> int:
        """Number of fault patterns that every batch meets at each level."""
        return self.settings.repeats or 1

    @property
    def per_tensor(self) -> int | None:
        """How many of them, one after the other, each stored tensor has; None where they are not drawn by tensor."""
        each = self.faults.per_tensor
        return None if each is None else each * len(self.identity.seeds)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "schema_version": SCHEMA_VERSION,
            "identity": self.identity.to_dict(),
            "model": self.model.to_dict(),
            "data": self.data.to_dict(),
            "fault_space": self.space.to_dict(),
            "levels": list(self.levels),
            "engine": self.engine.to_dict(),
            "machine": dict(self.machine),
            "stopping": None if self.stopping is None else self.stopping.to_dict(),
            "pilot": None if self.pilot is None else self.pilot.to_dict(),
            "parts": [part.to_dict() for part in self.parts],
            "begun_as": self.begun_as,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Header":
        """Read back what ``to_dict`` returned.

        Raises:
            UsageError: the fault model or the task is not known here.
            ValueError: a value is missing, of another type, or out of range; the message says which.
        """
        given = {
            **values,
            "identity": Identity.from_dict(values["identity"]),
            "space": SpaceInfo.from_dict(values["fault_space"]),
        }
        return msgspec.convert(given, cls)
