"""What all tables of cells have in common."""

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ftonnx.studies.study import Cell

__all__ = ["CellRow", "CellTable"]


class CellRow(Protocol):
    """A row on a cell."""

    @property
    def cell(self) -> Cell:
        """The cell of the study."""


RowT = TypeVar("RowT", bound=CellRow)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellTable(Generic[RowT]):
    """Numbers of cells with the same data and kind of faults; a leaf says which.

    Attributes:
        data: name in the study.
        faults: likewise.
        figure: what cells are measured by, such as top-1 accuracy.
        rows: model by model, the variants of each, in the order of the study's file.
    """

    data: str
    faults: str
    figure: str
    rows: tuple[RowT, ...]

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models, in order."""
        return tuple(dict.fromkeys(row.cell.model for row in self.rows))

    @property
    def name(self) -> str:
        """Of the files that tell of it."""
        return f"{self.data}+{self.faults}"

    @property
    def told(self) -> str:
        """What the numbers are."""
        return self.figure

    @property
    def title(self) -> str:
        """What the table is about."""
        model = f"{self.models[0]} on " if len(self.models) == 1 else ""
        return f"{model}{self.data}, {self.faults}: {self.told}"
