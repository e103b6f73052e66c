"""Where the bits of activations lie in a run, and what a run is fed so that they flip."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftonnx.inject import Faults, FaultSpace, Format
from ftonnx.inject.activations import IMAGE
from ftonnx.runtime.activations.functions import mask_values
from ftonnx.sessions import Arrays

__all__ = ["Layout", "Place", "Run", "blocked", "flips", "no_flips", "permuted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a graph keeps the elements of a tensor whose first axis is as it was: all moves are sums over the axes.

    Attributes:
        row: stored elements that a step along the first axis takes.
        offsets: for every other axis, what its indices add, int64 (size,).
        stored: sizes of the stored tensor's other axes.
    """

    row: int
    offsets: tuple[NDArray[np.int64], ...]
    stored: tuple[int, ...]

    def places(self, rows: NDArray[np.int64], elements: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the stored places of elements, given their numbers within their rows, in C order.

        >>> permuted((2, 3), (1, 0)).places(np.array([0, 1]), np.array([1, 5])).tolist()
        [2, 11]
        """
        found = rows * self.row
        # numpy takes no numbers apart where there is no axis
        if not self.offsets:
            return found
        sizes = tuple(len(offset) for offset in self.offsets)
        for offset, index in zip(self.offsets, np.unravel_index(elements, sizes), strict=True):
            found = found + offset[index]
        return found


def permuted(sizes: Sequence[int], order: Sequence[int]) -> Layout:
    """Return the layout of a tensor whose axes behind the first one are stored in another order.

    Args:
        sizes: of these axes.
        order: which of them is stored first, second, and so on.
    """
    stored = [sizes[axis] for axis in order]
    steps = np.ones(len(sizes), np.int64)
    for place, axis in enumerate(order):
        steps[axis] = math.prod(stored[place + 1 :])
    offsets = tuple(step * np.arange(size) for step, size in zip(steps, sizes, strict=True))
    return Layout(row=math.prod(sizes), offsets=offsets, stored=tuple(stored))


def blocked(sizes: Sequence[int], block: int) -> Layout:
    """Return the layout of images (channels, ...) whose channels are stored in blocks, pixel by pixel.

    >>> blocked((3, 2), 2).places(np.array([0, 0, 1]), np.array([2, 3, 4])).tolist()
    [1, 3, 12]
    """
    channels = sizes[0]
    blocks = -(-channels // block)
    pixels = math.prod(sizes[1:])
    index = np.arange(channels)
    first = index // block * pixels * block + index % block
    rest = permuted(sizes[1:], range(len(sizes) - 1))
    offsets = tuple(block * offset for offset in rest.offsets)
    return Layout(row=blocks * block * pixels, offsets=(first, *offsets), stored=(blocks * block, *sizes[1:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where bits of one activation are flipped.

    Attributes:
        where: name of the graph's input for the elements, as they are stored.
        mask: name of the input for their bits.
        form: how an element is seen as bits.
        layout: how the tensor is stored.
        row: elements per index of the first axis.
    """

    where: str
    mask: str
    form: Format
    layout: Layout
    row: int

    def feeds(self, elements: NDArray[np.int64], masks: NDArray[np.uint64]) -> dict[str, NDArray[Any]]:
        """Return what the graph is fed.

        Args:
            elements: in C order of the run's tensor.
            masks: their bits that flip.
        """
        rows, within = np.divmod(elements, self.row)
        return {self.where: self.layout.places(rows, within), self.mask: mask_values(self.form, masks)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Which part of a unit one run of the model is.

    Attributes:
        number: of the run, from 0.
        first: number of its first image in the unit.
        images: how many it has.
    """

    number: int
    first: int
    images: int


def flips(places: Sequence[Place], space: FaultSpace, faults: Faults, run: Run) -> Arrays:
    """Return what the graph is fed in a run for the activations that are hit: the elements and their bits, by input.

    Args:
        places: of the space's activations, in order.
        space: the fault space.
        faults: of its activations; the others are not looked at.
        run: which it is.
    """
    fed: dict[str, NDArray[Any]] = {}
    stored = space.stored_targets
    for target, elements, masks in faults.masks():
        if target >= stored:
            size = space.targets[target].elements
            fed |= places[target - stored].feeds(*_in_run(space, size, elements, masks, run))
    return fed


def no_flips(places: Sequence[Place]) -> Arrays:
    """Return what the graph is fed where nothing flips."""
    fed: dict[str, NDArray[Any]] = {}
    for place in places:
        fed |= place.feeds(np.empty(0, np.int64), np.empty(0, np.uint64))
    return fed


def _in_run(
    space: FaultSpace, size: int, elements: NDArray[np.int64], masks: NDArray[np.uint64], run: Run
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return those of a tensor's faults that a run meets, by the elements of the run.

    Args:
        space: it says what a pattern tells apart.
        size: elements of the tensor, of one image or of a run.
        elements: that are hit, slot by slot where there are several.
        masks: their bits.
        run: which it is.
    """
    scope = space.scope
    per_image = scope.per == IMAGE
    if scope.slots is None:
        copies = run.images if per_image else 1
        starts = size * np.arange(copies)
        return (starts[:, None] + elements).ravel(), np.tile(masks, copies)
    first = run.first if per_image else run.number
    count = run.images if per_image else 1
    own = elements - first * size
    here = (own >= 0) & (own < count * size)
    return own[here], masks[here]
