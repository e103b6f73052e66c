"""``ftonnx faults``: the faults of a recorded unit, listed or written into a model file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from ftonnx.campaign import Replay, replay
from ftonnx.campaign.replay import ReplayedProtection
from ftonnx.cli.options import OUTPUT, READING, Json, OwnTask
from ftonnx.cli.output import console, note, print_json, table, warn
from ftonnx.words import parse_duration, printable

__all__ = ["faults"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _UnitOptions:
    """Which recorded unit."""

    PANEL: ClassVar[str] = READING

    results: Annotated[
        Path, typer.Argument(metavar="RESULTS", file_okay=False, help="Results folder of ftonnx inject.")
    ]
    repeat: Annotated[int, typer.Option("--repeat", metavar="I", help="Which repeat, from 0.")]
    batch: Annotated[int, typer.Option("--batch", metavar="J", help="Which batch of images, from 0.")] = 0
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate",
            metavar="R",
            help="Bit-fault rate of the unit; not needed for injections, or where there is only one rate.",
        ),
    ] = None
    over: Annotated[
        float | None,
        typer.Option(
            "--over",
            metavar="TIME",
            parser=parse_duration,
            help="In place of --rate, of inject --over: the time since the memory was loaded, such as 1d.",
        ),
    ] = None
    task: OwnTask = None
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="MODEL", help="Where the model is now.  [default: where it was]"),
    ] = None

    def replay(self) -> Replay:
        """Draw the unit's faults again."""
        return replay(
            self.results, rate=self.rate, over=self.over, repeat=self.repeat, batch=self.batch, model=self.model
        )


def faults(
    recorded: _UnitOptions,
    save_model: Annotated[
        Path | None,
        typer.Option(
            "--save-model",
            metavar="OUT.onnx",
            rich_help_panel=OUTPUT,
            help="Also write the model with these faults in it.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Replay a recorded unit: list every flipped bit, with the element's value before and after.

    An injection's number is its --repeat. index is flat (C order) in the stored tensor, bit counts from the least
    significant.
    """
    unit = recorded.replay()
    if save_model is not None:
        unit.save_model(save_model)
        note(f"faulty model: {save_model}")
    warn(unit.warnings)
    if json:
        print_json(unit.to_dict())
    else:
        _print(unit)


def _print(unit: Replay) -> None:
    rows = table("tensor", "index", "bit", "before", "after")
    for fault in unit.list():
        rows.add_row(
            printable(fault.tensor), str(fault.index), str(fault.bit), _value(fault.before), _value(fault.after)
        )
    out = console()
    out.print(rows)
    if unit.protection is not None:
        _print_protection(unit.protection)
    out.print(f"\n{len(unit.faults)} faults; {unit.task.counts_words(unit.record.outcomes)}")


def _print_protection(done: ReplayedProtection) -> None:
    """Print what flipped in the memory, and what guards made of it; the table above is what was left in the model."""
    rows = table("memory", "index", "bit")
    for tensor, index, bit in done.flips:
        rows.add_row(printable(tensor), str(index), str(bit))
    out = console()
    out.print(f"\nleft in the model by guards, of {len(done.flips)} flips in the memory:", soft_wrap=True)
    out.print(rows)
    words = ", ".join(f"{count} {name}" for name, count in done.decoded.words.to_dict().items() if count)
    stopped = "; a guard has stopped the run" if done.decoded.stopped else ""
    out.print(f"words: {words or 'none'}{stopped}", soft_wrap=True)


def _value(number: float | None) -> str:
    """Return a value; of an activation nobody knows it before the run."""
    return "-" if number is None else f"{number:.9g}"
