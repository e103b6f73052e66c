"""``ftonnx inspect``: the fault space of a model."""

from ftonnx.campaign.evaluate import open_model
from ftonnx.cli.options import Exclude, FormatName, Include, Json, Model, Targets, split_names
from ftonnx.cli.output import console, number, percent, print_json, shown, table
from ftonnx.inject import FaultSpace

__all__ = ["inspect"]


def inspect(
    model: Model,
    format: FormatName = "auto",
    targets: Targets = "weight,bias",
    include: Include = None,
    exclude: Exclude = None,
    json: Json = False,
) -> None:
    """List the stored tensors whose bits can flip, in graph order, and N, their total number of bits."""
    loaded = open_model(model)
    space = FaultSpace.of(
        loaded, format=format, roles=split_names(targets), include=include or (), exclude=exclude or ()
    )
    if json:
        print_json(space.to_dict())
        return
    rows = table("tensor", "role", "node", "operator", "shape", "type", "format", "bits", "share", left=7)
    for target in space.targets:
        shape = "x".join(map(str, target.shape)) or "scalar"
        kind = (target.format.dtype.name, target.format.name)
        size = (number(target.bits), percent(target.bits / space.bits))
        names = (shown(target.tensor), target.role, shown(target.node), shown(target.op_type))
        rows.add_row(*names, shape, *kind, *size)
    out = console()
    out.print(rows)
    out.print(f"\nN = {number(space.bits)} bits in {number(space.elements)} elements of {len(space.targets)} tensors")
