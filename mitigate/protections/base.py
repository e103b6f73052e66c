"""What every protection is: a value that clips the activations of a model."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import onnx

from ftonnx.datasets import Dataset
from ftonnx.errors import UsageError
from ftonnx.export import Activation, clip_activations, write_model
from ftonnx.inject import OnnxModel
from ftonnx.mitigate.points import ClipActSettings
from ftonnx.mitigate.thresholds import Thresholds
from ftonnx.models.tuned_on import note_tuned_on

__all__ = [
    "METADATA_KEY",
    "ON_EXCEED_KEY",
    "Protected",
    "Protection",
    "Work",
    "clipped_at",
    "marked",
    "observed_for",
]

METADATA_KEY: Final = "ftonnx.protection"
"""The entry of a model's metadata that says how it was protected."""
ON_EXCEED_KEY: Final = "ftonnx.on_exceed"
"""The entry that says what a value above a threshold becomes."""


@dataclass(frozen=True, slots=True)
class Protected:
    """A protected model.

    Attributes:
        proto: the model with clipped activations.
        thresholds: what they are clipped at; None for ``relu6``, which has none to find.
        activations: names of the activations that changed.
        warnings: what is wrong with the accuracy that the thresholds were searched by.
    """

    proto: onnx.ModelProto
    thresholds: Thresholds | None
    activations: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        """The name of the protection, as in the model's metadata."""
        return self._said(METADATA_KEY)

    @property
    def on_exceed(self) -> str:
        """What a value above a threshold becomes, as in the model's metadata: ``zero`` or ``clamp``."""
        return self._said(ON_EXCEED_KEY)

    def _said(self, key: str) -> str:
        for entry in self.proto.metadata_props:
            if entry.key == key:
                return entry.value
        return ""

    def save(self, path: str | Path) -> None:
        """Write the model, beside first, then renamed.

        Raises:
            UsageError: it cannot be written.
        """
        write_model(self.proto, Path(path))

    def __repr__(self) -> str:
        count = len(self.activations)
        parts = [self.method, f"{count} activations clipped", f"on exceed {self.on_exceed}"]
        if self.thresholds is not None:
            parts.append(f"scope {self.thresholds.scope!r}")
        parts.extend(self.warnings)
        return f"Protected({', '.join(parts)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a protection works with, beside the model.

    Attributes:
        data: images, preprocessed as the model takes them.
        results: a folder that keeps what a search has measured, so that it can go on.
        progress: called with (measurements done, at most).
        cache_memory: bytes that golden tensors may take; a quarter of the free memory by default.
    """

    data: Dataset | None = None
    results: Path | None = None
    progress: Callable[[int, int], None] | None = None
    cache_memory: int | None = None

    def images_for(self, method: str) -> Dataset:
        """Return the data.

        Raises:
            UsageError: there is none.
        """
        if self.data is None:
            raise UsageError(f"{method} needs images: give `data`, or earlier `thresholds`")
        return self.data


class Protection(ABC):
    """A way to clip activations; an immutable value that JSON can hold.

    A leaf is a frozen dataclass of its options.

    Attributes:
        name: in the registry, in metadata and on the command line.
    """

    name: ClassVar[str]

    @abstractmethod
    def apply(self, model: OnnxModel, activations: Sequence[Activation], work: Work) -> Protected:
        """Clip the model, which is not changed.

        Args:
            model: an FP32 model that is not clipped yet.
            activations: those that can be clipped, in graph order.
            work: data, and where and how to work.

        Raises:
            UsageError: data is missing.
            ModelError: the model has nothing that this protection clips.
        """

    @classmethod
    @abstractmethod
    def with_options(cls, *, scope: str, settings: ClipActSettings, on_exceed: str | None) -> Self:
        """Return the protection with what it takes of the options that all share; None leaves a choice to it."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        # every leaf is a dataclass, which the type of the base cannot say
        options = asdict(self)  # type: ignore[call-overload]
        return {"method": self.name, **options}

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> Self:
        """Return the protection with these options.

        Raises:
            UsageError: an option is not known, or its value makes no sense.
        """
        try:
            return cls(**options)
        except TypeError as error:
            raise UsageError(f"{cls.name} does not take these options: {error}") from error


def clipped_at(model: OnnxModel, thresholds: Thresholds) -> Protected:
    """Return the model clipped at thresholds."""
    proto, changed = clip_activations(model.proto, thresholds.values, on_exceed=thresholds.on_exceed)
    marked(proto, thresholds.method, thresholds.on_exceed)
    images = thresholds.search.get("data")
    if images is not None:
        note_tuned_on(proto, str(images))
    return Protected(proto, thresholds, changed)


def observed_for(activations: Sequence[Activation], on_exceed: str) -> list[Activation]:
    """Return the activations with the tensors that their thresholds are compared with.

    A clamp takes the place of a Clip, and its threshold that of the Clip's upper limit, so what comes behind counts.
    """
    if on_exceed != "clamp":
        return list(activations)
    return [replace(each, observed=each.output) if each.kind == "clip" else each for each in activations]


def marked(proto: onnx.ModelProto, method: str, on_exceed: str) -> None:
    """Write the method and the form into the metadata, in place."""
    metadata = {}
    for entry in proto.metadata_props:
        metadata[entry.key] = entry.value
    # what was there stays: the preprocessing is among it
    metadata[METADATA_KEY] = method
    metadata[ON_EXCEED_KEY] = on_exceed
    onnx.helper.set_model_props(proto, metadata)
