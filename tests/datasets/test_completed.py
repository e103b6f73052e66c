"""A data set opened without a model is fed as the model wants it, wherever the two meet."""

import inspect
import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from campaign_kit import cli, counts
from images_kit import pil, save_by_class
from onnx_zoo import small_cnn
from PIL import Image

import ftonnx
from ftonnx.campaign import Campaign, Settings
from ftonnx.campaign.bench import bench
from ftonnx.datasets import Preprocess, as_dataset, load_dataset, stratified_subset
from ftonnx.export import find_activations
from ftonnx.inject import BitFlipRates, load_model
from ftonnx.mitigate import (
    ClipActSettings,
    activation_distributions,
    largest_values,
    measure_activations,
    protect,
    protection,
    search_thresholds,
)
from ftonnx.plugins.pytest_plugin import assert_fault_tolerant
from ftonnx.quant import quantize

pytestmark = pytest.mark.usefixtures("temporary_folder")

SAID = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3], "scale": 1 / 250, "resize": 10, "crop": 8}
METADATA = {"ftonnx.preprocess": json.dumps(SAID)}
PIXELS = np.random.default_rng(5).integers(0, 256, (30, 3, 12, 14), np.uint8)
LABELS = np.arange(30) % 5
FAST = {"rates": [1e-4], "repeats": 2, "batch_size": 8, "strategy": "live", "threads": 1}


@pytest.fixture
def model():
    """A network of 8 x 8 images that says how they are made."""
    proto = small_cnn()
    onnx.helper.set_model_props(proto, METADATA)
    return proto


def make_npz(folder):
    """Write an archive and return its spec."""
    folder.mkdir()
    np.savez(folder / "test.npz", images=PIXELS, labels=LABELS)
    return f"npz:{folder}"


def make_folder(folder):
    """Write image files and return their spec."""
    save_by_class(folder / "test", PIXELS, LABELS, [f"class{label}" for label in range(5)])
    return f"folder:{folder}"


MAKERS = {"npz": make_npz, "folder": make_folder}
every_kind = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def by_hand(pixels):
    """Return model inputs made by Pillow and a formula."""
    made = []
    for image in pixels:
        small = pil(image).resize((11, 10), Image.Resampling.BILINEAR)
        left = round((11 - 8) / 2)
        square = np.asarray(small).transpose(2, 0, 1)[:, 1:9, left : left + 8].astype(np.float32)
        mean, std = (np.array(SAID[key], np.float32).reshape(3, 1, 1) for key in ("mean", "std"))
        made.append((square * np.float32(SAID["scale"]) - mean) / std)
    return np.stack(made)


def test_completed_images_are_those_of_the_formula(tmp_path):
    """The images that the data set gives after completion, by Pillow and numpy alone."""
    data = load_dataset(make_npz(tmp_path / "d"), split="test").completed(METADATA)
    ((images, labels),) = data.batches(30)
    np.testing.assert_allclose(images, by_hand(PIXELS), rtol=0, atol=1e-6)
    assert labels.tolist() == LABELS.tolist()


