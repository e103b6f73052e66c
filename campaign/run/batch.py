"""Running one unit: draw its pattern, run the batch with it, count the outcomes."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.judging import Judging, RunJudge
from ftonnx.campaign.plan.schedule import Schedule, Unit
from ftonnx.campaign.store.folder import Record
from ftonnx.campaign.store.golden_run import GoldenRun
from ftonnx.errors import ModelError
from ftonnx.inject import Faults, OnnxModel
from ftonnx.runtime import FaultyRunError, FaultySession
from ftonnx.samples import Samples, bytes_of, part_of
from ftonnx.sessions import RunTimeoutError, TimeLimit, padded
from ftonnx.tasks import Counts, Outputs, Task

__all__ = ["GOLDEN_SECONDS", "BatchRunner", "Recipe", "golden_limit"]

GOLDEN_SECONDS: Final = 600.0
"""That a run without faults may take where nobody said."""

_TIMES_AS_LONG: Final = 20
_LEAST_SECONDS: Final = 60.0
_logger: Final = logging.getLogger(__name__)


class BatchRunner:
    """Runs the units of one batch, the images that share a pattern, whose golden run it holds.

    One run of the model may take fewer images; then the pattern is held for several runs.

    Attributes:
        golden: the golden run's outcomes.
        golden_seconds: that the golden run took.
        unit_seconds: that a run of a unit may take.
    """

    def __init__(
        self,
        session: FaultySession,
        schedule: Schedule,
        task: Task,
        images: Samples,
        labels: NDArray[Any],
        classes: int | None,
        *,
        unit_seconds: float | None = None,
    ) -> None:
        """Do the golden run.

        Args:
            session: the open session.
            schedule: what the campaign runs.
            task: counts outcomes.
            images: of the batch.
            labels: theirs.
            classes: of the data set.
            unit_seconds: that a run of a unit may take; None for what the settings say, or 20 times the golden run and
                60 at least.

        Raises:
            ModelError: the outputs do not fit the task, or the model does not end.
            DataError: the model refuses the images, or knows fewer classes than the data.
        """
        self._schedule = schedule
        self._task = task
        size = schedule.settings.batch_size or len(labels)
        rows = [slice(start, start + size) for start in range(0, len(labels), size)]
        start = time.perf_counter()
        with golden_limit(schedule.settings.unit_timeout):
            self._held = session.hold_runs([padded(part_of(images, run), session.batch_size) for run in rows])
        self.golden_seconds = time.perf_counter() - start
        usual = max(_LEAST_SECONDS, _TIMES_AS_LONG * self.golden_seconds)
        self.unit_seconds = unit_seconds or schedule.settings.unit_timeout or usual
        self._limit = TimeLimit(self.unit_seconds)
        judging = Judging(task, schedule.settings.output)
        self._is_one_run = len(rows) == 1
        runs = () if self._is_one_run else [len(labels[run]) for run in rows]
        self._judge = RunJudge(judging, session, self._as_judged(self._held.golden), labels, classes, runs=runs)
        self.golden: Counts = self._judge.count(self._as_judged(self._held.golden))
        arrays = [value for value in self._judge.golden.values() if isinstance(value, np.ndarray)]
        self._own_nbytes = bytes_of(images) + 2 * sum(array.nbytes for array in arrays)  # the session's and the judge's

    @cached_property
    def golden_run(self) -> GoldenRun:
        """What is kept of the golden run."""
        return GoldenRun.of(self.golden, self._task, self._judge.golden)

    def caution(self, classes: int | None) -> str | None:
        """Say what the golden run lets fear, as that of the first images of a data set with so many classes."""
        main = self._task.main
        if not main.is_known(self.golden):
            return None
        headline = main.of(self.golden)
        return self._task.caution(headline, classes, of=f" of the first {self.golden.n} images")

    def run(self, unit: Unit) -> Record:
        """Run one unit; of a run that ONNX Runtime aborts or a guard stops, the task says what it counts as."""
        start = time.perf_counter_ns()
        faults = self._schedule.pattern(unit)
        try:
            with self._limit:
                outputs = self._held.run(self._schedule.reaching(faults))
            # where nothing was run, its outcome is known
            has_run = any(each is not golden for each, golden in zip(outputs, self._held.golden, strict=True))
            outcomes = self._judge.count(self._as_judged(outputs)) if has_run else self.golden
        except FaultyRunError as error:
            _logger.info("%s: counted as detected errors: %s", unit, error)
            outcomes = self._judge.crashed()
        return self._record(unit, outcomes, faults, time.perf_counter_ns() - start)

    def timed_out(self, unit: Unit) -> Record:
        """Return what is recorded of a unit that did not end, in a process that had to."""
        faults = self._schedule.pattern(unit)
        return self._record(unit, self._judge.crashed(), faults, int(self.unit_seconds * 1e9))

    def _record(self, unit: Unit, outcomes: Counts, faults: Faults, wall_ns: int) -> Record:
        injected = faults if self._schedule.pooled else None
        return Record(unit, outcomes, len(faults), wall_ns, injected)

    def seen(self, unit: Unit) -> tuple[Counts, Outputs, Outputs]:
        """Run one unit for what it gives: its outcomes, and what is judged of the golden run and of its own.

        Raises:
            FaultyRunError: ONNX Runtime refuses or aborts the run, or a guard stops it.
        """
        with self._limit:
            pattern = self._schedule.pattern(unit)
            outputs = self._as_judged(self._held.run(self._schedule.reaching(pattern)))
        return self._judge.count(outputs), self._judge.golden, self._judge.judged(outputs)

    def _as_judged(self, outputs: Sequence[Any]) -> Sequence[Any]:
        """Return the outputs of all runs as the judge takes them."""
        only: Sequence[Any] = outputs[0]
        return only if self._is_one_run else outputs

    @property
    def nbytes(self) -> int:
        """About how many bytes the images and the golden run take."""
        return self._own_nbytes + self._held.nbytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How the units of a campaign are run, in whatever process.

    Attributes:
        model: the model; one from a file is read only where its strategy needs all of it.
        schedule: what the campaign runs.
        task: counts outcomes.
        classes: of the data set.
        unit_seconds: that a run of a unit may take; None until a batch has told.
    """

    model: OnnxModel
    schedule: Schedule
    task: Task
    classes: int | None
    unit_seconds: float | None = None

    def open_batch(self, session: FaultySession, images: Samples, labels: NDArray[Any]) -> BatchRunner:
        """Do a batch's golden run, and return what runs its units.

        Raises:
            ModelError: the outputs do not fit the task.
            DataError: the model refuses the images, or knows fewer classes than the data.
        """
        return BatchRunner(
            session,
            self.schedule,
            self.task,
            images,
            labels,
            classes=self.classes,
            unit_seconds=self.unit_seconds,
        )


@contextmanager
def golden_limit(seconds: float | None) -> Iterator[None]:
    """Let no run without faults take longer than this; None for the usual time.

    Raises:
        ModelError: one does not end.
    """
    allowed = seconds or GOLDEN_SECONDS
    try:
        with TimeLimit(allowed):
            yield
    except RunTimeoutError as error:
        raise ModelError(
            f"the model does not end: a run without faults took more than {allowed:.3g} s (`unit_timeout`)"
        ) from error
