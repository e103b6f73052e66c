"""Running units on a Dask cluster: which task gets which units, and what happens when workers die.

The client, this process, alone writes to the store. A task is a group of units that take some seconds, with the images
of their batches where workers cannot read them for themselves; a few tasks per thread are on their way at a time. Where
workers die over a task, Dask blames whatever was there: each of its units is tried alone then, while nothing else runs,
and left out after two deaths.
"""

import logging
import math
import pickle
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any, Final, NamedTuple, Self

from ftonnx.campaign.plan.settings import DASK, Settings
from ftonnx.campaign.provenance import versions
from ftonnx.campaign.run.base import Work
from ftonnx.campaign.run.dask_cluster import Cluster, Died, Lost, check_dask
from ftonnx.campaign.run.deaths import Deaths
from ftonnx.campaign.run.elsewhere import Elsewhere
from ftonnx.campaign.run.messages import Item, Report, Trouble, batch_of
from ftonnx.campaign.run.processes import cores, threads_per_worker
from ftonnx.campaign.store.folder import Record
from ftonnx.campaign.store.golden_run import GoldenRun
from ftonnx.datasets import Dataset
from ftonnx.datasets.base import Batch
from ftonnx.errors import IncompleteError
from ftonnx.samples import bytes_of

__all__ = ["OnDask"]

TASK_SECONDS: Final = 5.0
"""What a task is meant to take."""

_TASK_BYTES: Final = 2**25  # of images in one task
_SENT_BYTES: Final = 2**26  # so many images are rather sent than read, and hashed, by every worker
_AHEAD: Final = 2  # tasks per thread on their way
_TICK_SECONDS: Final = 0.2  # a signal is noticed this late at most
_PATIENCE_SECONDS: Final = 60.0  # for the tasks in work after a signal
_SILENT_SECONDS: Final = 600.0  # without a worker
_GONE: Final = "does not answer any more"
_logger: Final = logging.getLogger(__name__)


class _Job(NamedTuple):
    """What one task does.

    Attributes:
        items: units and golden runs, in this order.
        batches: of these, by number; None for those that workers read.
        alone: nothing else runs meanwhile.
    """

    items: tuple[Item, ...]
    batches: Mapping[int, Batch | None]
    alone: bool = False

    def by_itself(self, item: Item) -> "_Job":
        """Return one of its items, to be tried alone."""
        number = batch_of(item)
        return _Job((item,), {number: self.batches[number]}, alone=True)


