"""Ways of running a model with faults in its memory.

``live`` flips bits in the memory that one open session reads unpacked. ``packed`` flips them in the packed weights that
one open session reads. ``rebuild`` opens a fresh session on flipped memory for every run. All of them give the outputs
of a fresh session, opened with the same options, on a model file that carries the same flips; ``reference`` opens
exactly that session.

A new way is a class in a file of its own and a line in ``KINDS``.
"""

from typing import Final

from ftonnx.inject import FaultSpace
from ftonnx.runtime.strategies.base import Strategy
from ftonnx.runtime.strategies.from_file import RebuildFromFile
from ftonnx.runtime.strategies.live import Live
from ftonnx.runtime.strategies.packed import Packed
from ftonnx.runtime.strategies.rebuild import Rebuild

__all__ = ["AUTO", "KINDS", "LAST_RESORT", "STRATEGIES", "alternatives", "candidates", "strategy_class"]

KINDS: Final[tuple[type[Strategy], ...]] = (Packed, Live, Rebuild)
"""What can be tried; of strategies that may be equally fast, the first first."""

LAST_RESORT: Final[type[Strategy]] = RebuildFromFile
"""What runs every model, and is what the others are compared with."""

AUTO: Final = "auto"
"""The choice of whatever is fastest."""

STRATEGIES: Final = (AUTO, *dict.fromkeys(kind.name for kind in (*KINDS, LAST_RESORT)))
"""The names that can be asked for."""


def strategy_class(name: str) -> type[Strategy]:
    """Return a strategy by its class's name, the last resort where it is nobody's."""
    for kind in KINDS:
        if kind.__name__ == name:
            return kind
    return LAST_RESORT


def candidates(space: FaultSpace) -> list[type[Strategy]]:
    """Return what is to be tried, in this order: those that cannot win come last, for models that others cannot run."""
    return sorted(KINDS, key=lambda kind: not kind.can_win(space))


def alternatives(space: FaultSpace) -> list[str]:
    """Return the names of strategies that may be the fastest, and of the one that runs every model."""
    names = [kind.name for kind in candidates(space) if kind.can_win(space)]
    return list(dict.fromkeys([*names, LAST_RESORT.name]))
