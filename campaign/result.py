"""What a campaign found, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.plan import Unit
from ftonnx.campaign.statistics import Estimate, stratified_mean
from ftonnx.campaign.store import SCHEMA_VERSION, Record, Store

__all__ = ["CampaignResult", "RateResult"]

_FRACTIONS: Final = {
    "top1": "correct1", "top5": "correct5", "sdc1": "sdc1", "sdc5": "sdc5", "masked": "masked", "due": "due",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RateResult:
    """The outcomes at one fault rate, as fractions of all images with intervals.

    Attributes:
        rate: bit-fault rate.
        units: fault patterns that were run.
        faults_mean: mean number of flipped bits per pattern.
        top1: accuracy; a detected error counts as wrong.
        top5: top-5 accuracy, likewise.
        sdc1: silent data corruption, top-1 differs from the golden run's.
        sdc5: silent data corruption, top-1 is not among the golden run's top five.
        masked: outputs bit-identical to the golden run's.
        due: outputs with NaN or Inf.
    """

    rate: float
    units: int
    faults_mean: float
    top1: Estimate
    top5: Estimate
    sdc1: Estimate
    sdc5: Estimate
    masked: Estimate
    due: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        numbers = {"rate": self.rate, "units": self.units, "faults_mean": self.faults_mean}
        return numbers | {name: getattr(self, name).to_dict() for name in _FRACTIONS}


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignResult:
    """Accuracy of one model over fault rates, and everything needed to repeat it.

    Attributes:
        model: name, path and SHA-256.
        data: name, split, number of samples and SHA-256.
        fault_space: bits (N), elements, number of targets, formats.
        settings: the campaign's settings.
        engine: strategy in use, why another one is not, providers, threads, ONNX Runtime's version.
        golden: fault-free top-1 and top-5 accuracy.
        results: the results folder.
        rates: one entry per fault rate, ascending.
    """

    model: Mapping[str, Any]
    data: Mapping[str, Any]
    fault_space: Mapping[str, Any]
    settings: Mapping[str, Any]
    engine: Mapping[str, Any]
    golden: Mapping[str, float]
    results: Path
    rates: tuple[RateResult, ...]

    def __repr__(self) -> str:
        curve = ", ".join(f"{rate.rate:g}: {rate.top1.mean:.4f}" for rate in self.rates)
        return f"CampaignResult({self.model['name']!r}, golden {self.golden['top1']:.4f}, top-1 at {{{curve}}})"

    @classmethod
    def of(cls, store: Store) -> "CampaignResult":
        """Sum up a store that holds every unit of its campaign."""
        header = store.header
        units, golden = store.units(), list(store.golden().values())
        images = sum(outcomes.n for outcomes in golden)
        return cls(
            **{key: header[key] for key in ("model", "data", "fault_space", "settings", "engine")},
            golden={
                "top1": sum(outcomes.correct1 for outcomes in golden) / images,
                "top5": sum(outcomes.correct5 for outcomes in golden) / images,
            },
            results=store.path,
            rates=tuple(_sum_up(rate, units, header["settings"]["repeats"]) for rate in header["settings"]["rates"]),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``ftonnx inject --json``."""
        return {
            "schema_version": SCHEMA_VERSION,
            "model": dict(self.model),
            "data": dict(self.data),
            "fault_space": dict(self.fault_space),
            "settings": dict(self.settings),
            "engine": dict(self.engine),
            "golden": dict(self.golden),
            "results": str(self.results),
            "rates": [rate.to_dict() for rate in self.rates],
        }


def _sum_up(rate: float, units: Mapping[Unit, Record], repeats: int) -> RateResult:
    records = [record for unit, record in units.items() if unit.rate == rate]
    sizes = _table([record.outcomes.n for record in records], repeats)[:, 0]
    estimates = {
        name: stratified_mean(_table([getattr(r.outcomes, column) for r in records], repeats), sizes)
        for name, column in _FRACTIONS.items()
    }
    faults = [record.n_faults for record in records]
    return RateResult(rate=rate, units=len(records), faults_mean=sum(faults) / len(faults), **estimates)


def _table(values: list[int], repeats: int) -> NDArray[np.int64]:
    """Arrange values, sorted by (repeat, batch), as (batches, repeats)."""
    return np.array(values, np.int64).reshape(repeats, -1).T
