"""Real networks on real images, end to end: CIFAR-10 ResNets exported, quantized, and run under bit flips.

The data are not part of the repository: ``FTONNX_SHARED`` names their folder, by default ``../shared``.
"""

import os
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from campaign_kit import COUNTS, cli_json, counts, naive_outcomes, rows, session

import ftonnx
from ftonnx.advice import Candidates
from ftonnx.datasets import Preprocess
from ftonnx.inject.guards import ProtectionPlan
from ftonnx.models import build

SHARED = Path(os.environ.get("FTONNX_SHARED", Path(__file__).parents[3] / "shared")) / "data" / "cifar10"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

pytestmark = [
    pytest.mark.skipif(not SHARED.is_dir(), reason=f"the CIFAR-10 images and networks are not at {SHARED}"),
    pytest.mark.slow,
]


def images(name, limit=None):
    """Return normalized images and labels, prepared with numpy alone."""
    with np.load(SHARED / f"{name}.npz") as archive:
        pixels, labels = archive["images"][:limit], archive["labels"][:limit]
    scaled = pixels.astype(np.float32) / np.float32(255)
    mean, std = (np.array(values, np.float32).reshape(3, 1, 1) for values in (MEAN, STD))
    return (scaled - mean) / std, labels


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """The two networks exported from torch, and an int8 version of the small one, as ONNX files by name."""
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    folder = tmp_path_factory.mktemp("networks")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for depth in (20, 44):
            network = build(f"resnet{depth}-cifar", weights=SHARED / f"resnet{depth}.pth")
            proto = ftonnx.export_module(network, input_shape=(3, 32, 32), input_name="images")
            onnx.save(proto, folder / f"resnet{depth}.onnx")
    batches = np.split(images("train", 256)[0], 4)
    int8, _ = ftonnx.quantize(onnx.load(folder / "resnet20.onnx"), batches)
    onnx.save(int8, folder / "resnet20-int8.onnx")
    return {path.stem: path for path in folder.glob("*.onnx")}


@pytest.fixture(scope="module")
def data():
    """The test images through a spec, with preprocessing as given on a command line."""
    return ftonnx.load_dataset(f"npz:{SHARED / 'test.npz'}", preprocess=Preprocess(mean=MEAN, std=STD))


@pytest.mark.parametrize(("name", "top1"), [("resnet20", 0.9173), ("resnet44", 0.9374)])
def test_fault_free_accuracy_is_what_torch_measured(networks, data, name, top1):
    """Exported networks score as published beside the checkpoints, on all 846 images."""
    result = ftonnx.evaluate(networks[name], data, rates=[0], repeats=1, batch_size=282, strategy="live", threads=2)
    assert round(result.golden["top1"], 4) == top1
    assert result.data.samples == 846
    assert result.rates[0].top1.mean == result.golden["top1"]
    assert result.rates[0].masked.mean == 1


def test_the_command_line_gives_the_same_accuracy(networks):
    """With --mean and --std, which win over everything else."""
    found = cli_json(
        "inject", networks["resnet20"], "--data", f"npz:{SHARED / 'test.npz'}", "--mean", ",".join(map(str, MEAN)),
        "--std", ",".join(map(str, STD)), "--rate", "0", "--repeats", "1", "--strategy", "live", "--threads", "2",
    )  # fmt: skip
    assert round(found["golden"]["top1"], 4) == 0.9173


@pytest.fixture(scope="module")
def campaigns(networks, tmp_path_factory):
    """A small campaign on the FP32 and on the int8 network."""
    folder = tmp_path_factory.mktemp("campaigns")
    source = f"npz:{SHARED / 'test.npz'}"
    few = ftonnx.load_dataset(source, limit=256, preprocess=Preprocess(mean=MEAN, std=STD))
    chosen = {"resnet20": "live", "resnet20-int8": "rebuild"}
    return {
        name: ftonnx.evaluate(
            networks[name],
            few,
            rates=[1e-7, 1e-6, 1e-5],
            repeats=6,
            batch_size=64,
            strategy=strategy,
            threads=1,
            results=folder / name,
        )
        for name, strategy in chosen.items()
    }


