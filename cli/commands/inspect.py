"""``ftonnx inspect``: the fault space of a model."""

from ftonnx.cli.options import Json, ModelOptions, SpaceOptions
from ftonnx.cli.output import console, number, percent, print_json, shown, table
from ftonnx.inject import FaultSpace
from ftonnx.words import shape_text

__all__ = ["inspect"]


def inspect(network: ModelOptions, faults: SpaceOptions, json: Json = False) -> None:
    """List the stored tensors whose bits can flip, in graph order, and N, their total number of bits."""
    space = faults.space(network.open())
    if json:
        print_json(space.to_dict())
    else:
        _print(space)


def _print(space: FaultSpace) -> None:
    rows = table("tensor", "role", "node", "operator", "shape", "type", "format", "bits", "share", left=7)
    for target in space.targets:
        rows.add_row(
            shown(target.tensor),
            target.role,
            shown(target.node),
            shown(target.op_type),
            shape_text(target.shape),
            target.format.dtype.name,
            target.format.name,
            number(target.bits),
            percent(target.bits / space.bits),
        )
    out = console()
    out.print(rows)
    out.print(f"\nN = {number(space.bits)} bits in {number(space.elements)} elements of {len(space.targets)} tensors")
