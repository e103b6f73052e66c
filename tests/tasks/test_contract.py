"""What every task must do, for every task."""

import numpy as np
from task_kit import TaskContract

from ftonnx.tasks import TASKS, Auroc, Binary, Classification, ClassNumbers, MultiLabel, Regression, Segmentation

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


class TestBinary(TaskContract):
    """Logits; every other image is right."""

    task = Binary(threshold=0.0)
    golden = LOGITS[:, 0]
    labels = np.where(np.arange(8) % 2, LOGITS[:, 0] > 0, LOGITS[:, 0] <= 0).astype(np.int64)
    refused = (LOGITS, LOGITS[:, 0].astype(np.int64))
    of_pairs = ("won", "pairs")


class TestAuroc(TestBinary):
    """The same counts, another headline."""

    task = Auroc(threshold=0.5)
    golden = 1 / (1 + np.exp(-LOGITS[:, :1]))


class TestClassNumbers(TaskContract):
    """Behind an ArgMax."""

    task = ClassNumbers()
    golden = LOGITS.argmax(axis=1)
    labels = CLASSES
    refused = (LOGITS, LOGITS[:, 0])


class TestMultiLabel(TaskContract):
    """Seven questions about every image."""

    task = MultiLabel(threshold=0.0)
    golden = LOGITS
    labels = np.where(np.arange(8)[:, np.newaxis] % 2, LOGITS > 0, LOGITS <= 0).astype(np.int64)
    refused = (LOGITS[:, 0], LOGITS[np.newaxis])


class TestRegression(TaskContract):
    """Two numbers per image; every other image is right."""

    task = Regression(tolerance=0.5)
    golden = LOGITS[:, :2]
    labels = LOGITS[:, :2] + np.where(np.arange(8)[:, np.newaxis] % 2, 0.25, 1.0)


SCORES = np.random.default_rng(2).normal(size=(6, 3, 4, 5)).astype(np.float32)
MAPS = np.where(np.arange(20).reshape(4, 5) % 4, SCORES.argmax(axis=1), 1)
MAPS[:, 0, 0] = 255


class TestSegmentation(TaskContract):
    """Three classes in maps of twenty pixels, one of which has no label; every fourth is class 1 anyway."""

    task = Segmentation(classes=3, form="channels-first")
    golden = SCORES
    labels = MAPS
    refused = (SCORES[:, :1], SCORES[:, 0], SCORES[np.newaxis], SCORES.astype(np.complex64))


class TestSegmentationByBatch(TestSegmentation):
    """The paper's average, which is no sum over images."""

    task = Segmentation(classes=3, average="batch", accuracy="pixel", changed=0.25, ignore=255, form="channels-first")
    of_pairs = ("averaged", "averages", "absent")


class TestQuantizedSegmentation(TestSegmentation):
    """Scores of eight bits."""

    golden = (30 * SCORES + 128).astype(np.uint8)


class TestSegmentationByClassesLast(TestSegmentation):
    """As TensorFlow has it."""

    task = Segmentation(classes=3, form="channels-last")
    golden = np.ascontiguousarray(SCORES.transpose(0, 2, 3, 1))
    refused = (SCORES[:, 0], SCORES[..., :1], SCORES.astype(np.complex64))


class TestSegmentationByOneScore(TestSegmentation):
    """Two classes, told apart by a threshold."""

    task = Segmentation(classes=2, form="one-channel", threshold=0.0)
    golden = SCORES[:, :1]
    labels = np.where(MAPS == 2, 0, MAPS)
    refused = (SCORES, SCORES[:, :1, 0, 0], SCORES[:, :1].astype(np.complex64))


class TestSegmentationByClassNumbers(TestSegmentation):
    """Behind an ArgMax."""

    task = Segmentation(classes=3, form="class-numbers")
    golden = SCORES.argmax(axis=1)
    refused = (SCORES, SCORES[:, 0], np.zeros(len(MAPS), np.int64))


def test_every_registered_task_has_signed_the_contract():
    """A new one needs its lines here."""
    signed = {type(contract.task) for contract in _contracts(TaskContract)}
    assert signed == set(TASKS)


def _contracts(base):
    for contract in base.__subclasses__():
        yield contract
        yield from _contracts(contract)
