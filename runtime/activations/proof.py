"""The proof that faults in activations arrive: by a graph that shows them, before and after their bits flip.

- Every element of an activation has the value that its bits mean after the flips, and no other element changes.
- A strategy's outputs are those of the graph that shows them, which its optimizer cannot have taken a reader from.
- Where that is an optimized graph, they are those of the model's own graph but for rounding: no reader reads past.
"""

import logging
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import ModelError
from ftonnx.inject import Faults, FaultSpace, RawBits
from ftonnx.runtime.activations.functions import as_read, opset_of
from ftonnx.runtime.activations.graph import FlippingGraph, activations_of, flipping_graph
from ftonnx.runtime.activations.strategies import Flipping, Told
from ftonnx.runtime.proof import Case, mild_pattern, repeated
from ftonnx.runtime.strategies.base import Strategy
from ftonnx.sessions import Arrays, Session, run_session, same_bits

__all__ = ["ActivationProof"]

_SLOTS: Final = 2  # images that are told apart
_HIGHER: Final = 8  # bits: the lowest of a float's mantissa are lost in rounding
_ROUNDING: Final = 0.05  # of what the faults do to the outputs
_logger: Final = logging.getLogger(__name__)


class ActivationProof:
    """What every way of flipping activations of one model is put through."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._own = flipping_graph(case.model.proto, case.space)
        self._faults = _pattern(case.space)
        self._names = [value.name for value in case.model.structure.graph.output]

    def shortfall(self, strategy: Strategy) -> str | None:
        """Say where a strategy falls short, None where nowhere.

        Raises:
            ModelError: two runs without faults differ, or the model refuses images that were made up for it.
            DataError: the model refuses the sample.
        """
        if not isinstance(strategy, Flipping):
            return "it runs no graph that flips bits of activations"
        few, golden = repeated(strategy, self._case)
        try:
            outputs = strategy.run(few, self._faults)
            shown = self._shown(strategy.graph, strategy.opened(strategy.graph.shown), few)
            own = shown
            if strategy.is_optimized:
                own = self._shown(self._own, strategy.reference(self._own.shown), few)
        except ModelError as error:
            return str(error)
        if isinstance(shown, str) or isinstance(own, str):
            return shown if isinstance(shown, str) else str(own)
        if not same_bits(outputs, shown[1]):
            return "its outputs with faults differ from those of the graph that shows its activations"
        if not same_bits(strategy.golden(few), golden):
            return "its outputs after a run with faults differ from those before"
        if not _is_near(_difference(*shown), _difference(*own)):
            return "its faults do something else than those in the model's own graph"
        return None

    def is_plain(self, strategy: Strategy) -> bool:
        """Say whether outputs without faults are those of the plain model, bit by bit."""
        few, golden = repeated(strategy, self._case)
        return same_bits(golden, run_session(strategy.reference(self._case.model.structure), few))

    def _shown(
        self, graph: FlippingGraph, session: Session, feeds: Arrays
    ) -> tuple[list[NDArray[Any]], list[NDArray[Any]]] | str:
        """Return the outputs without faults and with some; a text where an activation is not flipped right."""
        told = Told(graph.places, self._case.space, self._case.model.structure)
        targets = activations_of(self._case.space)
        shown = [*self._names, *(target.tensor for target in targets), *graph.unflipped]
        (fed,) = told.runs([feeds], self._faults)
        values = dict(zip(shown, run_session(session, fed, names=shown), strict=True))
        opset = opset_of(graph.shown)
        for target, name, place in zip(targets, graph.unflipped, graph.places, strict=True):
            found = values[target.tensor].reshape(-1)
            stored = as_read(values[name].reshape(-1), opset)
            numbers = np.arange(len(found))
            every = place.layout.places(*np.divmod(numbers, place.row))
            words = stored.view(target.format.word)
            target.format.flip(words, fed[place.where], _unsigned(fed[place.mask], target.format.bits))
            if not _same(words.view(target.format.dtype)[every], found):
                return f"{target.tensor!r} does not get the values that its flipped bits mean"
        golden = run_session(session, told.golden(feeds), names=self._names)
        return golden, [values[name] for name in self._names]


def _pattern(space: FaultSpace) -> Faults:
    """Return faults in up to 64 elements of every activation, in several images where these are told apart."""
    is_apart = space.scope.slots is not None
    faults = mild_pattern(space.for_units(_SLOTS).drawn if is_apart else space)
    own = faults.target >= space.stored_targets
    bits = faults.bit[own]
    for number, target in enumerate(space.targets):
        if isinstance(target.format, RawBits) and target.format.dtype.kind == "f":
            bits[faults.target[own] == number] += _HIGHER
    return Faults.in_order(faults.target[own], faults.element[own], bits)


def _unsigned(masks: NDArray[Any], bits: int) -> NDArray[np.uint64]:
    return masks.astype(np.int64).view(np.uint64) & np.uint64((1 << bits) - 1)


def _same(first: NDArray[Any], second: NDArray[Any]) -> bool:
    """Say whether values are the same bit by bit; of floats that are no number, one is as good as another."""
    if first.dtype.kind in "iu":
        return np.array_equal(first, second)
    both_nan = np.isnan(first) & np.isnan(second)
    word = f"u{first.dtype.itemsize}"
    return bool(np.all(both_nan | (first.view(word) == second.view(word))))


def _difference(golden: Sequence[NDArray[Any]], faulty: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """Return what the faults do to the outputs, one after the other; nothing where both are no number."""
    parts = []
    for before, after in zip(golden, faulty, strict=True):
        if before.dtype.kind in "biuf":
            # a flip may make any NaN, or Inf of what was Inf
            with np.errstate(invalid="ignore"):
                change = after.astype(np.float64) - before.astype(np.float64)
            parts.append(np.nan_to_num(change, nan=0.0).ravel())
    return np.concatenate(parts) if parts else np.empty(0)


def _is_near(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    """Say whether two changes differ by rounding at most."""
    if len(first) != len(second):
        return False
    # changes to Inf are larger than squares can be
    with np.errstate(over="ignore"):
        return bool(np.linalg.norm(first - second) <= _ROUNDING * np.linalg.norm(second))
