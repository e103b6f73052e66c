"""Images that share a fault pattern: how many, in how many runs, and what of it may not change a count."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from campaign_kit import COUNTS, DIGITS, cli_json, counts, digits_batches, naive_outcomes, rows, session
from onnx_zoo import model_of, random_floats, small_cnn

import ftonnx
from ftonnx.campaign import Settings, pilot
from ftonnx.campaign.run.batch import BatchRunner
from ftonnx.errors import UsageError
from ftonnx.inject import FaultCount
from ftonnx.quant import quantize
from ftonnx.tasks import Auroc

FAST = {"rates": [1e-5], "repeats": 2, "strategy": "live", "threads": 1}


def evaluate(folder, *, model="digits", data="digits", **changed):
    """Run a small campaign and return its result."""
    return ftonnx.evaluate(model, data, results=folder, **(FAST | changed))


def of_batch(model, size):
    """Return a model that insists on a batch size."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    dimension = fixed.graph.input[0].type.tensor_type.shape.dim[0]
    dimension.ClearField("dim_param")
    dimension.dim_value = size
    return fixed


def cnn_images(count):
    """Random images and labels for the small network."""
    rng = np.random.default_rng(3)
    return [(rng.standard_normal((count, 3, 8, 8)).astype(np.float32), rng.integers(5, size=count))]


def sizes(result):
    """Return the images per pattern and per run."""
    return result.settings.images_per_pattern, result.settings.batch_size


def test_paper_is_the_batch_of_128_that_every_count_was_of(tmp_path):
    """Each unit's flips written into the file by numpy, and its 128 images run by a plain session."""
    result = evaluate(tmp_path / "paper", images_per_pattern="paper", rates=[1e-4])
    assert sizes(result) == (128, 128)
    batches = digits_batches(128)
    recorded = counts(tmp_path / "paper")
    assert recorded.keys() == {(1e-4, repeat, batch) for repeat in range(2) for batch in range(3)}
    for (rate, repeat, batch), found in recorded.items():
        faulty = tmp_path / "faulty.onnx"
        ftonnx.replay(tmp_path / "paper", rate=rate, repeat=repeat, batch=batch).save_model(faulty)
        images, labels = batches[batch]
        outputs, golden = (session(file, live=True).run(None, {"input": images})[0] for file in (faulty, DIGITS))
        assert {name: found[name] for name in COUNTS} == naive_outcomes(outputs, golden, labels)


def test_a_larger_batch_is_a_pattern_as_it_was(tmp_path):
    """128 as `paper`, as a number, and as the batch size alone."""
    for name, asked in {
        "paper": {"images_per_pattern": "paper"},
        "number": {"images_per_pattern": 128},
        "batch": {"batch_size": 128},
    }.items():
        evaluate(tmp_path / name, **asked)
        assert counts(tmp_path / name) == counts(tmp_path / "paper")


