"""Models say by which images they were tuned, and who tests them on the same ones is warned."""

import logging

import onnx
import pytest
from campaign_kit import DIGITS, digits_batches

import ftonnx
from ftonnx.models.tuned_on import TUNED_ON, note_tuned_on, tuned_on_caution

FAST = {"rates": [1e-6], "repeats": 2, "strategy": "live", "threads": 1}


def test_several_data_sets_are_kept_beside_what_was_there():
    """Each once."""
    model = onnx.load(DIGITS)
    before = {entry.key: entry.value for entry in model.metadata_props}
    for fingerprint in ("cd", "ab", "cd"):
        note_tuned_on(model, fingerprint)
    assert {entry.key: entry.value for entry in model.metadata_props} == before | {TUNED_ON: '["ab", "cd"]'}


@pytest.mark.parametrize("stranger", ["", "{", "7", '{"ab": 1}', "[1, 2]", "[" * 5000])
def test_what_a_stranger_has_written_there_is_nothing(stranger):
    """No error, and no warning."""
    assert tuned_on_caution({TUNED_ON: stranger}, "ab") is None


def test_a_campaign_on_the_same_images_warns_and_on_others_does_not(tmp_path, caplog):
    """Thresholds know the largest values of just these."""
    data = digits_batches(16, 16)
    protected = ftonnx.protect("digits", data)
    with caplog.at_level(logging.WARNING):
        ftonnx.evaluate(protected.proto, data, results=tmp_path / "same", **FAST)
        assert "were chosen by these very images: on others it may do worse" in caplog.text
        caplog.clear()
        ftonnx.evaluate(protected.proto, digits_batches(8, 8), results=tmp_path / "other", **FAST)
        assert "these very images" not in caplog.text
