"""SIGINT and SIGTERM ask a campaign to stop after the unit it is working on."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ftonnx.errors import Interrupted

__all__ = ["StopRequest", "stop_on_signals"]


class StopRequest:
    """Remembers the first signal; the second one takes its usual effect."""

    def __init__(self) -> None:
        self.signum: int | None = None

    @property
    def asked(self) -> bool:
        """Whether a signal has come."""
        return self.signum is not None

    def raise_if_asked(self, progress: str) -> None:
        """Raise Interrupted, with ``progress`` in its message, once a signal has come."""
        if self.signum is not None:
            name = signal.Signals(self.signum).name
            raise Interrupted(f"stopped by {name}: {progress}", self.signum)


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Catch SIGINT and SIGTERM inside the block.

    Outside the main thread, signals are left alone. So is a signal that the process was started to ignore, as a
    shell without job control starts what ends in ``&``, so that Ctrl-C reaches the foreground only.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    found = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    # None is a handler from outside Python, which could not be put back
    previous = {signum: handler for signum, handler in found.items() if handler not in (signal.SIG_IGN, None)}

    def restore() -> None:
        for signum, handler in previous.items():
            signal.signal(signum, handler)

    def remember(signum: int, _frame: FrameType | None) -> None:
        request.signum = signum
        restore()

    for signum in previous:
        signal.signal(signum, remember)
    try:
        yield request
    finally:
        restore()
