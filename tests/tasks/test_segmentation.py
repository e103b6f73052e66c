"""Maps of classes against a loop over pixels, scikit-learn's confusion matrix, and maps worked by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from segmentation_kit import naive_counts
from sklearn.metrics import confusion_matrix, jaccard_score

from ftonnx.errors import DataError, ModelError, UsageError
from ftonnx.tasks import Classification, Counts, Segmentation, usual_task
from ftonnx.tasks.map_forms import class_map

RNG = np.random.default_rng(11)


def some_maps(classes, images=5, *, shape=(6, 7), ignored=0.2):
    """Golden scores, labels with some 255, and scores of a run: other images, NaN, Inf, small and no changes."""
    golden = RNG.normal(size=(images, classes, *shape)).astype(np.float32)
    labels = RNG.integers(0, classes, (images, *shape))
    labels[RNG.random(labels.shape) < ignored] = 255
    run = golden.copy()
    run[0] = golden[1]
    run[1, classes - 1, 2, 3] = math.nan
    run[2, 0, 0, 0] = math.inf
    run[3, :, 1, 1] = run[3, ::-1, 1, 1]
    return golden, labels, run


@pytest.mark.parametrize("classes", [2, 3, 8])
@pytest.mark.parametrize("changed", [0.0, 0.01, 0.5])
def test_all_counts_are_those_of_a_loop_over_pixels(classes, changed):
    """Of runs with and without faults, and of ties."""
    golden, labels, run = some_maps(classes)
    golden[4] = np.round(golden[4])  # many equal scores
    run[4] = np.round(run[4])
    task = Segmentation(classes=classes, changed=changed)
    for outputs in (golden, run):
        expected = naive_counts(outputs, golden, labels, classes, changed)
        assert dict(task.count(outputs, golden, labels)) == expected


def test_counts_of_classes_are_those_of_a_confusion_matrix():
    """Rows are labels, columns predictions; mean IoU is scikit-learn's macro Jaccard score."""
    golden, labels, _ = some_maps(4)
    task = Segmentation(classes=4)
    found = task.count(golden, golden, labels)
    known = labels != 255
    truth, seen = labels[known], golden.argmax(axis=1)[known]
    matrix = confusion_matrix(truth, seen, labels=range(4))
    assert [found[f"labels{k}"] for k in range(4)] == matrix.sum(axis=1).tolist()
    assert [found[f"predicted{k}"] for k in range(4)] == matrix.sum(axis=0).tolist()
    assert [found[f"hits{k}"] for k in range(4)] == matrix.diagonal().tolist()
    recalls = matrix.diagonal() / matrix.sum(axis=1)
    assert task.fractions["class_accuracy"].of(found) == pytest.approx(recalls.mean())
    assert task.fractions["pixel_accuracy"].of(found) == pytest.approx(matrix.trace() / matrix.sum())
    assert task.fractions["mean_iou"].of(found) == pytest.approx(jaccard_score(truth, seen, average="macro"))


def test_mean_iou_is_over_the_classes_that_some_pixel_is_labelled_with():
    """Else one pixel of a class that is nowhere would cost as much as losing a class."""
    golden, labels, _ = some_maps(4)
    labels[labels == 2] = 1
    task = Segmentation(classes=4)
    found = task.count(golden, golden, labels)
    known = labels != 255
    expected = jaccard_score(labels[known], golden.argmax(axis=1)[known], labels=[0, 1, 3], average="macro")
    assert task.fractions["mean_iou"].of(found) == pytest.approx(expected)


def test_the_gradient_of_mean_iou_is_that_of_small_steps():
    """In every count, with a class that is nowhere."""
    golden, labels, _ = some_maps(4)
    labels[labels == 2] = 1
    task = Segmentation(classes=4)
    mean = task.fractions["mean_iou"]
    totals = mean.sums(mean.columns([task.count(golden, golden, labels)]))[0].astype(float)
    gradient = mean.gradient(totals)
    # neither a label nor a hit of a class that is nowhere
    for place in set(range(12)) - {2, 6}:
        step = 1e-4 * (np.arange(12) == place)
        slope = (mean.value(totals + step) - mean.value(totals - step)) / 2e-4
        assert gradient[place] == pytest.approx(slope, rel=1e-6, abs=1e-12)


