"""Which units changed most pixels, and their label maps: run once more, when all units are recorded."""

import logging
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.plan.schedule import Unit
from ftonnx.campaign.run.batch import BatchRunner, Recipe
from ftonnx.campaign.store.kept_maps import MapPair
from ftonnx.campaign.store.unit_table import Recorded
from ftonnx.datasets import Dataset
from ftonnx.errors import UsageError
from ftonnx.runtime import FaultySession
from ftonnx.tasks import Columns, Segmentation, Task

__all__ = ["MOST_MAPS", "check_maps", "pairs_of", "worst_units"]

MOST_MAPS: Final = 20
"""Pairs per rate: a report holds all of them."""

_logger: Final = logging.getLogger(__name__)


def check_maps(number: int, task: Task) -> Segmentation:
    """Return the task, if maps of it can be kept.

    Raises:
        UsageError: the number is none of pairs, or the task has no label maps.
    """
    if not 1 <= number <= MOST_MAPS:
        raise UsageError(f"`keep_maps`: 1 to {MOST_MAPS} pairs of label maps per rate were expected, got {number}")
    if not isinstance(task, Segmentation):
        raise UsageError(f"`keep_maps`: label maps are those of task segmentation, and this is task {task.name}")
    return task


def worst_units(recorded: Recorded, number: int) -> list[Unit]:
    """Return the units of each level with the most pixels of another class, most first; those that changed none not.

    Pixels of images with NaN or Inf have no class, so they do not count.

    Args:
        recorded: all counts.
        number: of units per level, at most.
    """
    found = []
    for level in sorted(recorded.columns):
        columns = recorded.columns[level]
        changed = _changed(columns)
        # of equal ones the first
        order = np.lexsort((columns["batch"], columns["repeat"], -changed))
        for place in order[:number].tolist():
            if changed[place] > 0:
                found.append(Unit(level, int(columns["repeat"][place]), int(columns["batch"][place])))
    return found


def _changed(columns: Columns) -> NDArray[np.int64]:
    """Return the pixels of every unit that get another class.

    >>> _changed({"area": np.array([40]), "same": np.array([25]), "due": np.array([1]), "n": np.array([4])}).tolist()
    [5]
    """
    lost = columns["due"] * (columns["area"] // np.maximum(columns["n"], 1))
    changed: NDArray[np.int64] = columns["area"] - columns["same"] - lost
    return changed


def pairs_of(
    units: Sequence[Unit],
    task: Segmentation,
    recipe: Recipe,
    session: FaultySession,
    data: Dataset,
    recorded: Recorded,
) -> tuple[MapPair, ...]:
    """Run units once more, batch by batch, and return the image of each with the most changed pixels, as the units.

    A unit that comes out otherwise than it was recorded, as on another kind of processor, is left out with a warning.

    Args:
        units: recorded ones.
        task: the campaign's.
        recipe: how they are run.
        session: the faulty session.
        data: the data set.
        recorded: all counts.
    """
    size = recipe.schedule.images_per_unit
    batches = sorted({unit.batch for unit in units})
    found: dict[Unit, MapPair] = {}
    for batch, (images, labels) in zip(batches, data.batches(size, only=batches), strict=True):
        runner = recipe.open_batch(session, images, labels)
        for unit in units:
            if unit.batch == batch:
                pair = _pair_of(unit, runner, recipe, recorded, task)
                if pair is not None:
                    found[unit] = pair
        del images, labels, runner
    return tuple(found[unit] for unit in units if unit in found)


def _pair_of(unit: Unit, runner: BatchRunner, recipe: Recipe, recorded: Recorded, task: Segmentation) -> MapPair | None:
    """Return the maps of one unit's image with the most changed pixels."""
    outcomes, golden, faulty = runner.seen(unit)
    if dict(outcomes) != _recorded_counts(recorded, unit):
        _logger.warning("%s came out otherwise than it was recorded: its label maps are not kept", unit)
        return None
    most = 0
    worst = None
    for number, (before, after) in enumerate(zip(task.class_maps(golden), task.class_maps(faulty), strict=True)):
        if before is None or after is None:
            continue
        changed = int(np.count_nonzero(before != after))
        if changed > most:
            most = changed
            worst = number, before, after
    if worst is None:
        return None
    number, before, after = worst
    image = unit.batch * recipe.schedule.images_per_unit + number
    return MapPair.of(before, after, rate=unit.rate, repeat=unit.repeat, batch=unit.batch, image=image)


def _recorded_counts(recorded: Recorded, unit: Unit) -> dict[str, int]:
    columns = recorded.columns[unit.rate]
    (place,) = np.flatnonzero((columns["repeat"] == unit.repeat) & (columns["batch"] == unit.batch))
    return {name: int(columns[name][place]) for name in recorded.header.task.counts}
