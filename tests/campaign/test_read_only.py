"""Results on media that cannot be written to: they are read, and nothing is tried to be written."""

import os

import pytest
from campaign_kit import cli, contents, digits_batches, one_error_line, summary

import ftonnx
from ftonnx.campaign import CampaignResult, compare
from ftonnx.errors import StoreError


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A finished campaign in a folder that says it cannot be written to; root may write everywhere."""
    folder = tmp_path / "r"
    settings = {"rates": [1e-6, 1e-5], "repeats": 3, "strategy": "live", "threads": 1}
    ftonnx.evaluate("digits", digits_batches(8, 24), results=folder, **settings)
    before = summary(folder)
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (folder, os.W_OK) and allowed(path, mode))
    return folder, before


def test_they_are_read_reported_compared_and_drawn_again(results, tmp_path):
    """With the same numbers; no file comes or goes."""
    folder, before = results
    files = contents(folder)
    assert summary(folder) == before
    assert CampaignResult.open(folder).complete
    compare([folder, folder])
    for command in (("report", folder, "-o", tmp_path / "x.html"), ("faults", folder, "--rate", "1e-5", "--repeat", 0)):
        done = cli(*command)
        assert done.code == 0, done.err
    assert contents(folder) == files
    assert os.path.exists(tmp_path / "x.html")


def test_what_was_written_last_by_a_killed_campaign_needs_a_copy(results):
    """SQLite's log is taken in by whoever opens the folder next, who must be able to write."""
    folder, _ = results
    (folder / "units.sqlite-wal").touch()
    with pytest.raises(StoreError, match="cannot be written to: copy it"):
        CampaignResult.open(folder)
    assert "copy it" in one_error_line(cli("report", folder, "-o", folder.parent / "x.html"))
