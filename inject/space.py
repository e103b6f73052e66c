"""The fault space of a model: every stored bit of its weights and biases, in graph order."""

import fnmatch
import hashlib
import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from ftonnx.errors import ModelError, UsageError
from ftonnx.inject.faults import Faults
from ftonnx.inject.formats import Format, parse_format
from ftonnx.inject.graph import Site, walk_sites
from ftonnx.inject.model_file import OnnxModel, load_model
from ftonnx.inject.tensors import numpy_type, words_of

__all__ = ["ROLES", "FaultSpace", "Target"]

ROLES: Final = ("weight", "bias", "scale", "zero_point")
_DEFAULT_ROLES: Final = ("weight", "bias")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One stored tensor whose bits can flip.

    Attributes:
        tensor: the initializer's name, exactly as in the graph.
        role: ``weight``, ``bias``, ``scale`` or ``zero_point``.
        node: name of the first node it feeds.
        op_type: that node's operator.
        shape: of the tensor.
        format: how an element's bits are seen.
        flippable: numbers of an element's bits that can flip, ascending; empty where all can.
    """

    tensor: str
    role: str
    node: str
    op_type: str
    shape: tuple[int, ...]
    format: Format
    flippable: tuple[int, ...] = ()

    @property
    def elements(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def bits(self) -> int:
        """Number of bits that can flip."""
        return self.elements * len(self.bit_numbers)

    @property
    def bit_numbers(self) -> Sequence[int]:
        """Numbers of an element's bits that can flip, counted from the least significant."""
        return self.flippable or range(self.format.bits)

    def to_dict(self) -> dict[str, Any]:
        """Return the target as JSON values; ``flippable`` only where not every bit can flip."""
        values = {
            "tensor": self.tensor,
            "role": self.role,
            "node": self.node,
            "op_type": self.op_type,
            "shape": list(self.shape),
            "dtype": self.format.dtype.name,
            "format": self.format.name,
            "bits": self.bits,
        }
        return values | {"flippable": list(self.flippable)} if self.flippable else values


