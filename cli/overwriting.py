"""Files that a command would write over: they are refused before any work, unless --force was given.

Results folders, studies and interrupted trainings go on, which writes over nothing.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ftonnx.errors import UsageError

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
    written = {name: path for name in (*WRITTEN.get(command, ()), *_EVERYWHERE) if (path := values.get(name))}
    _refuse_twice(written | {name: path for name in _READ_AND_WRITTEN if (path := values.get(name))})
    for name, path in written.items():
        for key, value in values.items():
            # options that were read may be written back
            if key not in written and key != "config" and _is_same(path, value):
                what = _READ.get(key, f"the {key.replace('_', ' ')}")
                raise UsageError(f"{path} is {what} itself, which is never written to; choose another name")
        if forced or (command in _TRAINING and _is_interrupted(path)):
            continue
        # the page of a report goes into a folder that is there
        is_page = command == "report" and name == "output" and os.path.isdir(path)
        target = path / _PAGE if is_page else path
        if _holds_something(target, _FOLDERS.get(name, ())):
            raise UsageError(f"{target} is there already: give --force to write over it, or choose another name")


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


def _is_same(path: Path, other: Any) -> bool:
    """Say whether the value of another parameter, one of its values, or what stands behind its key is the same file."""
    if isinstance(other, list | tuple):
        return any(_is_same(path, each) for each in other)
    if not isinstance(other, str | Path) or not os.path.isfile(path):
        return False
    # npz:test.npz, size=size.npy
    named = [other, *(str(other).partition(mark)[2] for mark in ":=")]
    return any(os.path.isfile(each) and os.path.samefile(path, each) for each in named)


def _holds_something(path: Path, endings: tuple[str, ...]) -> bool:
    # unlike those of Path, these functions raise nothing where a name is too long
    if os.path.isdir(path):
        return bool(endings) and os.access(path, os.R_OK) and any(each.endswith(endings) for each in os.listdir(path))
    return os.path.isfile(path) and os.path.getsize(path) > 0
