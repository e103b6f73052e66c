"""The progress of a study on stderr: what is done now, units of all campaigns, and the time that they will take."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ftonnx.cli.output import duration, is_quiet
from ftonnx.studies import StudyProgress
from ftonnx.words import printable

__all__ = ["study_bar"]


@contextmanager
def study_bar() -> Iterator[Callable[[StudyProgress], None]]:
    """Yield a callback that moves a bar with the step and an ETA; without a terminal it shows nothing."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Column

    terminal = Console(stderr=True)
    # the only one that is cut where the terminal is narrow
    step = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    columns = (
        TextColumn("{task.description}", markup=False, table_column=step),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}", markup=False, table_column=Column(no_wrap=True)),
    )
    hidden = is_quiet() or not terminal.is_terminal
    with Progress(*columns, console=terminal, disable=hidden, transient=True, expand=True) as bar:
        task = bar.add_task("", total=None, left="")

        def show(progress: StudyProgress) -> None:
            bar.update(
                task,
                description=printable(_step(progress)),
                completed=progress.done,
                total=progress.total,
                left=_left(progress),
            )

        yield show


def _step(progress: StudyProgress) -> str:
    """Return what is done now, and how far that is."""
    share = f" {progress.step_done / progress.step_total:.0%}" if progress.step_total else ""
    return f"{progress.work}{share}: {progress.step}"


def _left(progress: StudyProgress) -> str:
    """Return the time that the units will take, as far as it is known."""
    return "" if progress.seconds_left is None else f"{duration(progress.seconds_left)} left"
