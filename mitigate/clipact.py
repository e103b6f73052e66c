"""ClipAct: the interval search for clipping thresholds (paper, section III-B).

Per activation, in graph order, with the thresholds found so far in place: the interval from 0 to the
activation's largest value is cut in three, the four ends are tried, and the ends beside the best one
become the next interval. A threshold's worth is the area under the accuracy over fault rates, with
faults in the weights that feed this activation only.

What cannot win is not measured to the end: an accuracy not measured yet counts as 1, which bounds a
threshold's worth from above, and the next rate is always measured for the threshold that could still be
worth most. Once that one is complete it is the best; the thresholds found are those of measuring everything.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign import Classification
from ftonnx.datasets import Dataset, stratified_subset
from ftonnx.export import Activation, clip_activations, feeding_tensors, thresholds_as_inputs
from ftonnx.inject import BitFlipRate, Faults, FaultSpace, OnnxModel, unit_rng
from ftonnx.mitigate.points import SUBINTERVALS, ClipActSettings, Evaluation, Key, Log
from ftonnx.runtime import Arrays, FaultyRunError, FaultySession, HeldBatch, cache_limit, fixed_batch, padded

__all__ = ["ClipActSettings", "Evaluation", "Log", "search_thresholds"]

_BATCHES_HELD: Final = 8  # at least so many fit into memory; of more, the others' golden runs are done again
_TASK: Final = Classification()


@dataclass(slots=True)
class _Progress:
    """Counts measurements, one threshold at one rate each, against what may still come."""

    report: Callable[[int, int], None] | None
    most: int
    activations: int
    finished: int = 0

    def measured(self, known: int) -> None:
        """Say that so many are known of the activation in work."""
        if self.report is not None:
            self.report(self.finished + known, self.finished + self.activations * self.most)

    def next(self, known: int) -> None:
        """Leave an activation with what was needed of it."""
        self.finished += known
        self.activations -= 1


class _Batches:
    """The images in work, as batches whose golden runs are kept where memory allows."""

    def __init__(self, session: FaultySession, data: Dataset, size: int, memory: int) -> None:
        self._session, self._data, self._size, self._memory = session, data, size, memory
        self._held: dict[int, HeldBatch] = {}

    def __len__(self) -> int:
        return math.ceil(len(self._data) / self._size)

    def __iter__(self) -> Iterator[tuple[int, HeldBatch, NDArray[np.int64]]]:
        for batch, (images, labels) in enumerate(self._data.batches(self._size)):
            held = self._held.get(batch)
            if held is None:
                held = self._session.hold(padded(images, self._session.batch_size), reuse=True)
                if sum(other.nbytes for other in self._held.values()) + held.nbytes <= self._memory:
                    self._held[batch] = held
            yield batch, held, labels

    def rebase(self, inputs: Arrays) -> None:
        """Take new values for some of the model's inputs into the golden runs."""
        for held in self._held.values():
            held.rebase(inputs)


@dataclass(slots=True)
class _Search:
    """What the activations share: a session whose thresholds are inputs, its images, and what is known."""

    settings: ClipActSettings
    data: Dataset
    session: FaultySession
    space: FaultSpace
    log: Log
    memory: int
    progress: _Progress
    batches: _Batches = field(init=False)
    drawn: int = 0

    def __post_init__(self) -> None:
        self._take(0)

    def draw(self, iteration: int) -> None:
        """Take the images of one iteration into work."""
        if self.settings.resample is not None and iteration != self.drawn:
            self._take(iteration)

    def settle(self, activation: Activation, threshold: NDArray[np.float32]) -> None:
        """Leave one activation at its threshold from now on."""
        chosen = {f"{activation.name}.threshold": threshold}
        self.session.extra |= chosen
        self.batches.rebase(chosen)

    def _take(self, iteration: int) -> None:
        data = self.data
        if self.settings.resample is not None:
            data = stratified_subset(data, self.settings.resample, seed=(self.settings.seed, iteration))
        self.batches = _Batches(self.session, data, self.settings.batch_size, self.memory)
        self.drawn = iteration


