"""``ftonnx faults``: the faults of a recorded unit, listed or written into a model file."""

from pathlib import Path
from typing import Annotated

import typer

from ftonnx.campaign import replay
from ftonnx.cli.options import Batch, Json, Repeat, Results
from ftonnx.cli.output import console, note, print_json, shown, table, warn

__all__ = ["faults"]


def faults(
    results: Results,
    repeat: Repeat,
    batch: Batch = 0,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate",
            metavar="R",
            help="Bit-fault rate of the unit; not needed for injections, or where there is only one rate.",
        ),
    ] = None,
    save_model: Annotated[
        Path | None,
        typer.Option("--save-model", metavar="OUT.onnx", help="Also write the model with these faults in it."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="MODEL", help="Where the model is now.  [default: where it was]"),
    ] = None,
    json: Json = False,
) -> None:
    """Replay a recorded unit: list every flipped bit, with the element's value before and after.

    An injection's number is its --repeat. index is flat (C order) in the stored tensor, bit counts from the least
    significant.
    """
    unit = replay(results, rate=rate, repeat=repeat, batch=batch, model=model)
    if save_model is not None:
        unit.save_model(save_model)
        note(f"faulty model: {save_model}")
    warn(unit.warnings)
    if json:
        print_json(unit.to_dict())
        return
    rows = table("tensor", "index", "bit", "before", "after")
    for fault in unit.list():
        rows.add_row(shown(fault.tensor), str(fault.index), str(fault.bit), f"{fault.before:.9g}", f"{fault.after:.9g}")
    outcomes = unit.record.outcomes
    out = console()
    out.print(rows)
    out.print(
        f"\n{len(unit.faults)} faults; of {outcomes.n} images {outcomes.correct1} top-1 correct, "
        f"{outcomes.sdc1} SDC-1, {outcomes.masked} masked, {outcomes.due} DUE"
    )
