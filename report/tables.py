"""The evidence as tables: one polars frame per question, and the same rows for charts, HTML, CSV and Parquet."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

import polars as pl

from ftonnx.campaign import CampaignResult, Estimate, RateResult
from ftonnx.campaign.tables import is_by_argmax, is_injected
from ftonnx.report.activations import Activations
from ftonnx.report.formats import shape_text

__all__ = [
    "OUTCOMES",
    "activations_table",
    "fault_space_table",
    "golden_table",
    "labels",
    "outcomes_table",
    "rates_table",
    "swept",
    "to_polars",
    "vulnerability_table",
]

OUTCOMES: Final = ("masked", "tolerable", "SDC", "DUE")
"""What can become of an image: bit-identical output, same class, another class, NaN or Inf. Together they are all."""

_ESTIMATES: Final = tuple(field.name for field in fields(RateResult) if field.type in (Estimate, "Estimate"))
_RATE_COLUMNS: Final[dict[str, Any]] = {
    "model": pl.String,
    "rate": pl.Float64,
    "units": pl.Int64,
    "faults_mean": pl.Float64,
    "fault_free_top1": pl.Float64,
    **{f"{name}{end}": pl.Float64 for name in _ESTIMATES for end in ("", "_low", "_high")},
}
_FAULT_SPACE_COLUMNS: Final[dict[str, Any]] = {
    "model": pl.String,
    "tensor": pl.String,
    "role": pl.String,
    "node": pl.String,
    "op_type": pl.String,
    "shape": pl.String,
    "format": pl.String,
    "bits": pl.Int64,
}
_COUNTS: Final = ("injections", "images", "masked", "critical", "sdc5", "due")
_VULNERABILITY_COLUMNS: Final[dict[str, Any]] = {
    "model": pl.String,
    "tensor": pl.String,
    "bit": pl.Int64,
    **dict.fromkeys(_COUNTS, pl.Int64),
    "critical_share": pl.Float64,
    "critical_share_low": pl.Float64,
    "critical_share_high": pl.Float64,
}


def labels(results: Sequence[CampaignResult]) -> list[str]:
    """Return one distinct name per result: the model's, with the results folder or a number where that is not enough.

    >>> from types import SimpleNamespace as Made
    >>> from pathlib import Path
    >>> made = [Made(model={"name": n}, results=Path(r)) for n, r in (("a", "x/1"), ("b", "x/2"), ("b", "x/3"))]
    >>> labels(made), labels([made[0], Made(model={"name": "a"}, results=Path("y/1"))])
    (['a', 'b (2)', 'b (3)'], ['a (1) #1', 'a (1) #2'])
    """
    names = [str(result.model["name"]) for result in results]
    names = [
        name if names.count(name) == 1 else f"{name} ({result.results.name})"
        for name, result in zip(names, results, strict=True)
    ]
    return [
        name if names.count(name) == 1 else f"{name} #{names[: index + 1].count(name)}"
        for index, name in enumerate(names)
    ]


def swept(results: Sequence[CampaignResult]) -> list[tuple[str, CampaignResult]]:
    """Return the campaigns over fault rates with their labels; campaigns of injections are left out."""
    return [
        (label, result)
        for label, result in zip(labels(results), results, strict=True)
        if not is_injected(result.settings)
    ]


def rates_table(results: Sequence[CampaignResult]) -> pl.DataFrame:
    """Return one row per model and fault rate: every estimated fraction with its limits (null where there are none)."""
    rows = [
        {
            "model": label,
            "rate": rate.rate,
            "units": rate.units,
            "faults_mean": rate.faults_mean,
            "fault_free_top1": result.golden["top1"],
        }
        | {f"{name}{end}": value for name in _ESTIMATES for end, value in _limits(getattr(rate, name)).items()}
        for label, result in zip(labels(results), results, strict=True)
        for rate in result.rates
    ]
    return pl.DataFrame(rows, schema=_RATE_COLUMNS)


def to_polars(result: CampaignResult) -> pl.DataFrame:
    """Return one result's rates, see ``rates_table``."""
    return rates_table([result])


def golden_table(results: Sequence[CampaignResult]) -> pl.DataFrame:
    """Return one row per model: fault-free accuracy, images, and number of bits that can flip."""
    rows = [
        {
            "model": label,
            "top1": result.golden["top1"],
            "top5": result.golden["top5"],
            "images": result.data["samples"],
            "bits": result.fault_space["bits"],
        }
        for label, result in zip(labels(results), results, strict=True)
    ]
    return pl.DataFrame(rows)


def outcomes_table(results: Sequence[CampaignResult]) -> pl.DataFrame:
    """Return one row per model, rate and outcome: the share of images, which sums to 1 per rate."""
    rows = [
        {"model": label, "rate": rate.rate, "outcome": outcome, "share": share}
        for label, result in zip(labels(results), results, strict=True)
        for rate in result.rates
        for outcome, share in zip(OUTCOMES, _shares(rate, by_argmax=is_by_argmax(result.settings)), strict=True)
    ]
    return pl.DataFrame(
        rows, schema={"model": pl.String, "rate": pl.Float64, "outcome": pl.String, "share": pl.Float64}
    )


def fault_space_table(results: Sequence[CampaignResult]) -> pl.DataFrame:
    """Return one row per model and stored tensor, in the order of the graph."""
    rows = [
        {"model": label, **target, "shape": shape_text(target["shape"])}
        for label, result in zip(labels(results), results, strict=True)
        for target in result.targets
    ]
    return pl.DataFrame(rows, schema=_FAULT_SPACE_COLUMNS)


def vulnerability_table(results: Sequence[CampaignResult]) -> pl.DataFrame:
    """Return one row per model, tensor and bit that was hit: counts, and the share of images with another class.

    The limits of the share are over injections, null where there are none.
    """
    rows = [
        {
            "model": label,
            "tensor": found.tensor,
            "bit": found.bit,
            **{name: getattr(found, name) for name in _COUNTS},
            "critical_share": found.critical / found.images,
            "critical_share_low": found.low,
            "critical_share_high": found.high,
        }
        for label, result in zip(labels(results), results, strict=True)
        for found in result.vulnerability
    ]
    return pl.DataFrame(rows, schema=_VULNERABILITY_COLUMNS)


def activations_table(measured: Sequence[Activations]) -> pl.DataFrame:
    """Return one row per model, activation and rate: range, quartiles, share of zeros, share above the threshold."""
    return pl.DataFrame([{"model": found.model, **row} for found in measured for row in found.rows])


def _limits(estimate: Estimate) -> dict[str, float | None]:
    return {"": estimate.mean, "_low": estimate.low, "_high": estimate.high}


def _shares(rate: RateResult, *, by_argmax: bool) -> tuple[float, float, float, float]:
    """Return the shares of the four outcomes; a model that gives NaN without faults can be masked and DUE at once.

    Where NaN counts by argmax, every output has a class, and none is left for DUE.
    """
    due = 0.0 if by_argmax else rate.due.mean
    masked = min(rate.masked.mean, 1 - due - rate.sdc1.mean)
    return masked, max(0.0, 1 - masked - rate.sdc1.mean - due), rate.sdc1.mean, due
