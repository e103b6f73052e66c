"""What a study found: the results of its cells, what failed, and the files that tell of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ftonnx.campaign import CampaignResult
from ftonnx.errors import IncompleteError, StoreError
from ftonnx.files import reason_of, write_file
from ftonnx.report import Activations, build
from ftonnx.report.drawing import CHART_FORMATS, drawn
from ftonnx.report.frames import csv_of, parquet_of
from ftonnx.studies.activation_figures import unmatched
from ftonnx.studies.beside import Beside, beside, beside_frame
from ftonnx.studies.differences import DifferenceTable, differences_frame, differences_of
from ftonnx.studies.figures import Figure, figures_of
from ftonnx.studies.lock import locked
from ftonnx.studies.log_odds import log_odds_gaps
from ftonnx.studies.markup import latex_of, markdown_of
from ftonnx.studies.page import page_of, report_path
from ftonnx.studies.sheets import sheet_of, sheet_of_differences, sheets_of_published
from ftonnx.studies.study import Cell, Study
from ftonnx.studies.tables import VariantTable, frame_of, tables_of
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


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """What is known of a study's cells.

    Attributes:
        study: the study.
        results: of the cells that are complete.
        activations: of the cells whose activations were measured.
        failures: cells that were tried and could not be run.
    """

    study: Study
    results: Mapping[Cell, CampaignResult] = field(repr=False)
    failures: tuple[Failure, ...]
    activations: Mapping[Cell, Activations] = field(default_factory=dict, repr=False)

    @cached_property
    def tables(self) -> tuple[VariantTable, ...]:
        """A table for every data set and kind of faults of which some campaign is complete."""
        return tables_of(self.study.cells, self.results)

    @cached_property
    def differences(self) -> tuple[DifferenceTable, ...]:
        """The differences of every table at fault rates to the same models as they are.

        Raises:
            StoreError: a results folder cannot be read.
        """
        return differences_of(self.tables, self.results)

    @cached_property
    def beside(self) -> tuple[Beside, ...]:
        """The study's published numbers beside those that were measured."""
        return beside(self.study.cells, self.results, self.study.published)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the reader of any number must know first, and of which campaigns it is true."""
        groups: dict[str, list[str]] = {}
        for cell, result in self.results.items():
            for text in result.warnings:
                groups.setdefault(text, []).append(cell.name)
        found = [] if self.study.note is None else [self.study.note]
        for text, names in groups.items():
            where = "all campaigns" if len(names) == len(self.results) else some_of(names)
            found.append(f"{text} ({where})")
        found += unmatched(self.activations, self.study.activations)
        found += log_odds_gaps(self.results, self.study.reference)
        return tuple(found)

    @cached_property
    def figures(self) -> tuple[Figure, ...]:
        """All figures for which there is something to draw."""
        return figures_of(self)

    def require_whole(self) -> None:
        """Raise IncompleteError where a cell could not be run; all others are kept."""
        if self.failures:
            names = some_of([failure.cell.name for failure in self.failures])
            tried = len(self.failures)
            cells = len(self.study.cells) + len(self.study.activation_cells)
            raise IncompleteError(f"{tried} of {cells} cells failed: {names}; the others are done")

    def save(self, folder: str | Path) -> list[Path]:
        """Write the page, tables, differences, figures and reports; return the paths.

        ``report.html`` shows all of it. ``tables``, ``differences`` and, where there are published numbers,
        ``published`` are Markdown, LaTeX, CSV and Parquet; ``charts`` has every figure, ``reports`` a page on every
        model of a table.

        Raises:
            StoreError: they cannot be written, a results folder cannot be read, or another process is in the folder.
        """
        root = Path(folder)
        written = self._tables()
        written["report.html"] = page_of(self, list(written)).encode()
        for table in self.tables:
            for model in table.models:
                found = [self.results[cell] for cell in table.cells_of(model) if cell in self.results]
                if found:
                    written[report_path(model, table)] = build(found).html().encode()
        for figure in self.figures:
            for ending in CHART_FORMATS:
                written[f"charts/{figure.name}.{ending}"] = drawn(figure.chart, ending, title=figure.title)
        with locked(root):
            for name, content in written.items():
                _write(content, root / name)
        return [root / name for name in written]

    def _tables(self) -> dict[str, bytes]:
        """Return the files of tables by name."""
        files = {}
        title = self.study.name
        accuracies = [sheet_of(table) for table in self.tables]
        differences = [sheet_of_differences(table) for table in self.differences]
        kinds = [
            ("tables", title, accuracies, frame_of(self.tables)),
            ("differences", f"{title}: differences", differences, differences_frame(self.differences)),
        ]
        if self.beside:
            published = sheets_of_published(self.beside)
            kinds.append(("published", f"{title}: published numbers", published, beside_frame(self.beside)))
        for name, heading, sheets, frame in kinds:
            files[f"{name}.md"] = markdown_of(heading, sheets).encode()
            files[f"{name}.tex"] = latex_of(sheets).encode()
            files[f"{name}.csv"] = csv_of(frame)
            files[f"{name}.parquet"] = parquet_of(frame)
        return files

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values: entries of tables, differences, published numbers, failures, and what to know first.

        Raises:
            StoreError: a results folder cannot be read.
        """
        return {
            "study": self.study.name,
            "cells": len(self.study.cells),
            "entries": frame_of(self.tables).to_dicts(),
            "differences": differences_frame(self.differences).to_dicts(),
            "published": beside_frame(self.beside).to_dicts(),
            "failures": [{"cell": each.cell.name, "reason": each.reason} for each in self.failures],
            "warnings": list(self.warnings),
        }


def _write(content: bytes, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{path.parent} cannot be made: {reason_of(error, path.parent)}") from error
    write_file(content, path)
