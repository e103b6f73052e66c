"""Results as data frames: one row per fault rate, every fraction with its limits."""

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ftonnx.campaign.results.rate_result import RateResult
from ftonnx.errors import UsageError
from ftonnx.tasks import Task
from ftonnx.words import nine_digits

if TYPE_CHECKING:
    import polars as pl

__all__ = ["pandas_of", "rates_frame"]


def rates_frame(label: str, rates: Sequence[RateResult], task: Task, clean: float) -> "pl.DataFrame":
    """Return one row per rate: every fraction with its limits to nine digits, null where there are none.

    Args:
        label: what the model is called.
        rates: the rates.
        task: whose fractions become columns, with ``_low`` and ``_high`` beside them.
        clean: the headline without faults.
    """
    import polars as pl  # takes a while, which only those who ask for frames pay

    fault_free = f"fault_free_{task.headline}"
    # only where memories are read at times since loading
    hours = {rate.rate: {"hours": rate.hours} for rate in rates if rate.hours is not None}
    schema: dict[str, Any] = {
        "model": pl.String,
        "rate": pl.Float64,
        **({"hours": pl.Float64} if hours else {}),
        "units": pl.Int64,
        "faults_mean": pl.Float64,
        fault_free: pl.Float64,
    }
    for name in task.fractions:
        schema |= dict.fromkeys((name, f"{name}_low", f"{name}_high"), pl.Float64)
    rows = []
    for rate in rates:
        row: dict[str, Any] = {
            "model": label,
            "rate": rate.rate,
            **hours.get(rate.rate, {}),
            "units": rate.units,
            "faults_mean": nine_digits(rate.faults_mean),
            fault_free: nine_digits(clean),
        }
        for name in task.fractions:
            found = rate[name].to_dict()
            row |= {name: found["mean"], f"{name}_low": found["low"], f"{name}_high": found["high"]}
        rows.append(row)
    return pl.DataFrame(rows, schema=schema)


def pandas_of(frame: "pl.DataFrame") -> Any:
    """Return a polars frame as a pandas one.

    Raises:
        UsageError: pandas is not installed.
    """
    try:
        pandas = import_module("pandas")
    except ImportError as error:
        raise UsageError("pandas is not installed: pip install pandas, or use to_polars()") from error
    return pandas.DataFrame(frame.to_dict(as_series=False))