@dataclass(slots=True)
class _Refinement:
    """The search of one activation: its points, measured as far as was needed so far."""

    search: _Search
    activation: Activation
    part: FaultSpace
    largest: NDArray[np.float32]
    points: dict[Key, Evaluation] = field(default_factory=dict)
    unharmed: dict[tuple[Key, int], int] = field(default_factory=dict)
    steps: list[tuple[int, ...]] = field(init=False)

    def __post_init__(self) -> None:
        self.steps = self._steps()

    def best(self) -> float:
        """Refine the interval and return the best of all thresholds on the way."""
        settings = self.search.settings
        low, high = 0.0, _ceiling(self.largest)
        for iteration in range(settings.iterations):
            self.search.draw(iteration)
            grid = _grid(low, high)
            keys = [(self.activation.name, iteration if settings.resample else 0, threshold) for threshold in grid]
            for key in keys:
                self.points.setdefault(key, self.search.log.get(key) or Evaluation.unmeasured(settings, key, iteration))
            if iteration + 1 < settings.iterations:  # no interval follows the last one: all points compete at once
                best = keys.index(self._best_of(keys))
                low, high = grid[max(best - 1, 0)], grid[min(best + 1, SUBINTERVALS)]
        return self.points[self._best_of(self.points)].threshold

    def known(self) -> int:
        """Return how many accuracies are known."""
        return sum(value is not None for point in self.points.values() for value in point.columns)

    def _best_of(self, keys: Collection[Key]) -> Key:
        """Measure whichever point could be worth most until the best one is certain."""
        while True:
            best = max(keys, key=lambda key: self.points[key].worth)
            if self.points[best].score is not None:
                return best
            self._measure(best)

    def _measure(self, key: Key) -> None:
        """Take one point a step further."""
        search, point = self.search, self.points[key]
        step = next(step for step in self.steps if point.columns[step[0]] is None)
        accuracy = self._accuracy(key, search.settings.columns[step[0]])
        self.points[key] = search.log[key] = point.measured(search.settings, step, accuracy)
        search.progress.measured(self.known())

    def _steps(self) -> list[tuple[int, ...]]:
        """Return which columns are measured together, the weightiest step first.

        Rates at which nothing flips share one fault-free pass; every other rate is a step of its own.
        """
        settings = self.search.settings
        harmless = tuple(column for column, rate in enumerate(settings.columns) if not self._flips(rate))
        steps: list[tuple[int, ...]] = [(column,) for column in range(len(settings.columns)) if column not in harmless]
        steps += [harmless] if harmless else []
        return sorted(steps, key=lambda step: -sum(settings.weights[column] for column in step))

    def _flips(self, rate: float) -> bool:
        return any(len(faults) for batch in range(len(self.search.batches)) for faults in self._patterns(rate, batch))

    def _patterns(self, rate: float, batch: int) -> Iterator[Faults]:
        """Draw the fault patterns of a batch, the same ones for all thresholds; rate 0 has one."""
        for repeat in range(self.search.settings.repeats if rate else 1):
            yield BitFlipRate(rate).draw(self.part, unit_rng(self.search.settings.seed, rate, repeat, batch))

    def _accuracy(self, key: Key, rate: float) -> float:
        """Return top-1 accuracy over all batches and repeats; a pattern without flips is run once per batch."""
        right = total = 0
        limit = {f"{self.activation.name}.threshold": _at(key[2], self.largest)}
        for batch, held, labels in self.search.batches:
            for faults in self._patterns(rate, batch):
                total += len(labels)
                if len(faults):
                    right += _count_right(held, labels, self.search.space.widen(faults, self.part), limit)
                    continue
                if (key, batch) not in self.unharmed:
                    self.unharmed[key, batch] = _count_right(held, labels, Faults.none(), limit)
                right += self.unharmed[key, batch]
        return right / total


