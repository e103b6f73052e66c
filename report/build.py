"""A report: what stands in it, and writing it to files."""

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

import polars as pl

from ftonnx.campaign import CampaignResult
from ftonnx.environment import Environment
from ftonnx.errors import StoreError, UsageError
from ftonnx.files import reason_of, write_whole
from ftonnx.report.activations import Activations
from ftonnx.report.decision import POINT, Demand
from ftonnx.report.drawing import CHART_FORMATS, drawn, painted
from ftonnx.report.frames import csv_of, parquet_of
from ftonnx.report.page import Section, render
from ftonnx.report.sections import sections
from ftonnx.report.tables import (
    activations_table,
    fault_space_table,
    golden_table,
    labels,
    outcomes_table,
    rates_table,
    vulnerability_table,
)
from ftonnx.report.words import verdict, warnings
from ftonnx.words import of_kind

__all__ = ["Report", "build"]

_PAGE: Final = "report.html"


def build(
    results: Sequence[CampaignResult],
    *,
    activations: Sequence[Activations] = (),
    loss: float = POINT,
    environment: Environment | None = None,
) -> "Report":
    """Return the report on one or several campaigns.

    Args:
        results: the campaigns; several are compared.
        activations: distributions to show, see ``ftonnx activations``.
        loss: a loss that still counts as holding, a fraction: 0.01 for one percentage point.
        environment: where the memory lives; the verdict is about its rate then, and single faults become FIT.

    Raises:
        UsageError: there are no results, or the loss is not in [0, 1).
    """
    of_kind("results", results, Sequence, "a list of CampaignResult")
    for each in results:
        of_kind("results", each, CampaignResult, "a list of CampaignResult, as CampaignResult.open(folder) returns it,")
    if not results:
        raise UsageError("a report needs the results of at least one campaign, got none")
    return Report(tuple(results), tuple(activations), Demand(loss=loss, environment=environment))


@dataclass(frozen=True)
class Report:
    """A report that can be shown in a notebook, and written as a page, charts and tables.

    Attributes:
        results: the campaigns.
        activations: distributions of activations.
        demand: what is asked of every model.
    """

    results: tuple[CampaignResult, ...] = field(repr=False)
    activations: tuple[Activations, ...] = field(default=(), repr=False)
    demand: Demand = field(default_factory=Demand, repr=False)

    def __repr__(self) -> str:
        return f"Report({', '.join(labels(self.results))})"

    def _repr_html_(self) -> str:
        """Show the page in a notebook, in a frame of its own."""
        return f'<iframe style="width:100%;height:50rem;border:0" srcdoc="{html.escape(self.html())}"></iframe>'

    @property
    def title(self) -> str:
        """What the report is about, in one line."""
        names = labels(self.results)
        shown = names if len(names) < 4 else [*names[:2], f"{len(names) - 2} more"]
        return f"Accuracy under bit flips: {', '.join(shown)}"

    @property
    def verdict(self) -> str:
        """What was found, in one text."""
        return verdict(self.results, demand=self.demand)

    @property
    def warnings(self) -> list[str]:
        """What the reader of any number must know first; the verdict begins with it."""
        return warnings(self.results)

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """The parts of the page, with the charts."""
        return sections(self.results, self.activations, self.demand)

    def html(self) -> str:
        """Return the page, one self-contained HTML document."""
        return render(self.title, self.sections)

    def tables(self) -> dict[str, pl.DataFrame]:
        """Return the tables that hold anything, by name."""
        found = {
            "models": golden_table(self.results),
            "rates": rates_table(self.results),
            "outcomes": outcomes_table(self.results),
            "vulnerability": vulnerability_table(self.results),
            "activations": activations_table(self.activations),
            "fault_space": fault_space_table(self.results),
        }
        return {name: frame for name, frame in found.items() if len(frame)}

    def save(self, path: str | Path) -> Path:
        """Write the page and return its path: ``path``, or ``report.html`` in it where it does not end in .html.

        Raises:
            StoreError: it cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() not in (".html", ".htm"):
            path = path / _PAGE
        _write(self.html().encode(), path)
        return path

    def save_charts(self, folder: str | Path) -> list[Path]:
        """Write every chart and picture as PNG, SVG and PDF and return the paths.

        Raises:
            StoreError: they cannot be written.
        """
        written = []
        for section in self.sections:
            for figure in section.figures:
                for ending in CHART_FORMATS:
                    path = Path(folder) / f"{figure.name}.{ending}"
                    _write(drawn(figure.chart, ending, title=figure.title), path)
                    written.append(path)
            for picture in section.pictures:
                for ending in CHART_FORMATS:
                    path = Path(folder) / f"{picture.name}.{ending}"
                    _write(painted(picture.file, ending), path)
                    written.append(path)
        return written

    def save_tables(self, folder: str | Path) -> list[Path]:
        """Write every table as CSV and Parquet and return the paths.

        Raises:
            StoreError: they cannot be written.
        """
        written = []
        for name, frame in self.tables().items():
            csv = Path(folder) / f"{name}.csv"
            _write(csv_of(frame), csv)
            parquet = Path(folder) / f"{name}.parquet"
            _write(parquet_of(frame), parquet)
            written += [csv, parquet]
        return written


def _write(content: bytes, path: Path) -> None:
    """Write a file whole, in a folder that is made where it is missing.

    Raises:
        StoreError: the disk does not take it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(content, path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {reason_of(error, path)}") from error
