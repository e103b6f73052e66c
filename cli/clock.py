"""When the command began: budgets of time count from there, what is opened and imported included."""

import time

__all__ = ["began", "begin"]

_began = time.monotonic()


def begin() -> None:
    """Note that a command begins."""
    global _began
    _began = time.monotonic()


def began() -> float:
    """Return when the command began, by ``time.monotonic()``."""
    return _began
