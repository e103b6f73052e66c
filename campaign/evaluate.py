"""Running a campaign: every unit once, batch by batch, recorded as soon as it is finished."""

import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from ftonnx.campaign.cautions import near_chance
from ftonnx.campaign.evidence import Target
from ftonnx.campaign.fault_list import PublishedFaults
from ftonnx.campaign.header import header_of, identity_of
from ftonnx.campaign.interrupt import StopRequest, stop_on_signals
from ftonnx.campaign.jobs import Jobs, cores, ideal_speedup, parse_jobs, threads_per_worker, work_measured
from ftonnx.campaign.plan import CampaignSettings, Unit, choose_repeats
from ftonnx.campaign.pool import Pool
from ftonnx.campaign.result import CampaignResult
from ftonnx.campaign.rounds import MOST_ROUNDS, Budget, HeldRunners, PrecisionRule, Rounds, Rule, Stopping
from ftonnx.campaign.runner import BatchRunner
from ftonnx.campaign.store import Store
from ftonnx.campaign.task import Classification, NanRule, Task
from ftonnx.campaign.work import Ledger, work_here
from ftonnx.campaign.worker import Setup
from ftonnx.datasets import Dataset, as_dataset, load_dataset
from ftonnx.errors import DataError, ModelError, StoreError, UsageError
from ftonnx.inject import OnnxModel, load_model
from ftonnx.models import resolve
from ftonnx.runtime import FaultySession, cache_limit, fixed_batch, padded

__all__ = ["Campaign", "Progress", "evaluate"]

Progress = Callable[[int, int], None]
"""Called with (units done, units in all) after every unit."""

_DEFAULT_BATCH: Final = 128
_logger = logging.getLogger(__name__)


def evaluate(
    model: "str | Path | onnx.ModelProto | OnnxModel",
    data: "str | Dataset | Iterable[tuple[NDArray[Any], NDArray[Any]]]",
    *,
    rates: Sequence[float] = (),
    faults_per_run: int | None = None,
    exhaustive: bool = False,
    per_layer: int | None = None,
    fault_list: str | Path | PublishedFaults | None = None,
    repeats: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    format: str = "auto",
    targets: Sequence[str] = ("weight", "bias"),
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    bits: Sequence[int] = (),
    strategy: str = "auto",
    providers: Sequence[str] = ("cpu",),
    threads: int | None = None,
    nan: NanRule = "due",
    jobs: Jobs = 1,
    cache_memory: int | None = None,
    precision: float | None = None,
    budget: str | Budget | None = None,
    target: Target = "test-set",
    results: str | Path | None = None,
    progress: Progress | None = None,
) -> CampaignResult:
    """Measure a model's accuracy under bit flips, at several fault rates or injection by injection.

    Exactly one of ``rates``, ``faults_per_run``, ``exhaustive``, ``per_layer`` and ``fault_list`` says what flips.

    Args:
        model: an ONNX file, an embedded model's name, or a model in memory.
        data: a data set's spec (see ``load_dataset``), a data set, or any iterable of
            (images float (batch, channels, height, width), labels integer (batch,)).
        rates: flips per bit, each in [0, 1]; every batch meets patterns of its own.
        faults_per_run: distinct random bits per injection; an injection is met by the whole data set.
        exhaustive: one injection for every bit that can flip.
        per_layer: injections of one random bit in each stored tensor.
        fault_list: a CSV file of single faults (see ``PublishedFaults``), one injection each; sets format ``ieee``.
        repeats: fault patterns per rate and batch (10 by default), or injections with ``faults_per_run`` (1000);
            with ``precision`` or ``budget`` the most there may be (10,000).
        batch_size: images that share a fault pattern; 128, or what the model insists on, by default.
        seed: of the fault patterns.
        format: how float tensors are seen as bits: ``auto`` (= ``q15.16``), ``ieee``, ``qM.N``.
        targets: roles that can flip: weight, bias, scale, zero_point.
        include: patterns of tensor names; where given, only these can flip.
        exclude: patterns of tensor names that cannot flip.
        bits: where given, only these bits of an element can flip, counted from the least significant.
        strategy: ``auto``, ``live`` or ``rebuild``.
        providers: execution providers in priority order, full or partial names.
        threads: intra-op threads; None leaves the choice to ONNX Runtime, or gives each of several processes its
            share of the cores.
        nan: what an output with NaN or Inf counts as: ``due``, a detected error, or ``argmax``, whatever numpy's argmax
            says, as published lists of single faults have it.
        jobs: processes that do the work; 1 is this one, ``auto`` measures. The results do not depend on it.
        cache_memory: bytes that golden tensors may take, from which runs with few faults start; a quarter of the
            free memory by default, 0 for none.
        precision: a rate is left once the half-width of its accuracy's interval is so small.
        budget: what may be spent, such as ``10min`` or ``500units``; what is done by then is the result.
        target: ``test-set`` (intervals for these images) or ``population`` (for new images too).
        results: results folder; an interrupted campaign in it is continued. A temporary one by default.
        progress: called after every unit with (done, total).

    Raises:
        FtonnxError: one of its children, for anything wrong with the arguments, the model, the data
            or the results folder; ``Interrupted`` after SIGINT or SIGTERM; ``IncompleteError`` when worker processes
            died over some units.
    """
    loaded = open_model(model)
    stopping = Stopping.of(precision, budget, target)
    settings = CampaignSettings(
        rates=tuple(rates),
        faults_per_run=faults_per_run,
        exhaustive=exhaustive,
        per_layer=per_layer,
        fault_list=PublishedFaults.read(fault_list) if isinstance(fault_list, str | Path) else fault_list,
        repeats=choose_repeats(
            repeats,
            faults_per_run=faults_per_run,
            defined=exhaustive or bool(per_layer) or fault_list is not None,
            most=None if stopping is None else MOST_ROUNDS,
        ),
        batch_size=choose_batch_size(loaded, batch_size),
        seed=seed,
        format=format,
        targets=tuple(targets),
        include=tuple(include),
        exclude=tuple(exclude),
        bits=tuple(bits),
        strategy=strategy,
        providers=tuple(providers),
        threads=threads,
        nan=nan,
    )
    opened = open_data(data, loaded)
    campaign = Campaign(loaded, opened, settings, results=results, jobs=jobs, cache_memory=cache_memory)
    result = campaign.run(progress=progress, stopping=stopping, target=target)
    mistake = near_chance(result.golden["top1"], opened.classes)
    if mistake is not None:  # few patterns are the caller's choice, which the result tells
        _logger.warning("%s on %s: %s", loaded.name, opened.name, mistake)
    return result


