"""Campaigns over maps of classes: units against plain runs of saved faulty models, pieces, processes, single faults."""

import tracemalloc

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from campaign_kit import cli, cli_json, counts, one_error_line, rows
from onnx import TensorProto, helper
from segmentation_kit import labelled, naive_counts, segmenter, write_campaign

import ftonnx
from ftonnx.inject import FaultCount, PerLayer
from ftonnx.tasks import Segmentation

FAST = {"strategy": "live", "threads": 1}
RATES = {"rates": [1e-4, 1e-3], "repeats": 3, "images_per_pattern": 8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A network of three classes, segmenter.onnx, and twenty images with label maps, maps.npz."""
    made = tmp_path_factory.mktemp("segmentation")
    write_campaign(made)
    return made


@pytest.fixture(scope="module")
def result(folder):
    """A campaign at two rates."""
    return ftonnx.evaluate(
        folder / "segmenter.onnx", f"npz:{folder / 'maps.npz'}", results=folder / "rates", **RATES, **FAST
    )


def test_nobody_has_to_name_the_task(result):
    """Scores and labels are maps; the classes are those of the scores."""
    assert result.task == Segmentation(classes=3, form="channels-first")
    assert list(result.golden) == ["class_accuracy", "pixel_accuracy", "mean_iou"]


def test_recorded_units_are_what_their_saved_models_do_in_a_plain_session(folder, result, tmp_path):
    """Counted pixel by pixel."""
    with np.load(folder / "maps.npz") as archive:
        pixels, labels = archive["images"], archive["labels"]
    found = counts(result.results)
    for rate, repeat, batch in [(1e-4, 0, 0), (1e-3, 2, 2)]:
        saved = tmp_path / "faulty.onnx"
        ftonnx.replay(result.results, rate=rate, repeat=repeat, batch=batch).save_model(saved)
        part = slice(8 * batch, 8 * batch + 8)
        runs = [run(onnx.load(path), pixels[part]) for path in (saved, folder / "segmenter.onnx")]
        recorded = found[rate, repeat, batch]
        recorded.pop("n_faults")
        assert recorded == naive_counts(*runs, labels[part], 3, 0.01)


def run(model, pixels):
    """Outputs of a fresh session that packs nothing, as the live one."""
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_prepacking", "1")
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": pixels})[0]


def test_accuracies_are_those_of_the_pooled_counts(result):
    """From the store's rows alone."""
    for found in result.rates:
        own = [row for row in rows(result.results) if row["rate"] == found.rate]
        recalls = [sum(row[f"hits{k}"] for row in own) / sum(row[f"labels{k}"] for row in own) for k in range(3)]
        assert found.class_accuracy.mean == pytest.approx(np.mean(recalls))
        pixels = sum(row["pixels"] for row in own)
        assert found.pixel_accuracy.mean == pytest.approx(sum(row["correct"] for row in own) / pixels)
        sums = {name: sum(row[name] for row in own) for name in own[0] if name not in ("rate", "repeat", "batch")}
        unions = [sums[f"labels{k}"] + sums[f"predicted{k}"] - sums[f"hits{k}"] for k in range(3)]
        assert found.mean_iou.mean == pytest.approx(np.mean([sums[f"hits{k}"] / unions[k] for k in range(3)]))
        for estimate in found.fractions.values():
            assert estimate.low <= estimate.mean <= estimate.high


def test_mean_iou_has_an_interval_where_one_is_known(folder, result):
    """Not for new images, nor where a campaign could end early."""
    found = result.to_dict()["rates"][1]["mean_iou"]
    assert 0 < found["low"] < found["mean"] < found["high"] < 1
    for settings in ({"budget": "20units"}, {"question": "new-images"}):
        other = ftonnx.evaluate(folder / "segmenter.onnx", f"npz:{folder / 'maps.npz'}", **RATES, **FAST, **settings)
        for rate in other.rates:
            assert (rate.mean_iou.low, rate.mean_iou.high) == (None, None)
            assert rate.class_accuracy.low is not None
    nothing = ftonnx.evaluate(folder / "segmenter.onnx", f"npz:{folder / 'maps.npz'}", rates=[0.0], **FAST)
    exact = nothing.rates[0].mean_iou
    assert exact.low == exact.mean == exact.high == nothing.golden["mean_iou"]


def test_a_rate_at_which_nothing_changed_is_said(folder):
    """Accuracies that are not 0 are no change."""
    settings = ["--data", f"npz:{folder / 'maps.npz'}", "--rate", 1e-9, "--repeats", 2, "--strategy", "live"]
    finished = cli("inject", folder / "segmenter.onnx", *settings)
    assert "no pattern changed an answer at 1e-09" in finished.err
    assert "mean IoU" in finished.out


OTHER_FORMS = {
    "channels-last": (helper.make_node("Transpose", ["scores"], ["y"], perm=[0, 2, 3, 1]), TensorProto.FLOAT),
    "class-numbers": (helper.make_node("ArgMax", ["scores"], ["y"], axis=1, keepdims=0), TensorProto.INT64),
}


@pytest.mark.parametrize("form", OTHER_FORMS)
def test_networks_that_say_the_classes_otherwise_count_the_same(folder, result, tmp_path, form):
    """The same faults do the same to the same network; masked and DUE are what its output shows."""
    node, kind = OTHER_FORMS[form]
    model = with_output(onnx.load(folder / "segmenter.onnx"), node, kind)
    other = ftonnx.evaluate(model, f"npz:{folder / 'maps.npz'}", results=tmp_path / "r", **RATES, **FAST)
    assert other.task == Segmentation(classes=3, form=form)
    expected, found = counts(result.results), counts(tmp_path / "r")
    assert found.keys() == expected.keys()
    shown = {"masked", "due"} if form == "class-numbers" else set()
    for unit, own in found.items():
        assert own["masked"] >= expected[unit]["masked"]
        if not expected[unit]["due"]:
            assert {k: v for k, v in own.items() if k not in shown} == {
                k: v for k, v in expected[unit].items() if k not in shown
            }
    assert sum(each["sdc"] for each in found.values()) > 0


def with_output(model, node, kind):
    """The network with one more node, whose output is the only one."""
    model.graph.node.append(node)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("y", kind, ["n", "a", "b", "c"][: 3 + (kind == 1)]))
    return model


