"""The embedded models by name."""

import os
from pathlib import Path

from ftonnx.errors import ModelError
from ftonnx.words import near

__all__ = ["names", "resolve"]

_FOLDER = Path(__file__).parent
_NAMES = ("digits",)


def names() -> tuple[str, ...]:
    """Names of the embedded models, in the order of the alphabet."""
    return _NAMES


def resolve(model: str | Path) -> Path:
    """The ONNX file that a model argument means.

    A registry name wins over a file of that name in the current folder; write ``./digits`` for the file.

    Args:
        model: A name of ``names()``, or the path of an existing file.

    Returns:
        The path of the embedded file, or the path as it was given.

    Raises:
        ModelError: There is no such file, and no model of that name.
    """
    # a Path is always a file
    if isinstance(model, str) and model in _NAMES:
        return _FOLDER / f"{model}.onnx"
    if os.path.isfile(model):
        return Path(model)
    got = "no such file, and no model of that name"
    # a SavedModel, perhaps
    if os.path.isdir(model):
        got = "a folder"
    known = ", ".join(_NAMES)
    meant = _near(str(model))
    raise ModelError(f"{model}: expected a model, got {got}; known: {known}{meant}")


def _near(model: str) -> str:
    """What was probably meant: a registry name, or a file beside the one that was named."""
    folder = os.path.dirname(model)
    candidates = list(_NAMES)
    for entry in _listing(folder):
        if entry.endswith(".onnx"):
            candidates.append(os.path.join(folder, entry))
    # full paths on both sides, so that a slip in the last part weighs little
    return near(model, candidates)


def _listing(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder or "."))
    except (OSError, ValueError):
        return []
