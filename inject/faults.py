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

__all__ = ["FaultRecord", "Faults", "bits_of_masks", "faulty_model", "list_faults"]

Masks = NDArray[np.uint64]
"""Per element the bits that flip, as ones."""


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
        # checked before they are narrowed, which would silently wrap
        targets = _indices("target", target, np.int32)
        elements = _indices("element", element, np.int64, end=2**63)
        bits = _indices("bit", bit, np.uint8, end=64)
        equally_long = targets.shape == elements.shape == bits.shape
        if not equally_long or targets.ndim != 1:
            shapes = [targets.shape, elements.shape, bits.shape]
            raise UsageError(f"target, element and bit must be equally long lists, got {shapes}")
        # lexsort takes the most significant key last
        order = np.lexsort((bits, elements, targets))
        self.target = targets[order]
        self.element = elements[order]
        self.bit = bits[order]
        if len(order):
            # sorted, so the same bit twice would be neighbours
            distinct = _starts(self.target, self.element, self.bit)
            if len(distinct) < len(order):
                raise UsageError("the same bit is listed twice; two flips would cancel")

    @classmethod
    def in_order(cls, target: NDArray[Any], element: NDArray[Any], bit: NDArray[Any]) -> "Faults":
        """Take valid, distinct bits that are sorted already; nothing is checked, as campaigns draw many patterns.

        >>> Faults.in_order(np.array([0, 1]), np.array([7, 2]), np.array([31, 0]))
        Faults(2 bits in 2 tensors)
        """
        made = cls.__new__(cls)
        made.target = target.astype(np.int32)
        made.element = element.astype(np.int64)
        made.bit = bit.astype(np.uint8)
        return made

    @classmethod
    def none(cls) -> "Faults":
        """Return the empty pattern."""
        return cls([], [], [])

    def __len__(self) -> int:
        return len(self.target)

    def __repr__(self) -> str:
        tensors = np.unique(self.target)
        return f"Faults({len(self)} bits in {len(tensors)} tensors)"

    def masks(self) -> Iterator[tuple[int, NDArray[np.int64], Masks]]:
        """Yield (target, distinct elements, XOR mask per element), target by target.

        >>> [(t, e.tolist(), m.tolist()) for t, e, m in Faults([1, 1, 0], [5, 5, 2], [0, 3, 1]).masks()]
        [(0, [2], [2]), (1, [5], [9])]
        """
        if not len(self):
            return
        # the bits of an element are neighbours: their masks are OR-ed run by run
        first = _starts(self.target, self.element)
        places = self.bit.astype(np.uint64)
        single = np.uint64(1) << places
        masks: Masks = np.bitwise_or.reduceat(single, first)
        targets = self.target[first]
        elements = self.element[first]
        ends = _starts(targets).tolist()
        ends.append(len(targets))
        for start, stop in itertools.pairwise(ends):
            target = int(targets[start])
            here = slice(start, stop)
            yield target, elements[here], masks[here]


