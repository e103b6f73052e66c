"""What a campaign found, as plain values."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np

from ftonnx.campaign.cautions import ONE_BATCH, near_chance
from ftonnx.campaign.estimate import Estimate
from ftonnx.campaign.estimates import Estimator
from ftonnx.campaign.evidence import Target, parse_target
from ftonnx.campaign.notebook import html_table
from ftonnx.campaign.ranking import Ranking
from ftonnx.campaign.statistics import few_patterns
from ftonnx.campaign.store import Store
from ftonnx.campaign.tables import UnitTable, is_injected, is_single_fault
from ftonnx.campaign.vulnerability import GroupedBy, Vulnerability, ranking_of, vulnerability_of
from ftonnx.errors import StoreError, UsageError

__all__ = ["CampaignResult", "LayerResult", "RateResult", "Vulnerability"]

_JSON_VERSION: Final = 1  # of to_dict; keys have only been added so far
_SHOWN: Final = ("top1", "sdc1", "due")
_LAYER_FRACTIONS: Final = {"top1": "correct1", "sdc1": "sdc1", "due": "due"}
_FRACTIONS: Final = {
    "top1": "correct1", "top5": "correct5", "sdc1": "sdc1", "sdc5": "sdc5", "sdc10": "sdc10", "sdc20": "sdc20",
    "masked": "masked", "due": "due", "beneficial": "beneficial",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RateResult:
    """The outcomes at one fault rate, or of all injections, as fractions of all images with intervals.

    Attributes:
        rate: bit-fault rate; of injections, their flips per bit.
        units: fault patterns that were run; of injections, their number.
        faults_mean: mean number of flipped bits per pattern.
        top1: accuracy; a detected error counts as wrong.
        top5: top-5 accuracy, likewise.
        sdc1: silent data corruption, top-1 differs from the golden run's.
        sdc5: silent data corruption, top-1 is not among the golden run's top five.
        sdc10: the confidence in the top-1 class is off by more than 10 % of the golden run's.
        sdc20: the same with 20 %.
        masked: outputs bit-identical to the golden run's.
        due: outputs with NaN or Inf.
        beneficial: top-1 is right, and the golden run's was wrong.
        interval: ``fixed-n``, or ``anytime-valid`` where the campaign could end early.
    """

    rate: float
    units: int
    faults_mean: float
    top1: Estimate
    top5: Estimate
    sdc1: Estimate
    sdc5: Estimate
    sdc10: Estimate
    sdc20: Estimate
    masked: Estimate
    due: Estimate
    beneficial: Estimate
    interval: str = "fixed-n"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        numbers = {"rate": self.rate, "units": self.units, "faults_mean": self.faults_mean, "interval": self.interval}
        return numbers | {name: getattr(self, name).to_dict() for name in _FRACTIONS}


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerResult:
    """The outcomes of single faults in one stored tensor.

    Attributes:
        tensor: its name.
        weight: its share of the bits that can flip.
        injections: single faults that hit it.
        top1: accuracy with a random one of its bits flipped.
        sdc1: SDC-1, likewise.
        due: outputs with NaN or Inf, likewise.
    """

    tensor: str
    weight: float
    injections: int
    top1: Estimate
    sdc1: Estimate
    due: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        numbers = {"tensor": self.tensor, "weight": self.weight, "injections": self.injections}
        return numbers | {name: getattr(self, name).to_dict() for name in _LAYER_FRACTIONS}


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignResult:
    """Accuracy of one model over fault rates, and everything needed to repeat it.

    Attributes:
        model: name, path and SHA-256.
        data: name, split, number of samples and of classes, and SHA-256.
        fault_space: bits (N), elements, number of targets, formats.
        settings: the campaign's settings.
        engine: strategy in use, why another one is not, providers, threads, ONNX Runtime's version.
        golden: fault-free top-1 and top-5 accuracy.
        results: the results folder.
        rates: one entry per fault rate, ascending; one in all for injections, weighted by bits where they were
            drawn tensor by tensor. The mean over a published fault list is given an interval as if it was a random
            sample; that over every bit is exact.
        complete: whether every unit is recorded, or as many as a precision or a budget asked for; else ``rates``
            sums up what was run with equally many patterns per batch.
        vulnerability: single faults by tensor, in the order of the fault space, and bit; empty without single faults.
        layers: the tensors' own estimates where injections were drawn tensor by tensor.
        targets: the fault space tensor by tensor: tensor, role, node, op_type, shape, dtype, format, bits.
        source: how the data set was opened: data (its spec), split, limit, preprocess; empty for data from Python.
        versions: of ftonnx, onnxruntime and numpy.
        machine: python, onnx, platform, cpu.
        target: what the intervals are for: ``test-set``, these images, or ``population``, new ones too.
        stopping: the precision and the budget at which the campaign could end early; None where it could not.
    """

    model: Mapping[str, Any]
    data: Mapping[str, Any]
    fault_space: Mapping[str, Any]
    settings: Mapping[str, Any]
    engine: Mapping[str, Any]
    golden: Mapping[str, float]
    results: Path
    rates: tuple[RateResult, ...]
    complete: bool
    vulnerability: tuple[Vulnerability, ...]
    layers: tuple[LayerResult, ...]
    targets: tuple[Mapping[str, Any], ...]
    source: Mapping[str, Any]
    versions: Mapping[str, str]
    machine: Mapping[str, str]
    target: Target = "test-set"
    stopping: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        curve = ", ".join(f"{rate.rate:g}: {rate.top1.mean:.4f}" for rate in self.rates)
        warned = ", see its warnings" if self.warnings else ""
        return f"CampaignResult({self.model['name']!r}, golden {self.golden['top1']:.4f}, top-1 at {{{curve}}}{warned})"

    def _repr_html_(self) -> str:
        """Show the rates in a notebook."""
        rows = [
            (f"{rate.rate:g}", *(f"{100 * getattr(rate, name).mean:.2f} %" for name in _SHOWN), _limits(rate.top1))
            for rate in self.rates
        ]
        caption = f"{self.model['name']} on {self.data['name']}, fault-free top-1 {100 * self.golden['top1']:.2f} %"
        return html_table(caption, ("rate", *_SHOWN, "interval of top1"), rows, warnings=self.warnings)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of these numbers must know first; whoever shows one of them shows these too."""
        found = [near_chance(self.golden["top1"], self.data.get("classes")), self._few_patterns()]
        if self._one_batch_of_new_images:
            found.append(ONE_BATCH)
        return tuple(text for text in found if text is not None)

    @property
    def interval_needs(self) -> str:
        """What an interval would need that is missing where there is none, for the cell of a table."""
        if self.settings["exhaustive"]:
            return "needs every bit"
        return "needs 2 batches" if self._one_batch_of_new_images else "needs 2 patterns"

    @property
    def _one_batch_of_new_images(self) -> bool:
        return self.target == "population" and self.data["samples"] <= self.settings["batch_size"]

    def _few_patterns(self) -> str | None:
        """Say what few patterns may have missed; an exhaustive campaign misses nothing."""
        patterns = [rate.units for rate in self.rates if rate.rate > 0]
        return few_patterns(min(patterns)) if patterns and not self.settings["exhaustive"] else None

    @property
    def injections(self) -> int | None:
        """Number of injections; None where fault patterns were drawn at rates."""
        return self.rates[0].units if is_injected(self.settings) else None

    def ranking(self, by: GroupedBy) -> Ranking:
        """Order the bits, the tensors, or the bits of each tensor by the harm that single faults in them did.

        Only those that were hit are in it; see ``campaign.ranking.rank`` for when the worst can be told.
        """
        bits, samples = self.fault_space["bits"], self.data["samples"]
        return ranking_of(self.vulnerability, by, self.settings, self.stopping, bits=bits, samples=samples)

    @classmethod
    def open(cls, path: str | Path, *, target: Target | None = None) -> "CampaignResult":
        """Sum up what a results folder holds so far, see ``of``.

        Raises:
            StoreError: there is no campaign, or it is damaged, or no unit is recorded yet.
        """
        with Store.open(Path(path).absolute()) as store:
            return cls.of(store, target=target)

    @classmethod
    def of(cls, store: Store, *, target: Target | None = None) -> "CampaignResult":
        """Sum up what a store holds so far.

        Args:
            store: the results folder.
            target: what intervals are for; by default what the campaign was ended early for, else ``test-set``.

        Raises:
            StoreError: no unit is recorded yet.
            UsageError: the target is not known.
        """
        header, settings = store.header, store.header["settings"]
        stopping = header.get("stopping")
        target = parse_target(target or (stopping["target"] if stopping else "test-set"))
        estimator = estimator_of(header, target)
        golden = list(store.golden().values())
        tables = [table for rate in settings["rates"] if (table := UnitTable.of(store, rate)) is not None]
        if not golden or not tables:
            raise StoreError(f"{store.path} has no recorded unit yet; run the campaign first")
        images = sum(outcomes.n for outcomes in golden)
        units = math.ceil(header["data"]["samples"] / settings["batch_size"]) * settings["repeats"]
        return cls(
            **{key: header[key] for key in ("model", "data", "fault_space", "settings", "engine")},
            golden={
                "top1": sum(outcomes.correct1 for outcomes in golden) / images,
                "top5": sum(outcomes.correct5 for outcomes in golden) / images,
            },
            results=store.path,
            rates=tuple(_sum_up(table, header, estimator) for table in tables),
            complete=bool(stopping and stopping["ended"])
            or [table.recorded for table in tables] == [units] * len(settings["rates"]),
            vulnerability=vulnerability_of(store) if is_single_fault(settings) else (),
            layers=_layers(tables[0], header, estimator) if settings["per_layer"] else (),
            targets=tuple(header["targets"]),
            source=header["source"],
            versions=header["identity"]["versions"],
            machine=header["machine"],
            target=target,
            stopping=stopping,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``ftonnx inject --json``."""
        return {
            "schema_version": _JSON_VERSION,
            "model": dict(self.model),
            "data": dict(self.data),
            "fault_space": dict(self.fault_space),
            "settings": dict(self.settings),
            "engine": dict(self.engine),
            "golden": dict(self.golden),
            "warnings": list(self.warnings),
            "results": str(self.results),
            "target": self.target,
            "stopping": self.stopping and dict(self.stopping),
            "rates": [rate.to_dict() for rate in self.rates],
            "complete": self.complete,
            "vulnerability": [each.to_dict() for each in self.vulnerability],
            "layers": [layer.to_dict() for layer in self.layers],
        }

    def to_polars(self) -> Any:
        """Return a polars.DataFrame with one row per fault rate: every fraction with its limits."""
        return _report().to_polars(self)

    def to_pandas(self) -> Any:
        """Return the same as a pandas.DataFrame.

        Raises:
            UsageError: pandas is not installed.
        """
        try:
            pandas = import_module("pandas")
        except ImportError as error:
            raise UsageError("pandas is not installed: pip install pandas, or use to_polars()") from error
        return pandas.DataFrame(self.to_polars().to_dict(as_series=False))

    def plot(self) -> Any:
        """Return the chart of accuracy over fault rate (altair), which notebooks draw."""
        return _report().plot(self)


def _report() -> Any:
    """Load the room above at first use: people expect these methods here, and campaigns never call them."""
    return import_module("ftonnx.report")


def _limits(estimate: Estimate) -> str:
    """Return an interval for people.

    >>> _limits(Estimate(0.5, 0.25, 0.75)), _limits(Estimate(0.5, None, None))
    ('25.00 to 75.00 %', '-')
    """
    if estimate.low is None or estimate.high is None:
        return "-"
    return f"{100 * estimate.low:.2f} to {100 * estimate.high:.2f} %"


def estimator_of(header: Mapping[str, Any], target: Target) -> Estimator:
    """Return what makes a campaign's estimates, given the content of its ``campaign.json``."""
    every = header["fault_space"]["bits"] if header["settings"]["exhaustive"] else None
    return Estimator(target=target, early=bool(header.get("stopping")), every=every)


def _sum_up(table: UnitTable, header: Mapping[str, Any], estimator: Estimator) -> RateResult:
    settings = header["settings"]
    if is_injected(settings):
        table = table.pooled()
    if settings["per_layer"]:
        table = _by_layer(table, header)
    estimates = {name: estimator.estimate(table, column) for name, column in _FRACTIONS.items()}
    faults = float(table.counts["n_faults"].mean())
    return RateResult(
        rate=table.rate,
        units=table.counts["n"].size,
        faults_mean=faults,
        interval="anytime-valid" if estimator.early else "fixed-n",
        **estimates,
    )


def _by_layer(table: UnitTable, header: Mapping[str, Any]) -> UnitTable:
    """Return pooled injections with a row for each tensor that has all of its own, weighted by the tensor's bits."""
    patterns = table.repeats.size
    each = min(patterns, header["settings"]["per_layer"])
    layers = patterns // each
    bits = np.array([target["bits"] for target in header["targets"][:layers]], np.int64)
    rows = {name: column[0, : layers * each].reshape(layers, each) for name, column in table.counts.items()}
    weighted = {name: column * bits[:, np.newaxis] for name, column in rows.items()}
    return replace(
        table,
        sizes=table.sizes * bits,
        counts=weighted | {"n_faults": rows["n_faults"]},
        golden={name: column * bits for name, column in table.golden.items()},
    )


def _layers(table: UnitTable, header: Mapping[str, Any], estimator: Estimator) -> tuple[LayerResult, ...]:
    rows = _by_layer(table.pooled(), header)
    return tuple(
        LayerResult(
            tensor=target["tensor"],
            weight=target["bits"] / header["fault_space"]["bits"],
            injections=rows.counts["n"].shape[1],
            **{name: estimator.estimate(rows.row(index), column) for name, column in _LAYER_FRACTIONS.items()},
        )
        for index, target in enumerate(header["targets"][: len(rows.sizes)])
    )
