"""The search of one activation's threshold: an interval cut in three, again and again.

What cannot win is not measured to the end: an accuracy not measured yet counts as 1, which bounds a
threshold's worth from above, and the next rate is always measured for the threshold that could still be
worth most. Once that one is complete it is the best; the thresholds found are those of measuring everything.
"""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.judging import Judging, RunJudge
from ftonnx.datasets import Dataset, stratified_subset
from ftonnx.export import Activation, threshold_name
from ftonnx.inject import BitFlipRates, Faults, FaultSpace, unit_rng
from ftonnx.mitigate.points import SUBINTERVALS, ClipActSettings, Evaluation, Key, Log
from ftonnx.runtime import FaultyRunError, FaultySession, HeldBatch
from ftonnx.samples import Samples
from ftonnx.sessions import Arrays, padded
from ftonnx.tasks import Counts

__all__ = ["Batches", "Progress", "Refinement", "Search", "threshold_at"]

Floats = NDArray[np.float32]


@dataclass(slots=True)
class Progress:
    """Counts measurements, one threshold at one rate each, against what may still come."""

    report: Callable[[int, int], None] | None
    most: int
    activations: int
    finished: int = 0

    def measured(self, known: int) -> None:
        """Say that so many are known of the activation in work."""
        if self.report is not None:
            done = self.finished + known
            at_most = self.finished + self.activations * self.most
            self.report(done, at_most)

    def next(self, known: int) -> None:
        """Leave an activation with what was needed of it."""
        self.finished += known
        self.activations -= 1


class Judged(NamedTuple):
    """A batch with its golden run, and what counts the outcomes of its runs."""

    held: HeldBatch
    judge: RunJudge


class Batches:
    """The images in work, as batches whose golden runs are kept where memory allows."""

    def __init__(self, session: FaultySession, judging: Judging, data: Dataset, size: int, memory: int) -> None:
        self._session = session
        self._judging = judging
        self._data = data
        self._size = size
        self._memory = memory
        self._held: dict[int, Judged] = {}

    def __len__(self) -> int:
        batches = len(self._data) / self._size
        return math.ceil(batches)

    def __iter__(self) -> Iterator[tuple[int, Judged]]:
        batches = self._data.batches(self._size)
        for batch, (images, labels) in enumerate(batches):
            judged = self._held.get(batch)
            if judged is None:
                judged = self._hold(batch, images, labels)
            yield batch, judged

    def _hold(self, batch: int, images: Samples, labels: NDArray[Any]) -> Judged:
        """Do a batch's golden run, and keep it where memory allows."""
        filled = padded(images, self._session.batch_size)
        held = self._session.hold(filled, reuse=True)
        judge = RunJudge(self._judging, self._session, held.golden, labels, self._data.classes)
        judged = Judged(held, judge)
        taken = sum(other.held.nbytes for other in self._held.values())
        if taken + held.nbytes <= self._memory:
            self._held[batch] = judged
        return judged

    def rebase(self, inputs: Arrays) -> None:
        """Take new values for some of the model's inputs into the golden runs."""
        for judged in self._held.values():
            judged.held.rebase(inputs)


@dataclass(slots=True)
class Search:
    """What the activations share: a session whose thresholds are inputs, its images, and what is known."""

    settings: ClipActSettings
    data: Dataset
    judging: Judging
    session: FaultySession
    space: FaultSpace
    memory: int
    log: Log
    progress: Progress
    batches: Batches = field(init=False)
    drawn: int = 0

    def __post_init__(self) -> None:
        self._take(0)

    def draw(self, iteration: int) -> None:
        """Take the images of one iteration into work."""
        if self.settings.resample is None:
            return
        # each iteration has its own images, and every activation meets the same ones
        if iteration != self.drawn:
            self._take(iteration)

    def settle(self, activation: Activation, threshold: Floats) -> None:
        """Leave one activation at its threshold from now on."""
        chosen = {_input_of(activation): threshold}
        # for golden runs to come, and for those that are kept
        self.session.extra |= chosen
        self.batches.rebase(chosen)

    def _take(self, iteration: int) -> None:
        data = self.data
        settings = self.settings
        if settings.resample is not None:
            seed = (settings.seed, iteration)
            data = stratified_subset(data, settings.resample, seed=seed)
        self.batches = Batches(self.session, self.judging, data, settings.batch_size, self.memory)
        self.drawn = iteration


