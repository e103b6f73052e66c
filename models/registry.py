"""The embedded models by name."""

import os
from difflib import get_close_matches
from pathlib import Path

from ftonnx.errors import ModelError

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
    if isinstance(model, str) and model in _NAMES:
        return _FOLDER / f"{model}.onnx"
    if os.path.isfile(model):
        return Path(model)
    got = "a folder" if os.path.isdir(model) else "no such file, and no model of that name"
    raise ModelError(f"{model}: expected a model, got {got}; known: {', '.join(_NAMES)}{_near(str(model))}")


def _near(model: str) -> str:
    """What was probably meant: a registry name, or a file beside the one that was named."""
    folder = os.path.dirname(model)
    beside = [os.path.join(folder, entry) for entry in _listing(folder) if entry.endswith(".onnx")]
    close = get_close_matches(model, [*_NAMES, *beside], 1)
    return f"; did you mean {close[0]}?" if close else ""


def _listing(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder or "."))
    except (OSError, ValueError):
        return []
