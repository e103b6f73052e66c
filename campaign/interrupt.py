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
    """Catch SIGINT and SIGTERM inside the block; outside the main thread, signals are left alone."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    previous = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}

    def remember(signum: int, _frame: FrameType | None) -> None:
        request.signum = signum
        for each, handler in previous.items():
            signal.signal(each, handler)

    for signum in previous:
        signal.signal(signum, remember)
    try:
        yield request
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)
