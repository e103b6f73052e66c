"""``ftonnx.quantize``: what it takes for a model and for data, and accuracy before and after."""

import numpy as np
import onnx
import pytest
from exact_kernels import saturates
from onnx_zoo import model_of, random_floats
from quant_kit import node

import ftonnx
from ftonnx.datasets import load_dataset
from ftonnx.errors import UsageError
from ftonnx.inject import load_model
from ftonnx.models import resolve
from ftonnx.quant import QuantSettings
from ftonnx.tasks import Classification, Regression

LIMIT = 128
SIZE = 64


@pytest.fixture(scope="module")
def expected():
    """Return the digits quantized with a data set of 128 training images."""
    return ftonnx.quantize("digits", train())


def train():
    """Return 128 training images of the digits."""
    return load_dataset("digits", split="train", limit=LIMIT)


def batches():
    """Return them as a list of pairs."""
    return list(train().batches(SIZE))


@pytest.mark.parametrize("model", [str(resolve("digits")), resolve("digits"), onnx.load(resolve("digits"))])
def test_a_model_is_a_path_a_name_or_a_proto(model, expected):
    """The same int8 model from each; so from a loaded one."""
    assert ftonnx.quantize(model, train()).proto == expected.proto
    assert ftonnx.quantize(load_model(model), train()).proto == expected.proto


@pytest.mark.parametrize(
    "data",
    [
        batches(),
        [list(pair) for pair in batches()],
        iter(batches()),
        [images for images, _ in batches()],
        iter([images for images, _ in batches()]),
        lambda: iter([images for images, _ in batches()]),
    ],
    ids=["pairs", "lists", "iterator", "images", "image iterator", "function"],
)
def test_data_is_pairs_or_images_or_a_function(data, expected):
    """No batch is lost by looking at the first one."""
    found = ftonnx.quantize("digits", data)
    assert found.report.images == LIMIT
    assert found.proto.graph == expected.proto.graph
    # of images without labels nobody can say whether others are the same
    said = {entry.key: entry.value for entry in found.proto.metadata_props}
    assert said.get("ftonnx.tuned_on") == (None if found.data is None else f'["{found.data.fingerprint}"]')


def test_a_spec_means_its_training_images():
    """All 1,437 of them."""
    found = ftonnx.quantize("digits", "digits", QuantSettings(calibration="minmax"))
    assert found.data.split == "train"
    assert found.report.images == len(found.data)


def test_accuracy_before_and_after_is_measured_on_the_same_images(expected):
    """On the calibration data, or on what is given; a run of one's own says the same."""
    change = expected.accuracy("digits")
    images, labels = next(load_dataset("digits", split="test").batches(1000))
    session = ftonnx.FaultySession(resolve("digits"), sample=images)
    own = (session.golden(images)[0].argmax(axis=1) == labels).mean()
    assert change.before["top1"] == pytest.approx(own)
    assert abs(change.after["top1"] - own) < 0.02
    assert len(change.warnings) == saturates()
    on_calibration_data = expected.accuracy()
    assert expected.to_dict(on_calibration_data)["accuracy"]["after"] == on_calibration_data.after


def test_outputs_that_do_not_fit_the_task_have_no_accuracy():
    """A map of scores is no classifier's."""
    weight = random_floats(5, 1, 3, 3)
    model = model_of([node("Conv", ["x", "w"], ["y"])], [("w", weight)], inputs={"x": ("batch", 1, 8, 8)})
    found = ftonnx.quantize(model, batches())
    change = found.accuracy(task=Classification())
    assert (change.before, change.after, change.warnings) == (None, None, ())
    assert change.note.endswith("got float32 of shape (64, 5, 6, 6) for 64 images; name another `output` or `task`")
    assert found.to_dict(change)["accuracy"] == {"before": None, "after": None, "note": change.note}


def test_numbers_as_labels_need_no_tolerance():
    """Nobody asked for a task, so there is no accuracy; a task that somebody names needs its settings."""
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("Relu", ["m"], ["r"]), node("MatMul", ["r", "v"], ["y"])]
    weights = [("w", random_floats(4, 8)), ("v", random_floats(8, 1))]
    model = model_of(nodes, weights, inputs={"x": ("batch", 4)}, outputs={"y": ("batch", 1)})
    found = ftonnx.quantize(model, [(random_floats(16, 4), np.linspace(0, 1, 16))])
    change = found.accuracy()
    assert (change.before, change.after) == (None, None)
    assert change.note.endswith("as in regression:tolerance=0.5; got none")
    assert found.accuracy(task=Regression(tolerance=100)).before == {"within": 1.0}
    with pytest.raises(UsageError, match="`output='z'` was asked for"):
        found.accuracy(output="z")


def test_images_without_labels_have_no_accuracy_and_no_cache_file(tmp_path):
    """Said in one line, with what to give."""
    images = [np.zeros((2, 1, 8, 8), np.float32) + 0.5]
    found = ftonnx.quantize("digits", images)
    assert "data" not in found.to_dict()
    with pytest.raises(UsageError, match="the calibration images have no labels; give labelled data"):
        found.accuracy()
    with pytest.raises(UsageError, match="a calibration cache belongs to a data set"):
        ftonnx.quantize("digits", images, calibration_cache=tmp_path / "cache.json")


def test_the_result_unpacks_is_saved_and_says_what_it_is(tmp_path, expected):
    """A short line instead of the whole graph."""
    proto, report = expected
    assert (proto, report) == (expected.proto, expected.report)
    expected.save(tmp_path / "int8.onnx")
    assert onnx.load(tmp_path / "int8.onnx") == proto
    assert repr(expected).startswith("QuantizedModel('digits' to int8: ")
    assert len(repr(expected)) < 200


def test_a_cache_file_is_written_then_read(tmp_path, expected):
    """It belongs to the data by their fingerprint."""
    cache = tmp_path / "cache.json"
    assert ftonnx.quantize("digits", train(), calibration_cache=cache).report.images == LIMIT
    again = ftonnx.quantize("digits", train(), calibration_cache=cache)
    assert again.report.from_cache
    assert again.proto == expected.proto
