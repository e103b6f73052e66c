"""The evidence as tables: one polars frame per question, and the same rows for charts, HTML, CSV and Parquet."""

from collections.abc import Sequence
from typing import Any, Final

import polars as pl

from ftonnx.campaign import CampaignResult
from ftonnx.campaign.results.frames import rates_frame
from ftonnx.report.activations import Activations
from ftonnx.report.formats import shape_text
from ftonnx.words import share_digits, told_apart

__all__ = [
    "activations_table",
    "fault_space_table",
    "golden_table",
    "labelled",
    "labels",
    "outcomes_table",
    "rates_table",
    "swept",
    "vulnerability_counts",
    "vulnerability_table",
]

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
_SHARES: Final = ("critical_share", "critical_share_low", "critical_share_high")


def labels(results: Sequence[CampaignResult]) -> list[str]:
    """Return one distinct name per result: the model's, with the results folder or a number where that is not enough.

    >>> from types import SimpleNamespace as Made
    >>> from pathlib import Path
    >>> def made(name, folder):
    ...     return Made(model=Made(name=name), results=Path(folder))
    >>> labels([made("a", "x/1"), made("b", "x/2"), made("b", "x/3")]), labels([made("a", "x/1"), made("a", "y/1")])
    (['a', 'b (2)', 'b (3)'], ['a (1) #1', 'a (1) #2'])
    """
    return told_apart([(result.model.name, result.results) for result in results])


def swept(results: Sequence[CampaignResult]) -> list[tuple[str, CampaignResult]]:
    """Return the campaigns over fault rates with their labels; campaigns of injections are left out."""
    return [(label, result) for label, result in labelled(results) if result.faults.fresh_per_batch]


def labelled(results: Sequence[CampaignResult]) -> list[tuple[str, CampaignResult]]:
    """Return the results with their labels."""
    return list(zip(labels(results), results, strict=True))


def rates_table(results: Sequence[CampaignResult]) -> pl.DataFrame:
    """Return one row per model and fault rate: every estimated fraction with its limits (null where there are none)."""
    frames = []
    for label, result in labelled(results):
        frames.append(rates_frame(label, result.rates, result.task, result.clean))
    return pl.concat(frames, how="diagonal")


def golden_table(results: Sequence[CampaignResult]) -> pl.DataFrame:
    """Return one row per model: what is told of fault-free runs, images, and number of bits that can flip."""
    frames = []
    for label, result in labelled(results):
        row = {
            "model": label,
            **result.golden,
            "images": result.data.samples,
            "bits": result.fault_space.bits,
        }
        frames.append(pl.DataFrame([row]))
    return pl.concat(frames, how="diagonal")


def outcomes_table(results: Sequence[CampaignResult]) -> pl.DataFrame:
    """Return one row per model, rate and outcome: the share of images, which sums to 1 per rate."""
    rows = []
    for label, result in labelled(results):
        for rate in result.rates:
            shares = result.task.shares(rate.means)
            for outcome, share in zip(result.task.parts, shares, strict=True):
                rows.append({"model": label, "rate": rate.rate, "outcome": outcome, "share": share})
    schema = {"model": pl.String, "rate": pl.Float64, "outcome": pl.String, "share": pl.Float64}
    return pl.DataFrame(rows, schema=schema)


def fault_space_table(results: Sequence[CampaignResult]) -> pl.DataFrame:
    """Return one row per model and stored tensor, in the order of the graph."""
    rows = []
    for label, result in labelled(results):
        for tensor in result.fault_space.tensors:
            rows.append({"model": label} | tensor.to_dict() | {"shape": shape_text(tensor.shape)})
    return pl.DataFrame(rows, schema=_FAULT_SPACE_COLUMNS)


def vulnerability_table(results: Sequence[CampaignResult]) -> pl.DataFrame:
    """Return one row per model, tensor and bit that was hit: counts, and the share of images with another class.

    The limits of the share are over injections, null where there are none.
    """
    frames = []
    for label, result in labelled(results):
        counts = vulnerability_counts(result)
        rows = []
        for found in result.vulnerability:
            row: dict[str, Any] = {"model": label, "tensor": found.tensor, "bit": found.bit}
            row |= {name: getattr(found, name) for name in counts}
            shares = (found.critical / found.images, found.low, found.high)
            row |= dict(zip(_SHARES, map(share_digits, shares), strict=True))
            rows.append(row)
        schema: dict[str, Any] = {"model": pl.String, "tensor": pl.String, "bit": pl.Int64}
        schema |= dict.fromkeys(counts, pl.Int64)
        schema |= dict.fromkeys(_SHARES, pl.Float64)
        frames.append(pl.DataFrame(rows, schema=schema))
    return pl.concat(frames, how="diagonal")


def vulnerability_counts(result: CampaignResult) -> tuple[str, ...]:
    """Return the counts that tables of single faults show, the task's among them."""
    counts = result.task.per_fault
    return ("injections", "images", *counts[:1], "critical", *counts[1:])


def activations_table(measured: Sequence[Activations]) -> pl.DataFrame:
    """Return one row per model, activation and rate: range, quartiles, share of zeros, share above the threshold."""
    return pl.DataFrame([{"model": found.model, **row} for found in measured for row in found.rows])
