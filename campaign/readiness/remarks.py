"""What to look at before a campaign, in sentences: each says what was seen, and where it is set right."""

from collections.abc import Iterator, Sequence
from typing import Final

from ftonnx.campaign.readiness.pixels import PixelRanges
from ftonnx.campaign.readiness.readings import Reading
from ftonnx.campaign.readiness.result import FaultFreeRuns
from ftonnx.datasets import Dataset
from ftonnx.tasks import Task
from ftonnx.words import interval, number, percent, some_of

__all__ = ["remarks_on"]

_NAMED: Final = 5
_WIDEST: Final = 0.15
"""Of an interval, beyond which nobody can say how good a model is."""


def remarks_on(
    data: Dataset,
    task: Task,
    golden: FaultFreeRuns,
    *,
    pixels: PixelRanges,
    readings: Sequence[Reading],
    more: Sequence[str | None] = (),
) -> tuple[str, ...]:
    """Return what to look at, what matters most first.

    Args:
        data: the images.
        task: by which the model is judged.
        golden: what the model does without faults.
        pixels: what it is fed.
        readings: other readings of images and labels.
        more: further sentences, None where there is nothing.
    """
    found = [*_of_accuracy(data, task, golden)]
    # of several hints the strongest: the others are mostly shadows of it
    better = [each for each in readings if each.better]
    if better:
        found.append(max(better, key=lambda each: each.accuracy).remark)
    found += pixels.remarks
    scale = pixels.scale_remark
    if scale is not None and not _is_sure(task, data, golden):
        found.append(scale)
    found += _of_classes(data, golden)
    found += data.labelling.warnings
    if data.labelling.unused:
        unused = data.labelling.unused
        found.append(f"files or folders that are not used ({number(len(unused))}): {some_of(unused, _NAMED)}")
    found += [each for each in more if each is not None]
    return tuple(found)


def _is_sure(task: Task, data: Dataset, golden: FaultFreeRuns) -> bool:
    """Say whether the accuracy itself tells that the images are fed as they are meant."""
    return golden.chance is not None and task.caution(golden.headline.mean, data.classes) is None


def _of_accuracy(data: Dataset, task: Task, golden: FaultFreeRuns) -> Iterator[str]:
    """Yield what is wrong with the fault-free accuracy."""
    headline = golden.headline
    label = task.main.label
    caution = task.caution(headline.mean, data.classes)
    if caution is not None:
        yield caution
    low = headline.low
    high = headline.high
    if low is None or high is None:
        return
    if caution is None and golden.majority is not None and low <= golden.majority:
        yield (
            f"the fault-free {label}, {percent(headline.mean)}, is hardly better than that of always answering the "
            f"most frequent class, {percent(golden.majority)}"
        )
    if high - low > _WIDEST:
        yield (
            f"{number(golden.images)} images say no more of the fault-free {label} than {interval(low, high)}: "
            "give more images"
        )


def _of_classes(data: Dataset, golden: FaultFreeRuns) -> Iterator[str]:
    """Yield what is odd about the classes."""
    counts = data.counts()
    empty = [str(label) for label in range(len(counts)) if not counts[label]]
    if empty:
        names = data.class_names
        listed = empty if names is None else [names[int(label)] or label for label in empty]
        share = f"{number(len(empty))} of {number(len(counts))}"
        yield f"classes without an image ({share}): {some_of(listed, _NAMED)}"
    if golden.scored is not None and data.class_names is not None and golden.scored != data.classes:
        yield (
            f"the model scores {number(golden.scored)} classes, the data name {number(data.classes)}: the first of "
            "both must be the same class, and so on"
        )
