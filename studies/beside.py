"""Published numbers beside the measured ones: the difference, and whether it lies within what both leave open."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from ftonnx.campaign import CampaignResult
from ftonnx.stats import Estimate
from ftonnx.stats.proportions import clopper_pearson
from ftonnx.studies.published import PublishedNumber
from ftonnx.studies.study import Cell

__all__ = ["Beside", "beside", "beside_frame"]

_DIGIT: Final = 0.5e-4
"""Half of the last digit of per cent with two decimals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A published number and the measured one.

    Attributes:
        cell: the cell that measured it.
        number: what was published.
        measured: with its interval; a fault-free one is exact on its images.
        open: how far the two may lie apart for no other reason than the faults and images that each happened to meet,
            95 %; None where the measured one has no interval.
    """

    cell: Cell
    number: PublishedNumber
    measured: Estimate
    open: float | None

    @property
    def difference(self) -> float:
        """Measured less published."""
        return self.measured.mean - self.number.value

    @property
    def is_within(self) -> bool | None:
        """Whether the difference is no larger than what is left open; None where that is not known."""
        return None if self.open is None else abs(self.difference) <= self.open


def beside(
    cells: Iterable[Cell], results: Mapping[Cell, CampaignResult], published: Sequence[PublishedNumber]
) -> tuple[Beside, ...]:
    """Put published numbers beside the measured ones, in the order in which they were published.

    Args:
        cells: of the study.
        results: of those of them that are complete.
        published: numbers; those that no result measures are left out.
    """
    by_names: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        if cell in results:
            by_names.setdefault((cell.model, cell.protect, cell.quantize, cell.data), []).append(cell)
    found = []
    for number in published:
        for cell in by_names.get((number.model, number.protect, number.quantize, number.data), ()):
            one = _beside(cell, results[cell], number)
            if one is not None:
                found.append(one)
                # without faults all campaigns of a model measure the same
                break
    return tuple(found)


def _beside(cell: Cell, result: CampaignResult, number: PublishedNumber) -> Beside | None:
    if number.rate == 0:
        clean = result.golden.get(number.figure)
        if clean is None:
            return None
        ours = _of_images(clean, result.data.samples, number)
        return Beside(cell=cell, number=number, measured=Estimate.exact(clean), open=math.hypot(ours, _DIGIT))
    for rate in result.rates:
        if rate.rate == number.rate and number.figure in rate.fractions:
            measured = rate[number.figure]
            return Beside(
                cell=cell, number=number, measured=measured, open=_left_open(measured, rate.units, result, number)
            )
    return None


def _left_open(measured: Estimate, patterns: int, result: CampaignResult, number: PublishedNumber) -> float | None:
    """Return how far two such numbers may lie apart by the faults and images that they happened to meet.

    What was published has no interval; it is given that of as many patterns as it had, which vary as the measured ones.
    """
    if measured.low is None or measured.high is None or number.patterns == 0:
        return None
    half = max(measured.high - measured.mean, measured.mean - measured.low)
    theirs = half * math.sqrt(patterns / number.patterns)
    whole = math.hypot(half, theirs, _of_images(measured.mean, result.data.samples, number), _DIGIT)
    # fractions are never further apart
    return min(whole, 1.0)


def _of_images(value: float, images: int, number: PublishedNumber) -> float:
    """Return the half width of what a part of the images leaves open about all of them; 0 where it is all of them."""
    if images >= number.images:
        return 0.0
    found = clopper_pearson(value * images, images)
    assert found.low is not None
    assert found.high is not None
    # of a finite number of images, those that are known are certain
    known = math.sqrt((number.images - images) / (number.images - 1))
    return max(found.high - value, value - found.low) * known


def beside_frame(found: Sequence[Beside]) -> pl.DataFrame:
    """Return the numbers as fractions, with a row for each."""
    schema = {
        **dict.fromkeys(("model", "protect", "quantize", "data", "faults"), pl.String),
        "rate": pl.Float64,
        "figure": pl.String,
        **dict.fromkeys(("published", "measured", "low", "high", "difference", "open"), pl.Float64),
        "within": pl.Boolean,
    }
    rows = []
    for each in found:
        cell, number, measured = each.cell, each.number, each.measured
        names = (cell.model, cell.protect, cell.quantize, cell.data, cell.faults, number.rate, number.figure)
        numbers = (number.value, measured.mean, measured.low, measured.high, each.difference, each.open)
        rows.append((*names, *numbers, each.is_within))
    return pl.DataFrame(rows, schema=schema, orient="row")
