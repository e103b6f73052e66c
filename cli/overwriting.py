"""Files that a command would write over: they are refused before any work, unless --force was given.

Results folders, studies and interrupted trainings go on, which writes over nothing.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ftonnx.errors import UsageError
from ftonnx.files import check_not_overwritten

__all__ = ["WRITTEN", "refuse_existing"]

WRITTEN: Final[Mapping[str, tuple[str, ...]]] = {
    "inject": ("report", "fault_list_out"),
    "faults": ("save_model",),
    "export": ("output",),
    "pretrain": ("output", "chart"),
    "finetune": ("output", "chart"),
    "protect": ("output", "save_thresholds"),
    "quantize": ("output", "report"),
    "qat": ("output", "chart"),
    "gate": ("junit", "markdown"),
    "advise": ("output", "chart"),
    "compare": ("markdown", "latex"),
    "report": ("output", "charts", "tables"),
}
"""The parameters by command that name a file, or a folder of files, which the command writes."""

_EVERYWHERE: Final = ("save_config",)
_FOLDERS: Final = {"charts": (".png", ".svg", ".pdf"), "tables": (".csv", ".parquet")}
"""Parameters that name folders, with the endings of what is written into them."""

_READ: Final = {"also": "a model", "protection": "the protection plan", "weights": "the checkpoint"}
"""What is read, where it is not called as the parameter is."""
_READ_AND_WRITTEN: Final = ("calibration_cache",)

_TRAINING: Final = ("pretrain", "finetune", "qat")
_PAGE: Final = "report.html"


def refuse_existing(command: str, values: Mapping[str, Any], *, forced: bool) -> None:
    """Refuse to write over what is there; empty files, devices and pipes hold nothing that could be lost.

    Args:
        command: its name.
        values: of its parameters.
        forced: files that are there may be written over; what the command reads may not.

    Raises:
        UsageError: a file is there, or something in a folder that gets files; it is what the command reads; or two
            files would be the same one.
    """
    written = _named(values, (*WRITTEN.get(command, ()), *_EVERYWHERE))
    _refuse_twice(written | _named(values, _READ_AND_WRITTEN))
    # options that were read may be written back
    read = {name: value for name, value in values.items() if name not in written and name != "config"}
    for name, path in written.items():
        for key, value in read.items():
            for file in _files_of(value):
                check_not_overwritten(path, file, _READ.get(key, f"the {key.replace('_', ' ')}"))
        if forced or (command in _TRAINING and _is_interrupted(path)):
            continue
        # the page of a report goes into a folder that is there
        is_page = command == "report" and name == "output" and os.path.isdir(path)
        target = path / _PAGE if is_page else path
        if _holds_something(target, _FOLDERS.get(name, ())):
            raise UsageError(f"{target} is there already: give --force to write over it, or choose another name")


def _named(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Path]:
    """Return the paths that parameters have, of those that were given."""
    return {name: path for name in names if (path := values.get(name)) is not None}


def _refuse_twice(written: Mapping[str, Path]) -> None:
    """Refuse two files of one name; folders can take files of several kinds, and devices anything.

    Raises:
        UsageError: there are.
    """
    seen: dict[str, str] = {}
    for name, path in written.items():
        place = os.path.realpath(path)
        if name in _FOLDERS or (os.path.exists(place) and not os.path.isfile(place)):
            continue
        if place in seen:
            raise UsageError(f"{path} would be written twice, as {seen[place]} and as {name}: choose two names")
        seen[place] = name


def _is_interrupted(output: Path) -> bool:
    """Say whether a training goes on that would write a file."""
    return os.path.exists(f"{output}.training")


def _files_of(value: Any) -> Iterator[Path]:
    """Yield the files that a parameter's value names, also behind a key: npz:test.npz, size=size.npy."""
    if isinstance(value, list | tuple):
        for each in value:
            yield from _files_of(each)
    elif isinstance(value, str | Path):
        for each in (value, *(str(value).partition(mark)[2] for mark in ":=")):
            if os.path.isfile(each):
                yield Path(each)


def _holds_something(path: Path, endings: tuple[str, ...]) -> bool:
    # unlike those of Path, these functions raise nothing where a name is too long
    if os.path.isdir(path):
        return bool(endings) and os.access(path, os.R_OK) and any(each.endswith(endings) for each in os.listdir(path))
    return os.path.isfile(path) and os.path.getsize(path) > 0
