"""Annotations of GitHub Actions, which show a line of a log at the top of a run and beside a pull request."""

import os
from typing import Literal

__all__ = ["Level", "annotation", "on_github"]

Level = Literal["error", "warning", "notice"]


def on_github() -> bool:
    """Say whether a workflow of GitHub runs this process."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def annotation(level: Level, title: str, message: str) -> str:
    r"""Return the line that makes an annotation, in which nothing else is read as one.

    Args:
        level: how it is shown.
        title: in bold.
        message: below it; line breaks stay.

    >>> print(annotation("error", "gate: 1e-6, top-1", "50 % missed\n::warning::mine"))
    ::error title=gate%3A 1e-6%2C top-1::50 %25 missed%0A::warning::mine
    """
    return f"::{level} title={_property(title)}::{_data(message)}"


def _data(text: str) -> str:
    """Escape a message, the percent signs first."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Escape a value between the colons."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
