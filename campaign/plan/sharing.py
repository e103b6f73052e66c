"""How many images share a fault pattern, and how many of them one run of the model takes.

Images that meet one pattern fare alike, so that more patterns with fewer images each say more about the mean for the
same work, down to where the work of a pattern itself weighs in. docs/statistics.md has the measurements.
"""

import logging
from dataclasses import replace
from typing import Final

from ftonnx.campaign.inputs import choose_batch_size, insisted_batch
from ftonnx.campaign.plan.settings import PAPER_IMAGES, Settings
from ftonnx.errors import UsageError
from ftonnx.inject import OnnxModel
from ftonnx.tasks import Task

__all__ = ["USUAL_IMAGES", "run_size", "sized", "usual_images_of"]

USUAL_IMAGES: Final = 8
"""Images that share a pattern where nothing else is asked for; one number for all machines, so that counts agree."""

_logger: Final = logging.getLogger(__name__)


def sized(settings: Settings, model: OnnxModel, *, pooled: bool, usual: int = USUAL_IMAGES) -> Settings:
    """Return settings with the images per pattern and per run that are used.

    A run takes no more images than share a pattern; where it takes fewer, the pattern is held for several runs.
    ``auto`` begins as the usual number.

    Args:
        settings: what was asked for.
        model: it may insist on a batch size; where that is larger, so many images share a pattern.
        pooled: every pattern is met by all images, as an injection is; then only the size of a run is to be chosen.
        usual: images per pattern where nothing else is asked for.

    Raises:
        UsageError: the model insists on another batch size than the one asked for, or images per pattern make no sense.
        DataError: a constant's file cannot be read.
    """
    asked = settings.images_per_pattern
    wanted = settings.batch_size
    if pooled:
        if asked is not None:
            raise UsageError(
                "all images meet each injection's pattern: no `images_per_pattern` was expected; `batch_size` says how "
                "many one run takes"
            )
        return replace(settings, batch_size=choose_batch_size(model, wanted, settings.constants))
    images = asked if isinstance(asked, int) else usual
    run = run_size(settings, model) or images
    if run > images:
        if isinstance(asked, int):
            _logger.warning(
                "%s takes batches of %d images, and so many share a pattern, not %d", model.name, run, asked
            )
        images = run
    return replace(settings, images_per_pattern=images, batch_size=run)


def run_size(settings: Settings, model: OnnxModel) -> int | None:
    """Return the images that one run takes by what was asked for or the model insists on; None where any will do.

    Raises:
        UsageError: the model insists on another batch size than the one asked for.
        DataError: a constant's file cannot be read.
    """
    if settings.batch_size is not None:
        return choose_batch_size(model, settings.batch_size, settings.constants)
    return insisted_batch(model, settings.constants)


def usual_images_of(task: Task | None) -> int:
    """Return how many images share a pattern where nothing is asked for: many, where a task judges them in pairs."""
    return PAPER_IMAGES if task is not None and task.compares_images else USUAL_IMAGES
