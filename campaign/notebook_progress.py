"""A bar in a notebook while units run: plain HTML, of the notebook's own, that loads nothing."""

import html
import sys
import time
from collections.abc import Callable
from typing import Any, Final

__all__ = ["shown_progress"]

_KERNEL: Final = "ZMQInteractiveShell"
_SECONDS: Final = 0.2
"""Between two changes of the bar: every one is a message to the browser."""


def _in_a_notebook() -> bool:
    """Say whether a notebook's kernel runs this process; a shell of IPython in a terminal is none."""
    # whoever runs a notebook has imported it
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == _KERNEL


def shown_progress(label: str) -> Callable[[int, int], None] | None:
    """Return what draws a bar after every unit; None where no notebook would show it.

    Args:
        label: what is run.
    """
    return _Bar(label) if _in_a_notebook() else None


class _Bar:
    """A bar that is drawn at the first unit, and again as more are done."""

    def __init__(self, label: str) -> None:
        self._label = html.escape(label)
        self._handle: Any = None
        self._drawn = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Show how many units are done."""
        now = time.monotonic()
        if self._handle is not None and done < total and now - self._drawn < _SECONDS:
            return
        self._drawn = now
        shown = _Html(
            f'<progress value="{done}" max="{total}" style="width:20em"></progress> '
            f"{self._label}: {done:,} of {total:,} units"
        )
        if self._handle is None:
            display = sys.modules["IPython"].display.display
            self._handle = display(shown, display_id=True)
        else:
            self._handle.update(shown)


class _Html:
    """Text that a notebook shows as HTML."""

    def __init__(self, text: str) -> None:
        self._text = text

    def _repr_html_(self) -> str:
        return self._text
