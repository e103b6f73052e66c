"""Every recorded unit replayed as a stand-alone faulty model in a fresh ONNX Runtime session."""

import json
import math
import struct

import numpy as np
import onnx
import pytest
from campaign_kit import (
    COUNTS,
    DIGITS,
    cli,
    cli_json,
    contents,
    counts,
    digits_batches,
    naive_outcomes,
    ranking,
    session,
)
from onnx import numpy_helper
from onnx_zoo import find_tensors, flip_bytes, small_cnn
from quant_kit import calibration

import ftonnx
from ftonnx.errors import ModelError, StoreError, UsageError

RATES = (1e-6, 1e-5, 1e-4)
FAST = {"rates": [1e-5, 1e-4], "repeats": 2, "batch_size": 8, "strategy": "live", "threads": 1}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The embedded model, and an int8 version of it made with ONNX Runtime's own quantizer."""
    from onnxruntime import quantization

    folder = tmp_path_factory.mktemp("models")
    data = calibration({"input": images} for images, _ in digits_batches(60, 120))
    quantization.quantize_static(
        str(DIGITS), str(folder / "int8.onnx"), data, quant_format=quantization.QuantFormat.QDQ, per_channel=True
    )
    return {"fp32": DIGITS, "int8": folder / "int8.onnx"}