class Campaign:
    """A campaign whose model, data and settings have been found to fit together.

    Attributes:
        model: the model.
        data: the data set.
        settings: the settings.
        space: the model's fault space.
        session: the session that runs with faults.
        units: number of units in all.
    """

    def __init__(
        self,
        model: OnnxModel,
        data: Dataset,
        settings: CampaignSettings,
        *,
        results: str | Path | None = None,
        task: Task | None = None,
        jobs: Jobs = 1,
        cache_memory: int | None = None,
    ) -> None:
        """Validate everything and open the session; nothing is written yet.

        Raises:
            FtonnxError: one of its children, see ``evaluate``.
        """
        self.model = model
        self.data = data.completed(model.metadata)
        self._task = _task_of(settings, task)
        self._jobs = parse_jobs(jobs)
        self._cache_memory = cache_memory
        self._results = None if results is None else Path(results).absolute()
        self.space = settings.fault_space(model)
        self.settings = settings.resolved(self.space)
        identity = identity_of(model, self.data, self.space, self.settings)
        recorded = None if self._results is None else Store.recorded_header(self._results, identity)
        images, labels = next(self.data.batches(settings.batch_size))
        self.session = FaultySession(
            model,
            self.space,
            providers=settings.providers,
            threads=settings.threads,
            strategy=recorded["engine"]["strategy"] if recorded else settings.strategy,
            sample=padded(images, fixed_batch(model.proto)),
            cache_memory=cache_memory,
        )
        model.release()  # the session holds the weights; whoever needs the file again reads it again
        start = time.perf_counter()
        self._first = self._runner(images, labels)  # refuses data and models that do not fit the task
        self._golden_seconds = time.perf_counter() - start
        self.units = settings.batches(len(self.data)) * len(self.settings.levels) * self.settings.repeats

    def run(
        self, *, progress: Progress | None = None, stopping: Stopping | None = None, target: Target = "test-set"
    ) -> CampaignResult:
        """Run every unit that is not recorded yet, or round by round until it is enough, and sum up.

        Args:
            progress: called after every unit.
            stopping: when the campaign may end early.
            target: what the intervals are for.

        Raises:
            Interrupted: SIGINT or SIGTERM came; every finished unit is recorded.
            IncompleteError: worker processes died over some units; all others are recorded.
            StoreError: the results folder is damaged, full, in use, or another campaign's.
            ModelError: the model file changed meanwhile.
            UsageError: the campaign cannot end early.
        """
        if stopping is not None:
            stopping.require_reachable(self.settings.batches(len(self.data)))
            rule = PrecisionRule(self.settings.levels, stopping, pooled=self.settings.injections)
            with self.by_rounds(rule, stopping, progress=progress) as (store, _):
                return CampaignResult.of(store, target=target)
        with self._recording() as (store, stop):
            store.set_stopping(None)
            self._work(store, stop, progress or _ignore)
            self.model.check_unchanged()
            return CampaignResult.of(store, target=target)

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
            store.set_stopping(stopping.to_dict() | {"ended": False})
            budget = stopping.budget or Budget()
            units = min(self.units, budget.units or self.units)
            ledger = Ledger(store, self.data, self.settings, units, progress or _ignore)
            limit = cache_limit(self._cache_memory)
            runners = HeldRunners(self.data, self.settings.batch_size, self._runner, limit)
            rounds = Rounds(store, ledger, runners, self.settings)
            enough = rounds.run(rule, budget, stop, self.settings.batches(len(self.data)))
            self.model.check_unchanged()
            store.set_stopping(stopping.to_dict() | {"ended": True})
            yield store, enough

    @contextmanager
    def _recording(self) -> Iterator[tuple[Store, StopRequest]]:
        """Open the results folder for writing; a temporary one without results in it is removed after an error."""
        folder = self._results or Path(tempfile.mkdtemp(prefix="ftonnx-"))
        header = header_of(self.model, self.data, self.space, self.settings, self.session)
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
        if not (self.settings.rates or self.settings.faults_per_run):
            raise UsageError("an early end needs random patterns: fault rates or faults_per_run were expected")
        if self._jobs not in (1, "auto"):
            raise UsageError(
                f"a campaign that may end early runs in one process: jobs 1 was expected, got {self._jobs}"
            )

    def forecast(self) -> dict[str, Any]:
        """Return what a run would do: units, expected faults per unit, seconds by a measurement of one unit.

        ``warnings`` holds what the first batch's golden run lets fear.
        """
        record = self._first.run(Unit(self.settings.levels[-1], 0, 0))
        batches = self.settings.batches(len(self.data))
        return {
            "bits": self.space.bits,
            "units": self.units,
            "batches": batches,
            "strategy": self.session.strategy,
            "expected_faults": {rate: rate * self.space.bits for rate in self.settings.levels},
            "seconds": (batches * self._golden_seconds + self.units * record.wall_ns * 1e-9)
            / ideal_speedup(self._jobs, self.settings.threads),
            "warnings": self._first_warnings(),
        }

    def _first_warnings(self) -> list[str]:
        """Return what the first batch's golden run lets fear of all of them."""
        golden = self._first.golden
        warning = near_chance(golden.correct1 / golden.n, self.data.classes, of=f" of the first {golden.n} images")
        return [] if warning is None else [warning]

    def _work(self, store: Store, stop: StopRequest, progress: Progress) -> None:
        ledger = Ledger(store, self.data, self.settings, self.units, progress)
        here = partial(work_here, ledger, self._runner, stop)
        if self._jobs == "auto":
            most = max(1, cores() // (self.settings.threads or 1))
            work_measured(most, here, lambda: self._pool(most, ledger, stop), lambda: ledger.left)
        elif self._jobs == 1:
            here()
        else:
            with self._pool(self._jobs, ledger, stop) as pool:
                pool.run()

    def _pool(self, jobs: int, ledger: Ledger, stop: StopRequest) -> Pool:
        setup = Setup(
            model=self.model,
            space=self.space,
            settings=self.settings,
            task=self._task,
            classes=self.data.classes,
            threads=threads_per_worker(self.settings.threads, jobs),
            cache_memory=cache_limit(self._cache_memory) // jobs,
            log_level=_logger.getEffectiveLevel(),
        )
        return Pool(jobs, lambda folder: setup.save(folder, self.session), ledger, stop)

    def _runner(self, images: NDArray[np.float32], labels: NDArray[np.int64]) -> BatchRunner:
        return BatchRunner(
            self.session, self.space, self.settings, self._task, images, labels, classes=self.data.classes
        )


def _task_of(settings: CampaignSettings, task: Task | None) -> Task:
    if task is None:
        return Classification(nan=settings.nan)
    if settings.nan != "due":
        raise UsageError(f"a task of your own judges NaN by itself: nan 'due' was expected, got {settings.nan!r}")
    return task


def _ignore(done: int, total: int) -> None:
    """Show no progress."""


def open_model(model: "str | Path | onnx.ModelProto | OnnxModel") -> OnnxModel:
    """Load a model by path or by the name of an embedded one."""
    if isinstance(model, str | Path):
        return load_model(resolve(model), name=Path(model).stem)
    return load_model(model)


def open_data(data: "str | Dataset | Iterable[tuple[NDArray[Any], NDArray[Any]]]", model: OnnxModel) -> Dataset:
    """Load a data set by its spec, or wrap given batches; what is left open of its preprocessing is the model's."""
    if isinstance(data, str):
        return load_dataset(data, model_metadata=model.metadata)
    return as_dataset(data).completed(model.metadata)


def choose_batch_size(model: OnnxModel, wanted: int | None) -> int:
    """Return the batch size to use.

    Raises:
        UsageError: the model insists on another one than ``wanted``.
    """
    fixed = fixed_batch(model.proto)
    if wanted is not None and fixed not in (None, wanted):
        raise UsageError(f"{model.name} takes batches of exactly {fixed} images, got --batch-size {wanted}")
    return (fixed or _DEFAULT_BATCH) if wanted is None else wanted
