"""``ftonnx rate``: the bit-fault rate of an environment."""

import shlex
from typing import Annotated, Final

import typer

from ftonnx.campaign.environment import duration_text, plain_words
from ftonnx.campaign.evaluate import open_model
from ftonnx.campaign.rate_gap import rounded_up
from ftonnx.cli.environment import (
    Average,
    CrossSection,
    EnvironmentFile,
    Exposure,
    FitPerMbit,
    Flux,
    FluxMultiplier,
    Scrub,
    UpsetsPerBitDay,
    environment_of,
)
from ftonnx.cli.options import Exclude, FormatName, Include, Json, Targets, split_names
from ftonnx.cli.output import console, number, print_json, shown, table
from ftonnx.inject import FaultSpace

__all__ = ["rate"]

_ALONE: Final = 0.1
"""With so few flips on average, nine loads in ten meet none."""


def rate(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="ONNX file or embedded model whose flips are counted.")
    ] = None,
    fit_per_mbit: FitPerMbit = None,
    upsets_per_bit_day: UpsetsPerBitDay = None,
    cross_section: CrossSection = None,
    flux: Flux = None,
    flux_multiplier: FluxMultiplier = None,
    exposure: Exposure = None,
    scrub: Scrub = None,
    average: Average = None,
    environment: EnvironmentFile = None,
    format: FormatName = "auto",
    targets: Targets = "weight,bias",
    include: Include = None,
    exclude: Exclude = None,
    json: Json = False,
) -> None:
    """Turn an environment into a bit-fault rate, and count the flips to expect in a model's memory.

    Upsets are independent single-bit flips; bursts and error correction are not modelled.
    """
    place = environment_of(
        file=environment,
        exposure=exposure,
        scrub=scrub,
        average=average,
        fit_per_mbit=fit_per_mbit,
        upsets_per_bit_day=upsets_per_bit_day,
        cross_section=cross_section,
        flux=flux,
        flux_multiplier=flux_multiplier,
    )
    found = {
        "environment": place.to_dict(),
        "upsets_per_bit_hour": place.upsets_per_bit_hour,
        "fit_per_mbit": place.device_fit(10**6),
        "rate": place.rate,
        "plain_words": plain_words(place.rate),
    }
    rows = table("quantity", "value")
    rows.add_row("upsets per bit and hour", f"{place.upsets_per_bit_hour:.4g}")
    rows.add_row("FIT per Mbit", f"{place.device_fit(10**6):.4g}")
    rows.add_row(
        f"interval, read at {'its end' if place.read == 'end' else 'any time'}", duration_text(place.interval or 0)
    )
    rows.add_row("bit-fault rate, flips per bit", f"{place.rate:.6g}")
    flips = 0.0
    if model is not None:
        loaded = open_model(model)
        bits = FaultSpace.of(
            loaded, format=format, roles=split_names(targets), include=include or (), exclude=exclude or ()
        ).bits
        flips, fit = place.expected_flips(bits), place.device_fit(bits)
        found |= {"model": {"name": loaded.name, "bits": bits}, "expected_flips": flips, "device_fit": fit}
        rows.add_row(f"bits of {shown(loaded.name)}", number(bits))
        rows.add_row("flipped bits to expect in them", f"{flips:.4g}")
        rows.add_row("upsets of the model's memory, FIT", f"{fit:,.4g}")
    if json:
        print_json(found)
        return
    out = console()
    out.print(rows)
    if place.rate:
        out.print(f"\nUnprotected memory collects as much: {plain_words(place.rate)}")
    if model is not None and place.rate:
        out.print(shown(_next_step(model, place.rate, flips)), soft_wrap=True)


def _next_step(model: str, rate: float, flips: float) -> str:
    """Say what measures the harm, of which a rate says nothing.

    >>> print(_next_step("digits", 2.99999e-6, 5.4))
    No harm is measured here. To measure it: ftonnx inject digits --data SPEC --rate 3e-06
    """
    start = "No harm is measured here."
    if flips < _ALONE:
        command = shlex.join(["ftonnx", "inject", model, "--data", "SPEC", "--faults-per-run", "1"])
        return f"{start} Most loads meet no flip; what one does: {command}"
    command = shlex.join(["ftonnx", "inject", model, "--data", "SPEC", "--rate", f"{rounded_up(rate):g}"])
    return f"{start} To measure it: {command}"
