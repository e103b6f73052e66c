"""A short pilot: how many images should share a pattern for the most certainty in the least time.

With m images per pattern, the variance of the mean after a pass over the data is in proportion to
(1 + (m - 1) rho) / m where each pattern loses a share of the images that correlate by rho, and the pass takes
(a + b m) / m seconds where a unit takes a + b m. The pilot's units are the campaign's own first ones at the usual size.
They count where the campaign goes on with that size, which it does unless another one is cheaper by a quarter: what is
measured is noisy, and the cost is flat around its least.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from ftonnx.campaign.plan.schedule import Unit
from ftonnx.campaign.run.batch import BatchRunner, Recipe
from ftonnx.campaign.store.folder import Record, Store
from ftonnx.campaign.store.golden_run import GoldenRun
from ftonnx.campaign.store.header import PilotInfo
from ftonnx.datasets import Dataset
from ftonnx.runtime import FaultySession
from ftonnx.stats.patterns import intra_pattern_correlation
from ftonnx.tasks import SIZE, Counts, Fraction

__all__ = ["Level", "Pilot", "cheapest", "run_pilot"]

CANDIDATES: Final = (1, 2, 4, 8, 16, 32, 64, 128)
_LEAST_BATCHES: Final = 16
_MOST_BATCHES: Final = 64
_SECONDS: Final = 5.0  # of units; more only for the least number of batches
_LARGER: Final = 4  # times the images, for the second time of a unit
_TIMED_UNITS: Final = 5
_WORTH_A_CHANGE: Final = 1.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Pilot:
    """What a pilot found, and the units that it ran.

    Attributes:
        images: per pattern in its units.
        info: what is kept with the results.
        golden: runs of the batches that it took, by number.
        records: of its units.
    """

    images: int
    info: PilotInfo
    golden: Mapping[int, GoldenRun]
    records: Sequence[Record]

    def keep_in(self, store: Store) -> None:
        """Record what of it counts and is not recorded yet."""
        if self.images != self.info.images_per_pattern:
            return
        known = store.golden()
        for number, found in self.golden.items():
            if number not in known:
                store.add_golden(number, found)
        recorded = store.recorded()
        for record in self.records:
            if record.unit not in recorded:
                store.add(record)


def run_pilot(recipe: Recipe, session: FaultySession, data: Dataset, run: int | None) -> Pilot:
    """Run the first units of a campaign at fault rates, and find the cheapest number of images per pattern.

    Args:
        recipe: of the campaign, at the size with which the pilot runs.
        session: open.
        data: the images.
        run: images that one run of the model must take, which are the fewest that can share a pattern; None where any
            will do.
    """
    golden: dict[int, GoldenRun] = {}
    records: list[Record] = []
    for number, runner in _runners(recipe, session, data):
        golden[number] = runner.golden_run
        records += [runner.run(Unit(level, 0, number)) for level in recipe.schedule.levels]
        spent = sum(record.wall_ns for record in records) * 1e-9
        if number + 1 >= _LEAST_BATCHES and spent > _SECONDS:
            break
    seconds = _seconds_of_sizes(recipe, session, data, records, run)
    fault_free = {number: found.outcomes for number, found in golden.items()}
    levels = [Level.of(rate, records, fault_free, recipe.task.main) for rate in recipe.schedule.levels if rate > 0]
    usual = recipe.schedule.images_per_unit
    least = usual if recipe.task.compares_images else run or 1
    sizes = [size for size in CANDIDATES if least <= size <= len(data)]
    info = cheapest(levels, seconds, sizes=sizes, usual=usual)
    return Pilot(images=usual, info=info, golden=golden, records=records)


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What a pilot found at one rate.

    Attributes:
        variance: of what one image loses.
        correlation: of what two images lose under one pattern.
    """

    variance: float
    correlation: float

    @classmethod
    def of(cls, rate: float, records: Sequence[Record], golden: Mapping[int, Counts], main: Fraction) -> "Level":
        """Compare the headline under faults with that without."""
        own = [record for record in records if record.unit.rate == rate]
        fault_free = main.columns([golden[record.unit.batch] for record in own])
        outcomes = main.columns([record.outcomes for record in own])
        sizes = fault_free[SIZE]
        shares = main.by_batch(fault_free, fault_free) - main.by_batch(outcomes, fault_free)
        lost = shares * sizes
        # a few images may be gained, which no share can say
        lost = np.clip(lost, 0, None)
        share = float(lost.sum() / sizes.sum())
        correlation = intra_pattern_correlation(lost, sizes).icc or 0.0
        return cls(variance=share * (1 - share), correlation=max(0.0, correlation))

    def of_mean(self, images: int) -> float:
        """Return the variance of the mean over one pass over the data, times the number of images."""
        return self.variance * (1 + (images - 1) * self.correlation)


