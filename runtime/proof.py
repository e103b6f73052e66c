"""The proof that a strategy's faults arrive: its outputs are those of a fresh session on a flipped file."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import DataError, ModelError
from ftonnx.inject import Faults, FaultSpace, Format, OnnxModel
from ftonnx.inject.fault_models import distinct_positions
from ftonnx.runtime.determinism import require_same_outputs
from ftonnx.runtime.model_inputs import ModelInputs
from ftonnx.runtime.session_model import faulty_session_model
from ftonnx.runtime.strategies.base import Strategy
from ftonnx.sessions import Arrays, RunTimeoutError, SessionOptions, give_back, open_session, run_session, same_bits

__all__ = ["Case", "Proof", "mild_pattern", "repeated", "require_runs"]

_PROOF_IMAGES: Final = 2
_PROOF_ELEMENTS: Final = 64  # per target


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What strategies are compared on.

    Attributes:
        model: it.
        space: where faults can lie.
        options: how sessions are to be opened.
        inputs: those that take data.
        feeds: the model's inputs for the measurement.
        made_up: whether the images are random ones; a model that refuses them is itself to blame.
    """

    model: OnnxModel
    space: FaultSpace
    options: SessionOptions
    inputs: ModelInputs
    feeds: Arrays
    made_up: bool

    def few(self) -> Arrays:
        """Return the first images, as many as a proof takes; all of them where the model insists on their number."""
        if self.inputs.batch_size:
            return self.feeds
        first = {name: self.feeds[name][:_PROOF_IMAGES] for name in self.inputs.names}
        return {**self.feeds, **first}


class Proof:
    """What every strategy for one model is put through; strategies with equal references share one."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._faults = mild_pattern(case.space)
        self._expected: dict[tuple[SessionOptions, int], list[NDArray[Any]]] = {}

    def shortfall(self, strategy: Strategy) -> str | None:
        """Compare a strategy with a fresh session on a flipped file; say where it falls short, None where nowhere.

        Raises:
            ModelError: two runs without faults differ, or the model refuses images that were made up for it.
            DataError: the model refuses the sample.
        """
        # a model that does not repeat itself is refused, whatever the strategy
        few, golden = repeated(strategy, self._case)
        try:
            expected = self._expected_of(strategy, few)
            outputs = strategy.run(few, self._faults)
        except ModelError as error:  # a flip that ONNX Runtime refuses proves nothing
            return str(error)
        if not same_bits(outputs, expected):
            return "its outputs differ from those of a fresh session on a flipped file"
        # a flip that is not undone would be in all later runs
        again = strategy.run(few, Faults.none())
        if not same_bits(again, golden):
            return "its outputs after a faulty run differ from those before"
        return None

    def _expected_of(self, strategy: Strategy, feeds: Arrays) -> list[NDArray[Any]]:
        """Return the outputs of the fresh session, which is opened once for all strategies with its options."""
        if strategy.rewritten:
            return _run_from_file(strategy, self._case, self._faults, feeds)
        images = len(feeds[self._case.inputs.names[0]])
        key = (strategy.options, images)
        if key not in self._expected:
            self._expected[key] = _run_from_file(strategy, self._case, self._faults, feeds)
        return self._expected[key]


def repeated(strategy: Strategy, case: Case) -> tuple[Arrays, list[NDArray[Any]]]:
    """Run twice without faults; return what was run, a few of the images where that will do, and the outputs.

    Raises:
        ModelError: the runs differ.
        DataError: the model refuses the sample.
    """
    few = case.few()
    try:
        return few, require_repeatable(strategy, case, few)
    except DataError:
        # a batch size may be written into a shape inside the graph, where nothing declares it
        return case.feeds, require_repeatable(strategy, case, case.feeds)


def require_repeatable(strategy: Strategy, case: Case, feeds: Arrays) -> list[NDArray[Any]]:
    """Run twice without faults, since a difference between two runs is taken for a fault's later on.

    Raises:
        ModelError: the runs differ.
        DataError: the model refuses the sample.
    """
    golden = require_runs(strategy, case, feeds)
    again = require_runs(strategy, case, feeds)
    require_same_outputs(case.model.structure, golden, again)
    return golden


def require_runs(strategy: Strategy, case: Case, feeds: Arrays) -> list[NDArray[Any]]:
    """Run without faults.

    Raises:
        ModelError: the model refuses images that were made up for it.
        DataError: the model refuses the sample.
    """
    try:
        return strategy.golden(feeds)
    except ModelError as error:
        if case.made_up or isinstance(error, RunTimeoutError):
            raise
        raise case.inputs.refused(feeds, error) from error


def mild_pattern(space: FaultSpace) -> Faults:
    """Return faults in up to 64 elements of every target, in bits that matter and do no havoc."""
    rng = np.random.default_rng(0)
    targets: list[int] = []
    elements: list[int] = []
    bits: list[int] = []
    for index, target in enumerate(space.targets):
        # as many of a bias as of a large weight: one lost target is a wrong strategy
        count = min(_PROOF_ELEMENTS, target.elements)
        hit = distinct_positions(target.elements, count, rng)
        mild = _mild_bits(target.format)
        drawn = rng.integers(mild.start, mild.stop, size=count)
        targets += [index] * count
        elements += hit.tolist()
        bits += drawn.tolist()
    return Faults(targets, elements, bits)


def _mild_bits(form: Format) -> range:
    """Return the second quarter of an element's bits (8 to 15 of Q15.16, 2 and 3 of int8).

    They change values by a little, so that every target leaves its mark in finite outputs. Of int64, in which models
    keep counts and indices, it is the last two: a loop must not run a million times.
    """
    if form.dtype == np.int64:
        return range(2)
    first = form.bits // 4
    end = form.bits // 2
    # formats of few bits have no second quarter
    return range(first, max(end, first + 1))


def _run_from_file(strategy: Strategy, case: Case, faults: Faults, feeds: Arrays) -> list[NDArray[Any]]:
    """Run a fresh session, opened with the strategy's options, on a flipped file."""
    # with it goes the flipped model: one copy of a large model less in memory while the session is opened
    serialized = faulty_session_model(case.model.structure, case.space, faults, strategy.prepared)
    give_back()
    session = open_session(serialized, strategy.options.for_one_run())
    outputs = run_session(session, feeds)
    del session
    del serialized
    give_back()
    return outputs