@dataclass(frozen=True, slots=True)
class FaultSpace:
    """All bits of a model that can flip, numbered 0 to ``bits`` - 1 target after target.

    Models with the same targets in the same order meet the same flips for the same seed.
    """

    targets: tuple[Target, ...]
    _sites: tuple[int, ...] = field(repr=False)
    _ends: NDArray[np.int64] = field(init=False, repr=False, compare=False)
    _bits: NDArray[np.uint8] = field(init=False, repr=False, compare=False)
    _widths: NDArray[np.int64] = field(init=False, repr=False, compare=False)
    _sizes: NDArray[np.int64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Number the bits."""
        ends = np.cumsum([target.bits for target in self.targets], dtype=np.int64)
        widths = np.array([len(target.bit_numbers) for target in self.targets], np.int64)
        bits = np.zeros((len(widths), widths.max()), np.uint8)
        for row, target in zip(bits, self.targets, strict=True):
            row[: len(target.bit_numbers)] = target.bit_numbers
        sizes = np.array([(target.elements, target.format.bits) for target in self.targets], np.int64)
        for name, value in (("_ends", ends), ("_bits", bits), ("_widths", widths), ("_sizes", sizes)):
            object.__setattr__(self, name, value)

    @classmethod
    def of(
        cls,
        model: "str | Path | onnx.ModelProto | OnnxModel",
        *,
        format: str = "auto",
        roles: Sequence[str] = _DEFAULT_ROLES,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        bits: Collection[int] = (),
    ) -> "FaultSpace":
        """Find the fault space of a model.

        Args:
            model: an ONNX file or model.
            format: ``auto``, ``ieee`` or ``qM.N``, for float tensors; integers are their own bits.
            roles: which roles can flip, of ``ROLES``.
            include: shell-style patterns; where given, only matching tensor names are targets.
            exclude: shell-style patterns of tensor names that are no targets.
            bits: where given, only these bits of every element can flip, counted from the least
                significant; a tensor whose elements have none of them is no target.

        Raises:
            ModelError: no tensor is left, a target holds NaN or Inf, or its type has no known format.
            UsageError: a role or the format is not known, or no tensor has one of the bits.
        """
        unknown = set(roles) - set(ROLES)
        if unknown or not roles:
            raise UsageError(f"targets are chosen from {', '.join(ROLES)}; got {', '.join(sorted(unknown)) or 'none'}")
        parse_format(format, np.dtype(np.float32))  # a bad name is the user's error, a bad type the model's
        loaded = load_model(model)
        sites = list(walk_sites(loaded.proto))
        chosen = [i for i, site in enumerate(sites) if site.role in roles and _named(site, include, exclude)]
        targets = [_target(sites[i], format) for i in chosen]
        if not targets:
            raise ModelError(_nothing_left(loaded.name, sites, roles))
        return cls(tuple(targets), tuple(chosen))._with_bits(bits) if bits else cls(tuple(targets), tuple(chosen))

    def _with_bits(self, bits: Collection[int]) -> "FaultSpace":
        """Return the part of the space that lies in the given bits of each element."""
        widest = max(target.format.bits for target in self.targets)
        missing = sorted(bit for bit in set(bits) if not 0 <= bit < widest)
        if missing:
            raise UsageError(f"bit {missing[0]} does not exist: the widest element has bits 0 to {widest - 1}")
        cut = [
            replace(target, flippable=tuple(bit for bit in sorted(set(bits)) if bit < target.format.bits))
            for target in self.targets
        ]
        kept = [(target, site) for target, site in zip(cut, self._sites, strict=True) if target.flippable]
        return FaultSpace(tuple(target for target, _ in kept), tuple(site for _, site in kept))

    def only(self, tensors: Collection[str]) -> "FaultSpace | None":
        """Return the part of the space that lies in the named tensors; None where there is none."""
        kept = [i for i, target in enumerate(self.targets) if target.tensor in tensors]
        if not kept:
            return None
        return FaultSpace(tuple(self.targets[i] for i in kept), tuple(self._sites[i] for i in kept))

    def widen(self, faults: Faults, part: "FaultSpace") -> Faults:
        """Return faults of a part of this space (see ``only``) as faults of the whole."""
        place = {site: index for index, site in enumerate(self._sites)}
        targets = np.array([place[site] for site in part._sites], np.int32)
        return Faults(targets[faults.target], faults.element, faults.bit)

    @property
    def bits(self) -> int:
        """N, the number of bits that can flip."""
        return int(self._ends[-1])

    @property
    def starts(self) -> NDArray[np.int64]:
        """Number of each target's first bit, int64 (targets,)."""
        return np.concatenate((np.zeros(1, np.int64), self._ends[:-1]))

    @property
    def elements(self) -> int:
        """Number of stored elements."""
        return sum(target.elements for target in self.targets)

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats that occur, sorted."""
        return tuple(sorted({target.format.name for target in self.targets}))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the targets: equal for models that meet the same flips."""
        return hashlib.sha256(repr([target.to_dict() for target in self.targets]).encode()).hexdigest()

    def locate(self, positions: NDArray[np.int64]) -> Faults:
        """Return the faults at the given bit positions, each in [0, bits)."""
        target = np.searchsorted(self._ends, positions, side="right")
        element, place = np.divmod(positions - self.starts[target], self._widths[target])
        return Faults(target, element, self._bits[target, place])

    def check(self, faults: Faults) -> None:
        """Refuse faults in targets, elements or bits that are not there; a bit that is there but was not chosen passes.

        Raises:
            UsageError: a target, element or bit does not exist here.
        """
        if not len(faults):
            return
        if faults.target[-1] >= len(self.targets):
            raise UsageError(f"target {faults.target[-1]} does not exist, there are {len(self.targets)}")
        elements, bits = self._sizes[faults.target].T
        outside = np.flatnonzero((faults.element >= elements) | (faults.bit >= bits))
        if len(outside):
            first = outside[0]
            raise UsageError(
                f"bit {faults.bit[first]} of element {faults.element[first]} does not exist: "
                f"{self.targets[faults.target[first]].tensor!r} has {elements[first]} elements "
                f"of {bits[first]} bits"
            )

    def tensors(self, model: onnx.ModelProto) -> list[onnx.TensorProto]:
        """Return, for each target, the tensor of ``model`` (or of a copy of it) that stores it.

        Raises:
            UsageError: ``model`` is not the one whose space this is.
        """
        sites = dict(enumerate(itertools.islice(walk_sites(model), max(self._sites) + 1)))
        for index, target in zip(self._sites, self.targets, strict=True):
            site = sites.get(index)
            if site is None or (site.name, tuple(site.tensor.dims)) != (target.tensor, target.shape):
                raise UsageError(f"this fault space is of another model: {target.tensor!r} is not where it should be")
        return [sites[index].tensor for index in self._sites]

    def to_dict(self) -> dict[str, Any]:
        """Return N and the targets as JSON values."""
        return {"bits": self.bits, "targets": [target.to_dict() for target in self.targets]}


def _named(site: Site, include: Sequence[str], exclude: Sequence[str]) -> bool:
    def matches(patterns: Sequence[str]) -> bool:
        return any(fnmatch.fnmatchcase(site.name, pattern) for pattern in patterns)

    return (not include or matches(include)) and not matches(exclude)


def _target(site: Site, format_name: str) -> Target:
    tensor = site.tensor
    try:
        form = parse_format(format_name, numpy_type(tensor))
    except UsageError as error:
        raise ModelError(f"tensor {site.name!r}: {error}") from None
    if not _finite(tensor):
        raise ModelError(f"tensor {site.name!r} holds NaN or Inf before any fault; repair the model or --exclude it")
    return Target(
        tensor=site.name,
        role=site.role,
        node=site.node,
        op_type=site.op_type,
        shape=tuple(tensor.dims),
        format=form,
    )


def _finite(tensor: onnx.TensorProto) -> bool:
    dtype = numpy_type(tensor)
    if dtype.name.startswith(("int", "uint")):
        return True
    return bool(np.isfinite(words_of(tensor).view(dtype)).all())


def _nothing_left(name: str, sites: Sequence[Site], roles: Sequence[str]) -> str:
    if not sites:
        return f"{name} stores no weights or biases that ftonnx knows, so there is no bit to flip"
    found: Iterator[str] = (role for role in ROLES if any(site.role == role for site in sites))
    return (
        f"no tensor of {name} is left with targets {', '.join(roles)} and the given --include/--exclude; "
        f"it stores {len(sites)} tensors with the roles {', '.join(found)}"
    )