def test_one_sigmoid_per_pixel_is_two_classes(folder):
    """A probability, whose threshold the results keep."""
    node = helper.make_node("Sigmoid", ["scores"], ["y"])
    model = with_output(segmenter(1), node, TensorProto.FLOAT)
    with np.load(folder / "maps.npz") as archive:
        pixels, labels = archive["images"], archive["labels"]
    known = np.where(labels == 2, 0, labels)
    found = ftonnx.evaluate(model, [(pixels, known)], rates=[1e-4], repeats=2, **FAST)
    assert found.task == Segmentation(classes=2, form="one-channel", threshold=0.5)
    options = ort.SessionOptions()
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    seen = session.run(None, {"x": pixels})[0][:, 0] > 0.5
    assert found.golden["pixel_accuracy"] == pytest.approx((seen == known)[known != 255].mean(), abs=1e-3)


def test_averaged_by_batch_the_accuracy_is_the_mean_of_the_units(folder, tmp_path):
    """As in the paper's code; 128 images share a pattern where nothing is said, since the batch counts."""
    found = cli_json(
        "inject", folder / "segmenter.onnx", "--data", f"npz:{folder / 'maps.npz'}", "--rate", 1e-3, "--repeats", 3,
        "--images-per-pattern", 6, "--task", "segmentation", "--seg-average", "batch", "--strategy", "live",
        "--results", tmp_path / "r",
    )  # fmt: skip
    means = [np.mean([row[f"hits{k}"] / row[f"labels{k}"] for k in range(3)]) for row in rows(tmp_path / "r")]
    assert found["rates"][0]["class_accuracy"]["mean"] == pytest.approx(np.mean(means), abs=1e-8)
    assert found["task"]["average"] == "batch"
    gated = cli_json(
        "gate", folder / "segmenter.onnx", "--data", f"npz:{folder / 'maps.npz'}", "--min-accuracy", "1e-9:0.5",
        "--seg-average", "batch", "--strategy", "live", "--format", "q15.16", "--results", tmp_path / "g",
    )  # fmt: skip
    assert gated["verdict"] == "PASS"
    assert ftonnx.CampaignResult.open(tmp_path / "g").task.average == "batch"
    usual = ftonnx.evaluate(
        folder / "segmenter.onnx",
        f"npz:{folder / 'maps.npz'}",
        rates=[1e-3],
        repeats=1,
        task=Segmentation(average="batch"),
        **FAST,
    )
    assert usual.settings.images_per_pattern == 128


