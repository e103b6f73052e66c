"""A campaign: every unit once, batch by batch or round by round, recorded as soon as it is finished."""

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from ftonnx.campaign.forecast import measured_seconds, scaled_seconds
from ftonnx.campaign.growth import begins_alike, continued
from ftonnx.campaign.inputs import fitted
from ftonnx.campaign.judging import judging_of
from ftonnx.campaign.pilot import Pilot, run_pilot
from ftonnx.campaign.plan.feeds import arrays_of_feeds
from ftonnx.campaign.plan.order import Order, WholeRounds
from ftonnx.campaign.plan.schedule import Schedule, Unit
from ftonnx.campaign.plan.settings import Settings
from ftonnx.campaign.plan.share import Share
from ftonnx.campaign.plan.sharing import run_size, sized, usual_images_of
from ftonnx.campaign.plan.stopping import Budget, Stopping
from ftonnx.campaign.provenance import header_of, identity_of, subject_of
from ftonnx.campaign.results.result import CampaignResult
from ftonnx.campaign.run.base import Work
from ftonnx.campaign.run.batch import GOLDEN_SECONDS, BatchRunner, Recipe, golden_limit
from ftonnx.campaign.run.executors import executor_class, executor_for
from ftonnx.campaign.run.ledger import Ledger
from ftonnx.campaign.run.rounds import PrecisionRule, Rounds, Rule
from ftonnx.campaign.run.signals import StopRequest, stop_on_signals
from ftonnx.campaign.run.worst_maps import check_maps, pairs_of, worst_units
from ftonnx.campaign.store.folder import Store
from ftonnx.campaign.store.header import Header
from ftonnx.campaign.store.header_file import SETTINGS, read_header
from ftonnx.campaign.store.kept_maps import KeptMaps
from ftonnx.campaign.store.temporary import keep_results, temporary_results
from ftonnx.campaign.store.unit_table import Recorded
from ftonnx.datasets import Dataset
from ftonnx.errors import DataError, FtonnxError, Interrupted, ModelError, UsageError
from ftonnx.inject import FaultModel, FaultSpace, OnnxModel, has_loops
from ftonnx.models.tuned_on import tuned_on_caution
from ftonnx.runtime import FaultySession, ModelInputs, cache_limit, require_end
from ftonnx.samples import Samples, part_of
from ftonnx.sessions import give_back, padded, saturation_caution, shrink_arena
from ftonnx.tasks import Task

__all__ = ["Campaign", "Progress"]

_TELLING_SECONDS: Final = 0.5  # of a golden run; shorter ones are disturbed by what is allocated first
_logger: Final = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with (units done, units in all) after every unit.

