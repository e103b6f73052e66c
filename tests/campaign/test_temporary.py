"""Folders for results that nobody asked a place for: they go with their process, or with the next one."""

import fcntl
import signal
import tempfile
import time

import pytest
from campaign_kit import BASE, cli, cli_json, finish, process, wait_for_units

from ftonnx.campaign.store.temporary import keep_results, temporary_results

pytestmark = pytest.mark.usefixtures("interruptible")

LONG = ("inject", *BASE, "--rate", "1e-5", "--images-per-pattern", "60", "--repeats", "20000")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder of temporary folders."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_what_killed_processes_have_left_is_removed_by_the_next_one(root):
    """Whatever is in it; a folder that somebody works in stays, and one that was kept, or of an older version."""
    empty, left, older, held = (root / f"ftonnx-results-{name}" for name in ("empty", "left", "older", "held"))
    for folder in (empty, left, older, held):
        folder.mkdir()
    for folder in (left, held):
        (folder / ".owner").touch()
    for folder in (left, older, held):
        (folder / "campaign.json").touch()
    with (held / ".owner").open("rb") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        own = temporary_results()
        assert set(root.iterdir()) == {older, held, own}
    keep_results(own)
    (own / "campaign.json").touch()
    another = temporary_results()
    assert set(root.iterdir()) == {older, own, another}
    keep_results(another)


def test_a_finished_command_leaves_nothing_and_says_how_to_keep_results(tmp_path):
    """The line names no folder that is gone."""
    command = ("inject", *BASE, "--limit", "16", "--rate", "1e-5", "--repeats", "2")
    done = finish(process(*command, folder=tmp_path))
    assert done.code == 0
    assert done.err.splitlines()[-1].startswith("results: not kept; with --results DIR they are")
    assert list((tmp_path / "tmp").iterdir()) == []


def test_an_interrupted_campaign_is_kept_and_goes_on_by_the_command_that_it_prints(tmp_path):
    """In quotes where a name needs them."""
    busy = process(*LONG, folder=tmp_path)
    (folder,) = _when_there(tmp_path / "tmp")
    wait_for_units(folder, busy)
    busy.send_signal(signal.SIGINT)
    stopped = finish(busy)
    assert stopped.code == 130
    (line,) = stopped.err.splitlines()
    assert line.endswith(f"; go on with: ftonnx {' '.join(LONG)} --results {folder}")
    assert (folder / "campaign.json").exists()
    again = process(*LONG, "--results", folder, folder=tmp_path)
    wait_for_units(folder, again, beyond=len(list(folder.iterdir())))
    again.send_signal(signal.SIGKILL)
    finish(again)


def test_a_named_folder_is_quoted_and_named_once(tmp_path):
    """As the shell takes it."""
    busy = process(*LONG, "--results", "my r", folder=tmp_path)
    wait_for_units(tmp_path / "my r", busy)
    busy.send_signal(signal.SIGTERM)
    stopped = finish(busy)
    assert stopped.code == 143
    assert stopped.err.splitlines()[-1].endswith(f"go on with: ftonnx {' '.join(LONG)} --results 'my r'")


def _when_there(folder):
    """Wait for the folder of a campaign's temporary results."""
    deadline = time.monotonic() + 60
    while not (found := list(folder.glob("ftonnx-results-*"))):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def test_a_campaign_that_goes_on_says_how_much_is_there(tmp_path):
    """On stderr, whatever is printed."""
    command = ("inject", *BASE, "--limit", "16", "--rate", "1e-5", "--results", tmp_path / "r")
    assert "continues" not in cli(*command, "--repeats", "2").err
    assert "continues: 4 of 6 units are recorded\n" in cli(*command, "--repeats", "3").err
    assert cli_json(*command, "--repeats", "3")["complete"]
