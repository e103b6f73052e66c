"""``ftonnx check``: what leads to wrong conclusions is seen, and sound models and data are ready."""

import numpy as np
import onnx
import pytest
from campaign_kit import DIGITS, cli, cli_json, one_error_line
from onnx import helper
from onnx_zoo import model_of

from ftonnx import check, evaluate, load_dataset
from ftonnx.campaign.readiness.readings import label_readings
from ftonnx.errors import UsageError
from ftonnx.tasks import Regression

QUICK = {"threads": 1, "strategy": "live"}


@pytest.fixture(scope="module")
def pixels():
    """The test split of the digits as it is stored: pixels 0 to 16, and labels."""
    images, labels = next(load_dataset("digits").batches(360))
    return np.float32(16) * images, labels


@pytest.fixture
def written(tmp_path, pixels):
    """Return what writes the digits changed in some way, and the spec to read them."""

    def write(images=None, labels=None, toml="scale = 0.0625\n"):
        stored, own = pixels
        np.savez(
            tmp_path / "d.npz", images=stored if images is None else images, labels=own if labels is None else labels
        )
        (tmp_path / "d.toml").write_text(toml)
        return f"npz:{tmp_path / 'd.npz'}"

    return write


@pytest.fixture(scope="module")
def colours():
    """Return images whose class is their brightest channel, and a model that says so of normalized pixels."""
    rng = np.random.default_rng(3)
    labels = np.arange(120) % 3
    images = rng.integers(0, 100, (120, 3, 4, 4), np.uint8)
    images[np.arange(120), labels] += 150
    mean = [("m", np.float32([0.9, 0.0, 0.0]).reshape(3, 1, 1))]
    nodes = [
        helper.make_node("Add", ["x", "m"], ["s"]),
        helper.make_node("GlobalAveragePool", ["s"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    weights = [("w", np.eye(3, dtype=np.float32))]
    return images, labels, model_of(nodes, [*mean, *weights], inputs={"x": ("batch", 3, 4, 4)})


def test_a_sound_model_on_its_own_data_is_ready():
    """With the accuracy that a campaign finds without faults, and what a campaign would be run on."""
    found = check("digits", "digits", **QUICK)
    assert (found.ready, found.verdict, found.look_at) == (True, "ready", ())
    result = evaluate("digits", "digits", rates=[0], repeats=1, **QUICK)
    assert found.golden.headline.mean == result.clean
    assert (found.golden.images, found.golden.chance, found.golden.scored) == (360, 0.1, 10)
    assert found.golden.majority == np.bincount(load_dataset("digits").labels).max() / 360
    assert found.space.bits == result.fault_space.bits
    assert found.units.strategy == "live"
    assert found.units.milliseconds > 0


def test_labels_shifted_by_one_are_named(written, pixels):
    """The reading that puts it right is the hint."""
    _, labels = pixels
    found = check(str(DIGITS), written(labels=(labels + 9) % 10), **QUICK)
    assert not found.ready
    assert "near chance" in found.look_at[0]
    # 0 became 9, which no shift by one puts right, but an order of the classes does
    assert "labels in another order" in found.look_at[1]
    few = labels > 0
    images, _ = pixels
    shifted = check(str(DIGITS), written(images[few], labels[few] - 1), **QUICK)
    assert any("labels one too low" in each and "add 1 to the labels" in each for each in shifted.look_at)


def test_classes_in_another_order_are_told_from_guessing(written, pixels):
    """The order is chosen on one half of the images and tried on the other, so that noise has none."""
    _, labels = pixels
    order = np.array([3, 1, 2, 0, 4, 5, 6, 7, 8, 9])
    found = check(str(DIGITS), written(labels=order[labels]), **QUICK)
    (hint,) = [each for each in found.look_at if "another order" in each]
    assert "answers label 0 as 3, 3 as 0" in hint
    noise = np.random.default_rng(0).permutation(labels)
    lost = check(str(DIGITS), written(labels=noise), **QUICK)
    assert "near chance" in lost.look_at[0]
    assert not any(each.better for each in lost.readings)


def test_an_order_of_the_classes_is_found_wherever_the_labels_are_sorted():
    """Halves are drawn within each class: every other image of data 0, 1, 0, 1 is of one class."""
    labels = np.tile([0, 1], 50)
    by_name = {each.name: each for each in label_readings(1 - labels, labels, 2)}
    assert by_name["labels in another order"].accuracy == 1


@pytest.mark.parametrize(("scale", "fed"), [(1, 16), (0.00025, 0.004)])
def test_pixels_that_were_not_scaled_or_twice_are_seen(written, scale, fed):
    """The largest value as it is fed is told, and by which scale the model is right."""
    found = check(str(DIGITS), written(toml=f"scale = {scale}\n"), **QUICK)
    (channel,) = found.channels
    assert channel.high == pytest.approx(fed)
    (hint,) = [each for each in found.look_at if "would be right" in each]
    assert hint.startswith("pixels from 0 to 1: 98.06 %")
    assert "`scale=1/16`" in hint


def test_raw_pixels_into_a_model_that_guesses_on_them_are_a_remark(colours):
    """0 to 255 in place of normalized pixels; no remark where the accuracy shows that they are meant so."""
    images, labels, model = colours
    raw = check(model, [(images.astype(np.float32), labels)], **QUICK)
    assert raw.golden.headline.mean == 1
    assert not any("pixels run from" in each for each in raw.look_at)
    wrong = check(model, [(images.astype(np.float32), (labels + 1) % 3)], **QUICK)
    assert any("pixels run from" in each and "`scale`" in each for each in wrong.look_at)


def test_channels_in_the_other_order_are_named(colours):
    """Blue stands where the model looks for red."""
    images, labels, model = colours
    found = check(model, [(images[:, ::-1].astype(np.float32), labels)], **QUICK)
    assert any("channels in the other order" in each and "`channels=bgr`" in each for each in found.look_at)


def test_images_of_nothing_are_counted(written, pixels):
    """All zero, as failed decoding leaves them."""
    images, _ = pixels
    dark = images.copy()
    dark[:7] = 0
    found = check(str(DIGITS), written(images=dark), **QUICK)
    assert "images of one value all over: 7 of 360" in found.look_at


def test_statistics_of_pixels_are_numpys(colours):
    """Channel by channel, over all images."""
    images, labels, model = colours
    found = check(model, [(images.astype(np.float32), labels)], **QUICK)
    for channel, each in enumerate(found.channels):
        values = images[:, channel].astype(np.float64)
        expected = values.min(), values.max(), values.mean(), values.std()
        assert (each.low, each.high, each.mean, each.std) == pytest.approx(expected)


def test_classes_without_images_and_too_few_images_are_said(written, pixels):
    """Both make an accuracy of something else than one thinks."""
    images, labels = pixels
    some = np.flatnonzero((labels != 4) & (labels != 9))[:20]
    found = check(str(DIGITS), written(images[some], labels[some]), **QUICK)
    assert any("classes without an image (1 of 9): 4" in each for each in found.look_at)
    assert any("20 images say no more" in each for each in found.look_at)


def test_a_model_no_better_than_the_most_frequent_class_is_said(written, pixels):
    """Nine of ten images are of one class, which is far from one in ten."""
    images, labels = pixels
    rows = np.r_[np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)[:4]]
    always_one = np.zeros((1, 10), np.float32)
    always_one[0, 1] = 5
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["z"]),
        helper.make_node("Add", ["z", "b"], ["y"]),
    ]
    weights = [("w", np.zeros((64, 10), np.float32)), ("b", always_one)]
    model = model_of(nodes, weights, inputs={"x": ("batch", 1, 8, 8)})
    found = check(model, [(images[rows], labels[rows])], **QUICK)
    assert any("hardly better than that of always answering" in each for each in found.look_at)


