"""Comparing campaigns of injections: against plain arithmetic on the recorded counts."""

import numpy as np
import pytest
from campaign_kit import cli, rows

import ftonnx
from ftonnx.errors import UsageError
from ftonnx.inject import EveryBit, FaultCount, PerLayer
from ftonnx.stats.patterns import stratified_values

FAST = {"batch_size": 90, "strategy": "live", "threads": 1}
DIGITS = ftonnx.load_dataset("digits", limit=180)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The embedded model and its clipped form under the same 60 injections, under others, and per layer."""
    place = tmp_path_factory.mktemp("injections")
    clipped = place / "clipped.onnx"
    assert cli("protect", "digits", "--data", "digits", "--method", "actmax", "-o", clipped).code == 0
    one = {"faults": FaultCount(1), "repeats": 60}
    ftonnx.evaluate("digits", DIGITS, **one, **FAST, results=place / "plain")
    ftonnx.evaluate(clipped, DIGITS, **one, **FAST, results=place / "clipped")
    ftonnx.evaluate(clipped, DIGITS, **one, **FAST, seed=1, results=place / "other-seed")
    ftonnx.evaluate("digits", DIGITS, faults=PerLayer(4), **FAST, results=place / "layers")
    ftonnx.evaluate(clipped, DIGITS, faults=PerLayer(4), **FAST, results=place / "clipped-layers")
    return place


def right(results):
    """Return the share of correct images of every injection, over both batches."""
    found = rows(results)
    return np.array([
        sum(row["correct1"] for row in found if row["repeat"] == repeat) / 180
        for repeat in sorted({row["repeat"] for row in found})
    ])  # fmt: skip


def clean(results):
    """Return the share of correct images without faults."""
    return sum(row["correct1"] for row in rows(results, "golden")) / 180


def test_models_that_met_the_same_injections_are_compared_injection_by_injection(folder):
    """The interval of the differences; the level is called by its flips, not by a rate."""
    found = ftonnx.compare([folder / "plain", folder / "clipped"])
    (model,) = found.models
    (level,) = model.rates
    assert (model.pairing, model.why, model.auc) == ("faults", None, None)
    values = right(folder / "clipped") - right(folder / "plain")
    known = np.array([clean(folder / "clipped") - clean(folder / "plain")])
    expected = stratified_values(values[np.newaxis], np.array([180]), known=known, span=(-1.0, 1.0))
    difference = level.difference
    assert difference.mean == pytest.approx(values.mean())
    assert (difference.low, difference.high) == pytest.approx((expected.low, expected.high))
    assert difference.pairs == 60
    assert (found.faults, found.level(level), found.to_dict()["faults"]) == ("one flip",) * 3
    assert "<th>faults</th>" in found._repr_html_()
    assert "<td>one flip</td>" in found._repr_html_()


def test_other_injections_are_not_paired(folder):
    """Another seed, or another way to choose them: both intervals are combined, and it says why."""
    seed, way = ftonnx.compare([folder / "plain", folder / "other-seed", folder / "clipped-layers"]).models
    assert (seed.pairing, seed.why) == ("none", "the seeds differ, 0 and 1")
    assert (way.pairing, way.why) == ("none", "the injections were chosen in different ways")
    assert seed.rates[0].difference.mean == pytest.approx(
        right(folder / "other-seed").mean() - right(folder / "plain").mean()
    )
    assert seed.rates[0].difference.p_sign_flip is None


def test_injections_per_layer_are_weighted_by_bits(folder):
    """As the campaigns' own means are."""
    (model,) = ftonnx.compare([folder / "layers", folder / "clipped-layers"]).models
    (level,) = model.rates
    opened = [ftonnx.CampaignResult.open(folder / name).rates[0].top1.mean for name in ("layers", "clipped-layers")]
    assert (level.baseline, level.accuracy) == pytest.approx(opened)
    assert level.difference.mean == pytest.approx(opened[1] - opened[0])
    assert level.difference.low <= level.difference.mean <= level.difference.high


def test_of_every_bit_the_difference_is_known(folder, tmp_path):
    """Nothing is random; a part of the bits tells nothing."""
    few = ftonnx.load_dataset("digits", limit=20)
    options = {"faults": EveryBit(), "include": ["linear.bias"], **FAST}
    ftonnx.evaluate("digits", few, **options, results=tmp_path / "a")
    ftonnx.evaluate(folder / "clipped.onnx", few, **options, results=tmp_path / "b")
    (model,) = ftonnx.compare([tmp_path / "a", tmp_path / "b"]).models
    difference = model.rates[0].difference
    assert difference.low == difference.mean == difference.high
    assert difference.p_sign_flip is None


def test_injections_of_different_kinds_are_refused(folder, tmp_path):
    """Two flips against one; random ones against the bits of a list."""
    two = {"faults": FaultCount(2), "repeats": 4}
    ftonnx.evaluate("digits", DIGITS, **two, **FAST, results=tmp_path / "two")
    with pytest.raises(UsageError, match=r"with one flip, and .* is one of injections with 2 flips: campaigns of one"):
        ftonnx.compare([folder / "plain", tmp_path / "two"])
    faults = tmp_path / "faults.csv"
    faults.write_text('Injection,Layer,TensorIndex,Bit\n0,linear,"(0, 0)",31\n1,linear,"(1, 0)",30\n')
    done = cli(
        "inject", "digits", "--data", "digits", "--limit", 180, "--fault-list", faults, "--results", tmp_path / "l"
    )
    assert done.code == 0, done.err
    with pytest.raises(UsageError, match=r"of the kind faults-per-run, and .*: the same faults were expected"):
        ftonnx.compare([folder / "plain", tmp_path / "l"])