def cheapest(levels: Sequence[Level], seconds: Mapping[int, float], *, sizes: Sequence[int], usual: int) -> PilotInfo:
    """Return what a pilot says of the numbers of images that may share a pattern.

    Args:
        levels: what was found at each rate.
        seconds: of a unit, by two numbers of images; by one where the data have no more, which says nothing of others.
        sizes: the numbers in question.
        usual: the one of the pilot.
    """
    fixed, per_image = _line(seconds)
    asked = {*sizes, usual} if len(seconds) > 1 else {usual}
    costs: dict[int, float] = {}
    for size in sorted(asked):
        variance = sum(level.of_mean(size) for level in levels)
        costs[size] = variance * (fixed / size + per_image)
    best = min(costs, key=costs.__getitem__)
    worth = costs[best] * _WORTH_A_CHANGE < costs[usual]
    return PilotInfo(
        images_per_pattern=best if worth else usual,
        correlation=tuple(level.correlation for level in levels),
        unit_seconds=fixed,
        image_seconds=per_image,
        sizes=tuple(costs),
        costs=tuple(_relative(cost, costs[usual]) for cost in costs.values()),
    )


def _relative(cost: float, usual: float) -> float:
    """Return a cost in terms of the usual one; no pattern of a pilot may have done any harm."""
    return cost / usual if usual else 1.0


def _line(seconds: Mapping[int, float]) -> tuple[float, float]:
    """Return what a unit takes besides its images, and what it takes for each of them.

    >>> _line({8: 3.0, 32: 6.0}), _line({8: 4.0})
    ((2.0, 0.125), (0.0, 0.5))
    """
    small = min(seconds)
    large = max(seconds)
    whole = seconds[small] / small
    if large == small:
        return 0.0, whole
    slope = (seconds[large] - seconds[small]) / (large - small)
    # what is measured is noisy, and neither part is below 0
    per_image = min(whole, max(0.0, slope))
    return seconds[small] - per_image * small, per_image


def _runners(recipe: Recipe, session: FaultySession, data: Dataset) -> Iterator[tuple[int, BatchRunner]]:
    """Yield the first batches with their golden runs."""
    for number, (images, labels) in enumerate(data.batches(recipe.schedule.images_per_unit)):
        if number == _MOST_BATCHES:
            return
        yield number, recipe.open_batch(session, images, labels)


def _seconds_of_sizes(
    recipe: Recipe, session: FaultySession, data: Dataset, records: Sequence[Record], run: int | None
) -> dict[int, float]:
    """Return the median seconds of a unit at the highest rate: of the pilot's own, and of larger ones."""
    rate = recipe.schedule.levels[-1]
    usual = recipe.schedule.images_per_unit
    own = [record.wall_ns for record in records if record.unit.rate == rate]
    found = {usual: 1e-9 * statistics.median(own)}
    larger = _LARGER * usual
    if larger > len(data):
        return found
    settings = replace(recipe.schedule.settings, images_per_pattern=larger, batch_size=run or larger)
    schedule = replace(recipe.schedule, settings=settings)
    images, labels = next(data.batches(larger))
    runner = replace(recipe, schedule=schedule).open_batch(session, images, labels)
    times = [runner.run(Unit(rate, repeat, 0)).wall_ns for repeat in range(1 + _TIMED_UNITS)]
    # the first run of so many images allocates
    return found | {larger: 1e-9 * statistics.median(times[1:])}