def test_accuracy_falls_with_the_fault_rate(campaigns):
    """From not far below fault-free at 1e-7 to near guessing at 1e-5, with ever more silent corruption."""
    result = campaigns["resnet20"]
    assert result.engine.strategy == "live"
    top1 = [rate.top1.mean for rate in result.rates]
    assert result.golden["top1"] >= top1[0] > top1[1] > top1[2]
    assert top1[0] > 0.6
    assert top1[2] < 0.4
    sdc1 = [rate.sdc1.mean for rate in result.rates]
    assert sdc1 == sorted(sdc1)


def test_the_number_of_faults_is_that_of_the_rate(networks, campaigns):
    """Within five standard deviations of Binomial(N, rate), N counted in the file by hand."""
    for name, bits in (("resnet20", _float_bits), ("resnet20-int8", _int8_bits)):
        total = bits(onnx.load(networks[name]).graph)
        result = campaigns[name]
        assert result.fault_space.bits == total
        for rate in result.rates:
            assert rate.units == 24
            spread = 5 * (total * rate.rate / 24) ** 0.5
            assert abs(rate.faults_mean - total * rate.rate) < spread


def _float_bits(graph):
    """Weights and biases of Conv and Gemm, and of a BatchNormalization where one is left."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    linear = {"Conv", "Gemm", "MatMul", "BatchNormalization"}
    used = {name for node in graph.node if node.op_type in linear for name in node.input[1:] if name in stored}
    return sum(32 * int(np.prod(stored[name].dims)) for name in used)


def _int8_bits(graph):
    """Stored int8 and int32 values behind DequantizeLinear, scales and zero points left out."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    used = {node.input[0] for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in stored}
    return sum(8 * onnx.numpy_helper.to_array(stored[n]).nbytes for n in used)


def test_int8_keeps_more_accuracy_than_float_at_the_same_rate(campaigns):
    """A flip in int8 cannot make a weight enormous, and there are four times fewer bits."""
    float32, int8 = campaigns["resnet20"], campaigns["resnet20-int8"]
    assert int8.golden["top1"] > 0.88
    assert int8.rates[1].top1.mean > float32.rates[1].top1.mean + 0.05
    assert int8.rates[2].top1.mean > float32.rates[2].top1.mean + 0.2
    assert set(int8.fault_space.formats) == {"int8", "int32"}


@pytest.mark.parametrize("name", ["resnet20", "resnet20-int8"])
def test_recorded_units_are_what_their_saved_models_do_in_a_fresh_session(networks, campaigns, tmp_path, name):
    """Same options, another process's file: exactly the recorded counts, at every rate."""
    results, live = campaigns[name].results, campaigns[name].engine.strategy == "live"
    pixels, labels = images("test", 256)
    assert len(rows(results)) == 3 * 6 * 4
    for rate, repeat, batch in [(1e-7, 0, 0), (1e-6, 3, 2), (1e-5, 5, 3)]:
        out = tmp_path / "faulty.onnx"
        ftonnx.replay(results, rate=rate, repeat=repeat, batch=batch).save_model(out)
        part = slice(64 * batch, 64 * batch + 64)
        golden, faulty = (
            session(path, live=live).run(None, {"images": pixels[part]})[0] for path in (networks[name], out)
        )
        row = counts(results)[rate, repeat, batch]
        assert naive_outcomes(faulty, golden, labels[part]) == {column: row[column] for column in COUNTS}


@pytest.mark.timeout(1500)
def test_the_advised_plan_of_a_resnet_meets_its_goal_and_needs_its_last_guard(networks, data):
    """In fresh campaigns with seeds of their own, behind the plan and behind the plan without its last guard."""
    candidates = Candidates(guards=("parity", "secded"))
    model = networks["resnet20"]
    goal = "min-accuracy 1e-6:0.88"
    advice = ftonnx.advise(model, data, goal, candidates=candidates, budget="9000units", threads=1)
    assert (advice.verdict, advice.needed) == ("PASS", "FAIL")
    assert advice.check_bits < 0.02 * advice.stored_bits

    def measured(guards):
        protection = ProtectionPlan(guards) if guards else None
        result = ftonnx.evaluate(model, data, rates=1e-6, repeats=8, seed=77, protection=protection, threads=1)
        return result.rates[0].top1

    guards = advice.plan.guards
    assert measured(guards).mean >= 0.88
    assert measured(guards[:-1]).high < 0.88
