"""The process's own stdin, stdout and stderr, which may be closed, full, or pipes without a reader.

What goes to stderr is said on the side: where nobody can read it, a command does its work all the same. Results go to
stdout: where they cannot be written, the command has failed.
"""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

__all__ = ["abandon_stdout", "say", "standard_streams"]

_STDIN: Final = 0
_STDOUT: Final = 1
_STDERR: Final = 2
_STAND_INS: Final = {
    _STDIN: os.O_RDONLY,
    _STDOUT: os.O_RDONLY,  # so that writing fails, as it does where stdout is closed
    _STDERR: os.O_WRONLY,
}


@contextmanager
def standard_streams() -> Iterator[None]:
    """Give the block a stderr that never fails, and a stdout that does where it is closed.

    Streams that a caller has put in place of the process's own are left alone.
    """
    _open_closed_descriptors()
    stdout, stderr = sys.stdout, sys.stderr
    if sys.stdout is None:
        sys.stdout = open(_STDOUT, "w", closefd=False)  # noqa: SIM115  # it is not ours to close
    if sys.stderr is sys.__stderr__:
        sys.stderr = _forgiving_stderr()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = stdout, stderr


def abandon_stdout() -> None:
    """Let go of what stdout does not take, else Python tries again at its end and exits with a code of its own."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # closed, or a stand-in in memory
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def say(line: str) -> None:
    """Write a line to stderr, which may be a caller's."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except (OSError, ValueError):  # full or closed: there is no other place to say it
        return


class _Forgiving(io.FileIO):
    """A descriptor for writing that drops what it cannot write."""

    def write(self, data: Any) -> int:
        """Write, and claim to have done so."""
        size = memoryview(data).nbytes
        try:
            written = super().write(data)
        except OSError:  # a full disk, or a pipe without a reader
            return size
        return size if written is None else written  # None: a pipe that takes nothing more for the moment


def _forgiving_stderr() -> io.TextIOWrapper:
    """Return a text stream on the process's stderr, set up as Python's own."""
    encoding = getattr(sys.stderr, "encoding", None)
    binary = io.BufferedWriter(_Forgiving(_STDERR, "w", closefd=False))
    return io.TextIOWrapper(binary, encoding=encoding, errors="backslashreplace", line_buffering=True)


def _open_closed_descriptors() -> None:
    """Put something in the place of closed standard streams, else the next file opened would be taken for one."""
    for descriptor, flags in _STAND_INS.items():
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)  # takes the lowest free number, which is this one
            os.set_inheritable(descriptor, True)
