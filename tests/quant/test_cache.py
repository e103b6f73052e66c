"""The calibration cache: read, written, and refused where it belongs to something else."""

import json

import numpy as np
import pytest
from onnx_zoo import small_cnn
from quant_kit import batches, clipped, residual_cnn

from ftonnx.errors import StoreError
from ftonnx.quant import CALIBRATIONS, CalibrationCache, QuantSettings, quantize

DATA = batches(2, 8)


@pytest.mark.parametrize("method", CALIBRATIONS)
def test_a_second_run_reads_what_the_first_wrote(method, tmp_path):
    """The same int8 model, with images for the error per layer only."""
    cache = CalibrationCache(path=tmp_path / "ranges.json", data="abc")
    settings = QuantSettings(calibration=method)
    first, report = quantize(small_cnn(), DATA, settings, cache=cache)
    written = cache.path.read_bytes()
    taken = []

    def stream():
        for batch in batches(20, 32):
            taken.append(len(batch))
            yield batch

    second, again = quantize(small_cnn(), stream, settings, cache=cache)
    assert (report.from_cache, report.images, again.from_cache, again.images) == (False, 16, True, 0)
    assert taken == [32]
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)
    assert cache.path.read_bytes() == written
    assert [path.name for path in tmp_path.iterdir()] == ["ranges.json"]


def test_ranges_are_readable_and_by_tensor(tmp_path):
    """JSON, lowest and highest value per activation of the original."""
    cache = CalibrationCache(path=tmp_path / "c.json", data="abc")
    quantize(small_cnn(), DATA, QuantSettings(calibration="minmax"), cache=cache)
    content = json.loads(cache.path.read_text())
    stacked = np.concatenate(DATA)
    assert content["ranges"]["x"] == pytest.approx([stacked.min(), stacked.max()])
    assert content["data"] == "abc"


@pytest.mark.parametrize(
    ("model", "data", "settings", "message"),
    [
        (small_cnn(seed=9), "abc", QuantSettings(), "another model"),
        (small_cnn(), "xyz", QuantSettings(), "another data: expected xyz, found abc"),
        (small_cnn(), "abc", QuantSettings(calibration="minmax"), "another calibration: expected .*minmax"),
        (small_cnn(), "abc", QuantSettings(exclude_nodes=("conv1",)), "another calibration"),
    ],
)
def test_ranges_of_something_else_are_refused(model, data, settings, message, tmp_path):
    """The message says which of the three differs; the file stays as it is."""
    path = tmp_path / "c.json"
    quantize(small_cnn(), DATA, cache=CalibrationCache(path=path, data="abc"))
    written = path.read_bytes()
    with pytest.raises(StoreError, match=message):
        quantize(model, DATA, settings, cache=CalibrationCache(path=path, data=data))
    assert path.read_bytes() == written


def test_the_percentile_belongs_to_the_method(tmp_path):
    """It matters for that method only."""
    cache = CalibrationCache(path=tmp_path / "c.json", data="abc")
    quantize(small_cnn(), DATA, QuantSettings(calibration="percentile", percentile=99.0), cache=cache)
    with pytest.raises(StoreError, match="another calibration"):
        quantize(small_cnn(), DATA, QuantSettings(calibration="percentile", percentile=98.0), cache=cache)
    other = CalibrationCache(path=tmp_path / "d.json", data="abc")
    quantize(small_cnn(), DATA, QuantSettings(percentile=99.0), cache=other)
    quantize(small_cnn(), DATA, QuantSettings(percentile=98.0, per_channel=False), cache=other)


def test_other_thresholds_are_another_model(tmp_path):
    """A CReLU's threshold changes what later layers see."""
    cache = CalibrationCache(path=tmp_path / "c.json", data="abc")
    quantize(clipped(residual_cnn(), [2.0] * 3), DATA, cache=cache)
    with pytest.raises(StoreError, match="another model"):
        quantize(clipped(residual_cnn(), [3.0] * 3), DATA, cache=cache)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", "null", '{"version": 1}', "damaged"],
)
def test_a_damaged_cache_is_refused(content, tmp_path):
    """With what to do about it."""
    path = tmp_path / "c.json"
    quantize(small_cnn(), DATA, cache=CalibrationCache(path=path, data="abc"))
    if content == "damaged":
        good = json.loads(path.read_text())
        content = json.dumps(good | {"ranges": {"x": ["NaN", 3]}})
    path.write_text(content)
    with pytest.raises(StoreError, match="not a calibration cache, or damaged; delete it"):
        quantize(small_cnn(), DATA, cache=CalibrationCache(path=path, data="abc"))


def test_missing_ranges_are_refused(tmp_path):
    """Of an activation that the model has."""
    path = tmp_path / "c.json"
    quantize(small_cnn(), DATA, cache=CalibrationCache(path=path, data="abc"))
    good = json.loads(path.read_text())
    del good["ranges"]["b"]
    path.write_text(json.dumps(good))
    with pytest.raises(StoreError, match=r"no range .* 'b'"):
        quantize(small_cnn(), DATA, cache=CalibrationCache(path=path, data="abc"))


def test_a_folder_is_no_cache(tmp_path):
    """Nor is a file in a folder that is not there."""
    with pytest.raises(StoreError, match="cannot be read"):
        quantize(small_cnn(), DATA, cache=CalibrationCache(path=tmp_path, data="abc"))
    with pytest.raises(StoreError, match="cannot be written"):
        quantize(small_cnn(), DATA, cache=CalibrationCache(path=tmp_path / "no" / "c.json", data="abc"))