@pytest.mark.parametrize(
    ("batch", "asked", "expected"),
    [
        (None, {}, (8, 8)),
        (None, {"images_per_pattern": 3}, (3, 3)),
        (None, {"batch_size": 3}, (8, 3)),
        (None, {"batch_size": 20}, (20, 20)),
        (None, {"images_per_pattern": 20, "batch_size": 6}, (20, 6)),
        (1, {}, (8, 1)),
        (1, {"images_per_pattern": "paper"}, (128, 1)),
        (16, {}, (16, 16)),
        (16, {"images_per_pattern": 4}, (16, 16)),
        (16, {"images_per_pattern": 32}, (32, 16)),
    ],
)
def test_a_run_takes_no_more_images_than_share_a_pattern(tmp_path, batch, asked, expected):
    """The model's own batch comes first, then what is asked for, then the usual number."""
    model = small_cnn() if batch is None else of_batch(small_cnn(), batch)
    result = evaluate(tmp_path / "r", model=model, data=cnn_images(40), rates=[0], repeats=1, **asked)
    assert sizes(result) == expected
    assert len(rows(tmp_path / "r")) == -(-40 // expected[0])


def test_a_model_that_insists_on_more_images_than_asked_for_says_so(tmp_path, caplog):
    """They share the pattern."""
    evaluate(tmp_path / "r", model=of_batch(small_cnn(), 16), data=cnn_images(16), rates=[0], images_per_pattern=4)
    assert "takes batches of 16 images, and so many share a pattern, not 4" in caplog.text


@pytest.mark.parametrize("strategy", ["live", "rebuild", "packed"])
@pytest.mark.parametrize("run", [1, 3, 5])
def test_several_runs_under_one_pattern_give_what_one_run_gives(tmp_path, strategy, run):
    """Every count, also of a model that insists on its batch and of a last run that is filled up."""
    images = cnn_images(13)
    model = small_cnn()
    if strategy != "live":
        model = quantize(model, [batch for batch, _ in images]).proto
    settings = {"data": images, "images_per_pattern": 5, "rates": [1e-3], "repeats": 6, "strategy": strategy}
    evaluate(tmp_path / "one", model=model, **settings)
    evaluate(tmp_path / "several", model=model, batch_size=run, **settings)
    evaluate(tmp_path / "fixed", model=of_batch(model, run), **settings)
    assert counts(tmp_path / "several") == counts(tmp_path / "fixed") == counts(tmp_path / "one")
    assert sum(row["sdc1"] for row in rows(tmp_path / "one")) > 0


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"images_per_pattern": 8, "batch_size": 9}, "no more images than share a pattern: `batch_size=9`"),
        (
            {"images_per_pattern": 0},
            "auto, paper, or a number from 1 to 1,000,000, was expected as `images_per_pattern`; got 0",
        ),
        (
            {"images_per_pattern": "many"},
            "auto, paper, or a number from 1 to 1,000,000, was expected as `images_per_pattern`; got 'many'",
        ),
    ],
)
def test_sizes_that_make_no_sense_are_refused(asked, message):
    """With both numbers, or what was expected."""
    with pytest.raises(UsageError, match=message):
        Settings(**asked)


def test_injections_have_no_images_per_pattern(tmp_path):
    """All images meet them; their runs stay large."""
    asked = {"faults": FaultCount(1), "rates": (), "repeats": 3}
    assert sizes(evaluate(tmp_path / "r", **asked)) == (None, 128)
    with pytest.raises(UsageError, match="all images meet each injection's pattern: no `images_per_pattern`"):
        evaluate(tmp_path / "s", images_per_pattern=8, **asked)


def test_the_command_line_takes_it(tmp_path):
    """As a number and by name."""
    command = ("inject", "digits", "--limit", "20", "--rate", "1e-5", "--repeats", "2", "--strategy", "live", "--json")
    for text, images in (("5", 5), ("paper", 128)):
        found = cli_json(*command, "--images-per-pattern", text)
        assert found["settings"]["images_per_pattern"] == images


def test_auto_keeps_what_its_pilot_found_on_resume_and_with_workers(tmp_path):
    """The counts are those of a campaign that was given the number; nothing is measured again."""
    found = evaluate(tmp_path / "auto", images_per_pattern="auto", rates=[0, 1e-5, 1e-4])
    images = found.settings.images_per_pattern
    assert found.header.pilot.images_per_pattern == images
    evaluate(tmp_path / "given", images_per_pattern=images, rates=[0, 1e-5, 1e-4])
    assert counts(tmp_path / "auto") == counts(tmp_path / "given")
    before = (tmp_path / "auto" / "campaign.json").read_bytes()
    again = evaluate(tmp_path / "auto", images_per_pattern="auto", rates=[0, 1e-5, 1e-4], jobs=2)
    assert (again.settings, again.rates) == (found.settings, found.rates)
    assert (tmp_path / "auto" / "campaign.json").read_bytes() == before


@pytest.mark.parametrize("chosen", [8, 2])
def test_a_pilots_units_count_where_the_campaign_has_its_size(tmp_path, monkeypatch, chosen):
    """They are recorded as what they are, once, and the campaign is the same as without a pilot."""
    original = pilot.cheapest
    monkeypatch.setattr(
        pilot, "cheapest", lambda *given, **named: replace(original(*given, **named), images_per_pattern=chosen)
    )
    done = []
    run = BatchRunner.run
    monkeypatch.setattr(BatchRunner, "run", lambda self, unit: done.append(unit) or run(self, unit))
    seen = []
    evaluate(
        tmp_path / "auto",
        images_per_pattern="auto",
        progress=lambda recorded, _: seen.append(recorded),
        data=some_digits(),
    )
    evaluate(tmp_path / "given", images_per_pattern=chosen, data=some_digits())
    assert counts(tmp_path / "auto") == counts(tmp_path / "given")
    assert seen[0] == (16 if chosen == 8 else 0)


