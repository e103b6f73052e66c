"""The search of one activation's threshold: an interval cut in three, again and again.

What cannot win is not measured to the end: an accuracy not measured yet counts as 1, which bounds a
threshold's worth from above, and the next rate is always measured for the threshold that could still be
worth most. Once that one is complete it is the best; the thresholds found are those of measuring everything.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.judging import Judging, RunJudge
from ftonnx.datasets import Dataset, stratified_subset
from ftonnx.export import Activation, threshold_name
from ftonnx.inject import BitFlipRates, FaultSpace, unit_rng
from ftonnx.mitigate.cells import Pattern, cells_by_image, cells_by_rate, known_from, marks_of
from ftonnx.mitigate.points import SUBINTERVALS, ClipActSettings, Evaluation, Key, Log
from ftonnx.mitigate.trying import ByImage, ByRate, Trying
from ftonnx.runtime import FaultySession, HeldBatch
from ftonnx.samples import Samples
from ftonnx.sessions import Arrays, padded

__all__ = ["Batches", "Progress", "Refinement", "Search", "threshold_at"]

Floats = NDArray[np.float32]
Values = NDArray[np.float64]
_LEAST_TOGETHER: Final = 8


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
    labels: NDArray[Any]


class Batches:
    """The images in work, as batches whose golden runs are kept where memory allows."""

    def __init__(self, session: FaultySession, judging: Judging, data: Dataset, size: int, memory: int) -> None:
        self._session = session
        self._judging = judging
        self._data = data
        self._size = size
        self._memory = memory
        self._held: dict[int, Judged] = {}

    def sizes(self) -> list[int]:
        """Return how many images each of the batches has."""
        starts = range(0, len(self._data), self._size)
        return [min(self._size, len(self._data) - start) for start in starts]

    def samples(self) -> Iterator[tuple[Samples, NDArray[Any]]]:
        """Yield samples and labels of each of the batches."""
        yield from self._data.batches(self._size)

    def judged(self, wanted: int) -> Judged:
        """Return a batch with its golden run."""
        if wanted in self._held:
            return self._held[wanted]
        for batch, (images, labels) in enumerate(self.samples()):
            if batch == wanted:
                return self._hold(batch, images, labels)
        raise IndexError(wanted)

    def _hold(self, batch: int, images: Samples, labels: NDArray[Any]) -> Judged:
        """Do a batch's golden run, and keep it where memory allows."""
        filled = padded(images, self._session.batch_size)
        held = self._session.hold(filled, reuse=True)
        judge = RunJudge(self._judging, self._session, held.golden, labels, self._data.classes)
        judged = Judged(held, judge, labels)
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
    checked: dict[int, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._take(0)

    @property
    def by_image(self) -> bool:
        """Whether the task judges every image alone."""
        return self.judging.task.judges_images

    @property
    def together(self) -> int:
        """How many images are measured together: enough to fill a kernel, few enough to stop early."""
        batch = min(self.settings.batch_size, len(self.data))
        return min(batch, max(_LEAST_TOGETHER, batch // 4))

    def draw(self, iteration: int) -> bool:
        """Take the images of one iteration into work; say whether they are others than before."""
        # each iteration has its own images, and every activation meets the same ones
        if self.settings.resample is None or iteration == self.drawn:
            return False
        self._take(iteration)
        return True

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
        self.checked = {}


class Refinement:
    """The search of one activation: its points, measured as far as was needed so far.

    Attributes:
        points: what is known of the thresholds that were tried.
    """

    def __init__(self, search: Search, activation: Activation, part: FaultSpace, largest: Floats) -> None:
        """Begin.

        Args:
            search: what the activations share.
            activation: the one whose threshold is searched.
            part: the weights that feed it.
            largest: the upper end of its first interval.
        """
        self.points: dict[Key, Evaluation] = {}
        self._search = search
        self._activation = activation
        self._part = part
        self._largest = largest
        self._known: dict[Key, Values] = {}
        self._begin()

    def best(self) -> float:
        """Refine the interval and return the best of all thresholds on the way."""
        settings = self._search.settings
        low = 0.0
        high = _ceiling(self._largest)
        for iteration in range(settings.iterations):
            if self._search.draw(iteration):
                self._begin()
            grid = _grid(low, high)
            keys = self._enter(grid, iteration)
            # no interval follows the last one: all points compete at once
            if iteration + 1 < settings.iterations:
                best = keys.index(self._best_of(keys))
                low = grid[max(best - 1, 0)]
                high = grid[min(best + 1, SUBINTERVALS)]
        winner = self._best_of(self.points)
        return self.points[winner].threshold

    def known(self) -> int:
        """Return how many accuracies are known."""
        count = 0
        for point in self.points.values():
            count += sum(value is not None for value in point.columns)
        return count

    def _begin(self) -> None:
        """Draw the patterns for the images in work; all thresholds meet the same ones."""
        search = self._search
        settings = search.settings
        drawn = [list(self._patterns(rate)) for rate in settings.columns]
        self._by_image = search.by_image
        if self._by_image:
            cells, patterns = cells_by_image(settings, drawn, search.together)
            self._trying: Trying = ByImage(search, _input_of(self._activation), cells, patterns)
        else:
            cells, of_cells = cells_by_rate(settings, drawn)
            self._trying = ByRate(search, of_cells)
        self._cells = cells

    def _patterns(self, rate: float) -> Iterator[Pattern]:
        """Draw the patterns of a rate, batch by batch; rate 0 has one for each."""
        settings = self._search.settings
        repeats = settings.repeats if rate else 1
        model = BitFlipRates(rate)
        for batch, images in enumerate(self._search.batches.sizes()):
            for repeat in range(repeats):
                rng = unit_rng(settings.seed, rate, repeat, batch)
                faults = model.draw(self._part, rng)
                # drawn in the part that feeds this activation, applied to the whole model
                yield Pattern(batch, images, self._search.space.widen(faults, self._part))

    def _enter(self, grid: Sequence[float], iteration: int) -> list[Key]:
        """Take the ends of an interval among the points, with what is known of them; return their keys."""
        search = self._search
        # on the same images a point that was tried before is the same point
        images = iteration if search.settings.resample else 0
        keys = []
        for threshold in grid:
            key = (self._activation.name, images, threshold)
            keys.append(key)
            if key not in self.points:
                point = search.log.get(key)
                if point is None:
                    point = Evaluation.unmeasured(search.settings, key, iteration)
                self.points[key] = point
                self._known[key] = known_from(point, self._cells, by_image=self._by_image)
        return keys

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
        search = self._search
        cells = self._cells
        before = self.known()
        known = self._known[key].copy()
        others = [value for other, value in self._known.items() if other[1] == key[1]]
        places = cells.next(known, others)
        limit = {_input_of(self._activation): threshold_at(key[2], self._largest)}
        found = self._trying.measure(key[2], limit, places)
        known[places[: len(found)]] = found
        self._known[key] = known
        measured = self.points[key].bounded(
            search.settings,
            cells.accuracies(known),
            cells.measured(known),
            marks_of(known) if self._by_image else "",
        )
        self.points[key] = measured
        # on disk before the next measurement, where there is a log
        search.log[key] = measured
        if self.known() > before:
            search.progress.measured(self.known())


def _input_of(activation: Activation) -> str:
    """Return the model's input that holds an activation's threshold."""
    return threshold_name(activation.name)


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
