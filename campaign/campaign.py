"""A campaign: every unit once, batch by batch or round by round, recorded as soon as it is finished."""

import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.plan.schedule import Schedule, Unit
from ftonnx.campaign.plan.settings import Settings
from ftonnx.campaign.plan.stopping import Budget, Stopping
from ftonnx.campaign.provenance import header_of, identity_of
from ftonnx.campaign.results.result import CampaignResult
from ftonnx.campaign.run.batch import BatchRunner
from ftonnx.campaign.run.choose import cores, ideal_speedup, threads_per_worker, work_measured
from ftonnx.campaign.run.ledger import Ledger, work_here
from ftonnx.campaign.run.pool import Pool
from ftonnx.campaign.run.rounds import HeldRunners, PrecisionRule, Rounds, Rule
from ftonnx.campaign.run.signals import StopRequest, stop_on_signals
from ftonnx.campaign.run.worker import Setup
from ftonnx.campaign.store.folder import Store
from ftonnx.datasets import Dataset
from ftonnx.errors import DataError, ModelError, StoreError, UsageError
from ftonnx.inject import FaultModel, FaultSpace, OnnxModel
from ftonnx.runtime import FaultySession, cache_limit
from ftonnx.sessions import fixed_batch, padded
from ftonnx.tasks import Task, default_task

__all__ = ["Campaign", "Progress"]

Progress = Callable[[int, int], None]
"""Called with (units done, units in all) after every unit."""

_logger: Final = logging.getLogger(__name__)