@dataclass(slots=True)
class Refinement:
    """The search of one activation: its points, measured as far as was needed so far."""

    search: Search
    activation: Activation
    part: FaultSpace
    largest: Floats
    points: dict[Key, Evaluation] = field(default_factory=dict)
    unharmed: dict[tuple[Key, int], Counts] = field(default_factory=dict)
    steps: list[tuple[int, ...]] = field(init=False)

    def __post_init__(self) -> None:
        self.steps = self._steps()

    def best(self) -> float:
        """Refine the interval and return the best of all thresholds on the way."""
        settings = self.search.settings
        low = 0.0
        high = _ceiling(self.largest)
        for iteration in range(settings.iterations):
            self.search.draw(iteration)
            grid = _grid(low, high)
            keys = self._enter(grid, iteration)
            # no interval follows the last one: all points compete at once
            if iteration + 1 < settings.iterations:
                best = keys.index(self._best_of(keys))
                low = grid[max(best - 1, 0)]
                high = grid[min(best + 1, SUBINTERVALS)]
        winner = self._best_of(self.points)
        return self.points[winner].threshold

    def _enter(self, grid: Sequence[float], iteration: int) -> list[Key]:
        """Take the ends of an interval among the points, with what is known of them; return their keys."""
        search = self.search
        # on the same images a point that was tried before is the same point
        images = iteration if search.settings.resample else 0
        keys = []
        for threshold in grid:
            key = (self.activation.name, images, threshold)
            keys.append(key)
            if key not in self.points:
                point = search.log.get(key)
                if point is None:
                    point = Evaluation.unmeasured(search.settings, key, iteration)
                self.points[key] = point
        return keys

    def known(self) -> int:
        """Return how many accuracies are known."""
        count = 0
        for point in self.points.values():
            count += sum(value is not None for value in point.columns)
        return count

    def _best_of(self, keys: Collection[Key]) -> Key:
        """Measure whichever point could be worth most until the best one is certain."""
        # an upper bound that is reached by no other bound is the maximum
        while True:
            best = max(keys, key=self._worth)
            if self.points[best].score is not None:
                return best
            self._measure(best)

    def _worth(self, key: Key) -> tuple[float, float]:
        return self.points[key].worth

    def _measure(self, key: Key) -> None:
        """Take one point a step further."""
        search = self.search
        point = self.points[key]
        step = self._next_step(point)
        # the columns of a step have the same accuracy, which is measured at the first
        rate = search.settings.columns[step[0]]
        accuracy = self._accuracy(key, rate)
        measured = point.measured(search.settings, step, accuracy)
        self.points[key] = measured
        # on disk before the next measurement, where there is a log
        search.log[key] = measured
        search.progress.measured(self.known())

    def _next_step(self, point: Evaluation) -> tuple[int, ...]:
        for step in self.steps:
            if point.columns[step[0]] is None:
                return step
        raise ValueError(f"{point.activation} at {point.threshold} is measured at every rate")

    def _steps(self) -> list[tuple[int, ...]]:
        """Return which columns are measured together, the weightiest step first.

        Rates at which nothing flips share one fault-free pass; every other rate is a step of its own.
        """
        settings = self.search.settings
        steps: list[tuple[int, ...]] = []
        harmless: list[int] = []
        for column, rate in enumerate(settings.columns):
            if self._flips(rate):
                steps.append((column,))
            else:
                harmless.append(column)
        if harmless:
            steps.append(tuple(harmless))
        weights = settings.weights

        def lightness(step: tuple[int, ...]) -> float:
            return -sum(weights[column] for column in step)

        return sorted(steps, key=lightness)

    def _flips(self, rate: float) -> bool:
        """Say whether any pattern of a rate flips anything."""
        for batch in range(len(self.search.batches)):
            if any(len(faults) for faults in self._patterns(rate, batch)):
                return True
        return False

    def _patterns(self, rate: float, batch: int) -> Iterator[Faults]:
        """Draw the fault patterns of a batch, the same ones for all thresholds; rate 0 has one."""
        settings = self.search.settings
        repeats = settings.repeats if rate else 1
        model = BitFlipRates(rate)
        for repeat in range(repeats):
            rng = unit_rng(settings.seed, rate, repeat, batch)
            yield model.draw(self.part, rng)

    def _accuracy(self, key: Key, rate: float) -> float:
        """Return the headline, such as top-1, over batches and repeats; a pattern without flips is run once each."""
        main = self.search.judging.task.main
        right = 0
        total = 0
        threshold = threshold_at(key[2], self.largest)
        limit = {_input_of(self.activation): threshold}
        for batch, judged in self.search.batches:
            for faults in self._patterns(rate, batch):
                if len(faults):
                    # drawn in the part that feeds this activation, applied to the whole model
                    widened = self.search.space.widen(faults, self.part)
                    found = _outcomes(judged, widened, limit)
                else:
                    # nothing flips, so every rate and repeat gives the same
                    place = (key, batch)
                    if place not in self.unharmed:
                        self.unharmed[place] = _outcomes(judged, Faults.none(), limit)
                    found = self.unharmed[place]
                right += found[main.count]
                total += found[main.whole]
        return right / total


def _input_of(activation: Activation) -> str:
    """Return the model's input that holds an activation's threshold."""
    return threshold_name(activation.name)


def _outcomes(judged: Judged, faults: Faults, limit: Arrays) -> Counts:
    """Return the outcomes of one run; of one that ONNX Runtime refuses, the task says what it counts as."""
    try:
        variants = list(judged.held.run_each(faults, [limit]))
    except FaultyRunError:
        return judged.judge.crashed()
    return judged.judge.count(variants[0])


def _ceiling(largest: Floats) -> float:
    """Return the upper end of the first interval: T itself, or 1 as a fraction of every channel's largest value."""
    return float(largest) if largest.ndim == 0 else 1.0


def threshold_at(threshold: float, largest: Floats) -> Floats:
    """Return T from a point of the search: itself, or the fraction of every channel's largest value."""
    value = np.float32(threshold)
    if largest.ndim == 0:
        return np.asarray(value)
    return largest * value


def _grid(low: float, high: float) -> list[float]:
    """Cut an interval in three; inner ends are rounded to float32, the outer ones stay as they are.

    >>> _grid(0.0, 3.0)
    [0.0, 1.0, 2.0, 3.0]
    """
    step = (high - low) / SUBINTERVALS
    ends = [low]
    for number in range(1, SUBINTERVALS):
        inner = np.float32(low + step * number)
        ends.append(float(inner))
    ends.append(high)
    return ends
