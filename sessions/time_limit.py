"""How long runs of a model may take: a thread beside them asks ONNX Runtime to end, as it does between operators.

An operator that does not end, such as a loop without a node in its body, cannot be ended from inside a process. Then
that is said; or the process ends, where ``exit_when_stuck`` was called, as in processes that exist to be replaced.
"""

import logging
import math
import os
import threading
import time
from contextlib import AbstractContextManager
from typing import Final, Self

import onnxruntime as ort

from ftonnx.errors import ModelError

__all__ = ["STUCK", "RunTimeoutError", "TimeLimit", "exit_when_stuck", "limit_in_use"]

STUCK: Final = 72
"""Exit code of a process that ended because a run in it did not."""

_ANY_RUN_SECONDS: Final = 3600.0  # outside of all blocks
_GRACE_SECONDS: Final = 2.0
_logger: Final = logging.getLogger(__name__)
_in_use: Final = threading.local()


class RunTimeoutError(ModelError):
    """A run took longer than it may, and was ended."""


class TimeLimit(AbstractContextManager["TimeLimit"]):
    """Inside the block, every run in this thread may take so many seconds.

    It can be entered any number of times, one after the other.

    Attributes:
        seconds: that a run may take.
        options: ONNX Runtime's own of the next run, or the one in work, by which it is asked to end.
    """

    def __init__(self, seconds: float) -> None:
        """Begin with the first block; the seconds are above 0."""
        self.seconds = seconds
        self.options = ort.RunOptions()
        self._is_over = False
        self._outer: TimeLimit | None = None

    def __enter__(self) -> Self:
        self._outer = limit_in_use()
        _in_use.limit = self
        return self

    def __exit__(self, *_: object) -> None:
        _in_use.limit = self._outer

    def begin_run(self) -> None:
        """Note that a run begins."""
        if self._is_over:
            # what has been asked to end stays so
            self.options = ort.RunOptions()
            self._is_over = False
        _watcher.watch(self, time.monotonic() + self.seconds)

    def end_run(self) -> None:
        """Note that the run has ended."""
        _watcher.forget(self)

    def raise_if_over(self) -> None:
        """Say what it was that ended the run.

        Raises:
            RunTimeoutError: its time was over.
        """
        if self._is_over:
            raise RunTimeoutError(f"a run of the model did not end within {self.seconds:,.3g} s")

    def end(self) -> None:
        """Ask ONNX Runtime to end the run; the watcher does."""
        self._is_over = True
        self.options.terminate = True


def limit_in_use() -> TimeLimit:
    """Return the limit of this thread's innermost block; outside of all it is an hour."""
    found: TimeLimit | None = getattr(_in_use, "limit", None)
    if found is None:
        found = TimeLimit(_ANY_RUN_SECONDS)
        _in_use.limit = found
    return found


def exit_when_stuck() -> None:
    """From now on, let this process end with ``STUCK`` once a run in it has not ended when it was asked to."""
    _watcher.exits = True


class _Watcher:
    """The thread that ends what takes too long; it sleeps until the earliest of the times, and is no cost until then.

    Attributes:
        exits: what cannot be ended ends the process.
    """

    def __init__(self) -> None:
        self.exits = False
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._times: dict[TimeLimit, float] = {}
        self._asked: set[TimeLimit] = set()
        self._wakes = math.inf
        self._thread: threading.Thread | None = None

    def watch(self, limit: TimeLimit, until: float) -> None:
        """End a limit's run at a time of the monotonic clock, unless it is forgotten before."""
        with self._lock:
            self._times[limit] = until
            # later times are looked at when the thread wakes for an earlier one
            if until < self._wakes:
                self._wakes = until
                self._wake()

    def forget(self, limit: TimeLimit) -> None:
        """Note that a limit's run has ended."""
        with self._lock:
            self._times.pop(limit, None)
            self._asked.discard(limit)

    def _wake(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="ftonnx-time-limits", daemon=True)
            self._thread.start()
        self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                stuck = self._end_due()
                self._wakes = min(self._times.values(), default=math.inf)
                if not stuck:
                    left = self._wakes - time.monotonic()
                    self._changed.wait(None if left == math.inf else max(0.0, left))
            for limit in stuck:
                self._say_stuck(limit)

    def _end_due(self) -> list[TimeLimit]:
        """Ask those to end whose time has come; return those that have been asked before."""
        now = time.monotonic()
        stuck = []
        for limit, until in list(self._times.items()):
            if until > now:
                continue
            if limit in self._asked:
                del self._times[limit]
                stuck.append(limit)
            else:
                limit.end()
                self._asked.add(limit)
                self._times[limit] = now + _GRACE_SECONDS
        return stuck

    def _say_stuck(self, limit: TimeLimit) -> None:
        if self.exits:
            os._exit(STUCK)
        _logger.warning(
            "a run of the model has not ended after %.3g s, and ONNX Runtime cannot end it inside one operator: "
            "interrupt twice to give up",
            limit.seconds,
        )


_watcher: Final = _Watcher()