def _count_right(held: HeldBatch, labels: NDArray[np.int64], faults: Faults, limit: Arrays) -> int:
    """Return how many images are classified right; none where ONNX Runtime refuses the flipped model."""
    try:
        (outputs,) = held.run_each(faults, [limit])
    except FaultyRunError:
        return 0
    scores = outputs[0][: len(labels)]
    return int(np.count_nonzero(np.isfinite(scores).all(axis=1) & (scores.argmax(axis=1) == labels)))


def search_thresholds(
    model: OnnxModel,
    data: Dataset,
    activations: Sequence[Activation],
    largest: Mapping[str, NDArray[np.float32]],
    settings: ClipActSettings,
    *,
    log: Log | None = None,
    progress: Callable[[int, int], None] | None = None,
    cache_memory: int | None = None,
) -> tuple[dict[str, NDArray[np.float32]], list[Evaluation]]:
    """Search a threshold for every activation.

    Args:
        model: the unprotected model.
        data: labelled images.
        activations: in graph order.
        largest: per activation, the upper end of its first interval (ActMax).
        settings: how to search.
        log: evaluations that are known already, if only in part; what is measured is added to it.
        progress: called after every measurement of a threshold at a rate with (done, at most).
        cache_memory: bytes that golden tensors of batches may take; a quarter of the free memory by default.

    Returns:
        The thresholds: per activation the one with the largest score, of equal ones the largest, and
        the evaluations in order. An activation that no weights feed keeps its largest value.

    Raises:
        ModelError: the model is no classifier.
        DataError: the images or labels do not fit it.
    """
    data = data.completed(model.metadata)
    exposed, inputs = thresholds_as_inputs(clip_activations(model.proto, largest)[0])
    opened = model.with_proto(exposed)
    space = FaultSpace.of(opened)
    memory = cache_limit(cache_memory)
    session = _session(opened, space, data, settings, inputs, memory)
    search = _Search(
        settings=settings,
        data=data,
        session=session,
        space=space,
        log={} if log is None else log,
        memory=memory,
        progress=_Progress(progress, settings.most_evaluations * len(settings.columns), len(activations)),
    )
    thresholds = {name: np.asarray(value, np.float32) for name, value in largest.items()}
    evaluations: list[Evaluation] = []
    for activation in activations:
        known = 0
        if part := space.only(feeding_tensors(model.proto, activation)):
            refinement = _Refinement(search, activation, part, largest[activation.name])
            thresholds[activation.name] = _at(refinement.best(), largest[activation.name])
            search.settle(activation, thresholds[activation.name])
            evaluations += refinement.points.values()
            known = refinement.known()
        search.progress.next(known)
    return thresholds, evaluations


def _session(
    model: OnnxModel,
    space: FaultSpace,
    data: Dataset,
    settings: ClipActSettings,
    extra: Arrays,
    memory: int,
) -> FaultySession:
    """Open a session; always of one kind, since the last bits, and so a threshold, may depend on it."""
    images, _ = next(data.batches(settings.batch_size))
    images = padded(images, fixed_batch(model.proto))
    batches = math.ceil(len(data) / settings.batch_size)
    share = memory // min(batches, _BATCHES_HELD)
    session = FaultySession(model, space, strategy="live", sample=images, extra=extra, cache_memory=share)
    _TASK.check(session.golden(images)[0], len(images), data.classes)
    return session


def _ceiling(largest: NDArray[np.float32]) -> float:
    """Return the upper end of the first interval: T itself, or 1 as a fraction of every channel's largest value."""
    return float(largest) if largest.ndim == 0 else 1.0


def _at(threshold: float, largest: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.float32(threshold)) if largest.ndim == 0 else largest * np.float32(threshold)


def _grid(low: float, high: float) -> list[float]:
    """Cut an interval in three; inner ends are rounded to float32, the outer ones stay as they are.

    >>> _grid(0.0, 3.0)
    [0.0, 1.0, 2.0, 3.0]
    """
    step = (high - low) / SUBINTERVALS
    inner = [float(np.float32(low + step * k)) for k in range(1, SUBINTERVALS)]
    return [low, *inner, high]
