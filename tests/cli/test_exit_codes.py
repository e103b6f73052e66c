"""Exit code 1 is the gate's FAIL and nothing else, whatever breaks: real processes, full disks, closed streams."""

import errno
import os
import re
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
from campaign_kit import BASE, Finished, environment, one_error_line

import ftonnx.errors
from ftonnx.cli.main import main
from ftonnx.errors import FtonnxError, describe

GATE = ("gate", "digits", *BASE, "--batch-size", "120", "--format", "q15.16")
COMMANDS = {
    "PASS": ((*GATE, "--min-accuracy", "1e-8:0.9"), 0),
    "FAIL": ((*GATE, "--max-sdc", "1e-4:0.1"), 1),
    "INCONCLUSIVE": ((*GATE, "--min-accuracy", "1e-8:0.9", "--max-sdc", "1e-4:0.1", "--budget", "3units"), 3),
    "listed": (("inspect", "digits"), 0),
    "usage": (("inspect", "--nonsense"), 2),
    "refused": (("inspect", "none.onnx"), 4),
}
PATCHED = (
    "import sys, ftonnx.cli.application as a\n{}\na.run = run\nfrom ftonnx.cli import main\nsys.exit(main(['x y']))"
)
UNFORESEEN = {
    "bug": ("raise ZeroDivisionError('a bug')", "ZeroDivisionError: a bug"),
    "no text": ("assert False", "AssertionError"),
    "two lines": ("raise ValueError('one\\ntwo\\x1b[31m')", "ValueError: one two?[31m"),
    "recursion": ("run(arguments)", "RecursionError: maximum recursion depth exceeded"),
    "exit code": ("sys.exit(1)", "SystemExit: 1"),
    "exit text": ("sys.exit('no more')", "SystemExit: no more"),
    "end of input": ("raise EOFError('cut short')", "EOFError: cut short"),
    "warning": ("import warnings; warnings.warn('old', DeprecationWarning)", "DeprecationWarning: old"),
    "no exception of the usual kind": ("raise type('Odd', (BaseException,), {})('odd')", "Odd: odd"),
    "no readable text": ("raise type('Mute', (Exception,), {'__str__': None})()", "Mute"),
}


@contextmanager
def broken(kind):
    """Yield a stream that takes nothing."""
    if kind == "full":
        with open("/dev/full", "w") as stream:
            yield stream
        return
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as stream:
        yield stream


def shell(folder, command, redirection=""):
    """Run ``python -m ftonnx`` by a shell, for what only a shell can do."""
    line = f'exec "$0" -m ftonnx "$@" {redirection}'
    return _finished(["/bin/sh", "-c", line, sys.executable, *command], folder)


def patched(folder, run, *, python=(), **options):
    """Run a process whose only command is this function body."""
    code = PATCHED.format(f"def run(arguments):\n    {run}")
    return _finished([sys.executable, *python, "-c", code], folder, **options)


def module(folder, *command, **options):
    """Run ``python -m ftonnx`` in a folder, whose modules are found before all others."""
    return _finished([sys.executable, "-m", "ftonnx", *command], folder, **options)


def _finished(command, folder, **options):
    variables = environment(folder)
    variables.pop("PYTHONUNBUFFERED", None)  # buffered, as for users
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    done = subprocess.run(command, cwd=folder, env=variables, text=True, timeout=120, **(streams | options))
    return Finished(done.returncode, done.stdout or "", done.stderr or "")


