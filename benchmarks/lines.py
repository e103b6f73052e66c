"""What the scripts share: their options, and the line that each case prints."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

__all__ = ["options_of", "print_line", "smallest"]


def options_of(doc: str | None, *, rounds: int, quick: int, threads: bool = True) -> argparse.ArgumentParser:
    """Return a parser with the options that every script has.

    Args:
        doc: the script's docstring.
        rounds: paired rounds by default.
        quick: rounds with ``--quick``.
        threads: whether the script lets one choose the threads of a session.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", dest="rounds", action="store_const", const=quick, help=f"{quick} rounds")
    parser.add_argument("--rounds", type=int, help=f"paired rounds, {rounds} by default")
    if threads:
        parser.add_argument("--threads", type=int, default=2, help="threads per session, 2 by default")
    parser.set_defaults(rounds=rounds)
    return parser


def print_line(case: str, figures: dict[str, Any], reference: str, goal: float | None = None, **more: Any) -> None:
    """Print one case as a JSON line.

    Args:
        case: its name, unique among all scripts.
        figures: of ``pairing.compared``.
        reference: what takes 1.00.
        goal: the ratio must not be above it; None where there is nothing to reach.
        more: whatever else a reader wants to know.
    """
    print(json.dumps({"case": case, **figures, "reference": reference, "goal": goal, **more}), flush=True)


def smallest(values: Sequence[float]) -> dict[str, float]:
    """Return figures for ``print_line`` of what is measured alone: the smallest, as other work only adds to it.

    >>> smallest([2.5, 1.25])
    {'ratio': 1.25, 'low': 1.25, 'high': 2.5, 'n': 2}
    """
    low = round(min(values), 3)
    return {"ratio": low, "low": low, "high": round(max(values), 3), "n": len(values)}
