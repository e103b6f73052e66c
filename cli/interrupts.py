"""The second Ctrl-C: it ends the process and its children within seconds, whatever these are at.

Python looks for signals between two of its own instructions, so not while ONNX Runtime runs. The interpreter writes
down every signal in a pipe all the same, which a thread reads.
"""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ftonnx.cli.streams import say

__all__ = ["ended_by_the_second"]

_GRACE_SECONDS: Final = 2.0  # for what can end by itself
_ENDING: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def ended_by_the_second() -> Iterator[None]:
    """Let the second SIGINT or SIGTERM inside the block end the process, where the block does not end by itself.

    Outside the main thread, signals are left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    done = threading.Event()
    before = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    guard = threading.Thread(target=_watch, args=(reading, done), name="ftonnx-interrupts", daemon=True)
    guard.start()
    try:
        yield
    finally:
        done.set()
        signal.set_wakeup_fd(before)
        writing.close()  # which ends the thread


def _watch(reading: socket.socket, done: threading.Event) -> None:
    """Read signals until the other end is closed; end the process after the second one."""
    with reading:
        seen = 0
        while received := reading.recv(64):
            ending = [number for number in received if number in _ENDING and _is_handled(number)]
            seen += len(ending)
            if seen > 1 and not done.wait(_GRACE_SECONDS):
                say("error: interrupted twice: what was at work could not end by itself, and was ended")
                _kill_children()
                os._exit(128 + (ending[-1] if ending else signal.SIGINT))


def _is_handled(signum: int) -> bool:
    """Say whether the process takes notice of a signal, which it may have been started to ignore."""
    return signal.getsignal(signum) is not signal.SIG_IGN


def _kill_children() -> None:
    """Kill what this process has started, and what that has; on systems that do not tell, it has to notice itself."""
    parents: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            # behind the name of the program, which may hold anything
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
    family = {os.getpid()}
    while found := {child for child, parent in parents.items() if parent in family} - family:
        family |= found
    for child in family - {os.getpid()}:
        with suppress(OSError):
            os.kill(child, signal.SIGKILL)
