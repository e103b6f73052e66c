"""What every task must do, for every task."""

import numpy as np
from task_kit import TaskContract

from ftonnx.tasks import TASKS, Classification

LOGITS = np.random.default_rng(1).normal(scale=3, size=(8, 7)).astype(np.float32)
CLASSES = np.where(np.arange(8) % 2, LOGITS.argmax(axis=1), 6)


class TestClassification(TaskContract):
    """Seven classes; every other image is right."""

    task = Classification()
    golden = LOGITS
    labels = CLASSES
    refused = (LOGITS[0], LOGITS[np.newaxis], LOGITS.astype(np.complex64))


class TestClassificationByArgmax(TestClassification):
    """Where an output with NaN has a class."""

    task = Classification(nan="argmax")


class TestClassificationOfProbabilities(TestClassification):
    """Rows that sum to 1."""

    golden = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)


class TestQuantizedClassification(TestClassification):
    """Scores of eight bits."""

    golden = (8 * LOGITS + 128).astype(np.uint8)


def test_every_registered_task_has_signed_the_contract():
    """A new one needs its lines here."""
    signed = {type(contract.task) for contract in TaskContract.__subclasses__()}
    assert signed == set(TASKS)
