"""Faults: which bits of which elements flip, listed and applied to a model file.

Runs with faults live in ``runtime``; here a fault pattern is data, and a faulty model is a file.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray

from ftonnx.errors import UsageError
from ftonnx.inject.tensors import words_of, write_words

if TYPE_CHECKING:
    from ftonnx.inject.space import FaultSpace

__all__ = ["FaultRecord", "Faults", "faulty_model", "list_faults"]


class Faults:
    """A set of distinct bits, sorted by (target, element, bit).

    Attributes:
        target: int32 (n,), index into ``FaultSpace.targets``.
        element: int64 (n,), flat C-order index into the stored tensor.
        bit: uint8 (n,), counted from the least significant.
    """

    __slots__ = ("bit", "element", "target")

    def __init__(self, target: ArrayLike, element: ArrayLike, bit: ArrayLike) -> None:
        """Sort the given bits.

        Raises:
            UsageError: the lengths differ, a bit is given twice, or a number is no valid index.
        """
        columns = (
            _indices("target", target, np.int32),
            _indices("element", element, np.int64, end=2**63),
            _indices("bit", bit, np.uint8, end=64),
        )
        if len({column.shape for column in columns}) > 1 or columns[0].ndim != 1:
            raise UsageError(f"target, element and bit must be equally long lists, got {[c.shape for c in columns]}")
        order = np.lexsort(columns[::-1])
        self.target, self.element, self.bit = (column[order] for column in columns)
        if len(order) and len(_starts(self.target, self.element, self.bit)) < len(order):
            raise UsageError("the same bit is listed twice; two flips would cancel")

    @classmethod
    def none(cls) -> "Faults":
        """Return the empty pattern."""
        return cls([], [], [])

    def __len__(self) -> int:
        return len(self.target)

    def __repr__(self) -> str:
        return f"Faults({len(self)} bits in {len(np.unique(self.target))} tensors)"

    def masks(self) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.uint64]]]:
        """Yield (target, distinct elements, XOR mask per element), target by target.

        >>> [(t, e.tolist(), m.tolist()) for t, e, m in Faults([1, 1, 0], [5, 5, 2], [0, 3, 1]).masks()]
        [(0, [2], [2]), (1, [5], [9])]
        """
        if not len(self):
            return
        first = _starts(self.target, self.element)
        masks: NDArray[np.uint64] = np.bitwise_or.reduceat(np.uint64(1) << self.bit.astype(np.uint64), first)
        targets, elements = self.target[first], self.element[first]
        for start, stop in itertools.pairwise([*_starts(targets).tolist(), len(targets)]):
            yield int(targets[start]), elements[start:stop], masks[start:stop]


def _indices(name: str, values: ArrayLike, dtype: type[np.integer[Any]], end: int = 2**31) -> NDArray[Any]:
    """Return ``values`` in the narrow type, which would silently wrap what does not fit."""
    array = np.asarray(values)
    if array.size and (array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= end):
        raise UsageError(f"{name} must be whole numbers from 0 to {end - 1}, got {array.ravel()[:5]}")
    return array.astype(dtype)


def _starts(*columns: NDArray[Any]) -> NDArray[np.intp]:
    """Return where each run of equal neighbours starts; at least one value is expected.

    >>> _starts(np.array([5, 5, 7])).tolist(), _starts(np.array([5, 5]), np.array([1, 2])).tolist()
    ([0, 2], [0, 1])
    """
    new = np.ones(len(columns[0]), np.bool_)
    new[1:] = columns[0][1:] != columns[0][:-1]
    for column in columns[1:]:
        new[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(new)


@dataclass(frozen=True, slots=True)
class FaultRecord:
    """One flipped bit, with the element's value before and after all flips of its pattern."""

    tensor: str
    index: int
    bit: int
    before: float | int
    after: float | int


def list_faults(model: onnx.ModelProto, space: "FaultSpace", faults: Faults) -> list[FaultRecord]:
    """Return every flipped bit with the values a run uses; the model is not changed."""
    space.check(faults)
    tensors, records = space.tensors(model), []
    for target, elements, masks in faults.masks():
        form, words = space.targets[target].format, words_of(tensors[target])
        before = _plain(form.read(words, elements))
        form.flip(words, elements, masks)
        after = _plain(form.read(words, elements))
        for element, mask, *values in zip(elements.tolist(), masks.tolist(), before, after, strict=True):
            bits = (bit for bit in range(form.bits) if mask >> bit & 1)
            records += [FaultRecord(space.targets[target].tensor, element, bit, *values) for bit in bits]
    return records


def _plain(values: NDArray[Any]) -> list[float | int]:
    """Return Python numbers, exact for every stored type."""
    with np.errstate(invalid="ignore"):  # a flip can make a signalling NaN
        wide = values if values.dtype.kind in "iu" else values.astype(np.float64)
    plain: list[float | int] = wide.tolist()
    return plain


def faulty_model(model: onnx.ModelProto, space: "FaultSpace", faults: Faults) -> onnx.ModelProto:
    """Return a copy of ``model`` whose stored tensors carry the flips; nothing else differs."""
    space.check(faults)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    tensors: Sequence[onnx.TensorProto] = space.tensors(copy)
    for target, elements, masks in faults.masks():
        words = words_of(tensors[target])
        space.targets[target].format.flip(words, elements, masks)
        write_words(tensors[target], words)
    return copy
