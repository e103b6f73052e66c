"""Running units in worker processes: who does which units, and what happens when a process dies.

Each worker is an interpreter of its own with its own session, connected by a socket; it does not run
the user's script again. The parent alone reads the data and writes to the store. A batch belongs to
one worker while there are others left, so that its golden run is paid once; at the end, idle workers
join the batch with the most units waiting. Records come back one by one, so a worker that dies loses
one unit, which is known, retried, and given up after three deaths.
"""

import logging
import math
import os
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Final, Self

from ftonnx.campaign.plan.schedule import Unit
from ftonnx.campaign.plan.settings import Jobs, Settings
from ftonnx.campaign.run.base import Enough, Executor, Work, never
from ftonnx.campaign.run.ledger import Ledger, PendingBatch
from ftonnx.campaign.run.signals import StopRequest
from ftonnx.campaign.run.worker import Golden, Ready, Setup, Trouble, add_batch, remove_batch
from ftonnx.campaign.run.worker_process import Item, WorkerProcess
from ftonnx.campaign.store.folder import Record
from ftonnx.errors import IncompleteError, StoreError
from ftonnx.runtime import cache_limit

__all__ = ["Processes", "cores", "threads_per_worker"]

_RETRIES: Final = 2
_MOST_FAILED_STARTS: Final = 3  # in a row
_TICK_SECONDS: Final = 0.2  # a signal is noticed this late at most
_PATIENCE_SECONDS: Final = 60.0  # for the units in work after a signal
_AHEAD_SECONDS: Final = 0.05  # of work wait at a worker, so that it need not wait for us
_MOST_AHEAD: Final = 1000
_MOST_NAMED: Final = 5
_logger: Final = logging.getLogger(__name__)


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_per_worker(threads: int | None, jobs: int) -> int:
    """Return a worker's threads: the given number, else its share of the cores.

    >>> threads_per_worker(3, 8), threads_per_worker(None, 1000)
    (3, 1)
    """
    return threads or max(1, cores() // jobs)


class Processes(Executor):
    """Worker processes on this machine."""

    def __init__(self, jobs: int, write: Callable[[Path], None], ledger: Ledger, stop: StopRequest) -> None:
        """Prepare; processes start with the first ``run``.

        Args:
            jobs: number of processes.
            write: writes what they need to know into a folder, see ``Setup.save``.
            ledger: what is left.
            stop: asks for an early end.
        """
        self._jobs = jobs
        self._write = write
        self._ledger = ledger
        self._stop = stop
        self._workers: dict[Connection[Any, Any], WorkerProcess] = {}
        self._held: dict[int, _Held] = {}
        self._pending: Iterator[PendingBatch] = ledger.pending()
        self._all_read = False
        self._read_seconds = 0.0
        self._unit_seconds: float | None = None
        self._failed_starts = 0
        self._deaths: Counter[Item] = Counter()
        self._given_up: dict[Item, str] = {}

    @classmethod
    def takes(cls, jobs: Jobs) -> bool:
        """It is two processes or more."""
        return isinstance(jobs, int) and jobs > 1

    @classmethod
    def of(cls, work: Work) -> Self:
        """Return the executor for a campaign, with the number of processes that its settings ask for."""
        return cls.so_many(work, int(work.settings.jobs))

    @classmethod
    def so_many(cls, work: Work, jobs: int) -> Self:
        """Return the executor for a campaign, with a number of processes."""
        setup = Setup(
            recipe=work.recipe,
            extra=work.session.extra,
            threads=threads_per_worker(work.settings.threads, jobs),
            cache_memory=cache_limit(work.settings.cache_memory) // jobs,
            log_level=_logger.getEffectiveLevel(),
        )
        return cls(jobs, lambda folder: setup.save(folder, work.session), work.ledger, work.stop)

    @classmethod
    def speedup(cls, settings: Settings) -> int:
        """Return the number of processes that have cores of their own; 1 where one of them would use all cores."""
        if settings.threads is None:
            return 1
        return max(1, min(int(settings.jobs), cores() // settings.threads))

    @property
    def at_once(self) -> int:
        """The number of processes."""
        return self._jobs

    def __enter__(self) -> Self:
        """Write what the workers need.

        Raises:
            UsageError: other processes cannot import the task.
            StoreError: there is no room for temporary files.
        """
        with ExitStack() as undo, _temporary_files():
            self._temporary = tempfile.TemporaryDirectory(prefix="ftonnx-jobs-", ignore_cleanup_errors=True)
            undo.callback(self._temporary.cleanup)
            self._folder = Path(self._temporary.name)
            self._write(self._folder)
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers.values():
            worker.end()
        self._workers.clear()
        self._temporary.cleanup()

    @property
    def warm(self) -> bool:
        """Whether every worker is at work and has done a unit."""
        return len(self._workers) == self._jobs and all(worker.records for worker in self._workers.values())

    def run(self, enough: Enough = never) -> bool:
        """Hand out what is left, and record what comes back.

        Raises:
            IncompleteError: worker processes died over some units, or cannot start; all others are recorded.
            Interrupted: a signal came; the units in work are finished and recorded.
            FtonnxError: what a worker has raised.
            RuntimeError: a bug in a worker; the text holds its traceback.
        """
        if self._all_read and not self._held:  # the ledger may ask for more by now
            self._pending = self._ledger.pending()
            self._all_read = False
        while True:
            if self._stop.asked:
                self._drain()
                self._stop.raise_if_asked(self._ledger.summary)
            self._hand_out()
            if not any(worker.items for worker in self._workers.values()):
                self._refuse_gaps()
                return True
            for connection in wait(list(self._workers), _TICK_SECONDS):
                record = self._receive(self._workers[connection])  # type: ignore[index]  # only connections were given
                if record is not None and enough(record):
                    return False

    def _hand_out(self) -> None:
        """Start missing workers, give every worker work for a while, and have one more batch ready."""
        self._start_missing()
        for worker in self._workers.values():
            while len(worker.items) <= self._ahead // 2 and (index := self._choose(worker)) is not None:
                held = self._held[index]
                units = [held.waiting.popleft() for _ in range(min(self._ahead - len(worker.items), len(held.waiting)))]
                held.running += worker.assign(index, units)
        owned = {worker.batch for worker in self._workers.values()}
        if owned.issuperset(self._held):
            self._read()

    @property
    def _ahead(self) -> int:
        """How many items a worker has at most, so that none is idle while we read a batch."""
        if not self._unit_seconds:
            return 2
        seconds = _AHEAD_SECONDS + (0 if self._all_read else 1.5 * self._read_seconds)
        return min(_MOST_AHEAD, 1 + math.ceil(seconds / self._unit_seconds))

    def _start_missing(self) -> None:
        wanted = min(self._jobs, max(1, self._ledger.left))
        while len(self._workers) < wanted and (not self._all_read or any(held.open for held in self._held.values())):
            try:
                worker = WorkerProcess(self._folder)
            except OSError as error:
                raise IncompleteError(
                    f"a worker process cannot be started ({error}); {self._ledger.summary}; "
                    "lower `jobs` and run the same command again"
                ) from error
            self._workers[worker.connection] = worker

    def _choose(self, worker: "WorkerProcess") -> int | None:
        """Return the batch from which a worker gets its next units: its own, a free one, or the fullest."""
        if worker.batch in self._held and self._held[worker.batch].waiting:
            return worker.batch
        owned = {each.batch for each in self._workers.values()}
        free = (index for index, held in self._held.items() if held.open and index not in owned)
        index = next(free, None)
        if index is None:
            index = self._read()
        if index is None and not worker.items:
            index = max(self._held, key=lambda each: len(self._held[each].waiting), default=None)
            if index is not None and len(self._held[index].waiting) < 2:  # the one at it has it done as soon
                return None
        return index

    def _read(self) -> int | None:
        """Place the next batch where workers find it; None when there is none, or enough are held."""
        if self._all_read or len(self._held) > self._jobs:
            return None
        start = time.perf_counter()
        batch = next(self._pending, None)
        if batch is None:
            self._all_read = True
            return None
        with _temporary_files():
            add_batch(self._folder, batch.number, batch.images, batch.labels)
        self._held[batch.number] = _Held(deque(batch.units), golden=self._ledger.has_golden(batch.number))
        self._read_seconds = time.perf_counter() - start
        return batch.number

    def _receive(self, worker: "WorkerProcess") -> Record | None:
        """Take one message from a worker; return it where it is a record."""
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            (self._dismiss if self._stop.asked else self._bury)(worker)
            return None
        match message:
            case Ready():
                worker.ready, self._failed_starts = True, 0
            case Golden(batch, outcomes):
                self._ledger.add_golden(batch, outcomes)
                self._held[batch].golden = True
                self._finish(worker.items.popleft())
            case Record():
                self._ledger.add(message)
                worker.records += 1
                seconds = message.wall_ns * 1e-9
                known = seconds if self._unit_seconds is None else self._unit_seconds
                self._unit_seconds = 0.8 * known + 0.2 * seconds
                self._finish(worker.items.popleft())
                return message
            case Trouble(error, text):
                raise error or RuntimeError(f"a worker process failed:\n{text}")
            case logging.LogRecord():
                logging.getLogger(message.name).handle(message)
        return None

    def _finish(self, item: Item) -> None:
        """Note that a worker is done with an item, and let go of a batch of which nothing is left."""
        index = _batch_of(item)
        held = self._held[index]
        held.running -= 1
        if not held.running and not held.open:
            del self._held[index]
            remove_batch(self._folder, index)

    def _bury(self, worker: "WorkerProcess") -> None:
        """Take back the units of a worker that has died, and blame the one that it was working on."""
        cause = worker.end(patient=True)
        del self._workers[worker.connection]
        if not worker.ready:
            self._failed_starts += 1
            _logger.warning("a worker process ended while starting (%s)", cause)
            if self._failed_starts == _MOST_FAILED_STARTS:
                raise IncompleteError(
                    f"worker processes end while starting ({cause}), {_MOST_FAILED_STARTS} times in a row; "
                    f"{self._ledger.summary}; free some memory or lower `jobs`, and run the same command again"
                )
        guilty = worker.items[0] if worker.ready and worker.items else None
        for item in reversed(worker.items):
            if isinstance(item, Unit) and item is not guilty and item.batch not in self._given_up:
                self._held[item.batch].waiting.appendleft(item)
        if guilty is not None:
            self._blame(guilty, cause)
        for item in worker.items:
            self._finish(item)

    def _blame(self, item: Item, cause: str) -> None:
        """Have an item tried again, behind the others of its batch, or give it up."""
        self._deaths[item] += 1
        held = self._held[_batch_of(item)]
        _logger.warning("a worker process died (%s) at %s, time %d", cause, _describe(item), self._deaths[item])
        if self._deaths[item] > _RETRIES:
            self._given_up[item] = cause
            if not isinstance(item, Unit):
                held.waiting.clear()
                held.golden = True
        elif isinstance(item, Unit):
            held.waiting.append(item)

    def _refuse_gaps(self) -> None:
        if not self._given_up:
            return
        names = [f"{_describe(item)} ({cause})" for item, cause in self._given_up.items()]
        more = [f"and {len(names) - _MOST_NAMED} more"] if len(names) > _MOST_NAMED else []
        raise IncompleteError(
            f"worker processes died {_RETRIES + 1} times over each of: {'; '.join(names[:_MOST_NAMED] + more)}. "
            f"{self._ledger.summary}; the same command tries the others again"
        )

    def _dismiss(self, worker: "WorkerProcess") -> None:
        worker.end()
        del self._workers[worker.connection]

    def _drain(self) -> None:
        """Let the workers finish the units they are at, and record them."""
        for worker in list(self._workers.values()):
            if worker.ready and worker.items:
                worker.send(None)
            else:
                self._dismiss(worker)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self._workers and (left := deadline - time.monotonic()) > 0:
            for connection in wait(list(self._workers), left):
                self._receive(self._workers[connection])  # type: ignore[index]  # only connections were given


class _Held:
    """A batch that workers can reach.

    Attributes:
        waiting: units that no worker has been given.
        golden: its golden run is recorded, or given up.
        running: number of items that workers have been given and have not finished.
    """

    def __init__(self, waiting: deque[Unit], *, golden: bool) -> None:
        self.waiting, self.golden, self.running = waiting, golden, 0

    @property
    def open(self) -> bool:
        """Whether a worker is needed."""
        return bool(self.waiting) or not (self.golden or self.running)


def _batch_of(item: Item) -> int:
    return item.batch if isinstance(item, Unit) else item


def _describe(item: Item) -> str:
    if isinstance(item, Unit):
        return f"rate {item.rate:g}, repeat {item.repeat}, batch {item.batch}"
    return f"batch {item} without faults"


@contextmanager
def _temporary_files() -> Iterator[None]:
    """Turn what goes wrong when writing for the workers into one clear line."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{tempfile.gettempdir()} cannot hold the model and images for worker processes ({error}); "
            "free some space, set TMPDIR to another folder, or use `jobs=1`"
        ) from error