class Campaign:
    """A model, data and faults, validated and ready to run.

    Attributes:
        model: the model.
        data: the data set, with its preprocessing complete.
        schedule: what is run, unit by unit.
        task: what counts the outcomes.
        session: the faulty session.
        units: number of units in all.
    """

    def __init__(
        self,
        model: OnnxModel,
        data: Dataset,
        faults: FaultModel,
        *,
        task: Task | None = None,
        settings: Settings | None = None,
        results: str | Path | None = None,
    ) -> None:
        """Check everything before the work starts, at the price of one golden run.

        Args:
            model: the model.
            data: the data set; what is left open of its preprocessing is the model's.
            faults: what flips.
            task: what counts the outcomes; classification by default.
            settings: how the campaign is run.
            results: results folder; a temporary one by default.

        Raises:
            UsageError: a setting makes no sense.
            ModelError: the model cannot be evaluated.
            DataError: the data cannot be read or does not fit the model.
            StoreError: the results folder holds something else.
        """
        settings = settings or Settings()
        self.model = model
        self.data = data.completed(model.metadata)
        self.task = task or default_task()
        self._results = None if results is None else Path(results).absolute()
        self.schedule = Schedule.of(model, faults, settings)
        self._identity = identity_of(model, self.data, self.schedule, self.task)
        recorded = None if self._results is None else Store.recorded_header(self._results, self._identity)
        images, labels = next(self.data.batches(self.schedule.batch_size))
        self.session = FaultySession(
            model,
            self.space,
            providers=settings.providers,
            threads=settings.threads,
            strategy=settings.strategy if recorded is None else recorded.engine.strategy,
            sample=padded(images, fixed_batch(model.proto)),
            cache_memory=settings.cache_memory,
        )
        model.release()  # the session holds the weights; whoever needs the file again reads it again
        start = time.perf_counter()
        self._first = self._runner(images, labels)  # refuses data and models that do not fit the task
        self._golden_seconds = time.perf_counter() - start
        self.units = self.schedule.units(len(self.data))

    @property
    def space(self) -> FaultSpace:
        """The bits that can flip."""
        return self.schedule.space

    @property
    def settings(self) -> Settings:
        """The settings, with the numbers that are used in place of what was left open."""
        return self.schedule.settings

    def run(self, *, progress: Progress | None = None) -> CampaignResult:
        """Run every unit that is not recorded yet, or round by round until it is enough, and sum up.

        Args:
            progress: called after every unit.

        Raises:
            Interrupted: SIGINT or SIGTERM came; every finished unit is recorded.
            IncompleteError: worker processes died over some units; all others are recorded.
            StoreError: the results folder is damaged, full, in use, or another campaign's.
            ModelError: the model file changed meanwhile.
            UsageError: the campaign cannot end early.
        """
        stopping = self.settings.stopping
        if stopping is not None:
            stopping.require_reachable(self.schedule.batches(len(self.data)))
            rule = PrecisionRule(self.schedule.levels, stopping, self.task.main, pooled=self.schedule.pooled)
            with self.by_rounds(rule, stopping, progress=progress) as (store, _):
                return self._result(store)
        with self._recording() as (store, stop):
            store.set_stopping(None)
            self._work(store, stop, progress or _ignore)
            self.model.check_unchanged()
            return self._result(store)

    @contextmanager
    def by_rounds(
        self, rule: Rule, stopping: Stopping, *, progress: Progress | None = None
    ) -> Iterator[tuple[Store, bool]]:
        """Run round by round until a rule needs no more; yield the store, and False where the budget was spent before.

        Raises:
            FtonnxError: as ``run``.
        """
        self._require_rounds()
        with self._recording() as (store, stop):
            store.set_stopping(replace(stopping, ended=False))
            budget = stopping.budget or Budget()
            units = min(self.units, budget.units or self.units)
            ledger = Ledger(store, self.data, self.schedule, units, progress or _ignore)
            limit = cache_limit(self.settings.cache_memory)
            runners = HeldRunners(self.data, self.schedule.batch_size, self._runner, limit)
            rounds = Rounds(store, ledger, runners, self.schedule.repeats)
            enough = rounds.run(rule, budget, stop, self.schedule.batches(len(self.data)))
            self.model.check_unchanged()
            store.set_stopping(replace(stopping, ended=True))
            yield store, enough

    def _result(self, store: Store) -> CampaignResult:
        return CampaignResult.of(store, target=self.settings.target, confidence=self.settings.confidence)

    @contextmanager
    def _recording(self) -> Iterator[tuple[Store, StopRequest]]:
        """Open the results folder for writing; a temporary one without results in it is removed after an error."""
        folder = self._results or Path(tempfile.mkdtemp(prefix="ftonnx-"))
        header = header_of(self.model, self.data, self.schedule, self._identity, self.session)
        try:
            with Store.create_or_resume(folder, header) as store, stop_on_signals() as stop:
                yield store, stop
        except (ModelError, DataError, UsageError):  # after a signal or a full disk, what is recorded stays
            if self._results is None:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        except StoreError:
            if self._results is None:
                with suppress(OSError):
                    folder.rmdir()  # fails where something is recorded in it
            raise

    def _require_rounds(self) -> None:
        """Refuse campaigns whose patterns are no random sample, or that several processes share."""
        if not self.schedule.faults.is_endless:
            raise UsageError("an early end needs random patterns: fault rates or faults_per_run were expected")
        if self.settings.jobs not in (1, "auto"):
            raise UsageError(
                f"a campaign that may end early runs in one process: jobs 1 was expected, got {self.settings.jobs}"
            )

    def forecast(self) -> dict[str, Any]:
        """Return what a run would do: units, expected faults per unit, seconds by a measurement of one unit.

        ``warnings`` holds what the first batch's golden run lets fear, and what the fault space leaves out.
        """
        levels = self.schedule.levels
        record = self._first.run(Unit(levels[-1], 0, 0))
        batches = self.schedule.batches(len(self.data))
        seconds = batches * self._golden_seconds + self.units * record.wall_ns * 1e-9
        return {
            "bits": self.space.bits,
            "units": self.units,
            "batches": batches,
            "strategy": self.session.strategy,
            "expected_faults": {level: level * self.space.bits for level in levels},
            "seconds": seconds / ideal_speedup(self.settings.jobs, self.settings.threads),
            "warnings": self._first_warnings(),
        }

    def _first_warnings(self) -> list[str]:
        """Return what the first batch's golden run lets fear of all of them, and what the fault space leaves out."""
        warnings = [self._first.caution(self.data.classes), self.space.coverage.caution]
        return [warning for warning in warnings if warning is not None]

    def _work(self, store: Store, stop: StopRequest, progress: Progress) -> None:
        ledger = Ledger(store, self.data, self.schedule, self.units, progress)
        here = partial(work_here, ledger, self._runner, stop)
        jobs = self.settings.jobs
        if jobs == "auto":
            most = max(1, cores() // (self.settings.threads or 1))
            work_measured(most, here, lambda: self._pool(most, ledger, stop), lambda: ledger.left)
        elif jobs == 1:
            here()
        else:
            with self._pool(jobs, ledger, stop) as pool:
                pool.run()

    def _pool(self, jobs: int, ledger: Ledger, stop: StopRequest) -> Pool:
        setup = Setup(
            model=self.model,
            schedule=self.schedule,
            task=self.task,
            classes=self.data.classes,
            threads=threads_per_worker(self.settings.threads, jobs),
            cache_memory=cache_limit(self.settings.cache_memory) // jobs,
            log_level=_logger.getEffectiveLevel(),
        )
        return Pool(jobs, lambda folder: setup.save(folder, self.session), ledger, stop)

    def _runner(self, images: NDArray[np.float32], labels: NDArray[np.int64]) -> BatchRunner:
        return BatchRunner(self.session, self.schedule, self.task, images, labels, classes=self.data.classes)


def _ignore(done: int, total: int) -> None:
    """Show no progress."""
