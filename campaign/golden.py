"""Fault-free accuracy by plain sessions, for whoever wants nothing else."""

from collections.abc import Callable, Sequence

import numpy as np
from onnx import ModelProto

from ftonnx.campaign.task import Classification
from ftonnx.datasets import Dataset
from ftonnx.runtime import fixed_batch, padded
from ftonnx.runtime.onnx_session import SessionOptions, open_session, run_session

__all__ = ["fault_free_accuracies"]


def fault_free_accuracies(
    models: Sequence[ModelProto],
    data: Dataset,
    batch_size: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[dict[str, float]]:
    """Return ``top1`` and ``top5`` of every model on the same images, read once.

    Args:
        models: with the same input.
        data: labelled images, preprocessed as the models take them.
        batch_size: images per run.
        progress: called after every batch with (images done, images in all).

    Raises:
        ModelError: a model cannot run, or is no classifier.
        DataError: the images or labels do not fit it.
    """
    sessions = [open_session(model.SerializeToString(), SessionOptions()) for model in models]
    task = Classification()
    correct = np.zeros((len(sessions), 2), np.int64)
    done = 0
    for images, labels in data.batches(batch_size):
        full = padded(images, fixed_batch(models[0]))
        for index, session in enumerate(sessions):
            scores = run_session(session, {session.get_inputs()[0].name: full})[0][: len(images)]
            task.check(scores, len(images), data.classes)
            outcomes = task.count(scores, scores, labels)
            correct[index] += outcomes.correct1, outcomes.correct5
        done += len(images)
        progress(done, len(data))
    return [{"top1": float(top1), "top5": float(top5)} for top1, top5 in correct / len(data)]