def test_pieces_and_processes_count_the_same(folder, result, tmp_path):
    """A campaign that is continued, in two processes, has the counts of one that was not."""
    model, data = folder / "segmenter.onnx", f"npz:{folder / 'maps.npz'}"
    ftonnx.evaluate(model, data, results=tmp_path / "r", budget="4units", precision=1e-6, **RATES, **FAST)
    assert len(rows(tmp_path / "r")) == 4
    jobs = ftonnx.evaluate(model, data, results=tmp_path / "jobs", jobs=2, **RATES, **FAST)
    assert counts(jobs.results) == counts(result.results)
    first = counts(tmp_path / "r")
    assert first == {unit: counts(result.results)[unit] for unit in first}


@pytest.mark.parametrize("faults", [FaultCount(1), PerLayer(5)])
def test_single_faults_are_summed_up_by_tensor(folder, faults):
    """The harm is an image with many changed pixels."""
    settings = {"repeats": 20} if isinstance(faults, FaultCount) else {}
    found = ftonnx.evaluate(folder / "segmenter.onnx", f"npz:{folder / 'maps.npz'}", faults=faults, **settings, **FAST)
    images = sum(each.images for each in found.vulnerability)
    assert images == 20 * found.rates[0].units
    critical = sum(each.critical for each in found.vulnerability)
    if isinstance(faults, FaultCount):
        assert found.rates[0].sdc.mean == pytest.approx(critical / images)
    assert 0 <= found.rates[0].class_accuracy.mean <= found.golden["class_accuracy"] + 0.2


@pytest.mark.parametrize("question", ["these-images", "new-images"])
def test_a_gate_decides_about_the_class_mean_and_the_harm(folder, question):
    """It passes where nothing flips to speak of, and fails where everything does."""
    model, data = folder / "segmenter.onnx", f"npz:{folder / 'maps.npz'}"
    settings = {"budget": "400units", "images_per_pattern": 1, "question": question, **FAST}
    fine = ftonnx.gate(model, data, ["min-accuracy 1e-8:0.4", "max-sdc 1e-8:0.5"], **settings)
    assert fine.verdict == "PASS"
    broken = ftonnx.gate(model, data, ["min-accuracy 1e-2:0.7"], **settings)
    assert broken.verdict == "FAIL"


def test_campaigns_of_other_settings_are_not_compared(folder, result, tmp_path):
    """The headline would be another one."""
    model, data = folder / "segmenter.onnx", f"npz:{folder / 'maps.npz'}"
    other = ftonnx.evaluate(model, data, results=tmp_path / "r", task=Segmentation(accuracy="pixel"), **RATES, **FAST)
    same = ftonnx.compare([result, result])
    assert same.headline == "class-mean accuracy"
    assert [each.difference.mean for each in same.models[0].rates] == [0, 0]
    with pytest.raises(ftonnx.errors.UsageError, match="the same task was expected"):
        ftonnx.compare([result, other])