class OnDask(Elsewhere):
    """The workers of a Dask cluster, on whatever machines."""

    def __init__(self, work: Work) -> None:
        """Prepare; nothing is connected yet."""
        super().__init__(work.ledger, work.stop, Deaths(tries=2))
        self._work = work
        self._source: Iterator[tuple[int, Batch | None, list[Item]]] = iter(())
        self._current: tuple[int, Batch | None, deque[Item]] | None = None
        self._unsent = 0  # units that no task has, about
        self._again: deque[_Job] = deque()  # was lost on the way
        self._suspects: deque[_Job] = deque()
        self._flying: dict[str, _Job] = {}
        self._kept: dict[int, Batch] = {}
        self._kept_bytes = 0
        self._digests: dict[int, bytes] = {}  # of golden outputs
        self._is_mixed = False
        self._unit_seconds: float | None = None
        self._model: Any = None  # where workers do not have its file
        self._workers_read = _is_readable(work.data)
        self._sends = not self._workers_read  # images, with their units
        self._opened = ExitStack()

    @classmethod
    def takes(cls, settings: Settings) -> bool:
        """It is Dask."""
        return settings.engine == DASK

    @classmethod
    def of(cls, work: Work) -> Self:
        """Return the executor for a campaign.

        Raises:
            UsageError: Dask is not installed.
        """
        check_dask()
        # units are run elsewhere
        work.opened.clear()
        return cls(work)

    @classmethod
    def speedup(cls, settings: Settings) -> int:
        """Return the number of local processes that have cores of their own; of a cluster nobody knows."""
        return 1 if settings.scheduler is not None else min(_processes(settings), cores())

    @property
    def at_once(self) -> int:
        """The number of worker threads, as of the last seconds."""
        return max(1, self._cluster.threads)

    def __enter__(self) -> Self:
        """Connect, and tell the cluster what all tasks need.

        Raises:
            UsageError: there is no scheduler, or other processes cannot import the task.
        """
        from ftonnx.campaign.run.dask_place import Kit, Place  # needs Dask

        settings = self._work.settings
        with ExitStack() as undo:
            processes = _processes(settings)
            threads = settings.threads or (1 if settings.scheduler else threads_per_worker(None, processes))
            kit = pickle.dumps(Kit.of(self._work, threads, reads=self._workers_read))
            self._cluster = undo.enter_context(Cluster(settings.scheduler, processes))
            self._place = self._cluster.keep(Place, versions(), kit)
            self._opened = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._flying.clear()
        self._opened.close()

    def _await(self) -> None:
        """See ``Elsewhere._await``.

        Raises:
            IncompleteError: the scheduler is gone, or there has been no worker for ten minutes.
        """
        self._receive(_TICK_SECONDS)
        self._check_silence()

    def _look(self) -> None:
        """See ``Elsewhere._look``."""
        self._current = None
        self._all_read = False
        self._source = self._batches()
        self._unsent = self._ledger.left
        if self._begun is not None:
            self._unsent = sum(len(self._ledger.units_left(number)) for number in self._ledger.open_batches())

    def _batches(self) -> Iterator[tuple[int, Batch | None, list[Item]]]:
        """Yield the batches with something left to do, in order, and what that is; None for one that workers read."""
        wanted = self._ledger.open_batches()
        missing = [] if self._workers_read else [number for number in wanted if number not in self._kept]
        read = iter(self._work.data.batches(self._size, missing))
        for number in wanted:
            batch = None
            if not self._workers_read:
                batch = self._kept[number] if number in self._kept else next(read)
                self._keep(number, batch)
            items: list[Item] = [unit for unit in self._ledger.units_left(number) if not self._deaths.gave_up(unit)]
            if not self._ledger.has_golden(number) and not self._deaths.gave_up(number):
                self._asked.add(number)
                items = items or [number]
            yield number, batch, items

    @property
    def _size(self) -> int:
        """Images of a batch."""
        return self._work.recipe.schedule.images_per_unit

    def _keep(self, number: int, batch: Batch) -> None:
        """Keep a batch for the next round, if it fits beside the others."""
        if number not in self._kept and self._kept_bytes + bytes_of(batch[0]) <= self._work.memory:
            self._kept[number] = batch
            self._kept_bytes += bytes_of(batch[0])

    def _hand_out(self) -> None:
        """Have as many tasks on their way as workers can use; suspects go one by one."""
        if self._suspects:
            if not self._flying:
                self._submit(self._suspects.popleft())
            return
        while len(self._flying) < _AHEAD * self.at_once:
            job = self._again.popleft() if self._again else self._next_job()
            if job is None:
                return
            self._submit(job)

    def _submit(self, job: _Job) -> None:
        from ftonnx.campaign.run.dask_place import run_items  # needs Dask

        batches = dict(job.batches)
        if self._sends:
            for number in [number for number, batch in batches.items() if batch is None]:
                batches[number] = next(self._work.data.batches(self._size, [number]))
        # in one piece, which Dask need not look into
        work = pickle.dumps((job.items, batches))
        try:
            key = self._cluster.submit(run_items, self._place, work, self._model)
        except ConnectionError as error:
            raise self._incomplete(_GONE) from error
        self._flying[key] = job

    def _next_job(self) -> _Job | None:
        """Put together units that take some seconds; None where none are left."""
        most = self._most_items()
        items: list[Item] = []
        batches: dict[int, Batch | None] = {}
        nbytes = 0
        while len(items) + len(batches) < most and nbytes < _TASK_BYTES and self._read():
            assert self._current is not None
            number, batch, rest = self._current
            if number not in batches:
                batches[number] = batch
                nbytes += 0 if batch is None else bytes_of(batch[0])
            items.append(rest.popleft())
        self._unsent -= len(items)
        self._given.update(items)
        return _Job(tuple(items), batches) if items else None

    def _most_items(self) -> int:
        """Return how many units and golden runs a task may have: one until it is known how long they take."""
        if self._unit_seconds is None:
            return 2
        fair = math.ceil(max(1, self._unsent) / (_AHEAD * self.at_once))
        return 1 + max(1, min(fair, int(TASK_SECONDS / max(self._unit_seconds, 1e-6))))

    def _read(self) -> bool:
        """See that something of the current batch is left, or go on to the next; say whether anything is."""
        while self._current is None or not self._current[2]:
            found = next(self._source, None)
            if found is None:
                self._all_read = True
                return False
            number, batch, items = found
            self._asked.update(items)
            self._current = number, batch, deque(self._new(items))
        return True

    def _receive(self, timeout: float) -> None:
        """Take in the next answer, if there is one in so many seconds."""
        answer = self._cluster.answer(timeout)
        job = None if answer is None else self._flying.pop(answer.key, None)
        if answer is None or job is None:
            return
        match answer.found:
            case Died(cause):
                self._suspect(job, cause)
            case Lost():
                self._again.append(job)
            case content:
                self._take_in(job, content)

    def _take_in(self, job: _Job, content: bytes) -> None:
        """Take in what a worker says."""
        from ftonnx.campaign.run.wire import Missing, decoded  # needs Dask

        match decoded(content):
            case Report() as report:
                self._given.difference_update(job.items)
                self._take_report(report)
            case Trouble(error, text):
                raise error or RuntimeError(f"a worker failed:\n{text}")
            case Missing.MODEL:
                self._send_model()
                self._again.append(job)
            case Missing.IMAGES:
                _logger.info("workers do not have %s: its images are sent", self._work.data.name)
                self._sends = True
                self._again.append(job)

    def _take_report(self, report: Report) -> None:
        for number, found in report.golden.items():
            self._compare(number, found)
            self._ledger.add_golden(number, found)
            self._asked.discard(number)
        for record in report.records:
            self._note_time(record)
            self._take(record)

    def _compare(self, number: int, found: GoldenRun) -> None:
        """Say once where workers compute other outputs for the same images."""
        known = self._digests.setdefault(number, found.digest)
        if known != found.digest and not self._is_mixed:
            self._is_mixed = True
            _logger.warning(
                "workers do not compute the same: fault-free outputs of batch %d differ in some bits; their processors "
                "or libraries are of different kinds",
                number,
            )

    def _note_time(self, record: Record) -> None:
        """Take in how long a unit took."""
        seconds = record.wall_ns * 1e-9
        known = seconds if self._unit_seconds is None else self._unit_seconds
        self._unit_seconds = 0.95 * known + 0.05 * seconds

    def _send_model(self) -> None:
        """Have the model on the cluster, for workers that do not have its file."""
        from ftonnx.campaign.run.dask_place import packed_model  # needs Dask

        if self._model is None:
            _logger.info("workers do not have %s: it is sent", self._work.recipe.model.path)
            self._model = self._cluster.keep(bytes, packed_model(self._work.recipe.model))

    def _suspect(self, job: _Job, cause: str) -> None:
        """Have each unit of a task over which workers died tried alone; give up what was alone twice."""
        if not job.alone:
            _logger.warning("workers died (%s) over a task of %d: each is tried alone", cause, len(job.items))
            numbers: list[Item] = [*job.batches]
            self._suspects += [job.by_itself(item) for item in (*numbers, *job.items)]
            return
        if self._deaths.blame(job.items[0], cause):
            self._suspects = deque(each for each in self._suspects if not self._deaths.gave_up(each.items[0]))
            self._drop_given_up()
            self._given = {item for item in self._given if not self._deaths.gave_up(item)}
        else:
            self._suspects.appendleft(job)

    def _check_silence(self) -> None:
        """Give up where the scheduler is gone, or there has been no worker for long.

        Raises:
            IncompleteError: it is so.
        """
        if self._cluster.is_closed:
            raise self._incomplete(_GONE)
        since = self._cluster.silent_since
        if since is not None and time.monotonic() - since > _SILENT_SECONDS:
            raise self._incomplete(f"has had no worker for {_SILENT_SECONDS:g} s")

    def _incomplete(self, what: str) -> IncompleteError:
        return IncompleteError(f"{self._cluster.name} {what}; {self._ledger.summary}; the same command goes on")

    def _drain(self) -> None:
        """Wait for the tasks in work, and record what they found."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self._flying and (left := deadline - time.monotonic()) > 0:
            self._receive(min(left, _TICK_SECONDS))


def _processes(settings: Settings) -> int:
    """Return the number of processes of a local cluster."""
    return cores() if settings.jobs == "auto" else int(settings.jobs)


def _is_readable(data: Dataset) -> bool:
    """Say whether workers should read the images for themselves: so many, batch by batch, from files."""
    shapes = data.sample_shape.values() if isinstance(data.sample_shape, Mapping) else [data.sample_shape]
    nbytes = 4 * len(data) * sum(math.prod(shape) for shape in shapes)
    return bool(data.source) and data.any_order and nbytes > _SENT_BYTES
