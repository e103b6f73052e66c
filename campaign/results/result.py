"""What a campaign found, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ftonnx.campaign.plan.settings import Settings
from ftonnx.campaign.plan.stopping import Stopping
from ftonnx.campaign.results.estimates import Estimator
from ftonnx.campaign.results.frames import pandas_of, rates_frame
from ftonnx.campaign.results.injected import by_layer, estimable
from ftonnx.campaign.results.notebook import html_table
from ftonnx.campaign.results.over_time import OverTime
from ftonnx.campaign.results.rate_result import LayerResult, RateResult
from ftonnx.campaign.results.vulnerability import GroupedBy, Vulnerability, ranking_of, vulnerability_of
from ftonnx.campaign.store.folder import Store
from ftonnx.campaign.store.header import DataInfo, EngineInfo, Header, ModelInfo, SpaceInfo
from ftonnx.campaign.store.seeds import SeedRepeats
from ftonnx.campaign.store.unit_table import Recorded, UnitTable
from ftonnx.inject import FaultModel
from ftonnx.stats.betting import Question, parse_question
from ftonnx.stats.estimate import CONFIDENCE, check_confidence
from ftonnx.stats.patterns import few_patterns
from ftonnx.stats.ranking import Ranking
from ftonnx.tasks import Task
from ftonnx.tasks.chance import ONE_BATCH
from ftonnx.words import file_path, interval, nine_digits, percent

if TYPE_CHECKING:
    import polars as pl

__all__ = ["CampaignResult"]

_JSON_VERSION: Final = 3  # of to_dict


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignResult:
    """What one model's outputs are worth over fault rates, and everything needed to repeat the campaign.

    Attributes:
        header: what the results folder says about the campaign; its parts are attributes of the result too: ``model``,
            ``data``, ``fault_space``, ``faults``, ``task``, ``settings``, ``engine``, ``machine``, ``versions`` and
            ``stopping``.
        golden: what the task tells of fault-free runs, such as top-1 and top-5 accuracy.
        results: the results folder.
        rates: one entry per fault rate, ascending; one in all for injections, weighted by bits where they were
            drawn tensor by tensor. The mean over a published fault list is given an interval as if it was a random
            sample; that over every bit is exact.
        complete: whether every unit is recorded, or as many as a precision or a budget asked for; else ``rates``
            sums up what was run with equally many patterns per batch.
        vulnerability: single faults by tensor, in the order of the fault space, and bit; empty without single faults.
        layers: the tensors' own estimates where injections were drawn tensor by tensor.
        question: what the intervals are for: ``these-images``, these images, or ``new-images``, new ones too.
        confidence: of the intervals.
        recorded: the counts that all this was made of; None for a result that was put together by hand.
        over_time: what histories of a memory tell, where upsets accumulate; None elsewhere.
    """

    header: Header
    golden: Mapping[str, float]
    results: Path
    rates: tuple[RateResult, ...]
    complete: bool
    vulnerability: tuple[Vulnerability, ...]
    layers: tuple[LayerResult, ...]
    question: Question = "these-images"
    confidence: float = CONFIDENCE
    recorded: Recorded | None = field(default=None, repr=False, compare=False)
    over_time: OverTime | None = None

    def __repr__(self) -> str:
        main = self.task.headline
        curve = ", ".join(f"{rate.rate:g}: {rate[main].mean:.4f}" for rate in self.rates)
        warned = ", see its warnings" if self.warnings else ""
        label = self.task.main.label
        return f"CampaignResult({self.model.name!r}, golden {self.clean:.4f}, {label} at {{{curve}}}{warned})"

    def _repr_html_(self) -> str:
        """Show the rates in a notebook."""
        rows = []
        for rate in self.rates:
            shares = [percent(rate[name].mean) for name in self.task.shown]
            found = rate[self.task.headline]
            rows.append((f"{rate.rate:g}", *shares, interval(found.low, found.high)))
        label = self.task.main.label
        caption = f"{self.model.name} on {self.data.name}, fault-free {label} {percent(self.clean)}"
        header = ("rate", *self.task.shown, f"interval of {self.task.headline}")
        return html_table(caption, header, rows, warnings=self.warnings)

    @property
    def model(self) -> ModelInfo:
        """Name, path and SHA-256 of the model."""
        return self.header.model

    @property
    def data(self) -> DataInfo:
        """Name, split, number of samples and of classes, SHA-256 and source of the data."""
        return self.header.data

    @property
    def fault_space(self) -> SpaceInfo:
        """The bits that can flip (N), tensor by tensor."""
        return self.header.space

    @property
    def faults(self) -> FaultModel:
        """The fault model; of a fault list, only the fingerprint."""
        return self.header.faults

    @property
    def task(self) -> Task:
        """What the counts mean."""
        return self.header.task

    @property
    def settings(self) -> Settings:
        """The settings that decide the counts; where seeds were pooled, with the first one and the repeats of all."""
        return self.header.settings

    @property
    def seeds(self) -> tuple[SeedRepeats, ...]:
        """The seed of the fault patterns and its repeats, or those that were pooled."""
        return self.header.identity.seeds

    @property
    def shown_settings(self) -> dict[str, Any]:
        """The settings as JSON values for people to read, with all seeds as a text where several were pooled."""
        pooled = self.header.identity.pooled
        seed = self.settings.seed if pooled is None else str(pooled)
        shown = self.settings.to_dict() | {"seed": seed}
        plan = self.settings.protection
        return shown if plan is None else shown | {"protection": plan.text}

    @property
    def engine(self) -> EngineInfo:
        """Strategy in use, why another one is not, providers, threads, ONNX Runtime's version."""
        return self.header.engine

    @property
    def machine(self) -> Mapping[str, str]:
        """Versions of python and onnx, platform, cpu."""
        return self.header.machine

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions of ftonnx, onnxruntime and numpy."""
        return self.header.identity.versions

    @property
    def stopping(self) -> Stopping | None:
        """The precision and the budget at which the campaign could end early; None where it could not."""
        return self.header.stopping

    @property
    def clean(self) -> float:
        """The task's headline without faults."""
        return self.golden[self.task.headline]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of these numbers must know first; whoever shows one of them shows these too."""
        return (*self._warnings_of_counts, *self._warnings_of_machines)

    @property
    def _warnings_of_counts(self) -> tuple[str, ...]:
        found = [
            self.task.caution(self.clean, self.data.classes),
            self.fault_space.coverage.caution,
            self.faults.caution(self.fault_space.formats),
            self._few_patterns(),
            ONE_BATCH if self._one_batch_of_new_images else None,
        ]
        return tuple(text for text in found if text is not None)

    @property
    def _warnings_of_machines(self) -> tuple[str, ...]:
        found = [self.engine.caution, self.header.parts_caution]
        return tuple(text for text in found if text is not None)

    @property
    def interval_needs(self) -> str:
        """What an interval would need that is missing where there is none, for the cell of a table."""
        if self.faults.covers_all:
            return "needs every bit"
        return "needs 2 batches" if self._one_batch_of_new_images else "needs 2 patterns"

    @property
    def _one_batch_of_new_images(self) -> bool:
        return self.question == "new-images" and self.header.batches <= 1

    def _few_patterns(self) -> str | None:
        """Say what few patterns may have missed; a campaign of all of them misses nothing."""
        patterns = [rate.units for rate in self.rates if rate.rate > 0]
        if not patterns or self.faults.covers_all:
            return None
        return few_patterns(min(patterns))

    @property
    def injections(self) -> int | None:
        """Number of injections; None where fault patterns were drawn at rates."""
        return None if self.faults.fresh_per_batch else self.rates[0].units

    def ranking(self, by: GroupedBy) -> Ranking:
        """Order the bits, the tensors, or the bits of each tensor by the harm that single faults in them did.

        Only those that were hit are in it; see ``stats.ranking.rank`` for when the worst can be told.
        """
        return ranking_of(self.vulnerability, by, self.header)

    @classmethod
    def open(
        cls, path: str | Path, *, question: Question | None = None, confidence: float = CONFIDENCE
    ) -> "CampaignResult":
        """Sum up what a results folder holds so far, see ``of``.

        Raises:
            StoreError: there is no campaign, or it is damaged, or no unit is recorded yet.
        """
        with Store.open(file_path("path", path, "a results folder").absolute()) as store:
            return cls.of(store, question=question, confidence=confidence)

    @classmethod
    def of(cls, store: Store, *, question: Question | None = None, confidence: float = CONFIDENCE) -> "CampaignResult":
        """Sum up what a store holds so far.

        Args:
            store: the results folder.
            question: what intervals are for; by default what the campaign was ended early for, else ``these-images``.
            confidence: of the intervals.

        Raises:
            StoreError: no unit is recorded yet.
            UsageError: the question is not known.
        """
        header = store.header
        if question is None:
            question = "these-images" if header.stopping is None else header.stopping.question
        estimator = Estimator.of(header, parse_question(question), check_confidence(confidence))
        recorded = Recorded.of(store)
        tables = [recorded.table(level) for level in recorded.columns]
        known = [table for table in tables if table is not None]
        return cls(
            header=header,
            golden=recorded.golden_fractions,
            results=store.path,
            rates=tuple(_sum_up(table, header, estimator) for table in known),
            complete=_is_complete(header, known),
            vulnerability=vulnerability_of(store) if header.faults.is_single_bit else (),
            layers=_layers(known[0], header, estimator),
            question=estimator.question,
            confidence=confidence,
            recorded=recorded,
            over_time=OverTime.of(recorded, known, estimator),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``ftonnx inject --json``.

        All but ``run`` is a function of the model, the data, the faults, the settings that decide counts, and the
        counts; computed numbers are given to nine digits. ``run`` is how and where they came about.
        """
        return {
            "schema_version": _JSON_VERSION,
            "model": self.model.to_dict(),
            "data": self.data.summary(),
            "fault_space": self.fault_space.summary(),
            "faults": self.faults.to_dict(),
            "task": self.task.to_dict(),
            "settings": self.settings.deciding(),
            "seeds": [each.to_dict() for each in self.seeds],
            "golden": {name: nine_digits(value) for name, value in self.golden.items()},
            "warnings": list(self._warnings_of_counts),
            "question": self.question,
            "stopping": None if self.stopping is None else self.stopping.to_dict(),
            "rates": [rate.to_dict() for rate in self.rates],
            **({} if self.over_time is None else {"over_time": self.over_time.to_dict()}),
            "complete": self.complete,
            "vulnerability": [each.to_dict() for each in self.vulnerability],
            "layers": [layer.to_dict() for layer in self.layers],
            "run": {
                "results": str(self.results),
                "engine": self.engine.to_dict(),
                "settings": self.settings.opening(),
                "pilot": None if self.header.pilot is None else self.header.pilot.to_dict(),
                "warnings": list(self._warnings_of_machines),
            },
        }

    def to_polars(self) -> "pl.DataFrame":
        """Return a polars.DataFrame with one row per fault rate: every fraction with its limits."""
        return rates_frame(self.model.name, self.rates, self.task, self.clean)

    def to_pandas(self) -> Any:
        """Return the same as a pandas.DataFrame.

        Raises:
            UsageError: pandas is not installed.
        """
        return pandas_of(self.to_polars())