@pytest.mark.parametrize("strategy", ["live", "rebuild"])
@pytest.mark.parametrize("kind", ["fp32", "int8"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # in ONNX Runtime's quantizer
def test_every_recorded_unit_is_what_its_saved_model_does_in_a_fresh_session(models, tmp_path, kind, strategy):
    """Same options: exactly the recorded counts. Default options: the same, save for logits that tie in rounding."""
    model, folder = models[kind], tmp_path / "r"
    chosen = [word for rate in RATES for word in ("--rate", rate)]
    found = cli_json(
        "inject", model, "--data", "digits", "--limit", 90, *chosen, "--repeats", 3, "--batch-size", 40,
        "--strategy", strategy, "--threads", 1, "--results", folder,
    )  # fmt: skip
    assert found["run"]["engine"]["strategy"] == strategy
    assert found["run"]["engine"]["fallback"] is None
    batches, live = digits_batches(40, 90), strategy == "live"
    golden = {
        options: [session(model, live=options).run(None, {"input": b})[0] for b, _ in batches]
        for options in {live, False}
    }
    recorded, differences = counts(folder), []
    assert len(recorded) == 3 * 3 * 3
    for (rate, repeat, batch), row in recorded.items():
        out = tmp_path / "faulty.onnx"
        unit = ("--rate", rate, "--repeat", repeat, "--batch", batch)
        listed = cli_json("faults", folder, *unit, "--save-model", out, "--force")
        images, labels = batches[batch]
        same = session(out, live=live).run(None, {"input": images})[0]
        assert naive_outcomes(same, golden[live][batch], labels) == {name: row[name] for name in COUNTS}
        assert listed["recorded"] == {name: row[name] for name in COUNTS}
        assert listed["unit"] == {"rate": rate, "repeat": repeat, "batch": batch, "n_faults": len(listed["faults"])}
        _same_files(model, out, listed["faults"], kind)
        default = session(out).run(None, {"input": images})[0]
        differences += _differing_answers(same, default)
        if not differences:
            ours, theirs = (naive_outcomes(o, golden[False][batch], labels) for o in (same, default))
            assert [ours[n] for n in ("correct1", "correct5", "due")] == [
                theirs[n] for n in ("correct1", "correct5", "due")
            ]
    for gap, scale in differences:
        assert gap <= 1e-5 * scale, f"default options change an answer although the two logits are {gap} apart"


def _differing_answers(same, default):
    """Return (gap between the two answers' logits, size of the logits) where two runs rank another class first."""
    pairs = (
        (a, b, ranking(a)[0], ranking(b)[0]) for a, b in zip(same, default, strict=True) if np.isfinite([a, b]).all()
    )
    return [(abs(float(a[i]) - float(a[j])), float(np.abs(a).max())) for a, _, i, j in pairs if i != j]


def _same_files(model, out, listed, kind):
    """Check that the two files differ in exactly the listed elements, and by exactly the listed values."""
    before, after = onnx.load(model).graph, onnx.load(out).graph
    held = {
        t.name: (numpy_helper.to_array(t).ravel(), numpy_helper.to_array(u).ravel())
        for t, u in zip(before.initializer, after.initializer, strict=True)
    }
    touched = {}
    for fault in listed:
        touched.setdefault((fault["tensor"], fault["index"]), []).append(fault)
    for name, (old, new) in held.items():
        width = np.dtype(f"u{old.dtype.itemsize}")
        changed = set(np.flatnonzero(old.view(width) != new.view(width)).tolist())
        assert changed <= {index for tensor, index in touched if tensor == name}
    for (name, index), faults in touched.items():
        old, new = held[name]
        (tensor,) = find_tensors(before, name)
        raw = tensor.raw_data
        for fault in faults:
            assert (fault["before"], fault["after"]) == (old[index].item(), new[index].item())
        if len(faults) == 1:
            expected = flip_bytes(raw, tensor.data_type, index, faults[0]["bit"], (15, 16))
            size = old.dtype.itemsize
            assert new[index].tobytes() == expected[index * size : (index + 1) * size]
    assert kind == "fp32" or {old.dtype.name for old, _ in held.values()} >= {"int8", "int32"}
    stripped = [onnx.load(path) for path in (model, out)]
    for proto in stripped:
        proto.graph.ClearField("initializer")
    assert stripped[0] == stripped[1]


def test_listed_values_are_exact_for_flips_that_make_nan_and_infinity(tmp_path):
    """With raw float bits, JSON shows NaN and Infinity as strings, and the saved file holds them."""
    model = small_cnn()
    onnx.save(model, tmp_path / "m.onnx")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", images=rng.standard_normal((4, 3, 8, 8)).astype(np.float32), labels=np.arange(4))
    cli_json(
        "inject", tmp_path / "m.onnx", "--data", f"npz:{tmp_path}/d.npz", "--format", "ieee", "--rate", 0.2,
        "--repeats", 1, "--results", tmp_path / "r",
    )  # fmt: skip
    listed = cli_json("faults", tmp_path / "r", "--rate", 0.2, "--repeat", 0, "--batch", 0)["faults"]
    assert {fault["after"] for fault in listed if isinstance(fault["after"], str)} >= {"NaN"}
    bits = {}
    for fault in listed:
        bits.setdefault((fault["tensor"], fault["index"]), []).append(fault)
    for (name, index), faults in bits.items():
        (tensor,) = find_tensors(model.graph, name)
        (code,) = struct.unpack_from("<I", tensor.raw_data, 4 * index)
        for fault in faults:
            code ^= 1 << fault["bit"]
        (value,) = struct.unpack("<f", struct.pack("<I", code))
        shown = faults[0]["after"]
        assert (
            shown == value
            or (shown == "NaN" and math.isnan(value))
            or (shown == "Infinity" and value == math.inf)
            or (shown == "-Infinity" and value == -math.inf)
        )


@pytest.fixture
def finished(tmp_path):
    """A campaign on a copy of the embedded model, and the copy."""
    (tmp_path / "m.onnx").write_bytes(DIGITS.read_bytes())
    ftonnx.evaluate(tmp_path / "m.onnx", digits_batches(8, 16), **FAST, results=tmp_path / "r")
    return tmp_path / "r", tmp_path / "m.onnx"


@pytest.mark.parametrize(
    ("unit", "named"),
    [
        ((1e-6, 0, 0), "recorded are rates 1e-05, 0.0001, repeats 0 to 1, batches 0 to 1"),
        ((1e-5, 2, 0), "repeat 2"),
        ((1e-5, 0, 2), "batch 2"),
        ((1e-5, -1, 0), "repeat -1"),
        ((math.nan, 0, 0), "rate nan"),
    ],
)
def test_a_unit_that_is_not_recorded_is_named_with_those_that_are(finished, unit, named):
    """No faults are invented for a unit that did not run."""
    with pytest.raises(StoreError, match="has no unit") as refused:
        ftonnx.replay(finished[0], rate=unit[0], repeat=unit[1], batch=unit[2])
    assert named in str(refused.value)


def test_a_folder_without_a_campaign_is_refused(tmp_path):
    """Missing, empty, or another folder; nothing is made."""
    for folder in (tmp_path / "missing", tmp_path):
        with pytest.raises(StoreError, match="holds no campaign"):
            ftonnx.replay(folder, rate=1e-5, repeat=0, batch=0)
    assert contents(tmp_path) == {}


def test_a_changed_model_is_not_replayed(finished):
    """Faults on another file would be other values."""
    folder, model = finished
    proto = onnx.load(model)
    proto.doc_string = "changed"
    onnx.save(proto, model)
    with pytest.raises(ModelError, match="is not the model that ran"):
        ftonnx.replay(folder, rate=1e-5, repeat=0, batch=0)


def test_a_moved_model_is_named_again(finished):
    """Its hash decides, not its path."""
    folder, model = finished
    with_model = ftonnx.replay(folder, rate=1e-5, repeat=0, batch=0).list()
    moved = model.rename(model.with_name("moved.onnx"))
    with pytest.raises(ModelError):
        ftonnx.replay(folder, rate=1e-5, repeat=0, batch=0)
    assert ftonnx.replay(folder, rate=1e-5, repeat=0, batch=0, model=moved).list() == with_model


def test_a_model_that_was_in_memory_has_to_be_named(tmp_path):
    """The campaign remembers its hash: the model is saved and named, another one is refused."""
    proto = onnx.load(DIGITS)
    ftonnx.evaluate(proto, digits_batches(8, 8), **FAST, results=tmp_path / "r")
    with pytest.raises(UsageError, match="`model`"):
        ftonnx.replay(tmp_path / "r", rate=1e-5, repeat=0, batch=0)
    onnx.save(proto, tmp_path / "saved.onnx")
    unit = ftonnx.replay(tmp_path / "r", rate=1e-5, repeat=0, batch=0, model=tmp_path / "saved.onnx")
    assert len(unit.list()) == unit.record.n_faults
    proto.doc_string = "another"
    onnx.save(proto, tmp_path / "other.onnx")
    with pytest.raises(ModelError, match="is not the model that ran"):
        ftonnx.replay(tmp_path / "r", rate=1e-5, repeat=0, batch=0, model=tmp_path / "other.onnx")


@pytest.mark.parametrize("way", ["m.onnx", "sub/../m.onnx", "link.onnx", "hard.onnx"])
def test_the_original_model_is_never_overwritten(finished, way, monkeypatch):
    """Not by its name, not by another spelling of it, not by a link to it."""
    folder, model = finished
    (model.parent / "sub").mkdir()
    (model.parent / "link.onnx").symlink_to(model)
    (model.parent / "hard.onnx").hardlink_to(model)
    monkeypatch.chdir(model.parent)
    with pytest.raises(UsageError, match="never written to"):
        ftonnx.replay(folder, rate=1e-5, repeat=0, batch=0).save_model(way)
    assert model.read_bytes() == DIGITS.read_bytes()


def test_a_saved_model_appears_whole_or_not_at_all(finished, tmp_path):
    """A target that cannot be written gives one line and leaves nothing beside it."""
    (tmp_path / "folder").mkdir()
    unit = ftonnx.replay(finished[0], rate=1e-5, repeat=0, batch=0)
    for target in (tmp_path / "folder", tmp_path / "missing" / "out.onnx"):
        with pytest.raises(UsageError, match="cannot be written"):
            unit.save_model(target)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder", "m.onnx", "r"]
    unit.save_model(tmp_path / "out.onnx")
    onnx.checker.check_model(str(tmp_path / "out.onnx"))


def test_a_replay_changes_nothing_in_the_folder(finished):
    """Reading is reading."""
    before = contents(finished[0])
    assert cli("faults", finished[0], "--rate", 1e-5, "--repeat", 1, "--batch", 1).code == 0
    assert contents(finished[0]) == before


def test_external_data_ends_up_inside_the_saved_model(tmp_path):
    """A faulty model stands alone, whatever the original was stored like."""
    onnx.save_model(small_cnn(), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    rng = np.random.default_rng(0)
    data = [(rng.standard_normal((4, 3, 8, 8)).astype(np.float32), np.arange(4))]
    ftonnx.evaluate(tmp_path / "m.onnx", data, rates=[1e-3], repeats=1, results=tmp_path / "r")
    (tmp_path / "elsewhere").mkdir()
    ftonnx.replay(tmp_path / "r", rate=1e-3, repeat=0, batch=0).save_model(tmp_path / "elsewhere" / "out.onnx")
    assert session(tmp_path / "elsewhere" / "out.onnx").run(None, {"x": data[0][0]})[0].shape == (4, 5)
    assert json.loads((tmp_path / "r" / "campaign.json").read_text())["model"]["path"] == str(tmp_path / "m.onnx")
