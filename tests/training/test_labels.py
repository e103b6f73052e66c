"""What networks learn from: losses and accuracies against numpy, and labels that do not fit."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score
from training_kit import opened, write_maps, write_squares

from ftonnx.datasets import as_dataset, load_dataset
from ftonnx.errors import DataError, ModelError, UsageError
from ftonnx.training import TrainingSettings

torch = pytest.importorskip("torch")

from ftonnx.training.labels.class_numbers import ClassNumbers  # noqa: E402
from ftonnx.training.labels.label_maps import LabelMaps  # noqa: E402
from ftonnx.training.labels.registry import labels_of  # noqa: E402
from ftonnx.training.loop import Totals  # noqa: E402

RNG = np.random.default_rng(3)


def some_maps(images=4, classes=3):
    """Scores and label maps, some pixels of which have none."""
    scores = RNG.normal(size=(images, classes, 5, 6)).astype(np.float32)
    labels = RNG.integers(0, classes, (images, 5, 6))
    labels[RNG.random(labels.shape) < 0.3] = 255
    return scores, labels


def stepped(labels, *batches):
    """What some batches of scores and labels come to."""
    totals = Totals()
    for scores, truth in batches:
        totals.add(labels.step(torch.from_numpy(scores), torch.from_numpy(truth)))
    return totals


def test_maps_have_the_mean_cross_entropy_of_their_labelled_pixels():
    """Over all batches, however many pixels each has a label for; by numpy in float64."""
    first, second = some_maps(4), some_maps(2)
    second[1][0] = 255
    found = stepped(LabelMaps(3), first, second)
    losses = []
    for scores, truth in (first, second):
        exact = scores.astype(np.float64)
        logs = exact - np.log(np.exp(exact).sum(1, keepdims=True))
        chosen = np.take_along_axis(logs, np.where(truth == 255, 0, truth)[:, None], 1)[:, 0]
        losses += (-chosen[truth != 255]).tolist()
    assert found.loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert found.images == 6


def test_maps_have_the_class_mean_accuracy_of_all_batches():
    """Pooled over the batches, as scikit-learn's balanced accuracy of all pixels with a label."""
    first, second = some_maps(4), some_maps(2)
    second[1][second[1] == 1] = 0
    labels = LabelMaps(3)
    found = labels.accuracy(stepped(labels, first, second))
    truth = np.concatenate([first[1], second[1]])
    seen = np.concatenate([first[0], second[0]]).argmax(1)
    known = truth != 255
    assert found == pytest.approx(balanced_accuracy_score(truth[known], seen[known]))


def test_a_batch_without_a_label_teaches_nothing_and_is_no_nan():
    """Its gradient is 0."""
    scores = torch.from_numpy(some_maps()[0]).requires_grad_()
    step = LabelMaps(3).step(scores, torch.full((4, 5, 6), 255))
    step.loss.backward()
    assert (float(step.loss.detach()), step.weight) == (0, 0)
    assert not scores.grad.any()


def test_class_numbers_have_the_share_of_images_that_are_right():
    """And the mean loss per image."""
    scores = RNG.normal(size=(8, 3)).astype(np.float32)
    truth = RNG.integers(0, 3, 8)
    labels = ClassNumbers(3)
    found = stepped(labels, (scores[:6], truth[:6]), (scores[6:], truth[6:]))
    assert labels.accuracy(found) == (scores.argmax(1) == truth).mean()
    logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    assert found.loss == pytest.approx(-logs[np.arange(8), truth].mean(), rel=1e-5)


def test_data_say_what_their_labels_are(tmp_path):
    """Maps have as many classes as their highest number says, or as somebody does; rates are the paper's."""
    (tmp_path / "numbers").mkdir()
    numbers = labels_of(*opened(write_squares(tmp_path / "numbers")))
    maps = labels_of(*opened(write_maps(tmp_path)))
    assert (type(numbers), numbers.classes) == (ClassNumbers, 3)
    assert (type(maps), maps.classes) == (LabelMaps, 3)
    assert labels_of(*opened(f"npz:{tmp_path}"), 8).classes == 8
    asked = TrainingSettings(learning_rate=0.5)
    assert [each.completed(asked) for each in (numbers, maps)] == [asked, asked]
    assert [each.completed(TrainingSettings()).learning_rate for each in (numbers, maps)] == [1e-3, 1e-5]
    assert [type(each.optimizer([torch.zeros(1)], 1.0)).__name__ for each in (numbers, maps)] == ["RAdam", "Adam"]


