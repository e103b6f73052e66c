"""Fault-free accuracy by plain sessions, for whoever wants nothing else."""

from collections.abc import Callable, Sequence

from onnx import ModelProto

from ftonnx.datasets import Dataset
from ftonnx.runtime.session_model import session_model
from ftonnx.sessions import SessionOptions, fixed_batch, open_session, padded, run_session
from ftonnx.tasks import Counts, Task, default_task

__all__ = ["fault_free_accuracies"]


def fault_free_accuracies(
    models: Sequence[ModelProto],
    data: Dataset,
    batch_size: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    task: Task | None = None,
) -> list[dict[str, float]]:
    """Return what a task tells of fault-free runs, such as ``top1`` and ``top5``, of every model on the same images.

    Args:
        models: with the same input.
        data: labelled images, preprocessed as the models take them.
        batch_size: images per run.
        progress: called after every batch with (images done, images in all).
        task: what the outputs are worth; classification by default.

    Raises:
        ModelError: a model cannot run, or is no classifier.
        DataError: the images or labels do not fit it.
    """
    sessions = [open_session(session_model(model), SessionOptions()) for model in models]
    task = task or default_task()
    totals: list[Counts | None] = [None] * len(sessions)
    done = 0
    for images, labels in data.batches(batch_size):
        full = padded(images, fixed_batch(models[0]))
        for index, session in enumerate(sessions):
            outputs = run_session(session, {session.get_inputs()[0].name: full})[0][: len(images)]
            task.check(outputs, len(images), data.classes)
            found = task.count(outputs, outputs, labels)
            known = totals[index]
            totals[index] = found if known is None else known + found
        done += len(images)
        progress(done, len(data))
    return [task.golden_fractions(total) for total in totals if total is not None]
