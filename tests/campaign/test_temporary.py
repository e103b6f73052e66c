"""Folders for results that nobody asked a place for: what was recorded stays, what holds nothing goes."""

import fcntl
import tempfile

import pytest

from ftonnx.campaign.store.temporary import temporary_results


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder of temporary folders."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_what_was_killed_before_a_campaign_began_is_removed_by_the_next_one(root):
    """Whatever else is in it; a folder with a campaign stays, and so does one that is being filled."""
    empty, begun, filled, held = (root / f"ftonnx-results-{name}" for name in ("empty", "begun", "filled", "held"))
    for folder in (empty, begun, filled, held):
        folder.mkdir()
    for folder in (begun, filled, held):
        (folder / ".lock").touch()
        (folder / "units.sqlite").touch()
    (filled / "campaign.json").touch()
    with (held / ".lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        own = temporary_results()
        assert set(root.iterdir()) == {filled, held, own}
