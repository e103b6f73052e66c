"""``ftonnx plan``: how many injections a statistical campaign needs."""

import math
from typing import Annotated, Any

import typer

from ftonnx.campaign.evaluate import open_model
from ftonnx.campaign.planning import Plan, plan_injections, sample_size, zero_failure_size
from ftonnx.cli.options import Bits, Exclude, FormatName, Include, Json, Targets, parse_bits, split_names
from ftonnx.cli.output import console, number, percent, print_json, shown, table
from ftonnx.errors import UsageError
from ftonnx.inject import FaultSpace

__all__ = ["plan"]


def plan(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="ONNX file, or the name of an embedded model: digits.")
    ] = None,
    population: Annotated[
        float | None, typer.Option("--population", metavar="N", help="Number of possible faults, in place of a model.")
    ] = None,
    margin: Annotated[float, typer.Option("--margin", metavar="E", help="Half the width of the interval.")] = 0.01,
    confidence: Annotated[float, typer.Option("--confidence", metavar="C", help="Of the interval.")] = 0.99,
    proportion: Annotated[
        float, typer.Option("--proportion", metavar="P", help="Expected share of critical faults; 0.5 needs the most.")
    ] = 0.5,
    cutoff: Annotated[
        float | None,
        typer.Option("--cutoff", metavar="T", help="Normal cut-off in place of the confidence's, as 2.58."),
    ] = None,
    claim: Annotated[
        float | None,
        typer.Option("--claim", metavar="P", help="Also: injections without a critical one that show a share below P."),
    ] = None,
    per_layer: Annotated[bool, typer.Option("--per-layer", help="List every stored tensor.")] = False,
    bits: Bits = None,
    format: FormatName = "auto",
    targets: Targets = "weight,bias",
    include: Include = None,
    exclude: Exclude = None,
    json: Json = False,
) -> None:
    """Say how many single faults must be injected to know a share of critical ones to within a margin.

    For the whole network, for each layer (stored tensor), and for each layer and bit position, after Leveugle et
    al. (DATE 2009) and Ruospo et al. (DATE 2023).
    """
    if (model is None) == (population is None):
        raise UsageError("a model or --population N was expected, and not both")
    asked: dict[str, Any] = {"margin": margin, "confidence": confidence, "proportion": proportion, "cutoff": cutoff}
    claimed = {} if claim is None else {"claim": claim, "without_failure": zero_failure_size(claim, confidence)}
    if population is not None:
        needed = sample_size(population, margin, confidence, proportion, t=cutoff)
        if json:
            print_json(asked | {"population": population, "network_wise": needed} | claimed)
        else:
            faults = "endlessly many" if math.isinf(population) else number(population)
            console().print(f"{number(needed)} injections of {faults} possible faults")
            _print_claim(claimed)
        return
    loaded = open_model(model or "")
    space = FaultSpace.of(
        loaded,
        format=format,
        roles=split_names(targets),
        include=include or (),
        exclude=exclude or (),
        bits=() if bits is None else parse_bits(bits),
    )
    found = plan_injections(space, margin, confidence, p=proportion, t=cutoff)
    if json:
        print_json({"model": loaded.name} | asked | found.to_dict() | claimed)
        return
    _print_plan(found, per_layer)
    _print_claim(claimed)


def _print_plan(found: Plan, per_layer: bool) -> None:
    rows = table("question", "injections", "share of N")
    for question, needed in (
        ("one share for the network (network-wise)", found.network_wise),
        (f"one for each of {len(found.layers)} layers (layer-wise)", found.layer_wise),
        ("one for each layer and bit (data-unaware)", found.data_unaware),
    ):
        rows.add_row(question, number(needed), percent(needed / found.bits))
    out = console()
    out.print(rows)
    if per_layer:
        layers = table("tensor", "bits", "injections", "injections per bit, summed")
        for layer in found.layers:
            sizes = (layer.bits, layer.injections, layer.injections_per_bit)
            layers.add_row(shown(layer.tensor), *map(number, sizes))
        out.print()
        out.print(layers)
    out.print(f"\nN = {number(found.bits)} possible single faults")


def _print_claim(claimed: dict[str, Any]) -> None:
    if claimed:
        needed, share = number(claimed["without_failure"]), claimed["claim"]
        console().print(f"{needed} injections without a critical one show a share below {share:g}")