def bits_of_masks(elements: NDArray[np.int64], masks: Masks) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return element and number of every bit that is set in masks, one mask for each element, in their order.

    >>> [each.tolist() for each in bits_of_masks(np.array([3, 4, 9]), np.array([0b101, 0, 0b10], np.uint64))]
    [[3, 3, 9], [0, 2, 1]]
    """
    numbers = np.arange(64, dtype=np.uint64)
    is_set = (masks[:, np.newaxis] >> numbers) & np.uint64(1)
    place, bit = np.nonzero(is_set)
    return elements[place], bit.astype(np.uint8)


def _indices(name: str, values: ArrayLike, dtype: type[np.integer[Any]], end: int = 2**31) -> NDArray[Any]:
    """Return ``values`` in the narrow type, which would silently wrap what does not fit."""
    array = np.asarray(values)
    if array.size and not _all_within(array, end):
        shown = array.ravel()[:5]
        last = end - 1
        raise UsageError(f"{name} must be whole numbers from 0 to {last}, got {shown}")
    return array.astype(dtype)


def _all_within(array: NDArray[Any], end: int) -> bool:
    """Say whether all are whole numbers from 0 to ``end`` - 1."""
    if array.dtype.kind not in "iu":
        return False
    smallest = array.min()
    largest = array.max()
    return bool(smallest >= 0 and largest < end)


def _starts(*columns: NDArray[Any]) -> NDArray[np.intp]:
    """Return where each run of equal neighbours starts; at least one value is expected.

    >>> _starts(np.array([5, 5, 7])).tolist(), _starts(np.array([5, 5]), np.array([1, 2])).tolist()
    ([0, 2], [0, 1])
    """
    first = columns[0]
    new = np.ones(len(first), np.bool_)
    # the first of all values starts a run, whatever it is
    inner = new[1:]
    np.not_equal(first[1:], first[:-1], out=inner)
    for column in columns[1:]:
        changed = column[1:] != column[:-1]
        inner |= changed
    return np.flatnonzero(new)


@dataclass(frozen=True, slots=True)
class FaultRecord:
    """One flipped bit, with the element's value before and after all flips of its pattern.

    Of activations nobody knows the values before the run; their ``index`` counts through all images that the pattern
    tells apart.
    """

    tensor: str
    index: int
    bit: int
    before: float | int | None
    after: float | int | None


def list_faults(model: onnx.ModelProto, space: "FaultSpace", faults: Faults) -> list[FaultRecord]:
    """Return every flipped bit with the values a run uses; the model is not changed."""
    space.check(faults)
    stored = space.stored
    tensors = [] if stored is None else stored.tensors(model)
    records: list[FaultRecord] = []
    for target, elements, masks in faults.masks():
        place = space.targets[target]
        if target >= len(tensors):
            records += _unknown(place.tensor, elements, masks)
            continue
        words = words_of(tensors[target])
        form = place.format
        before = _plain(form.read(words, elements))
        form.flip(words, elements, masks)
        after = _plain(form.read(words, elements))
        numbers = elements.tolist()
        flips = masks.tolist()
        for element, mask, old, new in zip(numbers, flips, before, after, strict=True):
            for bit in _bits_of(mask):
                record = FaultRecord(place.tensor, element, bit, old, new)
                records.append(record)
    return records


def _unknown(tensor: str, elements: NDArray[np.int64], masks: Masks) -> Iterator[FaultRecord]:
    """Yield every flipped bit of a tensor whose values nobody knows."""
    for element, mask in zip(elements.tolist(), masks.tolist(), strict=True):
        for bit in _bits_of(mask):
            yield FaultRecord(tensor, element, bit, None, None)


def _bits_of(mask: int) -> Iterator[int]:
    """Yield the numbers of the bits that are set, ascending.

    >>> list(_bits_of(0b1001))
    [0, 3]
    """
    for bit in range(mask.bit_length()):
        if mask >> bit & 1:
            yield bit


def _plain(values: NDArray[Any]) -> list[float | int]:
    """Return Python numbers, exact for every stored type."""
    wide = values
    if values.dtype.kind not in "iu":
        # a flip can make a signalling NaN, of which numpy would warn
        with np.errstate(invalid="ignore"):
            wide = values.astype(np.float64)
    plain: list[float | int] = wide.tolist()
    return plain


def faulty_model(model: onnx.ModelProto, space: "FaultSpace", faults: Faults) -> onnx.ModelProto:
    """Return a copy of ``model`` whose stored tensors carry the flips; nothing else differs.

    Raises:
        UsageError: one of them is in a tensor that is computed; or ``model`` is not the one whose space this is.
    """
    space.check(faults)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    stored = space.stored
    tensors: Sequence[onnx.TensorProto] = [] if stored is None else stored.tensors(copy)
    for target, elements, masks in faults.masks():
        # stored tensors come first
        if target >= len(tensors):
            name = space.targets[target].tensor
            raise UsageError(f"{name!r} is computed while the model runs: no file holds its bits")
        tensor = tensors[target]
        words = words_of(tensor)
        form = space.targets[target].format
        form.flip(words, elements, masks)
        write_words(tensor, words)
    return copy