def test_outputs_are_not_kept(tmp_path):
    """Four times the maps take more memory for their labels alone."""
    model = segmenter(8)
    task = Segmentation(classes=8, form="channels-first")  # else the first images are run to find it
    peaks = []
    for images in (16, 64):
        pixels = np.random.default_rng(1).normal(size=(images, 3, 64, 64)).astype(np.float32)
        labels = labelled(model, pixels[:1])[:1].repeat(images, axis=0)
        batches = [(pixels[start : start + 4], labels[start : start + 4]) for start in range(0, images, 4)]
        tracemalloc.start()
        ftonnx.evaluate(model, batches, rates=[1e-5], repeats=1, images_per_pattern=4, task=task, **FAST)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    outputs = 48 * 8 * 64 * 64 * 4
    assert peaks[1] - peaks[0] < outputs / 2


def test_a_model_with_an_input_for_each_sensor_gets_its_channels(tmp_path):
    """Two channels and one, in order: the counts are those of a model that takes all three at once."""
    whole = segmenter()
    apart = segmenter()
    nodes = apart.graph.node
    nodes.insert(0, onnx.helper.make_node("Concat", ["s1", "s2"], ["x"], "sensors", axis=1))
    del apart.graph.input[:]
    for name, channels in (("s1", 2), ("s2", 1)):
        value = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", channels, "h", "w"])
        apart.graph.input.append(value)
    pixels = np.random.default_rng(2).normal(size=(10, 3, 9, 8)).astype(np.float32)
    np.savez(tmp_path / "maps.npz", images=pixels, labels=labelled(whole, pixels))
    for name, model in (("whole", whole), ("apart", apart)):
        onnx.save(model, tmp_path / f"{name}.onnx")
        ftonnx.evaluate(
            tmp_path / f"{name}.onnx", f"npz:{tmp_path / 'maps.npz'}", results=tmp_path / name, jobs=2, **RATES, **FAST
        )
    assert counts(tmp_path / "whole") == counts(tmp_path / "apart")


BAD = {
    "labels.npz": "labels from 0 to 2",
    "size.npz": "label maps of 12x10 pixels",
    "classes.npz": "maps of class numbers",
}


@pytest.mark.parametrize("name", BAD)
def test_labels_that_do_not_fit_end_in_one_line(folder, tmp_path, name):
    """Exit code 4, whatever of it is wrong."""
    with np.load(folder / "maps.npz") as archive:
        pixels, labels = archive["images"], archive["labels"]
    bad = {"labels.npz": np.where(labels == 2, 9, labels), "size.npz": labels[:, 1:], "classes.npz": np.arange(20) % 3}
    np.savez(tmp_path / name, images=pixels, labels=bad[name])
    finished = cli(
        "inject",
        folder / "segmenter.onnx",
        "--data",
        f"npz:{tmp_path / name}",
        "--task",
        "segmentation",
        "--rate",
        1e-5,
    )
    assert finished.code == 4
    assert BAD[name] in one_error_line(finished)


def test_a_classifier_is_no_segmentation_network_and_the_reverse(folder):
    """Exit code 4, with what was expected."""
    finished = cli("inject", "digits", "--data", "digits", "--task", "segmentation", "--rate", 1e-5)
    assert finished.code == 4
    assert "scores of the pixels' classes" in one_error_line(finished)
    finished = cli(
        "inject", folder / "segmenter.onnx", "--data", f"npz:{folder / 'maps.npz'}", "--task", "classification",
        "--rate", 1e-5,
    )  # fmt: skip
    assert finished.code == 4
    assert "a classifier's output" in one_error_line(finished)


def test_the_average_is_an_option_of_segmentation_only():
    """Exit code 2 for other tasks, and for a rule that there is not."""
    for task, rule, named in (("classification", "batch", "average"), ("segmentation", "macro", "pooled or batch")):
        finished = cli("inject", "digits", "--data", "digits", "--rate", 1e-5, "--task", task, "--seg-average", rule)
        assert finished.code == 2
        assert named in one_error_line(finished)
