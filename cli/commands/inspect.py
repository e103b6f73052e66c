"""``ftonnx inspect``: the fault space of a model."""

from typing import TYPE_CHECKING

from ftonnx.cli.options import Json, ModelOptions, SpaceOptions
from ftonnx.cli.output import console, number, percent, print_fault_model, print_json, table
from ftonnx.inject import Coverage, FaultSpace
from ftonnx.sessions import Declared, free_inputs
from ftonnx.words import printable, shape_text

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["inspect"]


def inspect(network: ModelOptions, faults: SpaceOptions, json: Json = False) -> None:
    """List the stored tensors whose bits can flip, in graph order, what is left out, and N, their number.

    Inputs and outputs come first, as the file declares them.
    """
    model = network.open()
    space = faults.space(model)
    inputs = [Declared.of(value) for value in free_inputs(model.structure)]
    outputs = [Declared.of(value) for value in model.structure.graph.output]
    if json:
        declared = {"inputs": [each._asdict() for each in inputs], "outputs": [each._asdict() for each in outputs]}
        print_json(declared | space.to_dict())
        return
    out = console()
    for what, values in (("input", inputs), ("output", outputs)):
        for value in values:
            out.print(f"{what} {printable(value.text)}", soft_wrap=True)
    out.print()
    _print(space)


def _print(space: FaultSpace) -> None:
    rows = table("tensor", "role", "node", "operator", "shape", "type", "format", "bits", "share", left=7)
    for target in space.targets:
        rows.add_row(
            printable(target.tensor),
            target.role,
            printable(target.node),
            printable(target.op_type),
            shape_text(target.shape),
            target.format.dtype.name,
            target.format.name,
            number(target.bits),
            percent(target.bits / space.bits),
        )
    out = console()
    out.print(rows)
    coverage = space.coverage
    if coverage.groups:
        out.print()
        out.print(_left_out(coverage))
    out.print()
    print_fault_model(space.formats)
    out.print(
        f"N = {number(space.bits)} bits in {number(space.elements)} elements of {len(space.targets)} tensors, "
        f"{coverage.words(target.role for target in space.targets)}"
    )


def _left_out(coverage: Coverage) -> "Table":
    rows = table("left out", "largest", "tensors", "elements", "share", left=2)
    for group in coverage.groups:
        rows.add_row(
            printable(group.reason),
            printable(group.largest[0]),
            number(group.tensors),
            number(group.elements),
            coverage.part(group),
        )
    return rows
