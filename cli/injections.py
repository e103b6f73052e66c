"""Printing what single faults did, by bit and by stored tensor."""

from collections import Counter
from collections.abc import Iterable
from typing import Final, Literal

from ftonnx.campaign import CampaignResult
from ftonnx.campaign.ranking import Group
from ftonnx.cli.output import console, number, percent, shown, table

__all__ = ["print_injections"]

_COUNTS: Final = ("images", "masked", "due")
_MOST_TENSORS: Final = 10


def print_injections(result: CampaignResult) -> None:
    """Print the outcomes of single faults per bit, and of the tensors with most silent corruptions."""
    if not result.vulnerability:
        return
    bits, tensors = result.ranking("bit"), result.ranking("tensor")
    by_number = sorted(bits.groups, key=lambda group: -int(group.name))
    out = console()
    _print(result, "bit", by_number)
    out.print(bits.words("bit"), soft_wrap=True)
    _print(result, "tensor", tensors.groups[:_MOST_TENSORS])
    if len(tensors.groups) > _MOST_TENSORS:
        rest = len(tensors.groups) - _MOST_TENSORS
        out.print(f"and {rest} more tensors; --json lists every tensor and bit")
    out.print(shown(tensors.words("tensor")), soft_wrap=True)


def _print(result: CampaignResult, title: Literal["bit", "tensor"], groups: Iterable[Group]) -> None:
    counts = _counts(result, title)
    rows = table(title, "injections", "masked", "SDC-1", "95 % interval", "DUE", left=1)
    for group in groups:
        found = counts[group.name]
        masked, due = (percent(found[column] / found["images"]) for column in ("masked", "due"))
        limits = _limits(group)
        rows.add_row(
            shown(f"{group.name:>2}"), number(group.injections), masked, percent(group.share.mean), limits, due
        )
    out = console()
    out.print()
    out.print(rows)


def _counts(result: CampaignResult, title: Literal["bit", "tensor"]) -> dict[str, Counter[str]]:
    """Return the counts added up per group."""
    groups: dict[str, Counter[str]] = {}
    for row in result.vulnerability:
        found = groups.setdefault(str(getattr(row, title)), Counter())
        found.update({name: getattr(row, name) for name in _COUNTS})
    return groups


def _limits(group: Group) -> str:
    if group.share.low is None or group.share.high is None:
        return "-"
    return f"{100 * group.share.low:.2f} to {percent(group.share.high)}"