def test_the_worst_of_mean_iou_is_one_class_everywhere_or_none():
    """As outputs have it, and the best is what the labels say."""
    golden, labels, _ = some_maps(3, ignored=0.0)
    task = Segmentation(classes=3)
    mean = task.fractions["mean_iou"]

    def sums(scores):
        return mean.sums(mean.columns([task.count(scores, golden, labels)]))[0].tolist()

    everywhere = [scores_of(np.full_like(labels, number), 3) for number in range(3)]
    runs = [np.full_like(golden, np.nan), *everywhere]
    assert [each.tolist() for each in mean.worst(np.array(sums(golden)))] == [sums(run) for run in runs]
    assert mean.best(np.array(sums(golden))).tolist() == sums(scores_of(labels, 3))


def test_mean_iou_has_no_value_by_batch():
    """A headline has to have one."""
    mean = Segmentation(classes=3).fractions["mean_iou"]
    for method in (lambda: mean.weights({}), lambda: mean.by_batch({}, {})):
        with pytest.raises(TypeError, match="mean IoU is no mean over batches"):
            method()


def test_labels_of_one_byte_do_for_a_network_of_more_classes():
    """As label maps in files have them; 255 is no label."""
    golden, labels, run = some_maps(300, images=4)
    labels[labels >= 255] = 255
    task = Segmentation(classes=300)
    found = task.count(run, golden, labels.astype(np.uint8))
    assert dict(found) == naive_counts(run, golden, labels, 300, 0.01)


@pytest.mark.parametrize("classes", [2, 255, 256, 257, 600])
@pytest.mark.parametrize("kind", [np.float32, np.uint8, np.int8, np.float16])
def test_the_class_of_a_pixel_is_that_of_argmax(classes, kind):
    """Of many equal scores the first, in one byte or two."""
    scores = RNG.integers(0, 9, (classes, 5, 40)).astype(kind)
    scores[:, 0, 0] = np.arange(classes) % 200  # the highest one twice
    scores[classes - 1, 1] = 100  # the last class
    found = class_map(scores)
    assert (found == scores.argmax(axis=0)).all()
    assert found.itemsize == (1 if classes <= 256 else 2)


def scores_of(maps, classes):
    """Scores whose highest are at the classes of some maps."""
    return np.stack([np.asarray(maps) == number for number in range(classes)], axis=1).astype(np.float32)


def test_a_network_that_sees_one_class_everywhere_has_one_over_the_number_of_classes():
    """The plateau of the paper's table 5, 12.5 % of 8 classes, however many pixels the class has."""
    labels = np.arange(8).repeat([50, 1, 1, 1, 1, 1, 1, 8]).reshape(1, 8, 8)
    task = Segmentation(classes=8)
    found = task.count(scores_of(np.zeros_like(labels), 8), scores_of(labels, 8), labels)
    assert task.fractions["class_accuracy"].of(found) == 0.125
    assert task.fractions["pixel_accuracy"].of(found) == 50 / 64


# two batches of one image: class 0 in both, class 1 in the first, class 2 in none
LABELS = np.array([[[0, 0, 1, 1]], [[0, 0, 0, 255]]])
SEEN = np.array([[[0, 1, 1, 1]], [[0, 0, 2, 0]]])


def by_hand(average):
    """The class-mean accuracy of both batches."""
    task = Segmentation(classes=3, average=average)
    scores = scores_of(SEEN, 3)
    parts = [task.count(scores[part], scores[part], LABELS[part]) for part in (slice(0, 1), slice(1, 2))]
    return task, parts