@pytest.mark.parametrize("stderr", ["full", "pipe", "closed"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_stderr_that_takes_nothing_changes_no_exit_code(tmp_path, name, stderr):
    """A disk that is full, a pipe without a reader, no stderr at all: what is said on the side is dropped."""
    command, code = COMMANDS[name]
    if stderr == "closed":
        done = shell(tmp_path, command, "2>&-")
    else:
        with broken(stderr) as stream:
            done = module(tmp_path, *command, stderr=stream)
    assert done.code == code
    assert bool(done.out) == (code in (0, 1, 3))


@pytest.mark.parametrize("name", ["PASS", "FAIL", "listed"])
def test_a_stdout_that_takes_nothing_is_one_line_and_exit_code_4(tmp_path, name):
    """Full or closed; a verdict that nobody got is none."""
    with broken("full") as stream:
        full = module(tmp_path, "-q", *COMMANDS[name][0], stdout=stream)
    assert full.code == 4
    assert "No space left on device" in one_error_line(full)
    closed = shell(tmp_path, ("-q", *COMMANDS[name][0]), ">&-")
    assert closed.code == 4
    assert "Bad file descriptor" in one_error_line(closed)


def test_both_streams_that_take_nothing_give_the_code_of_stdout(tmp_path):
    """There is no place left to say why."""
    with broken("full") as stream:
        assert module(tmp_path, *COMMANDS["PASS"][0], stdout=stream, stderr=stream).code == 4
    assert shell(tmp_path, COMMANDS["PASS"][0], ">&- 2>&- <&-").code == 4


@pytest.mark.parametrize(("code", "expected"), [(0, 4), (1, 4), (3, 4), (2, 2), (5, 5), (70, 70)])
def test_a_full_disk_that_shows_at_the_last_flush_only_counts_too(tmp_path, code, expected):
    """What a user's own code prints stays in Python's buffer until then; an error keeps its own code."""
    with broken("full") as stream:
        done = patched(tmp_path, f"print('text'); return {code}", stdout=stream)
    assert done.code == expected
    assert len(done.err.splitlines()) == (expected == 4)


@pytest.mark.parametrize("run", ["print('text'); return 0", "print('text' * 100_000); return 0"])
def test_a_reader_that_has_gone_is_no_error(tmp_path, run):
    """As in ``ftonnx inspect | head``: quiet, with the code of SIGPIPE; at the last flush or before."""
    with broken("pipe") as stream:
        done = patched(tmp_path, run, stdout=stream)
        listed = module(tmp_path, "inspect", "digits", stdout=stream)
    assert (done.code, done.err) == (141, "")
    assert (listed.code, listed.err) == (141, "")


@pytest.mark.parametrize("case", UNFORESEEN)
def test_what_nobody_foresaw_is_one_line_a_file_and_exit_code_70(tmp_path, case):
    """The file holds the traceback, what was called, and the versions."""
    run, text = UNFORESEEN[case]
    done = patched(tmp_path, run, python=("-W", "error::DeprecationWarning"))
    assert done.code == 70
    line = one_error_line(done)
    assert line.startswith(f"error: something unforeseen happened: {text}")
    (log,) = (tmp_path / "tmp").iterdir()
    assert line.endswith(f"; the traceback is in {log}; please report it")
    report = log.read_text()
    assert report.startswith("ftonnx 'x y'\nPython ")
    assert re.search(r"^onnxruntime \d", report, re.MULTILINE)
    assert "Traceback (most recent call last):" in report
    assert log.stat().st_mode & 0o077 == 0


def _no_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def test_a_traceback_that_no_file_takes_is_printed(tmp_path):
    """Every disk is full: better many lines than a lost one."""
    done = patched(tmp_path, "raise ValueError('a bug')", preexec_fn=_no_files)
    assert done.code == 70
    first, *others = done.err.splitlines()
    assert first.startswith(
        "error: something unforeseen happened: ValueError: a bug; the traceback could not be written"
    )
    assert others[-1] == "ValueError: a bug"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_too_little_memory_is_a_line_and_no_file(tmp_path):
    """Files of strangers may ask for any amount."""
    done = patched(tmp_path, "bytearray(2**62)")
    assert done.code == 4
    assert one_error_line(done) == "error: the memory does not suffice; allow more, or give something smaller"
    assert not list((tmp_path / "tmp").iterdir())


def test_what_nobody_foresaw_keeps_its_code_where_nothing_can_be_said(tmp_path):
    """A full stderr, and a second exception while the first is reported."""
    with broken("full") as stream:
        assert patched(tmp_path, "raise ValueError('a bug')", stderr=stream).code == 70
    worse = "import ftonnx.cli.main as m\n    sys.modules['ftonnx.cli.main'].write_report = None\n    raise ValueError"
    assert patched(tmp_path, worse).code == 70


@pytest.mark.parametrize("name", ["typer", "onnxruntime", "numpy"])
def test_a_broken_installation_is_a_line_too(tmp_path, name):
    """Whatever fails when a command, or the command line itself, is imported."""
    (tmp_path / f"{name}.py").write_text("raise RuntimeError('half an installation')")
    done = module(tmp_path, *COMMANDS["PASS"][0])
    assert done.code == 70
    assert "RuntimeError: half an installation" in one_error_line(done)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("name", ["typer", "onnxruntime"])
def test_an_interruption_while_starting_is_a_line_too(tmp_path, name):
    """Ctrl-C while libraries are imported."""
    (tmp_path / f"{name}.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    done = module(tmp_path, *COMMANDS["PASS"][0])
    assert (done.code, one_error_line(done)) == (130, "error: interrupted")


@pytest.mark.usefixtures("interruptible")
def test_an_interruption_while_an_error_is_reported_ends_it(tmp_path):
    """The second Ctrl-C: without a traceback."""
    body = "import os, signal\n    m = sys.modules['ftonnx.cli.main']\n"
    body += "    m.write_report = lambda *_: os.kill(os.getpid(), signal.SIGINT)\n    raise ValueError"
    done = patched(tmp_path, body)
    assert (done.code, done.err) == (130, "")


def test_no_error_of_ours_exits_with_the_code_of_a_failed_gate():
    """Nor does one that somebody derives from the base."""
    kinds = [getattr(ftonnx.errors, name) for name in ftonnx.errors.__all__ if name[0].isupper()]
    assert FtonnxError.exit_code == 70
    assert {kind("text").exit_code for kind in kinds} == {70, 2, 4, 5, 128 + signal.SIGINT}


def test_an_exception_whose_text_cannot_be_had_is_described_by_its_type():
    """User code may raise anything."""

    class MuteError(Exception):
        def __str__(self):
            raise ValueError("no")

    assert describe(MuteError()) == "MuteError"


def test_files_opened_while_standard_streams_are_closed_do_not_take_their_place(tmp_path):
    """Else the runtime's own messages to stderr would end in the results."""
    code = (
        "import os; from ftonnx.cli.streams import standard_streams\n"
        "with standard_streams():\n    print(os.open(os.devnull, os.O_RDONLY) > 2, file=open('seen', 'w'))"
    )
    line = f"exec '{sys.executable}' -c \"{code}\" <&- >&- 2>&-"
    assert _finished(["/bin/sh", "-c", line], tmp_path).code == 0
    assert (tmp_path / "seen").read_text() == "True\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; free some space"),
        (OSError(errno.EROFS, "Read-only file system", "a/b"), "a/b: Read-only file system; choose another place"),
        (OSError("odd"), "odd"),
    ],
)
def test_what_the_system_refuses_anywhere_is_one_line_with_advice(monkeypatch, capfd, error, said):
    """Code 4, wherever in a command it happens."""

    def fails(arguments):
        raise error

    monkeypatch.setattr("ftonnx.cli.application.run", fails)
    assert main(["inspect", "digits"]) == 4
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"error: reading or writing failed: {said}")
    assert err.count("\n") == 1
