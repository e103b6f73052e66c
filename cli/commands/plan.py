"""``ftonnx plan``: how many injections a statistical campaign needs."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import typer

from ftonnx.campaign.inputs import open_model
from ftonnx.campaign.plan.injections import Plan, plan_injections
from ftonnx.cli.options import OUTPUT, FaultOptions, Json
from ftonnx.cli.output import console, number, percent, print_fault_model, print_json, table
from ftonnx.errors import UsageError
from ftonnx.inject import FaultSpace
from ftonnx.stats.sample_size import sample_size, zero_failure_size
from ftonnx.words import printable

__all__ = ["plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _QuestionOptions:
    """What is to be known, and of what."""

    PANEL: ClassVar[str] = "Question"

    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="ONNX file, or the name of an embedded model: digits.")
    ] = None
    population: Annotated[
        float | None, typer.Option("--population", metavar="N", help="Number of possible faults, in place of a model.")
    ] = None
    margin: Annotated[float, typer.Option("--margin", metavar="E", help="Half the width of the interval.")] = 0.01
    confidence: Annotated[float, typer.Option("--confidence", metavar="C", help="Of the interval.")] = 0.99
    proportion: Annotated[
        float, typer.Option("--proportion", metavar="P", help="Expected share of critical faults; 0.5 needs the most.")
    ] = 0.5
    cutoff: Annotated[
        float | None,
        typer.Option("--cutoff", metavar="T", help="Normal cut-off in place of the confidence's, as 2.58."),
    ] = None
    claim: Annotated[
        float | None,
        typer.Option("--claim", metavar="P", help="Also: injections without a critical one that show a share below P."),
    ] = None

    def asked(self) -> dict[str, Any]:
        """Return the question as JSON values."""
        return {
            "margin": self.margin,
            "confidence": self.confidence,
            "proportion": self.proportion,
            "cutoff": self.cutoff,
        }

    def claimed(self) -> dict[str, Any]:
        """Return how many injections show the claim, as JSON values; nothing where there is none.

        Raises:
            UsageError: a value is out of range.
        """
        if self.claim is None:
            return {}
        return {"claim": self.claim, "without_failure": zero_failure_size(self.claim, self.confidence)}

    def needed_of(self, population: float) -> int:
        """Return how many injections a population needs."""
        return sample_size(population, self.margin, self.confidence, self.proportion, t=self.cutoff)

    def needed_in(self, space: FaultSpace) -> Plan:
        """Return how many injections a model needs, and its parts."""
        return plan_injections(space, self.margin, self.confidence, p=self.proportion, t=self.cutoff)


def plan(
    question: _QuestionOptions,
    faults: FaultOptions,
    per_layer: Annotated[
        bool, typer.Option("--per-layer", rich_help_panel=OUTPUT, help="List every stored tensor.")
    ] = False,
    json: Json = False,
) -> None:
    """Say how many single faults must be injected to know a share of critical ones to within a margin.

    For the whole network, for each layer (stored tensor), and for each layer and bit position, after Leveugle et
    al. (DATE 2009) and Ruospo et al. (DATE 2023).
    """
    if (question.model is None) == (question.population is None):
        raise UsageError("a model or --population N was expected, and not both")
    claimed = question.claimed()
    if question.population is not None:
        _answer_for_population(question, question.population, claimed, json=json)
        return
    loaded = open_model(question.model or "")
    space = faults.space(loaded)
    found = question.needed_in(space)
    if json:
        print_json({"model": loaded.name} | question.asked() | found.to_dict() | claimed)
        return
    _print_plan(found, space, per_layer)
    _print_claim(claimed)


def _answer_for_population(
    question: _QuestionOptions, population: float, claimed: dict[str, Any], *, json: bool
) -> None:
    needed = question.needed_of(population)
    if json:
        print_json(question.asked() | {"population": population, "network_wise": needed} | claimed)
        return
    faults = "endlessly many" if math.isinf(population) else number(population)
    console().print(f"{number(needed)} injections of {faults} possible faults")
    _print_claim(claimed)


def _print_plan(found: Plan, space: FaultSpace, per_layer: bool) -> None:
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
            layers.add_row(printable(layer.tensor), *map(number, sizes))
        out.print()
        out.print(layers)
    out.print()
    print_fault_model(space.formats)
    out.print(f"N = {number(found.bits)} possible single faults")


def _print_claim(claimed: dict[str, Any]) -> None:
    if claimed:
        needed = number(claimed["without_failure"])
        share = claimed["claim"]
        console().print(f"{needed} injections without a critical one show a share below {share:g}")
