"""Printing what single faults did, by bit and by stored tensor."""

from collections import Counter
from collections.abc import Iterable
from typing import Final, Literal

from ftonnx.campaign import CampaignResult
from ftonnx.cli.output import console, number, percent, table
from ftonnx.stats.ranking import Group
from ftonnx.tasks import Task
from ftonnx.words import interval, printable

__all__ = ["print_injections"]

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
    out.print(printable(tensors.words("tensor")), soft_wrap=True)


def _print(result: CampaignResult, title: Literal["bit", "tensor"], groups: Iterable[Group]) -> None:
    task = result.task
    counts = _counts(result, title)
    before = task.per_fault_brief[:1]
    behind = task.per_fault_brief[1:]
    harm = task.fractions[task.harm].label
    rows = table(title, "injections", *_labels(task, before), harm, "95 % interval", *_labels(task, behind), left=1)
    for group in groups:
        found = counts[group.name]
        shares = {name: percent(found[name] / found["images"]) for name in task.per_fault_brief}
        rows.add_row(
            printable(f"{group.name:>2}"),
            number(group.injections),
            *(shares[name] for name in before),
            percent(group.share.mean),
            interval(group.share.low, group.share.high),
            *(shares[name] for name in behind),
        )
    out = console()
    out.print()
    out.print(rows)


def _labels(task: Task, counts: Iterable[str]) -> list[str]:
    """Return what people call some counts."""
    labels = {fraction.count: fraction.label for fraction in task.fractions.values()}
    return [labels.get(name, name) for name in counts]


def _counts(result: CampaignResult, title: Literal["bit", "tensor"]) -> dict[str, Counter[str]]:
    """Return the counts added up per group."""
    groups: dict[str, Counter[str]] = {}
    for row in result.vulnerability:
        found = groups.setdefault(str(getattr(row, title)), Counter())
        found["images"] += row.images
        for name in result.task.per_fault_brief:
            found[name] += row.counts[name]
    return groups