def test_batches_from_all_over_the_data_are_run_where_time_is_short(pixels, monkeypatch):
    """Data are often sorted by class; the number of images that were run is said."""
    images, labels = pixels
    order = np.argsort(labels, kind="stable")
    monkeypatch.setattr("ftonnx.campaign.readiness.golden.time.perf_counter", iter(range(100)).__next__)
    found = check("digits", [(images[order] / 16, labels[order])], seconds=10, **QUICK)
    # a batch takes one second of half of ten
    assert found.golden.images == 4 * 32 + 360 % 32
    assert found.golden.headline.mean > 0.9


def test_a_regression_has_no_chance_and_no_classes():
    """Its headline is the task's; nothing is compared with guessing."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    model = model_of(nodes, [("w", np.ones((4, 1), np.float32))], inputs={"x": ("batch", 4)})
    values = np.random.default_rng(0).standard_normal((64, 4)).astype(np.float32)
    task = Regression(tolerance=0.5)
    found = check(model, [(values, values.sum(axis=1).astype(np.float64))], task=task, **QUICK)
    assert (found.golden.chance, found.golden.majority, found.golden.scored) == (None, None, None)
    assert (found.counts, found.task.name) == ((), "regression")


def test_a_time_that_is_none_is_refused():
    """Before anything is opened."""
    with pytest.raises(UsageError, match="above 0 seconds"):
        check("missing.onnx", "digits", seconds=0)


def test_the_command_says_verdict_range_and_fault_model():
    """In words on the terminal, and the same in JSON; the exit code is that of having run."""
    shown = cli("check", "digits", "--data", "digits", "--threads", "1", "--strategy", "live", "-q")
    assert (shown.code, shown.err) == (0, "")
    lines = shown.out.splitlines()
    assert lines[-1] == "ready"
    assert "360 of 360 images run without faults" in lines[0]
    assert "--format ieee" in shown.out
    found = cli_json("check", "digits", "--data", "digits", "--threads", "1", "--strategy", "live", "-q")
    assert (found["verdict"], found["look_at"]) == ("ready", [])
    assert found["golden"]["mean"] == pytest.approx(353 / 360)
    assert found["data"]["counts"] == np.bincount(load_dataset("digits").labels).tolist()


def test_the_command_lists_what_to_look_at_with_options(written):
    """And exits with 0 all the same: it ran."""
    shown = cli("check", DIGITS, "--data", written(), "--scale", "1", "--threads", "1", "--strategy", "live", "-q")
    assert shown.code == 0
    assert "look at this:" in shown.out.splitlines()
    assert "--scale 1/16" in shown.out
    assert "`" not in shown.out


def test_rejected_inputs_are_one_line(tmp_path):
    """With the exit code of a model or data that cannot be used."""
    onnx.save(
        model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], [("w", np.ones((4, 1), np.float32))]),
        tmp_path / "m.onnx",
    )
    shown = cli("check", tmp_path / "m.onnx", "--data", "digits", "-q")
    assert shown.code == 4
    one_error_line(shown)


def test_label_maps_are_read_otherwise_by_the_headline_of_every_image():
    """A segmenter of bright pixels that gets them at a hundredth of their size."""
    rng = np.random.default_rng(2)
    images = rng.random((40, 1, 6, 6)).astype(np.float32)
    labels = (images[:, 0] > 0.5).astype(np.int64)
    # class 1 scores the pixel, class 0 what it is below one
    weights = [("w", np.float32([-1, 1]).reshape(2, 1, 1, 1)), ("b", np.float32([1, 0]))]
    model = model_of([helper.make_node("Conv", ["x", "w", "b"], ["y"])], weights, inputs={"x": ("batch", 1, 6, 6)})
    sound = check(model, [(images, labels)], **QUICK)
    assert sound.task.name == "segmentation"
    assert not any(each.better for each in sound.readings)
    found = check(model, [(images / 255, labels)], **QUICK)
    (hint,) = [each for each in found.look_at if "would be right" in each]
    assert hint.startswith("pixels from 0 to 1: 100.00 %")
    assert "`scale=255`" in hint


def test_equal_images_are_counted_and_those_with_different_labels_named(written, pixels):
    """As two folders of the same files leave them."""
    images, labels = pixels
    twice = np.concatenate([images[:40], images[:40]])
    found = check(str(DIGITS), written(twice, np.concatenate([labels[:40], labels[:40]])), **QUICK)
    assert "images that are there before, pixel by pixel: 40 of 80" in found.look_at
    assert not any("another label" in each for each in found.look_at)
    other = np.concatenate([labels[:40], labels[:39], [(labels[39] + 1) % 10]])
    assert (
        "equal images with another label than before: 1 of 80"
        in check(str(DIGITS), written(twice, other), **QUICK).look_at
    )
