"""Fault-free accuracy by plain sessions, for whoever wants nothing else."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onnx import ModelProto

from ftonnx.campaign.judging import judging_of
from ftonnx.datasets import Dataset
from ftonnx.runtime import PlainSession
from ftonnx.tasks import Counts, Task

__all__ = ["FaultFree", "fault_free_accuracies"]


@dataclass(frozen=True, slots=True)
class FaultFree:
    """What a model does without faults.

    Attributes:
        task: by which it is judged.
        fractions: what the task tells of fault-free runs, such as ``top1`` and ``top5``.
        classes: that the data know; None where labels are no class numbers.
    """

    task: Task
    fractions: dict[str, float]
    classes: int | None

    def caution(self, of: str = "") -> str | None:
        """Say what a reader must know first, as of a model that guesses; None where there is nothing."""
        return self.task.caution(self.fractions[self.task.headline], self.classes, of=of)


def fault_free_accuracies(
    models: Sequence[ModelProto],
    data: Dataset,
    batch_size: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    task: Task | None = None,
    output: str | None = None,
) -> list[FaultFree]:
    """Return what a task tells of fault-free runs of every model on the same images.

    Args:
        models: with the same inputs and outputs.
        data: labelled images, preprocessed as the models take them.
        batch_size: images per run.
        progress: called after every batch with (images done, images in all).
        task: what the outputs are worth; what the first model's look like by default.
        output: name of the output that is judged; the one that fits the task by default.

    Raises:
        ModelError: a model cannot run, or its outputs do not fit the task.
        DataError: the images or labels do not fit it.
    """
    judging = judging_of(models[0], data, batch_size, task, output)
    names = None if judging.output is None else [judging.output]
    sessions = [PlainSession(model) for model in models]
    totals: list[Counts | None] = [None] * len(sessions)
    done = 0
    for images, labels in data.batches(batch_size):
        for index, session in enumerate(sessions):
            outputs = session.run(images, names)
            judging.task.check(outputs, labels, data.classes)
            found = judging.task.count(outputs, outputs, labels)
            known = totals[index]
            totals[index] = found if known is None else known + found
        done += len(labels)
        progress(done, len(data))
    task = judging.task
    return [FaultFree(task, task.golden_fractions(total), data.classes) for total in totals if total is not None]
