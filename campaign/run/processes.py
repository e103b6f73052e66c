"""Running units in worker processes: who does which units, and what happens when a process dies.

Each worker is an interpreter of its own with its own session, connected by a socket; it does not run
the user's script again. The parent alone reads the data and writes to the store. A batch belongs to
one worker while there are others left, so that its golden run is paid once; idle workers join another one's
batch. Where a campaign goes by rounds, workers hold their batches from one round to the next, and whoever is
done with a round runs ahead: what it finds waits here until it is asked for, and is forgotten if it never is.
The unit that a dying worker was at is known, retried, and given up after three deaths.
"""

import logging
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Final, Self

from ftonnx.campaign.plan.schedule import Unit
from ftonnx.campaign.plan.settings import LOCAL, Settings
from ftonnx.campaign.run.base import Work
from ftonnx.campaign.run.deaths import Deaths
from ftonnx.campaign.run.elsewhere import Elsewhere
from ftonnx.campaign.run.ledger import Ledger, PendingBatch
from ftonnx.campaign.run.messages import Item, Ready, Report, Trouble, batch_of
from ftonnx.campaign.run.placed_batches import PlacedBatches
from ftonnx.campaign.run.shares import Shares
from ftonnx.campaign.run.signals import StopRequest
from ftonnx.campaign.run.worker_files import Setup, temporary_files
from ftonnx.campaign.run.worker_process import TIMED_OUT, WorkerProcess
from ftonnx.campaign.store.folder import Record
from ftonnx.errors import IncompleteError, ModelError
from ftonnx.files import scratch_folder
from ftonnx.runtime import cache_limit

__all__ = ["Processes", "cores", "threads_per_worker"]

_MOST_FAILED_STARTS: Final = 3  # in a row
_TICK_SECONDS: Final = 0.2  # a signal is noticed this late at most
_PATIENCE_SECONDS: Final = 60.0  # for the units in work after a signal
_AHEAD_SECONDS: Final = 0.05  # of work wait at a worker, so that it need not wait for us
_MOST_AHEAD: Final = 1000
_STOCK_BYTES: Final = 2**26  # of images lie ready besides a batch for each worker and one more
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