One with a method ``say(text)`` is told from time to time what is known so far of a campaign that may end early.
"""


class Campaign:
    """A model, data and faults, validated and ready to run.

    Attributes:
        model: the model.
        data: the data set, with its preprocessing complete.
        schedule: what is run, unit by unit.
        task: what counts the outcomes.
        session: the faulty session.
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
        usual_images: int | None = None,
    ) -> None:
        """Check everything before the work starts, at the price of one golden run.

        Args:
            model: the model.
            data: the data set; what is left open of its preprocessing is the model's.
            faults: what flips.
            task: what counts the outcomes; what the outputs look like by default, see ``judging_of``.
            settings: how the campaign is run.
            results: results folder, whose campaign goes on: what the settings leave open is as recorded, recorded
                rates stay, and more repeats, rates or images are added; a temporary one by default.
            usual_images: that share a pattern where neither the settings nor the results folder say; the task's usual
                number by default.

        Raises:
            UsageError: a setting makes no sense.
            ModelError: the model cannot be evaluated.
            DataError: the data cannot be read or does not fit the model.
            StoreError: the results folder holds something else.
        """
        asked = (settings or Settings()).begun()
        self._began = asked.began or time.monotonic()
        self.model = model
        self.data = fitted(data, model, [feed.name for feed in asked.constants])
        self._results = None if results is None else Path(results).absolute()
        known = None if self._results is None else read_header(self._results)
        asked, faults = continued(asked, faults, known)
        usual = usual_images or usual_images_of(task)
        settings = sized(asked, model, pooled=not faults.fresh_per_batch, usual=usual)
        batch_size = settings.batch_size or 1
        extra = arrays_of_feeds(settings.constants, model.structure, batch_size, self.data.sample_shape)
        self.task, output = judging_of(model.structure, self.data, batch_size, task, settings.output, extra)
        settings = replace(settings, output=output)
        self.schedule = Schedule.of(model, faults, settings)
        self._share()  # refuses a part without a unit before the work of opening
        self._identity = identity_of(model, self.data, self.schedule, self.task)
        recorded = self._recorded(known)
        caution = tuned_on_caution(model.metadata, self.data.fingerprint)
        if caution is not None:
            _logger.warning("%s on %s: %s", model.name, self.data.name, caution)
        images, labels = next(self.data.batches(self.schedule.images_per_unit))
        run = part_of(images, slice(batch_size))
        opening: dict[str, Any] = {
            "providers": settings.providers,
            "threads": settings.threads,
            "strategy": settings.strategy if recorded is None else recorded.engine.strategy,
            "sample": padded(run, ModelInputs.of(model.structure, besides=extra).batch_size),
            "extra": extra,
            "cache_memory": settings.cache_memory,
        }
        self._has_loops = has_loops(model.structure)
        if self._has_loops:
            require_end(model, self.schedule.model_space, settings.unit_timeout or GOLDEN_SECONDS, opening)
        with golden_limit(settings.unit_timeout):
            self.session = FaultySession(model, self.schedule.model_space, **opening)
        self._recipe = Recipe(model=model, schedule=self.schedule, task=self.task, classes=self.data.classes)
        self._pilot: Pilot | None = None
        if asked.images_per_pattern == "auto":
            images, labels = self._piloted(asked)
        model.release()  # the session holds the weights; whoever needs the file again reads it again
        start = time.perf_counter()
        # refuses data and models that do not fit the task
        first = self._recipe.open_batch(self.session, images, labels)
        self._golden_seconds = time.perf_counter() - start
        self._recipe = replace(self._recipe, unit_seconds=first.unit_seconds)
        self._opened = {0: first}

    def _recorded(self, known: Header | None) -> Header | None:
        """Return what stands in the results folder, once it is known that this campaign goes on from it.

        Raises:
            StoreError: it does not.
        """
        self._begins_alike = False
        if self._results is None:
            return None
        if known is not None:
            constants = [feed.name for feed in self.settings.constants]
            self._begins_alike = begins_alike(self.data, self.model, constants, known, self._results)
        wanted = subject_of(self.model, self.data, self._identity)
        return Store.recorded_header(self._results, wanted, begins_alike=self._begins_alike)

    def _share(self) -> Share:
        """Return what is to be done here.

        Raises:
            UsageError: there are more parts than units, or no such images.
        """
        share = self.schedule.share(len(self.data))
        if not share.units:
            part = self.settings.part
            units = self.schedule.units(len(self.data))
            raise UsageError(f"`{part.name}={part}` has nothing to do: the campaign has {units} units")
        return share

    def _piloted(self, asked: Settings) -> tuple[Samples, NDArray[Any]]:
        """Go on with the number of images per pattern that a pilot finds the cheapest; return the first batch."""
        # constants have been given rows for the batch that the session was opened with
        run = run_size(asked, self.model) or self.session.batch_size
        self._pilot = run_pilot(self._recipe, self.session, self.data, run)
        images = self._pilot.info.images_per_pattern
        used = replace(self.settings, images_per_pattern=images, batch_size=run or images)
        self.schedule = self.schedule.sized(used)
        self._recipe = replace(self._recipe, schedule=self.schedule)
        self._identity = identity_of(self.model, self.data, self.schedule, self.task)
        _logger.info("%d images share a pattern, by a pilot: %s", images, self._pilot.info)
        return next(self.data.batches(images))

    @property
    def space(self) -> FaultSpace:
        """The bits that can flip."""
        return self.schedule.space

    @property
    def units(self) -> int:
        """Number of units that are to be done here: all, or those of a part."""
        return self._share().units

    @property
    def keeps_results(self) -> bool:
        """Whether a results folder was named, so that someone may read it."""
        return self._results is not None

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
            rule = PrecisionRule.of(self.schedule, stopping, self.task.main)
            with self.by_rounds(rule, stopping, progress=progress) as (store, _):
                return self._result(store)
        with self._recording() as (store, stop):
            store.set_stopping(None)
            ledger = Ledger(store, self.data, self.schedule, self.units, progress or _ignore)
            self._keep_first_golden_run(ledger)
            with executor_for(self._work(ledger, stop)) as executor:
                executor.run()
            self.model.check_unchanged()
            return self._result(store)

    def keep_maps(self, result: CampaignResult, number: int) -> KeptMaps:
        """Keep the label maps of the units with the most changed pixels, in the results folder, for reports.

        Counts are all that a campaign holds while it runs; afterwards these units are run once more.

        Args:
            result: of this campaign.
            number: of units per rate, at most; of each, the image with the most changed pixels is kept.

        Raises:
            UsageError: the task has no label maps, or the number makes no sense.
            StoreError: the maps cannot be written.
        """
        task = check_maps(number, self.task)
        recorded = result.recorded or Recorded.open(result.results)
        units = worst_units(recorded, number)
        # the last batch of the campaign is not needed any more
        self._opened.clear()
        pairs = pairs_of(units, task, self._recipe, self.session, self.data, recorded)
        names = self.data.class_names or ()
        kept = KeptMaps(pairs=pairs, classes=task.classes or 0, names=names)
        kept.write(result.results)
        return kept

    def _keep_first_golden_run(self, ledger: Ledger) -> None:
        """Record what every part has run, whichever batches it has: machines are told apart by it."""
        if not ledger.has_golden(0):
            ledger.add_golden(0, self._first().golden_run)
        if 0 not in ledger.open_batches():
            self._opened.clear()

    @contextmanager
    def by_rounds(
        self, rule: Rule, stopping: Stopping, *, order: Order | None = None, progress: Progress | None = None
    ) -> Iterator[tuple[Store, bool]]:
        """Run round by round until a rule needs no more; yield the store, and False where the budget was spent before.

        Args:
            rule: it.
            stopping: what may be spent.
            order: portions other than rounds.
            progress: called after every unit.

        Raises:
            FtonnxError: as ``run``.
        """
        self._require_rounds()
        with self._recording() as (store, stop):
            store.set_stopping(replace(stopping, ended=False))
            budget = stopping.budget or Budget()
            units = min(self.units, budget.units or self.units)
            used = order or WholeRounds(self.schedule.batches(len(self.data)), self.schedule.repeats)
            ledger = Ledger(store, self.data, self.schedule, units, progress or _ignore, used)
            memory = cache_limit(self.settings.cache_memory)
            work = replace(self._work(ledger, stop), memory=memory, may_end_early=True)
            with executor_for(work) as executor:
                enough = Rounds(store, ledger, executor, used, getattr(progress, "say", None)).run(
                    rule, budget, self._began
                )
            self.model.check_unchanged()
            store.set_stopping(replace(stopping, ended=True))
            yield store, enough

    def _result(self, store: Store) -> CampaignResult:
        # working out the numbers takes memory too
        shrink_arena()
        give_back()
        return CampaignResult.of(store, question=self.settings.question, confidence=self.settings.confidence)

    @contextmanager
    def _recording(self) -> Iterator[tuple[Store, StopRequest]]:
        """Open the results folder for writing; a temporary one stays where the campaign may go on in it."""
        folder = self._results or temporary_results()
        header = header_of(self.model, self.data, self.schedule, self._identity, self.session)
        if self._pilot is not None:
            header = replace(header, pilot=self._pilot.info)
        try:
            durable = self.settings.durable
            opened = Store.create_or_resume(folder, header, durable=durable, begins_alike=self._begins_alike)
            with opened as store, stop_on_signals() as stop:
                if self._pilot is not None:
                    self._pilot.keep_in(store)
                yield store, stop
        except (ModelError, DataError, UsageError):  # after a signal or a full disk, what is recorded stays
            if self._results is None:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        except FtonnxError as error:
            if self._results is None and (folder / SETTINGS).exists():
                keep_results(folder)
            if isinstance(error, Interrupted):
                error.results = folder
                error.is_temporary = self._results is None
            raise

    def _require_rounds(self) -> None:
        """Refuse campaigns whose patterns are no random sample."""
        if not self.schedule.faults.is_endless:
            raise UsageError("an early end needs random patterns: `rates` or `faults=FaultCount(K)` was expected")

    def forecast(self) -> dict[str, Any]:
        """Return what a run would do: units, expected faults per unit, seconds by a measurement of some units.

        Where a unit takes long, and as long as a golden run, that is the measurement.

        ``warnings`` holds what the first batch's golden run lets fear, and the ``cautions``.
        """
        levels = self.schedule.levels
        first = self._first()
        batches = len(self._share().batches)
        unit_seconds = self._unit_seconds(first)
        seconds = batches * self._batch_seconds() + self.units * unit_seconds
        return {
            "bits": self.space.bits,
            "units": self.units,
            "batches": batches,
            "strategy": self.session.strategy,
            "expected_faults": {level: self.schedule.expected_faults(level) for level in levels},
            "seconds": seconds / executor_class(self.settings).speedup(self.settings),
            "warnings": self._warnings(first),
        }

    def _unit_seconds(self, first: BatchRunner) -> float:
        """Return what a unit takes, the mean over the levels; a short first run says little of the next ones."""
        levels = self.schedule.levels
        if self._golden_seconds < _TELLING_SECONDS:
            return measured_seconds(first, self.schedule)
        seconds = self._golden_seconds
        if not self.session.in_place:
            seconds = first.run(Unit(levels[-1], 0, 0)).wall_ns * 1e-9
        return scaled_seconds({levels[-1]: seconds}, levels, self.schedule.bits_per_unit)

    def _batch_seconds(self) -> float:
        """Return what reading a batch and its golden run take."""
        start = time.perf_counter()
        images, labels = next(self.data.batches(self.schedule.images_per_unit))
        reading = time.perf_counter() - start
        if self._golden_seconds >= _TELLING_SECONDS:
            return reading + self._golden_seconds
        self._recipe.open_batch(self.session, images, labels)
        return time.perf_counter() - start

    def _first(self) -> BatchRunner:
        """Return what runs the first batch's units; it is opened anew where a run has taken it."""
        if 0 not in self._opened:
            images, labels = next(self.data.batches(self.schedule.images_per_unit))
            self._opened[0] = self._recipe.open_batch(self.session, images, labels)
        return self._opened[0]

    def _warnings(self, first: BatchRunner) -> list[str]:
        """Return what the first batch's golden run lets fear of all of them, and what the fault space leaves out."""
        caution = first.caution(self.data.classes)
        return [*self.cautions] if caution is None else [caution, *self.cautions]

    @property
    def cautions(self) -> tuple[str, ...]:
        """What the fault space leaves out, what faults cannot do there, and what the processor does otherwise."""
        found = (self.space.coverage.caution, self.schedule.faults.caution(self.space.formats))
        return (*filter(None, found), *self.machine_cautions)

    @property
    def machine_cautions(self) -> tuple[str, ...]:
        """Whether the processor computes what the file says."""
        found = saturation_caution(self.session.saturating)
        return () if found is None else (found,)

    def _work(self, ledger: Ledger, stop: StopRequest) -> Work:
        return Work(
            recipe=self._recipe,
            session=self.session,
            data=self.data,
            ledger=ledger,
            stop=stop,
            opened=self._opened,
            may_not_end=self._has_loops,
        )


def _ignore(done: int, total: int) -> None:
    """Show no progress."""