def maps(labels):
    """A data set of label maps."""
    labels = np.asarray(labels)
    return as_dataset([(np.zeros((len(labels), 3, 2, 2), np.float32), labels)])


TWO = maps([[[0, 1], [1, 255]]])


@pytest.mark.parametrize(
    ("data", "validation", "classes", "message"),
    [
        (maps([[[1, 1], [1, 255]]]), TWO, None, r"label maps of two classes or more were expected, got \[1\]"),
        (TWO, maps([[[255, 255], [255, 255]]]), None, "pixels with a label were expected, got none but 255"),
        (TWO, maps([[[0, 2], [1, 1]]]), 2, "labels from 0 to 1, or 255 .* were expected, got 2; renumber them, or say"),
        (maps([[[0, -1], [1, 1]]]), TWO, None, "labels from 0 to 1, or 255 .* were expected, got -1"),
        (maps([[[0, 900], [1, 1]]]), TWO, None, "labels from 0 to 599, .* got 900"),
        (TWO, maps([0, 1]), None, r"label maps, as the training images have, were expected, got int64 of shape \(2,\)"),
        (maps([[0.5], [1.5]]), TWO, None, r"one class number per image or maps .* as labels, got float64 of shape"),
    ],
)
def test_labels_that_nothing_can_be_learnt_from(data, validation, classes, message):
    """One line each."""
    with pytest.raises(DataError, match=message):
        labels_of(data, validation, classes)


def test_a_classifier_of_fewer_classes_is_refused(tmp_path):
    """As an option that makes no sense."""
    with pytest.raises(UsageError, match=r"classes: 3 or more were expected, as .* has, got 2"):
        labels_of(*opened(write_squares(tmp_path)), 2)


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        (LabelMaps(3), torch.zeros(2, 3), r"scores \(batch, classes, height, width\) were .*, got \(2, 3\)"),
        (LabelMaps(3), {"out": 1}, "were expected from the network, got dict; the labels are maps of"),
        (LabelMaps(3), torch.zeros(2, 2, 4, 4), "scores of 3 classes were expected from the network, got 2"),
        (LabelMaps(3), torch.zeros(2, 3, 2, 2), "scores of 4x4 pixels, as the label maps have, were expected, got"),
        (ClassNumbers(3), torch.zeros(2, 3, 4, 4), r"logits \(batch, classes\) were .*; the labels are one class"),
        (ClassNumbers(3), torch.zeros(2, 2), "logits of 3 classes were expected from the network, got 2"),
    ],
)
def test_networks_that_give_no_scores_for_the_labels(labels, scores, message):
    """A classifier for maps, a segmentation network for class numbers, and others."""
    truth = torch.zeros(2, 4, 4) if isinstance(labels, LabelMaps) else torch.zeros(2)
    with pytest.raises(ModelError, match=message):
        labels.step(scores, truth)


def test_more_classes_than_the_labels_have_are_no_misfit():
    """Those that are nowhere do not count."""
    scores, truth = some_maps(classes=5)
    truth[(truth == 3) | (truth == 4)] = 0
    labels = LabelMaps(3)
    known = truth != 255
    expected = [(scores.argmax(1)[known & (truth == k)] == k).mean() for k in range(3)]
    assert labels.accuracy(stepped(labels, (scores, truth))) == pytest.approx(np.mean(expected))


def test_maps_in_files_are_maps(tmp_path):
    """Stored as bytes, with images as bytes."""
    data = load_dataset(write_maps(tmp_path), split="train")
    assert LabelMaps.fit(data)
    assert not ClassNumbers.fit(data)
