"""What a study found: the results of its cells, what failed, and the files that tell of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftonnx.campaign import CampaignResult
from ftonnx.errors import IncompleteError, StoreError
from ftonnx.files import reason_of, write_file
from ftonnx.report import build
from ftonnx.report.drawing import CHART_FORMATS, drawn
from ftonnx.studies.figures import Figure, figures_of
from ftonnx.studies.lock import locked
from ftonnx.studies.study import Cell, Study
from ftonnx.studies.tables import VariantTable, frame_of, latex_of, markdown_of, tables_of
from ftonnx.words import some_of

__all__ = ["Failure", "StudyResult"]


@dataclass(frozen=True, slots=True)
class Failure:
    """A cell that could not be run.

    Attributes:
        cell: the cell.
        reason: on one line.
    """

    cell: Cell
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResult:
    """What is known of a study's cells.

    Attributes:
        study: the study.
        results: of the cells that are complete.
        failures: cells that were tried and could not be run.
    """

    study: Study
    results: Mapping[Cell, CampaignResult] = field(repr=False)
    failures: tuple[Failure, ...]

    @property
    def tables(self) -> tuple[VariantTable, ...]:
        """A table for every model, data set and kind of faults of which some campaign is complete."""
        return tables_of(self.study.cells, self.results)

    @property
    def figures(self) -> tuple[Figure, ...]:
        """All figures for which there is something to draw."""
        return figures_of(self)

    def require_whole(self) -> None:
        """Raise IncompleteError where a cell could not be run; all others are kept."""
        if self.failures:
            names = some_of([failure.cell.name for failure in self.failures])
            tried = len(self.failures)
            raise IncompleteError(f"{tried} of {len(self.study.cells)} cells failed: {names}; the others are done")

    def save(self, folder: str | Path) -> list[Path]:
        """Write the tables, the figures, and for every table a report; return the paths.

        ``tables.md``, ``tables.csv`` and ``tables.tex`` hold all tables; ``charts`` has three files for every figure,
        ``reports`` one for every table.

        Raises:
            StoreError: they cannot be written, or another process is in the folder.
        """
        root = Path(folder)
        tables = self.tables
        written = {
            root / "tables.md": markdown_of(self.study.name, tables).encode(),
            root / "tables.csv": frame_of(tables).write_csv().encode(),
            root / "tables.tex": latex_of(tables).encode(),
        }
        for table in tables:
            found = [self.results[row.cell] for row in table.rows if row.cell in self.results]
            name = f"{table.model}@{table.data}+{table.faults}"
            written[root / "reports" / f"{name}.html"] = build(found).html().encode()
        for figure in self.figures:
            for ending in CHART_FORMATS:
                written[root / "charts" / f"{figure.name}.{ending}"] = drawn(figure.chart, ending)
        with locked(root):
            for path, content in written.items():
                _write(content, path)
        return list(written)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values: every table's entries, and what failed."""
        return {
            "study": self.study.name,
            "cells": len(self.study.cells),
            "entries": frame_of(self.tables).to_dicts(),
            "failures": [{"cell": each.cell.name, "reason": each.reason} for each in self.failures],
        }


def _write(content: bytes, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{path.parent} cannot be made: {reason_of(error, path.parent)}") from error
    write_file(content, path)
