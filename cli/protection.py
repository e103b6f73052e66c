"""How a memory protects a model's bits: reading it, and printing it, what it costs, and what it did."""

from collections.abc import Sequence
from pathlib import Path

from ftonnx.campaign.results.guarded import GuardedRuns
from ftonnx.campaign.store.header_file import read_header
from ftonnx.cli.output import console, number, percent, table
from ftonnx.errors import UsageError
from ftonnx.inject import GuardedMemory, ProtectionPlan
from ftonnx.inject.guards import PlanCost
from ftonnx.words import printable

__all__ = ["print_guarded_runs", "print_protection", "read_plan"]


def read_plan(path: Path) -> ProtectionPlan:
    """Return the plan of a TOML file, or the one that the campaign in a results folder was recorded with.

    Raises:
        UsageError: there is none.
        StoreError: the folder is damaged.
    """
    if not path.is_dir():
        return ProtectionPlan.read(path)
    header = read_header(path)
    plan = None if header is None else header.settings.protection
    if plan is None:
        raise UsageError(f"{path}: a protection plan, or a folder of results recorded with one, was expected")
    return plan


def print_protection(memory: GuardedMemory | None) -> None:
    """Print what protects a model's bits, and what that costs; nothing where nothing does."""
    if memory is None:
        return
    cost = PlanCost.of(memory)
    out = console()
    words = f"words of {memory.plan.word_bits} bits"
    if memory.plan.interleave > 1:
        words += f", {memory.plan.interleave} of which take turns"
    out.print(
        f"protected, with {number(cost.check_bits)} check bits ({percent(cost.share)} of the bits stored), which N "
        f"counts; {words}",
        soft_wrap=True,
    )
    for guard in cost.guards:
        bits = f"{number(guard.guarded_bits)} bits + {number(guard.check_bits)}"
        out.print(f"  {printable(guard.guard.text)}: {bits}{guard.guard.reaction}", soft_wrap=True)


def print_guarded_runs(runs: Sequence[GuardedRuns], *, injected: bool) -> None:
    """Print what the guards did per run; nothing where there are none.

    Args:
        runs: at every rate, or of all injections.
        injected: whether these are injections.
    """
    if not runs:
        return
    out = console()
    out.print("\nwords per run, mean:")
    rows = table("injections" if injected else "rate", *runs[0].means, "runs stopped", left=0)
    for each in runs:
        means = [number(mean) for mean in each.means.values()]
        first = number(each.patterns) if injected else f"{each.rate:g}"
        rows.add_row(first, *means, percent(each.stopped / each.patterns))
    out.print(rows)
    counts = {each.patterns for each in runs}
    patterns = f"{'up to ' if len(counts) > 1 else ''}{number(max(counts))}"
    at_each = "" if injected else " per rate"
    out.print(f"by drawing {patterns} patterns{at_each} again; faults are flips in the memory, check bits too")