@every_kind
@pytest.mark.parametrize("limit", [None, 13])
def test_completing_later_is_opening_for_the_model(tmp_path, make, limit):
    """Same images, fingerprint, shape, preprocessing and source; what was given is not changed."""
    spec = make(tmp_path / "d")
    opened = load_dataset(spec, split="test", limit=limit)
    before = opened.fingerprint, opened.preprocess, dict(opened.source), opened.sample_shape
    later = opened.completed(METADATA)
    at_once = load_dataset(spec, split="test", limit=limit, model_metadata=METADATA)
    assert later.fingerprint == at_once.fingerprint != opened.fingerprint
    assert later.preprocess == at_once.preprocess
    assert (later.source, later.sample_shape) == (at_once.source, at_once.sample_shape)
    assert (later.name, later.split, later.classes, len(later)) == (opened.name, "test", 5, limit or 30)
    for one, other in zip(later.batches(7), at_once.batches(7), strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
    assert (opened.fingerprint, opened.preprocess, opened.source, opened.sample_shape) == before


@every_kind
def test_a_subset_is_completed_with_the_same_images(tmp_path, make):
    """Also a subset of a subset."""
    spec = make(tmp_path / "d")
    drawn = [
        stratified_subset(stratified_subset(data, 20, seed=1), 10, seed=2)
        for data in (load_dataset(spec, split="test"), load_dataset(spec, split="test", model_metadata=METADATA))
    ]
    assert drawn[0].completed(METADATA).fingerprint == drawn[1].fingerprint != drawn[0].fingerprint
    assert drawn[1].completed(METADATA) is drawn[1]


@every_kind
def test_what_was_said_wins_over_the_model(tmp_path, make):
    """On opening, beside the data, and by a model named on opening; only the rest is completed."""
    spec = make(tmp_path / "d")
    (tmp_path / "d" / "preprocess.toml").write_text("std = [0.7]\n")
    opened = load_dataset(
        spec,
        split="test",
        preprocess=Preprocess(scale=0.5, crop=7),
        model_metadata={"ftonnx.preprocess": '{"mean": [0.1]}'},
    )
    found = replace(opened.completed(METADATA).preprocess, channels=None)
    assert found == Preprocess(scale=0.5, mean=(0.1,), std=(0.7,), resize=10, crop=7)


def test_a_default_is_no_saying(tmp_path):
    """1/255 for 8-bit images yields to the model; a scale that was asked for does not, even if it is 1/255."""
    spec = make_npz(tmp_path / "d")
    assert load_dataset(spec).completed(METADATA).preprocess.scale == 1 / 250
    assert load_dataset(spec, preprocess=Preprocess(scale=1 / 255)).completed(METADATA).preprocess.scale == 1 / 255
    assert load_dataset(spec).completed({}).preprocess == Preprocess(scale=1 / 255)
    assert load_dataset(spec).completed(None).preprocess == Preprocess(scale=1 / 255)


def test_batches_of_someones_own_code_are_fed_as_they_are(tmp_path):
    """Lists, generators and loaders are ready to be fed."""
    images = np.ones((4, 3, 8, 8), np.float32)
    (tmp_path / "mine.py").write_text(
        "import numpy\ndef load():\n    yield numpy.ones((4, 3, 8, 8), 'float32'), numpy.arange(4)\n"
    )
    for data in (as_dataset([(images, np.arange(4))]), load_dataset(f"{tmp_path}/mine.py:load")):
        assert data.completed(METADATA) is data


def test_the_embedded_digits_are_the_same_with_and_without_their_model():
    """The model says what the digits' default is."""
    metadata = ftonnx.load_model(ftonnx.models.resolve("digits")).metadata
    opened = load_dataset("digits")
    assert opened.completed(metadata).fingerprint == opened.fingerprint


def spec_and_object(tmp_path, make):
    """Return the same data as a spec (its default split) and as a data set opened without a model."""
    spec = make(tmp_path / "d")
    if make is make_folder:
        spec = f"{spec}/test"
    return spec, load_dataset(spec)


@every_kind
def test_evaluating_a_spec_and_a_data_set_is_the_same(tmp_path, make, model):
    """Fingerprint, counts and fault-free accuracy; one folder is continued by the other, and Campaign agrees."""
    spec, opened = spec_and_object(tmp_path, make)
    found = [
        ftonnx.evaluate(model, data, **FAST, results=tmp_path / name)
        for name, data in (("spec", spec), ("object", opened))
    ]
    assert found[0].data == found[1].data
    assert found[0].golden == found[1].golden
    assert found[0].data.source == found[1].data.source
    assert counts(tmp_path / "spec") == counts(tmp_path / "object")
    again = ftonnx.evaluate(model, opened, **FAST, results=tmp_path / "spec")
    assert again.rates == found[0].rates
    campaign = Campaign(load_model(model), opened, BitFlipRates(1e-4), settings=Settings(batch_size=8, threads=1))
    assert campaign.data.fingerprint == found[0].data.sha256


@every_kind
def test_a_gate_and_a_test_see_what_evaluate_sees(tmp_path, make, model):
    """A gate on the object continues one on the spec; so does the assertion for pytest."""
    spec, opened = spec_and_object(tmp_path, make)
    run = {"goals": ["max-sdc 1e-9:0.01"], "batch_size": 8, "strategy": "live", "threads": 1, "budget": "8units"}
    verdicts = [ftonnx.gate(model, data, **run, results=tmp_path / "r") for data in (spec, opened)]
    assert verdicts[0].golden == verdicts[1].golden is not None
    with pytest.raises(AssertionError, match="INCONCLUSIVE"):
        assert_fault_tolerant(model, opened, **run, results=tmp_path / "r")


@every_kind
def test_thresholds_are_measured_on_what_the_model_is_fed(tmp_path, make, model):
    """ActMax, ClipAct, their parts, and the distributions of activations."""
    spec, opened = spec_and_object(tmp_path, make)
    loaded = load_model(model)
    right = load_dataset(spec, model_metadata=METADATA)
    settings = ClipActSettings(iterations=1, rates=(1e-4, 1e-3), batch_size=8)
    for method in ("actmax", "clipact"):
        made = [protect(loaded, data, protection(method, settings=settings)) for data in (right, opened)]
        assert made[0].thresholds.to_dict() == made[1].thresholds.to_dict()
        assert made[0].thresholds.search["data"] == right.fingerprint
    activations = find_activations(model)
    largest = [largest_values(loaded, data, activations, scope="node", batch_size=8) for data in (right, opened)]
    assert largest[0] == largest[1]
    searched = [search_thresholds(loaded, data, activations, largest[0], settings) for data in (right, opened)]
    assert searched[0] == searched[1]
    spread = [list(activation_distributions(loaded, data, activations)) for data in (right, opened)]
    assert spread[0] == spread[1]
    measured = [measure_activations(loaded, data).to_dict() for data in (right, opened)]
    assert measured[0] == measured[1]


@every_kind
def test_quantize_takes_a_data_set_and_feeds_it_as_the_model_says(tmp_path, make, model):
    """The same int8 model as from batches that were preprocessed for it, and as the command makes."""
    spec, opened = spec_and_object(tmp_path, make)
    right = load_dataset(spec, model_metadata=METADATA)
    by_batches, _ = quantize(model, (images for images, _ in right.batches(64)))
    by_data, report = quantize(model, opened)
    assert by_data == by_batches
    assert report.images == 30


def test_quantize_in_python_makes_what_the_command_makes(tmp_path, model):
    """From a data set opened without the model."""
    spec = make_npz(tmp_path / "d")
    onnx.save(model, tmp_path / "m.onnx")
    done = cli("quantize", tmp_path / "m.onnx", "--data", spec, "--split", "test", "-o", tmp_path / "q.onnx")
    assert done.code == 0, done.err
    assert ftonnx.quantize(model, load_dataset(spec)).proto == onnx.load(tmp_path / "q.onnx")


def test_a_benchmark_runs_the_images_that_the_model_takes(tmp_path, model):
    """12 x 14 pixels would not fit it."""
    found = bench(load_model(model), load_dataset(make_npz(tmp_path / "d")), seconds=0.1)
    assert found.data == "d"


def test_a_look_before_a_campaign_is_at_the_images_that_it_takes(tmp_path, model):
    """The accuracy without faults is the campaign's, and the pixels are those of the formula."""
    data = load_dataset(make_npz(tmp_path / "d"))
    found = ftonnx.check(model, data, strategy="live", threads=1)
    assert found.golden.headline.mean == ftonnx.evaluate(model, data, **FAST).clean
    assert [each.mean for each in found.channels] == pytest.approx(by_hand(PIXELS).mean(axis=(0, 2, 3)), abs=1e-5)


def test_every_public_function_that_takes_a_data_set_is_tried_above():
    """A new one has to be completed too, and to be added to this file."""
    rooms = (ftonnx.campaign, ftonnx.gates, ftonnx.mitigate, ftonnx.quant, ftonnx.runtime)
    offered = [getattr(room, name) for room in rooms for name in room.__all__]
    plain = [each for each in offered if inspect.isfunction(each) or inspect.isclass(each)]
    own = [each for each in plain if not (inspect.isclass(each) and issubclass(each, Exception))]
    taking = {each.__name__ for each in own if {"data", "batches"} & set(inspect.signature(each).parameters)}
    described = {
        "CampaignResult",
        "Comparison",
        "GateVerdict",
        "CalibrationCache",
        "ActivationStatistics",
    }  # they hold a name or a fingerprint
    described |= {"QuantizedModel", "Readiness"}  # and these hold data that were completed
    tried = {"check", "evaluate", "gate", "Campaign", "protect", "largest_values", "search_thresholds", "quantize"}
    assert taking - described == tried | {"activation_distributions", "measure_activations"}
