"""Printing: tables and JSON to stdout, progress to stderr."""

import json
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from ftonnx.cli.flags import with_flags
from ftonnx.words import json_values, percent, printable
from ftonnx.words import number as number_text

if TYPE_CHECKING:
    from rich.console import Console

    from ftonnx.campaign.campaign import Progress as ProgressCallback
    from ftonnx.cli.tables import ColumnTable

__all__ = [
    "console",
    "duration",
    "is_quiet",
    "note",
    "number",
    "percent",
    "print_fault_model",
    "print_json",
    "progress_bar",
    "set_quiet",
    "table",
    "warn",
]

_quiet = False


def set_quiet(quiet: bool) -> None:
    """Switch progress and notes off or on."""
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    """Say whether progress and notes are off."""
    return _quiet


def console() -> "Console":
    """Return a console on stdout; wide when its output goes to a file or pipe, so that nothing is cut."""
    from rich.console import Console

    found = Console(highlight=False, markup=False, emoji=False)  # names of tensors are shown as they are
    if not found.is_terminal:
        found.width = max(found.width, 160)
    return found


def note(message: str) -> None:
    """Print a line for people on stderr."""
    if not _quiet:
        typer.echo(message, err=True)


def warn(warnings: Iterable[str]) -> None:
    """Print on stderr what the reader of the numbers must know."""
    for warning in warnings:
        note(f"warning: {printable(with_flags(warning))}")


def print_json(content: dict[str, Any]) -> None:
    """Print one JSON object; NaN and infinities, which JSON lacks, become strings."""
    typer.echo(json.dumps(json_values(content), indent=2, allow_nan=False))


def print_fault_model(formats: Collection[str]) -> None:
    """Print how floats are flipped, and what that says nothing of; nothing where no float can flip.

    Args:
        formats: of the tensors that can flip, by name.
    """
    from ftonnx.inject import format_note  # output is loaded by commands that know no models

    said = format_note(formats)
    if said is not None:
        console().print(with_flags(said), soft_wrap=True)


def table(*columns: str, left: int = 1) -> "ColumnTable":
    """Return an empty table; the first ``left`` columns are left-aligned, the others hold numbers."""
    from ftonnx.cli.tables import ColumnTable

    return ColumnTable(*columns, left=left)


def number(value: float) -> str:
    """Return a count with thousands separators, small means with three digits.

    >>> number(1790784), number(1.5333)
    ('1,790,784', '1.53')
    """
    return number_text(value, digits=3)


def duration(seconds: float) -> str:
    """Return seconds for people.

    >>> duration(0.4), duration(75), duration(7300)
    ('1 s', '1 min 15 s', '2 h 1 min')
    """
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@contextmanager
def progress_bar(label: str) -> Iterator["ProgressCallback"]:
    """Yield a callback that moves a bar with speed and ETA on stderr; without a terminal it shows nothing."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Speed(ProgressColumn):
        """How many are done in a second, by the last half minute."""

        def render(self, task: Any) -> Text:
            speed = task.speed
            if speed is None:
                return Text("")
            return Text(f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.2g}/s")

    terminal = Console(stderr=True)
    text = TextColumn("{task.description}", markup=False)  # a file's name may hold brackets and braces
    columns = (text, BarColumn(), MofNCompleteColumn(), Speed(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal, disable=_quiet or not terminal.is_terminal, transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