def test_pooled_a_class_that_is_absent_everywhere_is_left_out():
    """Class 0: 3 of 5, class 1: 2 of 2."""
    task, parts = by_hand("pooled")
    assert task.main.of(Counts.total(parts)) == pytest.approx((3 / 5 + 1) / 2)


def test_by_batch_a_class_that_is_absent_in_the_batch_is_left_out():
    """(1/2 + 2/2) / 2 in the first, 2/3 in the second, where the paper's code divides 0 by 0."""
    task, parts = by_hand("batch")
    assert task.main.of(Counts.total(parts)) == pytest.approx((0.75 + 2 / 3) / 2, abs=1e-9)


def published(batches, classes):
    """The class-mean accuracy of the code of the paper's network, written afresh after its metrics.py.

    Each class's accuracy in every batch is added up and divided by the number of batches; then the mean over classes.
    """
    sums = np.zeros(classes)
    with np.errstate(invalid="ignore"):
        for seen, labels in batches:
            for number in range(classes):
                hits = ((seen == number) & (labels == number)).sum()
                sums[number] += np.float64(hits) / (labels == number).sum()
    return (sums / len(batches)).mean()


def test_by_batch_the_accuracy_is_that_of_the_papers_code_wherever_that_is_a_number():
    """Where a class is absent from a batch theirs is NaN, and a figure says how many are."""
    golden, labels, _ = some_maps(3, images=12)
    task = Segmentation(classes=3, average="batch")
    parts = [slice(start, start + 4) for start in (0, 4, 8)]
    total = Counts.total([task.count(golden[part], golden[part], labels[part]) for part in parts])
    theirs = published([(golden[part].argmax(1), labels[part]) for part in parts], 3)
    assert task.main.of(total) == pytest.approx(theirs, abs=1e-9)
    assert task.figures(total)["absent classes"] == 0
    task, found = by_hand("batch")
    assert math.isnan(published([(SEEN[:1], LABELS[:1]), (SEEN[1:], LABELS[1:])], 3))
    assert task.figures(Counts.total(found))["absent classes"] == 1.5


def test_a_batch_without_labels_has_no_class_mean_and_weighs_nothing():
    """Neither average is NaN."""
    empty = np.full((1, 1, 4), 255)
    for average in ("pooled", "batch"):
        task, parts = by_hand(average)
        scores = scores_of(SEEN[:1], 3)
        found = task.count(scores, scores, empty)
        assert not task.main.is_known(found)
        assert task.main.of(found) == 0
        assert task.main.of(Counts.total([*parts, found])) == task.main.of(Counts.total(parts))
        columns = task.main.columns([*parts, found])
        assert task.main.weights(columns)[2] == 0
        assert task.main.by_batch(columns, columns)[2] == 0


def test_the_pooled_class_mean_is_the_weighted_mean_of_the_batches():
    """Which is what its intervals rest on: a class counts in a batch as much as the batch has of it."""
    golden, labels, run = some_maps(5, images=12)
    labels[labels == 4] = 3  # a class that is nowhere
    labels[:6][labels[:6] == 2] = 0  # one that half of the batches lack
    task = Segmentation(classes=5)
    batches = [slice(start, start + 3) for start in range(0, 12, 3)]
    found = [task.count(run[rows], golden[rows], labels[rows]) for rows in batches]
    without = [task.count(golden[rows], golden[rows], labels[rows]) for rows in batches]
    counts, golden_counts = task.main.columns(found), task.main.columns(without)
    weights = task.main.weights(golden_counts)
    values = task.main.by_batch(counts, golden_counts)
    assert weights.sum() == pytest.approx(1)
    assert ((values >= 0) & (values <= 1)).all()
    assert np.dot(weights, values) == pytest.approx(task.main.of(Counts.total(found)))


