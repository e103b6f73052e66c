"""A worker process: it runs the units it is handed and sends their records back.

It maps the images of a batch from a file that its parent wrote, and ends when its parent ends. What
it is to do comes as an ``Assignment``; what it sends is Ready, ``Report``, ``Trouble`` or a log record.
It holds batches with their golden runs while its memory allows. It knows nothing of the store.
"""

import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

from ftonnx.campaign.plan.schedule import Unit
from ftonnx.campaign.run.batch import BatchRunner
from ftonnx.campaign.run.held_runners import HeldRunners
from ftonnx.campaign.run.messages import Assignment, Item, Ready, Report, Trouble, batch_of
from ftonnx.campaign.run.worker_files import Progress, Setup, read_batch
from ftonnx.campaign.store.folder import Record
from ftonnx.campaign.store.golden_run import GoldenRun
from ftonnx.runtime import FaultySession
from ftonnx.sessions import exit_when_stuck

__all__ = ["OUT_OF_MEMORY"]

OUT_OF_MEMORY: Final = 71
"""Exit code of a worker for which Python has no memory left."""

_REPORT_SECONDS: Final = 0.01
"""Units that take less are reported together; a message costs as much as a small unit."""


def main(descriptor: int, folder: str, progress: str) -> None:
    """Serve the parent at the other end of the connection until it says stop or ends."""
    for signum in (signal.SIGINT, signal.SIGTERM):  # they are for the parent, which then says stop
        signal.signal(signum, signal.SIG_IGN)
    exit_when_stuck()
    connection: Connection[Any, Any] = Connection(descriptor)
    inbox = _Inbox(connection, Path(folder))
    try:
        _serve_or_report(connection, inbox, Path(folder), Path(progress))
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except ConnectionError:  # the parent was killed
        inbox.wait_for_the_end()


def _serve_or_report(connection: "Connection[Any, Any]", inbox: "_Inbox", folder: Path, progress: Path) -> None:
    try:
        _serve(connection, inbox, folder, progress)
    except (MemoryError, ConnectionError):
        raise
    except Exception as error:  # also where another worker has removed the folder of a killed parent
        connection.send(Trouble.of(error))


def _serve(connection: "Connection[Any, Any]", inbox: "_Inbox", folder: Path, progress: Path) -> None:
    setup = Setup.load(folder)
    logger = logging.getLogger("ftonnx")
    logger.setLevel(setup.log_level)
    logger.addHandler(_ToParent(connection))
    session = setup.open(folder)
    connection.send(Ready())
    desk = _Desk(setup, session, folder, Progress(progress), _Reports(connection))
    for items, timed_out in inbox.assignments():
        for item in items:
            if inbox.stopping:
                break
            desk.do(item, is_last=inbox.is_empty and item is items[-1], timed_out=item in timed_out)
        if inbox.stopping:
            break
    desk.close()


class _Desk:
    """Does one item after the other, with the batches that are held for it."""

    def __init__(
        self, setup: Setup, session: FaultySession, folder: Path, progress: Progress, reports: "_Reports"
    ) -> None:
        self._setup = setup
        self._session = session
        self._folder = folder
        self._progress = progress
        self._reports = reports
        self._held = HeldRunners(setup.memory)
        self._current: tuple[int, BatchRunner] | None = None

    def do(self, item: Item, *, is_last: bool, timed_out: bool) -> None:
        """Run a unit, or say what a batch gives without faults.

        Args:
            item: it.
            is_last: nothing else waits, so that the parent is told at once.
            timed_out: it is not run, as it did not end before.
        """
        self._progress.begin()
        batch = batch_of(item)
        runner = self._runner(batch)
        if isinstance(item, Unit):
            record = runner.timed_out(item) if timed_out else runner.run(item)
            self._reports.add(record)
        else:
            self._reports.add_golden(batch, runner.golden_run)
        self._reports.count_done()
        # what may take long is not waited for
        self._reports.send(at_once=is_last or runner.golden_seconds > _REPORT_SECONDS)

    def close(self) -> None:
        """Report what has not been reported."""
        self._reports.send(at_once=True)

    def _runner(self, batch: int) -> BatchRunner:
        """Return what runs a batch's units, after its golden run where it is not held."""
        if self._current is not None and self._current[0] == batch:
            return self._current[1]
        self._leave()
        if batch in self._held:
            runner = self._held[batch]
        else:
            self._progress.set_golden(True)
            images, labels = read_batch(self._folder, batch)
            runner = self._setup.recipe.open_batch(self._session, images, labels)
            self._progress.set_golden(False)
            self._reports.add_golden(batch, runner.golden_run)
        self._current = batch, runner
        return runner

    def _leave(self) -> None:
        """Hold the batch that was worked on, if it fits beside the others."""
        if self._current is not None:
            batch, runner = self._current
            if not self._held.keep(batch, runner):
                self._reports.add_dropped(batch)
            self._current = None


class _Reports:
    """Tells the parent what was done, several small units at a time."""

    def __init__(self, connection: "Connection[Any, Any]") -> None:
        self._connection = connection
        self._sent = time.monotonic()
        self._start()

    def _start(self) -> None:
        self._done = 0
        self._golden: dict[int, GoldenRun] = {}
        self._records: list[Record] = []
        self._dropped: list[int] = []

    def add(self, record: Record) -> None:
        self._records.append(record)

    def add_golden(self, batch: int, found: GoldenRun) -> None:
        self._golden[batch] = found

    def add_dropped(self, batch: int) -> None:
        self._dropped.append(batch)

    def count_done(self) -> None:
        self._done += 1

    def send(self, *, at_once: bool) -> None:
        """Send what was added, if it is time to."""
        now = time.monotonic()
        if at_once or now - self._sent >= _REPORT_SECONDS:
            self._connection.send(Report(self._done, self._golden, self._records, self._dropped))
            self._sent = now
            self._start()


class _Inbox:
    """Receives in a thread of its own, so that a stop, or the parent's end, is noticed whatever runs meanwhile."""

    def __init__(self, connection: "Connection[Any, Any]", folder: Path) -> None:
        self.stopping = False
        self._connection, self._folder = connection, folder
        self._queue: SimpleQueue[Assignment | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return self._queue.empty()

    def assignments(self) -> Iterator[Assignment]:
        """Yield what comes until the parent says stop."""
        while (assignment := self._queue.get()) is not None:
            yield assignment

    def wait_for_the_end(self) -> None:
        """Wait until the thread has noticed that the parent is gone, and ends the process."""
        self._thread.join()

    def _listen(self) -> None:
        assignment: Assignment | None = Assignment(())
        while assignment is not None:
            try:
                assignment = self._connection.recv()
            except (EOFError, OSError):  # the parent was killed, so nobody else tidies up
                shutil.rmtree(self._folder, ignore_errors=True)
                os._exit(1)
            self.stopping = assignment is None
            self._queue.put(assignment)


class _ToParent(QueueHandler):
    """Sends log records to the parent, whose handlers and levels count."""

    def __init__(self, connection: "Connection[Any, Any]") -> None:
        super().__init__(connection)  # type: ignore[arg-type]  # only emit uses it

    def emit(self, record: logging.LogRecord) -> None:
        """Send the record; a parent that is gone is met in ``main``, not printed as a logging error."""
        self.queue.send(self.prepare(record))  # type: ignore[attr-defined]
