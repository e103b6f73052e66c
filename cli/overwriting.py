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

_TRAINING: Final = ("pretrain", "finetune", "qat")
_PAGE: Final = "report.html"


def refuse_existing(command: str, values: Mapping[str, Any]) -> None:
    """Refuse to write over what is there; empty files, devices and pipes hold nothing that could be lost.

    Args:
        command: its name.
        values: of its parameters.

    Raises:
        UsageError: a file is there, or something in a folder that gets files.
    """
    for name in (*WRITTEN.get(command, ()), *_EVERYWHERE):
        path = values.get(name)
        if path is None or (command in _TRAINING and _is_interrupted(path)):
            continue
        # the page of a report goes into a folder that is there
        is_page = command == "report" and name == "output" and os.path.isdir(path)
        target = path / _PAGE if is_page else path
        # what the command reads it refuses to write to, whatever is forced
        is_read = any(_is_same(target, other) for key, other in values.items() if key != name)
        if _holds_something(target, _FOLDERS.get(name, ())) and not is_read:
            raise UsageError(f"{target} is there already: give --force to write over it, or choose another name")


def _is_interrupted(output: Path) -> bool:
    """Say whether a training goes on that would write a file."""
    return os.path.exists(f"{output}.training")


def _is_same(path: Path, other: Any) -> bool:
    """Say whether the value of another parameter, or one of its values, is the same file."""
    if isinstance(other, list | tuple):
        return any(_is_same(path, each) for each in other)
    if not isinstance(other, str | Path) or not os.path.isfile(path):
        return False
    return os.path.isfile(other) and os.path.samefile(path, other)


def _holds_something(path: Path, endings: tuple[str, ...]) -> bool:
    # unlike those of Path, these functions raise nothing where a name is too long
    if os.path.isdir(path):
        return bool(endings) and os.access(path, os.R_OK) and any(each.endswith(endings) for each in os.listdir(path))
    return os.path.isfile(path) and os.path.getsize(path) > 0
