"""The stored values of an optimized graph in arrays of our own, flipped in place and put back."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ftonnx.inject import Faults, FaultSpace
from ftonnx.inject.formats import Undo
from ftonnx.inject.tensors import numpy_type
from ftonnx.runtime.layout.blueprint import Blueprint, Weights
from ftonnx.runtime.layout.draft import Draft
from ftonnx.runtime.layout.packing import Packing
from ftonnx.runtime.layout.pages import CopiedPages
from ftonnx.runtime.layout.sinks import sinks_of

__all__ = ["Memory", "MemorySource"]


class Memory:
    """The optimized form of a model, with every target's memory in arrays that faults can reach.

    Attributes:
        blueprint: the optimized graph, and where things lie in it.
        weights: the arrays as flat words.
        model: the optimized graph; the initializers that hold targets carry no bytes.
        names: what the blueprint calls the targets' tensors.
        arrays: per initializer of it that holds target elements, its array, typed and shaped; views, not copies.
    """

    def __init__(self, blueprint: Blueprint, weights: Weights, space: FaultSpace, names: Sequence[str]) -> None:
        """Connect the targets of a space with the arrays.

        Args:
            blueprint: the optimized graph, and where things lie in it.
            weights: the arrays as flat words.
            space: its targets are flipped.
            names: what the blueprint calls their tensors; in the file two of them may have one name, in two bodies.
        """
        self.blueprint = blueprint
        self.weights = weights
        self.model = blueprint.model
        self.names = names
        self.arrays = _typed(blueprint, weights)
        self._space = space
        self._sinks = sinks_of(space, names, blueprint, weights)
        flipped = [*weights.arrays.values(), *weights.parameters.values()]
        self._copied = CopiedPages(flipped)

    def reached(self, faults: Faults) -> set[str]:
        """Return the names of the arrays that these faults change.

        Raises:
            UsageError: a fault lies outside the fault space.
        """
        self._space.check(faults)
        names: set[str] = set()
        for target in np.unique(faults.target).tolist():
            for sink in self._sinks[target]:
                names.update(sink.arrays)
        return names

    @contextmanager
    def flipped(self, faults: Faults) -> Iterator[Sequence[Undo]]:
        """Hold the faults in memory inside the block; afterwards every word is the original one.

        What was overwritten is given, for whoever keeps a copy of some words.
        """
        self._space.check(faults)
        undos: list[Undo] = []
        # an interrupt may come at any time, also between two flips
        try:
            for target, elements, masks in faults.masks():
                for sink in self._sinks[target]:
                    undos += sink.flip(elements, masks)
            yield undos
        finally:
            # in reverse: faults in gamma and in beta have both rewritten the same channel
            for undo in reversed(undos):
                undo()
            self._copied.restored(len(faults))


class MemorySource(Protocol):
    """Where a strategy gets its memory from: this process's own, or one that another process shares."""

    def open(self, draft: Draft) -> Memory:
        """Return what the draft becomes.

        Raises:
            NotPossibleError: a target would have no place.
        """

    def packing(self, draft: Draft, find: Callable[[], Packing]) -> Packing:
        """Return where kernels keep the weights of what the draft becomes, found now where nobody knows."""


def _typed(blueprint: Blueprint, weights: Weights) -> dict[str, NDArray[Any]]:
    """Return the arrays with the types and shapes of their initializers."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, tensor in blueprint.held.items():
        words = weights.arrays[name]
        values = words.view(numpy_type(tensor))
        shape = tuple(tensor.dims)
        arrays[name] = values.reshape(shape)
    return arrays