def _is_complete(header: Header, tables: list[UnitTable]) -> bool:
    if header.stopping is not None and header.stopping.ended:
        return True
    units = header.batches * header.patterns
    return [table.recorded for table in tables] == [units] * len(header.levels)


def _sum_up(table: UnitTable, header: Header, estimator: Estimator) -> RateResult:
    table = estimable(table, header)
    estimate = partial(estimator.estimate, table)
    return RateResult(
        rate=table.rate,
        units=table.patterns,
        faults_mean=float(table.counts["n_faults"].mean()),
        interval=estimator.interval,
        fractions={name: estimate(fraction) for name, fraction in header.task.fractions.items()},
        hours=header.faults.hours_at(table.rate),
        figures=header.task.figures({name: int(table.counts[name].sum()) for name in header.task.counts}),
    )


def _layers(table: UnitTable, header: Header, estimator: Estimator) -> tuple[LayerResult, ...]:
    per_tensor = header.per_tensor
    if per_tensor is None:
        return ()
    task = header.task
    rows, tensors = by_layer(table.pooled(), header, per_tensor)
    found = []
    for index, tensor in enumerate(tensors):
        row = rows.row(index)
        fractions = {name: estimator.estimate(row, task.fractions[name]) for name in task.shown}
        layer = LayerResult(
            tensor=tensor.tensor,
            weight=tensor.bits / header.space.bits,
            injections=row.patterns,
            fractions=fractions,
        )
        found.append(layer)
    return tuple(found)
