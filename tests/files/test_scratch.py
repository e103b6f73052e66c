"""Temporary folders do not stay: not after the block, and not for long after a kill."""

import os
import subprocess
import sys
import tempfile

import pytest

from ftonnx.files import scratch_folder

HOLDER = """
import sys, time
from ftonnx.files import scratch_folder
with scratch_folder() as folder:
    (folder / "weights").write_bytes(bytes(100))
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder of temporary folders."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def names(root):
    """Return what is in it."""
    return {path.name for path in root.iterdir()}


def test_a_folder_is_gone_after_its_block(root):
    """Whether it ended well or not."""
    with scratch_folder() as folder:
        (folder / "weights").write_bytes(b"1")
        assert folder.parent == root
    with pytest.raises(KeyboardInterrupt), scratch_folder():
        raise KeyboardInterrupt
    assert names(root) == set()


def test_what_a_killed_process_left_is_removed_by_the_next_one(root):
    """And what a living one needs is not."""
    environment = {**os.environ, "TMPDIR": str(root)}
    command = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as holder:
        left = holder.stdout.readline().strip()
        with scratch_folder() as own:
            assert {str(path) for path in root.iterdir()} == {left, str(own)}
            assert (root / left / "weights").exists()
        holder.kill()
    with scratch_folder() as own:
        assert names(root) == {own.name}
    assert names(root) == set()


def test_folders_of_others_are_left_alone(root):
    """Whatever their names, where nothing says that ftonnx has locked them."""
    for name in ("ftonnx-scratch-1", "ftonnx-2", "other"):
        (root / name).mkdir()
        (root / name / "file").touch()
    with scratch_folder():
        pass
    assert len(names(root)) == 3


def test_what_was_killed_before_it_had_a_lock_is_removed_too(root):
    """Nothing in it yet, or a lock that nobody has taken."""
    (root / "ftonnx-new-empty").mkdir()
    (root / "ftonnx-new-unlocked").mkdir()
    (root / "ftonnx-new-unlocked" / "lock").touch()
    with scratch_folder() as own:
        assert names(root) == {own.name}


def test_a_folder_that_another_process_takes_for_a_leftover_is_made_again(root, monkeypatch):
    """It sweeps between the folder's beginning and its lock."""
    make, seen = tempfile.mkdtemp, []

    def swept(**options):
        made = make(**options)
        if not seen:
            os.rmdir(made)
        seen.append(made)
        return made

    monkeypatch.setattr(tempfile, "mkdtemp", swept)
    with scratch_folder() as own:
        assert own.is_dir()
    assert len(seen) == 2
    assert names(root) == set()