class Processes(Elsewhere):
    """Worker processes on this machine."""

    def __init__(
        self, jobs: int, write: Callable[[Path], None], ledger: Ledger, stop: StopRequest, *, memory: int = 0
    ) -> None:
        """Prepare; processes start with the first ``run``.

        Args:
            jobs: number of processes.
            write: writes what they need to know into a folder, see ``Setup.save``.
            ledger: what is left.
            stop: asks for an early end.
            memory: bytes of images that may lie ready from one round to the next.
        """
        super().__init__(ledger, stop, Deaths())
        self._jobs = jobs
        self._write = write
        self._memory = memory
        self._workers: dict[Connection[Any, Any], WorkerProcess] = {}
        self._shares: Shares[WorkerProcess] = Shares()
        self._pending: Iterator[PendingBatch] = iter(())
        self._of_batch: Counter[int] = Counter()  # how many items wait, or are at a worker
        self._last_portion = -1  # that was handed out
        self._read_seconds = 0.0
        self._unit_seconds: float | None = None
        self._failed_starts = 0
        self._timed_out: set[Item] = set()  # and will be recorded as that

    @classmethod
    def takes(cls, settings: Settings) -> bool:
        """It is two processes or more."""
        return settings.engine == LOCAL and settings.jobs not in (1, "auto")

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
            memory=work.memory // jobs,
            log_level=_logger.getEffectiveLevel(),
        )
        # units are run elsewhere
        work.opened.clear()
        write = partial(setup.save, session=work.session)
        return cls(jobs, write, work.ledger, work.stop, memory=work.memory)

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
        with ExitStack() as undo, temporary_files():
            self._folder = undo.enter_context(scratch_folder())
            self._placed = PlacedBatches(self._folder, self._memory)
            self._write(self._folder)
            self._temporary = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers.values():
            worker.end()
        self._workers.clear()
        self._temporary.close()

    @property
    def warm(self) -> bool:
        """Whether every worker is at work and has done a unit."""
        return len(self._workers) == self._jobs and all(worker.records for worker in self._workers.values())

    def _await(self) -> None:
        for connection in wait(list(self._workers), _TICK_SECONDS):
            self._receive(self._workers[connection])  # type: ignore[index]  # only connections were given

    def _look(self) -> None:
        """See ``Elsewhere._look``; what waits and is asked for no more is taken back."""
        for item in self._shares.remove(self._is_unwanted):
            self._finish(item)
        self._all_read = True
        self._pending = iter(())
        for number in self._ledger.open_batches():
            if number in self._placed:
                self._ask_for(number, self._ledger.units_left(number))
            elif self._all_read:
                self._all_read = False
                self._pending = self._ledger.pending()

    def _ask_for(self, number: int, units: Iterable[Unit]) -> None:
        """Have units of a batch done that are not, and its golden run."""
        if self._deaths.gave_up(number):
            return
        items: list[Item] = [unit for unit in units if not self._deaths.gave_up(unit)]
        if not self._ledger.has_golden(number):
            self._asked.add(number)
            if not items:
                items.append(number)
        self._asked.update(items)
        self._add(items)

    def _add(self, items: Iterable[Item]) -> None:
        """Let items wait for workers, unless they are known, wait already, or are in work."""
        fresh = list(self._new(items))
        self._given.update(fresh)
        self._of_batch.update(map(batch_of, fresh))
        self._shares.add(fresh)

    def _hand_out(self) -> None:
        """Start missing workers, give every worker work for a while, and have one more batch ready."""
        if not len(self._shares):
            self._read()
        self._start_missing()
        for worker in self._workers.values():
            while worker.ready and len(worker.items) <= self._ahead // 2:
                items = self._next_items(worker, self._ahead - len(worker.items))
                if not items:
                    break
                worker.assign(items, self._timed_out.intersection(items))
        if not self._shares.has_free:
            self._read()

    def _next_items(self, worker: WorkerProcess, most: int) -> list[Item]:
        """Return what a worker is to do next; nothing where it has enough, or others have it done as soon."""
        share = math.ceil(self._ledger.batches / self._jobs)
        while True:
            items = self._shares.take(worker, most, share)
            if items:
                return items
            if not (self._read() or self._run_ahead()):
                break
        return [] if worker.items else self._shares.take_from_others(worker, most)

    def _run_ahead(self) -> bool:
        """Let units of the next portion wait, which the ledger will probably ask for; say whether there are any."""
        enough = self._jobs * self._ahead
        if self._begun is None or not self._all_read or max(len(self._shares), len(self._early)) > enough:
            return False
        if self._last_portion >= self._ledger.last_ahead:
            return False
        self._last_portion = max(self._last_portion, self._ledger.portion) + 1
        before = len(self._given)
        for number in self._placed.kept():
            units = self._ledger.units_ahead(number, self._last_portion)
            self._add(unit for unit in units if unit not in self._early and not self._deaths.gave_up(unit))
        return len(self._given) > before

    @property
    def _ahead(self) -> int:
        """How many items a worker has at most, so that none is idle while we read a batch."""
        if not self._unit_seconds:
            return 2
        seconds = _AHEAD_SECONDS + (0 if self._all_read else 1.5 * self._read_seconds)
        return min(_MOST_AHEAD, 1 + math.ceil(seconds / self._unit_seconds))

    def _start_missing(self) -> None:
        wanted = min(self._jobs, max(1, self._ledger.left))
        while len(self._workers) < wanted and (len(self._shares) or not self._all_read):
            try:
                worker = WorkerProcess(self._folder)
            except OSError as error:
                raise IncompleteError(
                    f"a worker process cannot be started ({error}); {self._ledger.summary}; "
                    "lower `jobs` and run the same command again"
                ) from error
            self._workers[worker.connection] = worker
            self._shares.join(worker)

    def _read(self) -> bool:
        """Place the next batch where workers find it; say whether there was one, and room for it."""
        stock = self._placed.in_use > self._jobs and self._placed.nbytes_in_use > _STOCK_BYTES
        if self._all_read or stock:
            return False
        start = time.perf_counter()
        batch = next((each for each in self._pending if each.number not in self._placed), None)
        if batch is None:
            self._all_read = True
            return False
        with temporary_files():
            self._placed.place(batch)
        self._ask_for(batch.number, batch.units)
        self._read_seconds = time.perf_counter() - start
        return True

    def _receive(self, worker: WorkerProcess) -> None:
        """Take one message from a worker."""
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            (self._dismiss if self._stop.asked else self._bury)(worker)
            return
        match message:
            case Ready():
                worker.ready, self._failed_starts = True, 0
            case Report():
                self._take_in(worker, message)
            case Trouble(error, text):
                raise error or RuntimeError(f"a worker process failed:\n{text}")
            case logging.LogRecord():
                logging.getLogger(message.name).handle(message)

    def _take_in(self, worker: WorkerProcess, report: Report) -> None:
        """Take in what a worker has done."""
        for batch, found in report.golden.items():
            self._ledger.add_golden(batch, found)
            self._asked.discard(batch)
            self._shares.hold(worker, batch)
        for record in report.records:
            worker.records += 1
            self._note_time(record)
            self._take(record)
        for batch in report.dropped:
            self._shares.drop(worker, batch)
        for item in worker.take_back(report.done):
            self._finish(item)

    def _note_time(self, record: Record) -> None:
        """Take in how long a unit took, the longer ones sooner: those without a flip take no time."""
        seconds = record.wall_ns * 1e-9
        known = seconds if self._unit_seconds is None else self._unit_seconds
        weight = 0.5 if seconds > known else 0.05
        self._unit_seconds = (1 - weight) * known + weight * seconds

    def _finish(self, item: Item) -> None:
        """Note that an item is done, or need not be, and let go of a batch of which nothing is left."""
        self._given.discard(item)
        batch = batch_of(item)
        self._of_batch[batch] -= 1
        if not self._of_batch[batch]:
            self._placed.release(batch)

    def _bury(self, worker: WorkerProcess) -> None:
        """Take back the items of a worker that has died, and blame the one that it was working on."""
        cause = worker.end(patient=True)
        del self._workers[worker.connection]
        self._shares.leave(worker)
        if not worker.ready:
            self._failed_starts += 1
            _logger.warning("a worker process ended while starting (%s)", cause)
            if self._failed_starts == _MOST_FAILED_STARTS:
                raise IncompleteError(
                    f"worker processes end while starting ({cause}), {_MOST_FAILED_STARTS} times in a row; "
                    f"{self._ledger.summary}; free some memory or lower `jobs`, and run the same command again"
                )
        guilty = worker.in_work()
        if cause == TIMED_OUT and guilty is not None:
            self._take_timeout(guilty)
        elif guilty is not None and self._deaths.blame(guilty, cause):
            for item in self._shares.remove(self._deaths.gave_up):
                self._finish(item)
            self._drop_given_up()
        # behind the others, the guilty one last
        again = sorted(worker.items, key=lambda item: item == guilty)
        self._shares.add(item for item in again if not self._deaths.gave_up(item))
        for item in filter(self._deaths.gave_up, again):
            self._finish(item)

    def _take_timeout(self, item: Item) -> None:
        """Note over what a worker has ended itself, as a run in it did not end.

        Raises:
            ModelError: it was a run without faults.
        """
        if not isinstance(item, Unit):
            raise ModelError(f"the model does not end: a run of batch {item} without faults was given up")
        _logger.warning("%s: a run did not end, and was ended with its process", item)
        self._timed_out.add(item)

    def _dismiss(self, worker: WorkerProcess) -> None:
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