def test_an_image_changed_in_few_pixels_is_tolerable():
    """One of a hundred is not more than one in a hundred."""
    golden = scores_of(np.zeros((1, 10, 10)), 2)
    labels = np.zeros((1, 10, 10), np.int64)
    task = Segmentation(classes=2)
    one, two = golden.copy(), golden.copy()
    one[0, 1, 0, 0] = 5
    two[0, 1, 0, :2] = 5
    assert task.count(one, golden, labels).sdc == 0
    assert task.count(two, golden, labels).sdc == 1


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full((2, 4, 4), 3), "labels from 0 to 2 as the model has classes, or ignore=255, were expected, got 3"),
        (np.full((2, 4, 4), -1), "got -1"),
        (np.zeros((2, 8, 4), np.int64), "label maps of 4x4 pixels as the scores have them were expected, got 8x4"),
        (np.zeros(2, np.int64), "maps of class numbers .* were expected as labels, got int64 of shape"),
        (np.zeros((2, 4, 4)), "got float64 of shape"),
    ],
)
def test_labels_that_do_not_fit_are_refused_in_one_line(labels, message):
    """Values outside the classes, maps of another size, class numbers, numbers of a regression."""
    with pytest.raises(DataError, match=message) as caught:
        Segmentation().check(np.zeros((2, 3, 4, 4), np.float32), labels, None)
    assert len(str(caught.value).splitlines()) == 1


def test_another_label_can_stand_for_no_label():
    """As in sets where 0 does."""
    scores = np.zeros((2, 3, 4, 4), np.float32)
    with pytest.raises(DataError, match="got -1"):
        Segmentation().check(scores, np.full((2, 4, 4), -1), None)
    Segmentation(ignore=-1).check(scores, np.full((2, 4, 4), -1), None)


def test_a_classifier_is_refused_and_a_segmentation_network_is_no_classifier():
    """In one line each; they are the model's errors."""
    maps = np.zeros((2, 4, 4), np.int64)
    with pytest.raises(ModelError, match=r"\(batch, classes, height, width\), .* was expected; got float32 of shape"):
        Segmentation().check(np.zeros((2, 3), np.float32), maps, None)
    with pytest.raises(ModelError, match="a classifier's output"):
        Classification().check(np.zeros((2, 3, 4, 4), np.float32), np.array([0, 1]), 3)


def test_it_is_meant_where_scores_and_labels_are_maps():
    """And as many classes as there are scores for."""
    outputs = {"y": np.zeros((2, 3, 4, 4), np.float32)}
    task = usual_task(outputs, np.zeros((2, 4, 4), np.int64), None)
    settled = task.settled(outputs, np.zeros((2, 4, 4), np.int64))
    assert settled == Segmentation(classes=3, form="channels-first")
    assert settled.is_settled
    assert not Segmentation(classes=3).is_settled


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"classes": 1}, "classes"),
        ({"classes": 601}, "classes"),
        ({"classes": 2.5}, "classes"),
        ({"ignore": "none"}, "ignore"),
        ({"changed": 1}, "changed"),
        ({"changed": "1 %"}, "changed"),
        ({"accuracy": "top1"}, "accuracy"),
        ({"average": "macro"}, "average"),
        ({"form": "nhwc"}, "form"),
        ({"threshold": "half"}, "threshold"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, named):
    """In a line that names the setting."""
    with pytest.raises(UsageError, match=f"{named}: "):
        Segmentation(**settings)


def test_label_maps_without_any_label_are_refused():
    """There is nothing that could be right."""
    task = Segmentation(classes=2)
    scores = np.zeros((1, 2, 3, 3), np.float32)
    found = task.count(scores, scores, np.full((1, 3, 3), 255))
    with pytest.raises(DataError, match="got none but ignore=255"):
        task.golden_fractions(found)


def test_the_headline_is_a_setting():
    """The paper's numbers are class means, its text speaks of pixels."""
    assert Segmentation(classes=2).main.title == "class-mean accuracy"
    assert Segmentation(classes=2, accuracy="pixel").main.title == "pixel accuracy"


def all_forms(scores):
    """The same answers in every form, by the form's name; scores are of two classes."""
    difference = scores[:, 1] - scores[:, 0]
    return {
        "channels-first": scores,
        "channels-last": np.ascontiguousarray(scores.transpose(0, 2, 3, 1)),
        "one-channel": difference[:, np.newaxis],
        "class-numbers": np.where(np.isfinite(difference), difference > 0, 0).astype(np.int64),
    }


