"""A file is the old or the new one, whenever the writer is killed, with the permission bits of a plain open."""

import errno
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ftonnx.errors import StoreError, UsageError
from ftonnx.files import (
    PART,
    check_not_overwritten,
    check_target,
    reason_of,
    reason_unread,
    whole_file,
    write_file,
    write_whole,
)

WRITER = """
import sys
from pathlib import Path
from ftonnx.files import write_whole
contents = [bytes([65 + turn]) * 3_000_000 for turn in range(2)]
write_whole(contents[0], Path(sys.argv[1]))
print("ready", flush=True)
while True:
    for content in contents:
        write_whole(content, Path(sys.argv[1]))
"""


def bits(path):
    """Return a file's permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def plain(path):
    """Write as Python's own open does."""
    path.write_bytes(b"new")


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request):
    """Run a test under several umasks."""
    before = os.umask(request.param)
    yield
    os.umask(before)


def test_a_kill_at_any_moment_leaves_one_whole_file(tmp_path):
    """Twenty writers of two contents, each killed at a random moment."""
    path = tmp_path / "m.onnx"
    moments = random.Random(0)
    for _ in range(20):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE)
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(moments.uniform(0, 0.03))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        content = path.read_bytes()
        assert len(content) == 3_000_000
        assert content in (b"A" * 3_000_000, b"B" * 3_000_000)
    others = {entry.suffix for entry in tmp_path.iterdir() if entry != path}
    assert others <= {PART}


@pytest.mark.usefixtures("umask")
def test_a_new_file_has_the_bits_of_a_plain_open(tmp_path):
    """Whatever the umask says; a temporary file's 0600 would shut out colleagues."""
    plain(tmp_path / "plain")
    write_whole(b"new", tmp_path / "whole")
    assert bits(tmp_path / "whole") == bits(tmp_path / "plain")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_a_file_that_is_replaced_keeps_its_bits(tmp_path, mode):
    """As writing into it would."""
    for write, name in ((plain, "plain"), (lambda path: write_whole(b"new", path), "whole")):
        (tmp_path / name).write_bytes(b"old, and longer")
        (tmp_path / name).chmod(mode)
        write(tmp_path / name)
        assert (tmp_path / name).read_bytes() == b"new"
    assert bits(tmp_path / "whole") == bits(tmp_path / "plain") == mode


def test_a_link_stays_a_link_and_its_target_is_replaced(tmp_path):
    """As a plain open follows it."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("folder/target")
    write_whole(b"new", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "target").read_bytes() == b"new"


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    """Nor would /dev/null be, by whoever is allowed to."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    write_file(b"content", pipe)
    reader.join()
    assert found == [b"content"]
    assert pipe.is_fifo()


def write_half_and_raise(path, error):
    """Fail in the middle of a file."""
    with whole_file(path) as file:
        file.write(b"half")
        raise error


def test_a_block_that_fails_changes_nothing_and_leaves_nothing(tmp_path):
    """Whatever is raised in it, Ctrl-C included."""
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error):
            write_half_and_raise(path, error)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_longest_name_that_a_file_may_have_can_be_written(tmp_path):
    """The name of the file beside it must not be longer."""
    path = tmp_path / ("n" * 255)
    write_whole(b"content", path)
    assert path.read_bytes() == b"content"


def test_what_a_killed_writer_left_is_removed_by_the_next_one(tmp_path):
    """And what a living one writes is not, nor what has another name."""
    path = tmp_path / "m[1].onnx"
    (tmp_path / f".m[1].onnx.0123{PART}").write_bytes(b"half")
    (tmp_path / f".m1.onnx.0123{PART}").write_bytes(b"of another file")
    with whole_file(path) as file:
        file.write(b"first")
        write_whole(b"second", path)
    assert path.read_bytes() == b"first"
    assert {each.name for each in tmp_path.iterdir()} == {path.name, f".m1.onnx.0123{PART}"}


def test_a_part_that_another_writer_takes_for_a_leftover_is_begun_again(tmp_path, monkeypatch):
    """It sweeps between the part's beginning and its lock."""
    path, seen = tmp_path / "m.onnx", []

    def swept(file):
        if not seen:
            (part,) = tmp_path.iterdir()
            part.unlink()
        seen.append(file)
        return True

    monkeypatch.setattr("ftonnx.files.whole.try_lock", swept)
    write_whole(b"new", path)
    assert len(seen) == 2
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"new"


def test_two_writers_of_one_file_do_not_mix(tmp_path):
    """Each writes a file of its own beside it."""
    path = tmp_path / "m.onnx"
    with whole_file(path) as first:
        first.write(b"first, ")
        write_whole(b"second", path)
        first.write(b"whole")
    assert path.read_bytes() == b"first, whole"


