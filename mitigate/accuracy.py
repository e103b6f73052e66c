"""What a change of a model does to its fault-free accuracy: before and after, on the same images."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import onnx

from ftonnx.campaign.golden import fault_free_accuracies
from ftonnx.datasets import Dataset
from ftonnx.errors import UsageError, message_of
from ftonnx.inject import OnnxModel
from ftonnx.quant.images import calibration_batch
from ftonnx.runtime import require_no_random_node
from ftonnx.tasks import MisfitError, Task

__all__ = ["AccuracyChange", "accuracy_change"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyChange:
    """Fault-free accuracy on the same images.

    Attributes:
        before: what the task tells of the floating-point model, ``top1`` and ``top5`` of a classifier; None where the
            model's outputs do not fit the task.
        after: the same of the quantized one.
        task: by which they were judged; None where there are none.
        warnings: what is wrong with them.
        note: why there are none.
    """

    before: dict[str, float] | None
    after: dict[str, float] | None
    task: Task | None = None
    warnings: tuple[str, ...] = ()
    note: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the accuracies as JSON values, and why there are none."""
        values: dict[str, Any] = {"before": self.before, "after": self.after}
        if self.note is not None:
            values["note"] = self.note
        return values


def accuracy_change(
    original: OnnxModel,
    changed: onnx.ModelProto,
    data: Dataset,
    *,
    step: str,
    task: Task | None = None,
    output: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> AccuracyChange:
    """Return the fault-free accuracy of a model before and after a change.

    A model whose outputs do not fit the task has none, which the result's ``note`` says.

    Args:
        original: the model before.
        changed: the one after.
        data: labelled images.
        step: what was done, in words.
        task: what the outputs are worth; what they look like by default.
        output: name of the output that is judged; the one that fits the task by default.
        progress: called after every batch with (images done, images in all).

    Raises:
        UsageError: the task that was asked for does not fit.
        ModelError: the model is random.
        DataError: the labels do not fit the model.
    """
    # before and after could not be compared
    require_no_random_node(original.proto)
    try:
        # both in one pass over the images, which are read once
        before, after = fault_free_accuracies(
            (original.proto, changed),
            data,
            calibration_batch(original.proto, data.sample_shape),
            progress or _ignore,
            task=task,
            output=output,
        )
    except MisfitError as error:
        return AccuracyChange(before=None, after=None, note=message_of(error))
    except UsageError as error:
        # nobody asked for the task that these labels need settings for
        if task is not None or output is not None:
            raise
        return AccuracyChange(before=None, after=None, note=message_of(error))
    cautions = (before.caution(of=f" before {step}"), after.caution(of=f" after {step}"))
    return AccuracyChange(
        before=before.fractions,
        after=after.fractions,
        task=before.task,
        warnings=tuple(caution for caution in cautions if caution is not None),
    )


def _ignore(done: int, total: int) -> None:
    """Show no progress."""
