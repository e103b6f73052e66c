"""``ftonnx inspect``: the fault space of a model."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ftonnx.campaign.plan.settings import Settings
from ftonnx.cli.options import ACTIVATIONS_PER, Json, ModelOptions, SpaceOptions
from ftonnx.cli.output import console, number, percent, print_fault_model, print_json, table
from ftonnx.inject import Coverage, FaultSpace, OnnxModel
from ftonnx.inject.activations import IMAGE
from ftonnx.sessions import Declared, free_inputs
from ftonnx.words import printable, shape_text

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["inspect"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _RunOptions(SpaceOptions):
    """Which tensors can flip, stored or computed in a run."""

    activations_per: Annotated[str, ACTIVATIONS_PER] = IMAGE
    batch_size: Annotated[
        int, typer.Option("--batch-size", metavar="N", help="Images of a run, of --activations-per batch.")
    ] = 1

    def space(self, model: OnnxModel) -> FaultSpace:
        """Return the fault space of a model.

        Raises:
            UsageError: nothing is left that can flip, or a value is out of range.
            ModelError: a tensor has bits that nobody knows.
        """
        settings = Settings(
            format=self.format,
            roles=self.roles,
            include=self.include,
            exclude=self.exclude,
            activations_per=self.activations_per,
            batch_size=self.batch_size,
        )
        return settings.fault_space(model)


def inspect(network: ModelOptions, faults: _RunOptions, json: Json = False) -> None:
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