def full_disk(*_):
    """Fail as a full disk does."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_one_line_with_advice(tmp_path, monkeypatch):
    """Of one kind in all commands; a path that cannot be is of another."""
    with pytest.raises(UsageError, match="there is no folder"):
        write_file(b"content", tmp_path / "none" / "m.onnx")
    monkeypatch.setattr("os.fsync", full_disk)
    expected = "m.onnx cannot be written: No space left on device; free some space"
    with pytest.raises(StoreError, match=expected):
        write_file(b"content", tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        (errno.EACCES, "Permission denied; choose another place, or allow writing there"),
        (errno.EROFS, "Read-only file system; choose another place"),
        (errno.ENOENT, "No such file or directory; there is no folder missing; create it first"),
        (errno.EISDIR, "Is a directory; add the name of a file"),
        (errno.ENAMETOOLONG, "File name too long; choose a shorter one"),
        (errno.ENOSPC, "No space left on device; free some space, or choose another place"),
        (errno.EFBIG, "File too large; the file system or ulimit -f allows no file of this size; choose another place"),
        (errno.EPIPE, "Broken pipe"),
    ],
)
def test_every_kind_of_error_has_its_own_advice(tmp_path, monkeypatch, kind, advice):
    """On one line, from the system's own words."""
    monkeypatch.chdir(tmp_path)
    path = Path("missing/m.onnx")
    assert reason_of(OSError(kind, os.strerror(kind)), path) == advice


def _missing_folder(path):
    return path / "missing" / "m.onnx"


def _below_a_file(path):
    (path / "file").write_bytes(b"")
    return path / "file" / "m.onnx"


def _circle(path):
    (path / "link").symlink_to("link")
    return path / "link"


UNREAD = {
    "missing": (lambda path: path / "m.onnx", "No such file or directory; check the path"),
    "missing folder": (_missing_folder, "No such file or directory; there is no folder {path}/missing; check the path"),
    "folder": (lambda path: path, "Is a directory; give a file in it"),
    "below a file": (_below_a_file, "Not a directory; a part of its path is a file; check the path"),
    "too long": (lambda path: path / ("x" * 300), "File name too long; check the path"),
    "circle": (_circle, "Too many levels of symbolic links; its links form a circle; put the file in their place"),
    "no name": (lambda path: path / "a\0b", "embedded null byte"),
}


@pytest.mark.parametrize(("make", "reason"), UNREAD.values(), ids=UNREAD)
def test_why_a_file_cannot_be_read_is_one_line_with_advice(tmp_path, make, reason):
    """As the system itself raises it."""
    path = make(tmp_path)
    with pytest.raises((OSError, ValueError)) as caught:
        path.read_bytes()
    assert reason_unread(caught.value, path) == reason.format(path=tmp_path)


def test_a_name_that_is_too_long_to_look_at_is_refused_by_the_write(tmp_path):
    """The look before the work does not end in an exception of Python's."""
    path = tmp_path / ("x" * 300)
    check_target(path)
    check_not_overwritten(path, tmp_path, "a folder")
    with pytest.raises(UsageError, match="File name too long; choose a shorter one"):
        write_file(b"content", path)


def test_a_missing_folder_and_a_folder_in_place_of_a_file_are_said_before_the_work(tmp_path):
    """And afterwards too."""
    for act in (check_target, lambda path: write_file(b"content", path)):
        with pytest.raises(UsageError, match=r"there is no folder .*missing; create it first"):
            act(tmp_path / "missing" / "m.onnx")
    with pytest.raises(UsageError, match="expected the name of a file to write, got a folder"):
        check_target(tmp_path)
    with pytest.raises(UsageError, match="cannot be written: Is a directory; add the name of a file"):
        write_file(b"content", tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_what_may_not_be_written_is_not_written(tmp_path):
    """A read-only file is not replaced, though its folder would allow it."""
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")
    path.chmod(0o444)
    with pytest.raises(UsageError, match="Permission denied; choose another place"):
        write_file(b"new", path)
    assert path.read_bytes() == b"old"
    tmp_path.chmod(0o555)
    with pytest.raises(UsageError, match="cannot be written to; choose another one"):
        check_target(tmp_path / "new.onnx")
    tmp_path.chmod(0o755)


def test_devices_can_be_written_though_nothing_can_be_made_beside_them():
    """As in -o /dev/null."""
    check_target(Path("/dev/null"))
    write_file(b"content", Path("/dev/null"))
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
