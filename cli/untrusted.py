"""``--untrusted``: a command in a process of its own, which gets so much memory and time and no more.

Not aware of what the command does. What it prints passes by; where it dies, that becomes one line.
"""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final, NoReturn

from ftonnx.errors import Interrupted, ModelError
from ftonnx.files import scratch_folder
from ftonnx.limits import UNTRUSTED_BYTES, UNTRUSTED_SECONDS

__all__ = ["run_apart"]

_GRACE: Final = 5
"""Seconds that an interrupted command gets to end."""


def run_apart(arguments: Sequence[str]) -> int:
    """Run a command in a child and return its exit code.

    Args:
        arguments: of the command line, without ``--untrusted``.

    Raises:
        ModelError: it took too long, or died.
    """
    most_bytes = UNTRUSTED_BYTES.most
    seconds = UNTRUSTED_SECONDS.most
    command = [sys.executable, "-m", "ftonnx", *arguments]
    child = subprocess.Popen(command, process_group=0, preexec_fn=lambda: _limit(most_bytes, seconds))
    try:
        with _ended_by_sigterm():
            code = child.wait(seconds)
    except subprocess.TimeoutExpired:
        raise ModelError(f"it was still at work after {seconds:,} seconds: {UNTRUSTED_SECONDS.said}") from None
    except BaseException:
        _interrupt(child)
        raise
    finally:
        _kill_group(child)
    if code < 0:
        _sweep()
        raise ModelError(_how_it_died(-code))
    return code


def _limit(most_bytes: int, seconds: int) -> None:
    """Limit the process that is about to become the child, and all that it starts."""
    resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
    # each of its threads may work all the time; it ends also where nobody is left to watch the clock
    processor_seconds = seconds * (os.cpu_count() or 1)
    resource.setrlimit(resource.RLIMIT_CPU, (processor_seconds, processor_seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    previous = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _stop(signum: int, frame: FrameType | None) -> NoReturn:
    raise Interrupted("the command was told to end", signum)


def _interrupt(child: subprocess.Popen[bytes]) -> None:
    """Pass an interrupt on, so that what is recorded stays whole; the child has a group of its own."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        child.wait(_GRACE)


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    """End the child and what it started, where anything is left of them."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    if child.returncode is None:
        child.wait()
        _sweep()


def _sweep() -> None:
    """Remove what the killed child left in the folder for temporary files, as every new scratch folder does."""
    with scratch_folder():
        pass


def _how_it_died(signum: int) -> str:
    if signum in (signal.SIGKILL, signal.SIGXCPU):
        return (
            f"the command was killed, for its processor time or by the system for its memory: {UNTRUSTED_SECONDS.said}"
        )
    name = signal.Signals(signum).name
    return (
        f"the command died of {name}, as it does of a hostile model, or where the memory does not suffice: "
        f"{UNTRUSTED_BYTES.said}"
    )
