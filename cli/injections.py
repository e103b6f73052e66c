"""Printing what single faults did, by bit and by stored tensor."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from ftonnx.campaign import CampaignResult, Vulnerability
from ftonnx.cli.output import console, number, percent, shown, table

__all__ = ["print_injections"]

_COUNTS: Final = ("injections", "images", "masked", "critical", "due")
_MOST_TENSORS: Final = 10


def print_injections(result: CampaignResult) -> None:
    """Print the outcomes of single faults per bit, and the tensors in which they do most harm."""
    if not result.vulnerability:
        return
    bits = _summed(result.vulnerability, lambda each: f"{each.bit:>2}")
    tensors = _summed(result.vulnerability, lambda each: each.tensor)
    _print("bit", sorted(bits.items(), reverse=True))
    worst = sorted(tensors.items(), key=lambda entry: -_harm(entry[1]))
    _print("tensor", worst[:_MOST_TENSORS])
    if len(worst) > _MOST_TENSORS:
        console().print(f"and {len(worst) - _MOST_TENSORS} tensors with less harm; --json lists every tensor and bit")


def _summed(rows: Iterable[Vulnerability], group: Callable[[Vulnerability], str]) -> dict[str, Counter[str]]:
    """Return the counts added up per group."""
    groups: dict[str, Counter[str]] = {}
    for row in rows:
        groups.setdefault(group(row), Counter()).update({name: getattr(row, name) for name in _COUNTS})
    return groups


def _harm(counts: Counter[str]) -> float:
    return (counts["critical"] + counts["due"]) / counts["images"]


def _print(title: str, groups: Iterable[tuple[str, Counter[str]]]) -> None:
    rows = table(title, "injections", "masked", "SDC-1", "DUE", left=1)
    for name, counts in groups:
        shares = (percent(counts[column] / counts["images"]) for column in ("masked", "critical", "due"))
        rows.add_row(shown(name), number(counts["injections"]), *shares)
    out = console()
    out.print()
    out.print(rows)