FORMS = ["channels-first", "channels-last", "one-channel", "class-numbers"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("is_settled", [True, False])
def test_every_form_of_output_counts_the_same(form, is_settled):
    """As a loop over pixels does on scores with the channels first; only what no score shows is another matter."""
    golden, labels, run = some_maps(2)
    run[1:3] = golden[2:4]  # NaN and Inf are another test's
    outputs = all_forms(golden)[form]
    task = Segmentation()
    if is_settled:
        task = task.settled({"y": outputs}, labels)
        assert (task.form, task.classes) == (form, 2)
    found = task.count(all_forms(run)[form], outputs, labels)
    expected = naive_counts(run, golden, labels, 2, task.changed)
    if form in ("one-channel", "class-numbers"):
        # a changed score need not show there
        assert found["masked"] >= expected["masked"]
        expected["masked"] = found["masked"]
    assert dict(found) == expected
    task.check({"y": outputs}, labels, None)
    assert type(usual_task({"y": outputs}, labels, None)) is Segmentation


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_output_has_the_same_maps(form):
    """Those to look at have no class of an image with NaN; those by which machines are told apart have one of each."""
    golden, labels, _ = some_maps(2)
    outputs = all_forms(golden)[form]
    task = Segmentation().settled({"y": outputs}, labels)
    expected = golden.argmax(axis=1)
    assert np.array_equal(np.stack(task.class_maps({"y": outputs})), expected)
    assert np.array_equal(task.decisions({"y": outputs}), expected)
    spoilt = outputs.copy()
    spoilt[1, 0, 0, ...] = 9 if form == "class-numbers" else np.nan
    maps = task.class_maps({"y": spoilt})
    assert (maps[1] is None) == (form != "class-numbers")
    assert all(each is None or each.max() < 2 for each in maps)
    assert task.decisions({"y": spoilt}).shape == expected.shape


def test_three_classes_last_are_those_of_the_channels_first():
    """NaN and Inf too."""
    golden, labels, run = some_maps(3)
    last = golden.transpose(0, 2, 3, 1)
    task = Segmentation().settled({"y": last}, labels)
    expected = naive_counts(run, golden, labels, 3, task.changed)
    assert dict(task.count(run.transpose(0, 2, 3, 1), last, labels)) == expected


def test_where_both_readings_have_the_labels_size_channels_come_first():
    """Unless somebody says it; the size alone does not tell."""
    golden = RNG.normal(size=(2, 4, 4, 4))
    labels = np.zeros((2, 4, 4), np.int64)
    assert Segmentation().settled({"y": golden}, labels).form == "channels-first"
    said = Segmentation(form="channels-last")
    found = said.count(golden, golden, labels)
    assert found.correct == (golden.argmax(-1) == 0).sum()


@pytest.mark.parametrize(("shift", "threshold"), [(0.0, 0.5), (-0.5, 0.0)])
def test_one_score_per_pixel_is_a_probability_or_a_logit(shift, threshold):
    """By the golden scores; or above the threshold that was said."""
    scores = RNG.random((2, 1, 4, 4)).astype(np.float32) + np.float32(shift)
    labels = RNG.integers(0, 2, (2, 4, 4))
    task = Segmentation().settled({"y": scores}, labels)
    assert (task.form, task.classes, task.threshold) == ("one-channel", 2, threshold)
    assert task.count(scores, scores, labels).correct == ((scores[:, 0] > threshold) == labels).sum()
    said = Segmentation(threshold=0.9).settled({"y": scores}, labels)
    assert said.count(scores, scores, labels).correct == ((scores[:, 0] > 0.9) == labels).sum()


def test_a_nan_in_one_score_per_pixel_is_a_detected_error():
    """Of its image alone."""
    scores = RNG.random((2, 1, 4, 4))
    run = scores.copy()
    run[1, 0, 0, 0] = math.nan
    found = Segmentation().count(run, scores, np.zeros((2, 4, 4), np.int64))
    assert (found.due, found.masked, found.sdc) == (1, 1, 0)


def test_class_numbers_have_as_many_classes_as_outputs_and_all_labels_say():
    """The labels of the first batch need not have the highest; 255 is none."""
    outputs = {"y": np.array([[[0, 1], [2, 1]]])}
    assert Segmentation().settled(outputs, np.array([[[0, 5], [255, 1]], [[0, 6], [0, 0]]])).classes == 7
    assert Segmentation().settled(outputs, np.array([[[0, 1], [255, 1]]])).classes == 3
    assert Segmentation(classes=9).settled(outputs, np.array([[[0, 1], [255, 1]]])).classes == 9


def test_a_class_that_only_later_batches_show_is_wrong_and_no_error():
    """A network may know more classes than the labels and the first images tell."""
    labels = np.array([[[0, 1], [1, 255]]])
    task = Segmentation().settled({"y": labels}, labels)
    task = replace(task, classes=2)
    later = np.array([[[0, 9], [1, 9]]])
    task.check(later, labels, None)
    found = task.count(later, later, labels)
    assert (found.correct, found.pixels, found.same, found.masked) == (2, 3, 4, 1)


def test_scores_are_judged_where_a_network_gives_its_classes_too():
    """They say more; two outputs of scores are another matter."""
    scores = RNG.normal(size=(2, 3, 4, 4))
    labels = np.zeros((2, 4, 4), np.int64)
    outputs = {"classes": scores.argmax(1), "scores": scores}
    assert Segmentation().choose(outputs, labels, None) == "scores"
    assert Segmentation(form="class-numbers").choose(outputs, labels, None) == "classes"
    with pytest.raises(ModelError, match="2 of them can be what task segmentation judges"):
        Segmentation().choose(outputs | {"auxiliary": scores}, labels, None)


def test_numbers_that_a_fault_makes_are_wrong_and_no_class():
    """Below 0 and beyond the classes, and they are other ones than the golden run's."""
    golden = np.array([[[0, 1], [2, 2]]])
    task = Segmentation(classes=3, form="class-numbers")
    found = task.count(np.array([[[-7, 1], [2**40, 2]]]), golden, golden)
    assert (found.correct, found.same, found.sdc, found.due, found.masked) == (2, 2, 1, 0, 0)
    assert [found[f"predicted{k}"] for k in range(3)] == [0, 1, 1]
    assert "get no output" in task.outcome_words(dict.fromkeys(task.fractions, "1 %"))
    assert "The model gives no scores" in task.meaning


@pytest.mark.parametrize(
    ("outputs", "labels", "settings", "message"),
    [
        (np.zeros((2, 1, 4, 4)), np.full((2, 4, 4), 2), {}, "labels from 0 to 1 as the model has classes"),
        (np.zeros((2, 4, 4), np.int64), np.full((2, 4, 4), 3), {"classes": 3}, "labels from 0 to 2 .* got 3"),
        (np.zeros((2, 4, 4, 3)), np.zeros((2, 8, 8), int), {"form": "channels-last"}, "label maps of 4x4 pixels as"),
        (np.zeros((2, 4, 4, 3)), np.zeros((2, 4, 4), int), {"classes": 4}, "scores of 4 classes were .* got 3"),
    ],
)
def test_forms_that_do_not_fit_the_labels(outputs, labels, settings, message):
    """In one line."""
    with pytest.raises(DataError, match=message):
        Segmentation(**settings).check(outputs, labels, None)


def test_an_output_of_another_form_than_was_said_is_refused():
    """With the form that was."""
    with pytest.raises(ModelError, match=r"one score per pixel \(batch, 1, height, width\), floats, was expected; got"):
        Segmentation(form="one-channel").check(np.zeros((2, 3, 4, 4)), np.zeros((2, 4, 4), int), None)
