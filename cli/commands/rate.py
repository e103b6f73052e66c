"""``ftonnx rate``: the bit-fault rate of an environment."""

import shlex
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer

from ftonnx.campaign.inputs import open_model
from ftonnx.campaign.results.rate_gap import rounded_up
from ftonnx.cli.environment import EnvironmentOptions
from ftonnx.cli.options import Json, SpaceOptions
from ftonnx.cli.output import console, number, print_json, table
from ftonnx.environment import Environment, plain_words
from ftonnx.inject import flips_in
from ftonnx.inject.fault_models.of_environment import require_stored
from ftonnx.words import duration_text, printable

__all__ = ["rate"]

_ALONE: Final = 0.1
"""With so few flips on average, nine loads in ten meet none."""

_MBIT: Final = 10**6


def rate(
    environment: EnvironmentOptions,
    faults: SpaceOptions,
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="ONNX file or embedded model whose flips are counted.")
    ] = None,
    json: Json = False,
) -> None:
    """Turn an environment into a bit-fault rate, and count the flips to expect in a model's memory.

    Upsets are independent, and flip one bit each where a file does not say more. What is given counts upsets; the rate
    counts flipped bits of the bare memory. What error correction makes of them, ftonnx inject --protection tells.
    """
    place = environment.place()
    memory = None if model is None else _memory(model, faults, place)
    if json:
        print_json(_facts(place, memory))
    else:
        _print(place, memory)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Memory:
    """A model's memory in the environment.

    Attributes:
        given: the model as it was named.
        name: of the model.
        bits: that can flip.
        flips: to expect when it is read.
        fit: upsets per 1e9 hours.
    """

    given: str
    name: str
    bits: int
    flips: float
    fit: float


def _memory(model: str, faults: SpaceOptions, place: Environment) -> _Memory:
    loaded = open_model(model)
    space = faults.space(loaded)
    require_stored(target.role for target in space.targets)
    bits = space.bits
    return _Memory(
        given=model, name=loaded.name, bits=bits, flips=place.expected_flips(bits), fit=place.device_fit(bits)
    )


def _facts(place: Environment, memory: _Memory | None) -> dict[str, Any]:
    facts = {
        "environment": place.to_dict(),
        "upsets_per_bit_hour": place.upsets_per_bit_hour,
        "fit_per_mbit": place.device_fit(_MBIT),
        "rate": place.rate,
        "plain_words": _plain_words(place),
    }
    if memory is not None:
        facts["model"] = {"name": memory.name, "bits": memory.bits}
        facts["expected_flips"] = memory.flips
        facts["device_fit"] = memory.fit
    return facts


def _plain_words(place: Environment) -> str:
    """Say how long other places take to the same rate, by upsets of as many bits."""
    return plain_words(place.rate, place.shape.sizes.mean)


def _print(place: Environment, memory: _Memory | None) -> None:
    read = "its end" if place.read == "end" else "any time"
    rows = table("quantity", "value")
    rows.add_row("upsets per bit and hour", f"{place.upsets_per_bit_hour:.4g}")
    if not place.shape.sizes.is_single:
        rows.add_row("bits that an upset flips, mean", f"{place.shape.sizes.mean:.4g}")
    rows.add_row("FIT per Mbit", f"{place.device_fit(_MBIT):.4g}")
    rows.add_row(f"interval, read at {read}", duration_text(place.interval or 0))
    rows.add_row("bit-fault rate, flips per bit", f"{place.rate:.6g}")
    if memory is not None:
        rows.add_row(f"bits of {printable(memory.name)}", number(memory.bits))
        rows.add_row("flipped bits to expect in them", f"{memory.flips:.4g}")
        rows.add_row("upsets of the model's memory, FIT", f"{memory.fit:,.4g}")
    out = console()
    out.print(rows)
    if not place.shape.sizes.is_single:
        out.print(f"\nUpsets come in bursts of {place.shape.words}", soft_wrap=True)
    if not place.rate:
        return
    alike = "" if place.shape.sizes.is_single else " by such upsets"
    out.print(f"\nUnprotected memory collects as much{alike}: {_plain_words(place)}", soft_wrap=True)
    if memory is not None:
        out.print(printable(_next_step(memory.given, place, memory.flips)), soft_wrap=True)


def _next_step(model: str, place: Environment, flips: float) -> str:
    """Say what measures the harm, of which a rate says nothing.

    >>> print(_next_step("digits", Environment(upsets_per_bit_day=2.99999e-6, interval=24), 5.4))
    No harm is measured here. To measure it: ftonnx inject digits --data SPEC --rate 3e-06
    """
    start = "No harm is measured here."
    command = ["ftonnx", "inject", model, "--data", "SPEC"]
    if flips < _ALONE and place.shape.sizes.is_single:
        alone = shlex.join([*command, "--faults-per-run", "1"])
        return f"{start} Most loads meet no flip; what one does: {alone}"
    at_rate = shlex.join([*command, *flips_in(place, rounded_up(place.rate)).arguments()])
    often = "Most loads meet no flip. " if flips < _ALONE else ""
    return f"{start} {often}To measure it: {at_rate}"
