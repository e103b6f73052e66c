"""What is no good end of a case: what happened, where, and what it looked like."""

import re
import traceback
from dataclasses import dataclass
from pathlib import Path

from ftonnx.errors import FtonnxError

ROOT = Path(__file__).parents[2]
_TESTS = ROOT / "tests"
_MOST_TEXT = 2010
"""Characters of a message; one that quotes a whole input is none that anybody reads."""

_FRAME = re.compile(r'File "([^"]+)", line (\d+),? in (\S+)')


@dataclass(frozen=True)
class Finding:
    """One case that neither succeeded nor was refused in one line.

    Attributes:
        what: the exception's name, or crash, hang, memory, message, printed, warning.
        place: file and function of ftonnx in which it happened; findings of one kind have it in common.
        text: message and traceback.
    """

    what: str
    place: str
    text: str


def of_exception(error):
    """Return the finding of what a target raised; None where it is a refusal as it should be."""
    shown = "".join(traceback.format_exception(error, limit=-12))
    place = place_in(traceback.extract_tb(error.__traceback__))
    if isinstance(error, MemoryError):
        return Finding("memory", place, shown)
    if not isinstance(error, FtonnxError):
        return Finding(type(error).__name__, place, shown)
    message = str(error)
    if not message or "\n" in message or len(message) > _MOST_TEXT:
        return Finding("message", place, shown[-2 * _MOST_TEXT :])
    return None


def place_in(frames):
    """Return the innermost place of ftonnx in frames, the outermost first."""
    for frame in reversed(frames):
        path = Path(frame.filename)
        if path.is_relative_to(ROOT) and not path.is_relative_to(_TESTS):
            return f"{path.relative_to(ROOT)}:{frame.name}"
    return "?"


def place_in_dump(text):
    """Return the innermost place of ftonnx in what ``faulthandler`` writes, the innermost frame first.

    >>> place_in_dump('  File "/nowhere/x.py", line 3 in f')
    '?'
    """
    frames = []
    for path, line, name in _FRAME.findall(text):
        frames.append(traceback.FrameSummary(path, int(line), name))
    return place_in(frames[::-1])