def some_digits():
    """The first 128 test images of the digits."""
    return digits_batches(128, 128)


def test_a_model_that_insists_on_its_batch_is_piloted_with_it(tmp_path):
    """No pattern is for fewer images than a run takes; several runs share it where that is cheaper."""
    model = of_batch(small_cnn(), 16)
    found = evaluate(tmp_path / "r", model=model, data=cnn_images(80), images_per_pattern="auto", rates=[1e-3])
    assert sizes(found)[1] == 16
    assert min(found.header.pilot.sizes) == 16


@pytest.mark.parametrize(
    ("correlation", "seconds", "expected"),
    [
        # images that share a pattern fare as one: the fewest, where a unit costs as its images do
        (1.0, {8: 8.0, 32: 32.0}, 1),
        # nothing is shared: as many as there can be, where the unit itself costs
        (0.0, {8: 8.0, 32: 8.0}, 128),
        # nothing is shared and a unit costs as its images do: all are alike
        (0.0, {8: 8.0, 32: 32.0}, 8),
        # m* = sqrt((1 - rho) / rho * a / b) = sqrt(1 * 64)
        (0.5, {8: 72.0, 32: 96.0}, 8),
        # m* = sqrt(9 * 113), which is better than 8 by more than a quarter
        (0.1, {8: 121.0, 32: 145.0}, 32),
        # too few images for a second size
        (1.0, {8: 8.0}, 8),
    ],
)
def test_the_cheapest_number_of_images_is_found(correlation, seconds, expected):
    """With one image's variance of any size, at several rates."""
    levels = [pilot.Level(variance=variance, correlation=correlation) for variance in (0.01, 0.2)]
    found = pilot.cheapest(levels, seconds, sizes=(1, 2, 4, 8, 16, 32, 64, 128), usual=8)
    assert found.images_per_pattern == expected
    assert dict(zip(found.sizes, found.costs, strict=True))[8] == 1


def scores():
    """A model of one score per image, and random data with both labels in every 20 images."""
    model = model_of(
        [onnx.helper.make_node("Flatten", ["x"], ["f"]), onnx.helper.make_node("MatMul", ["f", "w"], ["y"])],
        [("w", random_floats(192, 1))],
    )
    images, _ = cnn_images(40)[0]
    return model, [(images, np.arange(40) % 2)]


@pytest.mark.parametrize("asked", [None, "auto"])
def test_a_task_that_compares_images_has_many_in_a_pattern(tmp_path, asked):
    """An AUROC is over pairs of images, which a few do not make."""
    model, data = scores()
    found = evaluate(tmp_path / "r", model=model, data=data, task=Auroc(threshold=0), images_per_pattern=asked)
    assert sizes(found) == (128, 128)


def test_a_task_that_compares_images_sees_those_of_all_runs(tmp_path):
    """All 400 pairs of 40 images count, twice each, whatever one run takes."""
    model, data = scores()
    for run in (None, 3):
        evaluate(
            tmp_path / str(run), model=model, data=data, task=Auroc(threshold=0), images_per_pattern=40, batch_size=run
        )
    assert counts(tmp_path / "3") == counts(tmp_path / "None")
    assert [row["pairs"] for row in rows(tmp_path / "3", "golden")] == [800]


def test_what_scores_are_is_told_by_more_images_than_share_a_pattern(tmp_path):
    """Logits of the first 8 images in [0, 1] are no probabilities where those of later ones are not."""
    model, data = scores()
    images, labels = data[0]
    weights = onnx.numpy_helper.to_array(model.graph.initializer[0]).ravel()
    images = np.tile(weights.reshape(1, 3, 8, 8) / np.float32((weights**2).sum()), (40, 1, 1, 1))
    images[:8] *= np.float32(0.5)
    images[20:] *= np.float32(5)
    found = evaluate(tmp_path / "r", model=model, data=[(images, labels)], rates=[0], batch_size=4)
    assert (found.task.name, found.task.threshold) == ("binary", 0.0)


def test_injections_have_no_pilot(tmp_path):
    """There is nothing to choose."""
    with pytest.raises(UsageError, match="no `images_per_pattern` was expected"):
        evaluate(tmp_path / "r", images_per_pattern="auto", faults=FaultCount(1), rates=(), repeats=3)
