"""Printing: tables and JSON to stdout, progress to stderr."""

import json
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ftonnx.cli.flags import with_flags
from ftonnx.words import json_values, percent, printable
from ftonnx.words import number as number_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from ftonnx.cli.tables import ColumnTable

__all__ = [
    "Bar",
    "SayingWhatIsThere",
    "console",
    "duration",
    "is_quiet",
    "note",
    "note_results",
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


def print_fault_model(formats: Collection[str], note: str | None = None) -> None:
    """Print how floats are flipped, and what that says nothing of; nothing where no float can flip.

    Args:
        formats: of the tensors that can flip, by name.
        note: what the fault model says of its flips, see ``FaultModel.note``.
    """
    from ftonnx.inject import format_note  # output is loaded by commands that know no models

    said = format_note(formats)
    if said is not None:
        console().print(with_flags(said), soft_wrap=True)
    if note is not None:
        console().print(note, soft_wrap=True)


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


def note_results(named: Path | None) -> None:
    """Say where the results of a campaign are, or how to keep them."""
    if named is None:
        note("results: not kept; with --results DIR they are, for ftonnx report, faults, and more repeats")
    else:
        note(f"results: {named.absolute()}")


class SayingWhatIsThere:
    """A progress that first says how much is recorded already, where anything is."""

    def __init__(self, bar: "Bar") -> None:
        self._bar = bar
        self._told = False
        self.say = bar.say

    def __call__(self, done: int, total: int) -> None:
        """So many units are recorded."""
        if not self._told and done:
            note(_already(done, total))
        self._told = True
        self._bar(done, total)


def _already(done: int, total: int) -> str:
    """Say how much of a campaign is recorded.

    >>> _already(2400, 7200), _already(6, 6)
    ('continues: 2,400 of 7,200 units are recorded', 'all 6 units are recorded: nothing is left to run')
    """
    if done >= total:
        return f"all {number(total)} units are recorded: nothing is left to run"
    return f"continues: {number(done)} of {number(total)} units are recorded"


class Bar:
    """The bar that ``progress_bar`` shows."""

    def __init__(self, shown: "Progress", label: str) -> None:
        self._shown = shown
        self._label = label
        self._task = shown.add_task(label, total=None)

    def __call__(self, done: int, total: int) -> None:
        """Move it."""
        self._shown.update(self._task, completed=done, total=total)

    def say(self, text: str) -> None:
        """Show what is known so far beside the label."""
        self._shown.update(self._task, description=f"{self._label} ({printable(text)})" if text else self._label)


@contextmanager
def progress_bar(label: str, deadline: float | None = None) -> Iterator[Bar]:
    """Yield what moves a bar with speed and times on stderr; without a terminal it shows nothing.

    Args:
        label: what is done.
        deadline: when a budget of time is spent, by ``time.monotonic()``; None where there is none.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn
    from rich.table import Column
    from rich.text import Text

    class Speed(ProgressColumn):
        """How many are done in a second, by the last half minute."""

        def render(self, task: Any) -> Text:
            speed = task.speed
            if speed is None:
                return Text("")
            return Text(f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.2g}/s")

    class Times(ProgressColumn):
        """How long it has taken, how long it will, and how much of a budget is left."""

        def render(self, task: Any) -> Text:
            said = [f"{duration(task.elapsed or 0)} so far"]
            if deadline is not None:
                said.append(f"{duration(max(0, deadline - time.monotonic()))} of the budget left")
            elif task.time_remaining is not None:
                said.append(f"{duration(task.time_remaining)} left")
            return Text(", ".join(said))

    terminal = Console(stderr=True)
    # the only one that is cut where the terminal is narrow; a file's name may hold brackets and braces
    label_column = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    text = TextColumn("{task.description}", markup=False, table_column=label_column)
    times = Times(table_column=Column(no_wrap=True))
    columns = (text, BarColumn(bar_width=16), MofNCompleteColumn(), Speed(), times)
    hidden = _quiet or not terminal.is_terminal
    with Progress(*columns, console=terminal, disable=hidden, transient=True, expand=True) as bar:
        yield Bar(bar, label)
