"""``ftonnx fit``: failures in time from a measured probability of silent data corruption."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ftonnx.campaign import CampaignResult
from ftonnx.campaign.environment import Environment, duration_text, failure_rate, misprediction_rate
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
from ftonnx.cli.options import Json
from ftonnx.cli.output import console, number, percent, print_json, table, warn
from ftonnx.errors import UsageError

__all__ = ["fit"]


def fit(
    results: Annotated[
        Path | None, typer.Argument(metavar="[RESULTS]", file_okay=False, help="Results folder of ftonnx inject.")
    ] = None,
    sdc: Annotated[
        float | None, typer.Option("--sdc", metavar="P", help="P(silent data corruption | one upset), without RESULTS.")
    ] = None,
    memory_bits: Annotated[
        int | None, typer.Option("--memory-bits", metavar="N", min=1, help="Bits of the memory, without RESULTS.")
    ] = None,
    coverage: Annotated[
        float, typer.Option("--coverage", metavar="DC", help="Share of upsets that is detected or corrected already.")
    ] = 0.0,
    budget_fit: Annotated[
        float | None, typer.Option("--budget-fit", metavar="FIT", help="Allowed failures per 1e9 hours.")
    ] = None,
    inferences_per_hour: Annotated[
        float | None, typer.Option("--inferences-per-hour", metavar="F", help="How often the model runs.")
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
    json: Json = False,
) -> None:
    """Turn measured silent data corruption into failures in time, always by its upper limit.

    A single-fault campaign (or --sdc) gives FIT, mean time to failure and the coverage that a budget needs. A campaign
    at fault rates gives the mean time between mispredictions, from the lowest tested rate that is not below the
    environment's.
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
    if results is None:
        if sdc is None or memory_bits is None:
            raise UsageError("a results folder, or --sdc P with --memory-bits N, was expected")
        _fit(place, sdc, memory_bits, coverage, budget_fit, json)
        return
    if sdc is not None or memory_bits is not None:
        raise UsageError("--sdc and --memory-bits were expected without a results folder: it holds both")
    found = CampaignResult.open(results)
    warn(found.warnings)
    if _single_faults(found):
        _fit(place, _upper(found, 0), found.fault_space["bits"], coverage, budget_fit, json, found.warnings)
    elif budget_fit is not None or coverage:
        raise UsageError(
            f"{results} is a campaign at fault rates: a budget needs the outcome of single faults, "
            "from ftonnx inject --faults-per-run 1"
        )
    else:
        _mispredictions(place, found, inferences_per_hour, json)


def _single_faults(found: CampaignResult) -> bool:
    """Whether the campaign tells what one upset, which hits every bit alike, does."""
    settings = found.settings
    if settings["fault_list"] or (settings["faults_per_run"] or 1) > 1:
        raise UsageError(
            "an upset hits every bit alike, one at a time: a campaign with --faults-per-run 1, --per-layer or "
            "--exhaustive, or at fault rates, was expected"
        )
    return bool(settings["faults_per_run"] or settings["per_layer"] or settings["exhaustive"])


def _upper(found: CampaignResult, index: int) -> float:
    high = found.rates[index].sdc1.high
    if high is None:
        raise UsageError("an upper limit needs two fault patterns or more, and all of an exhaustive campaign: use more")
    return high


def _fit(
    place: Environment,
    sdc: float,
    bits: int,
    coverage: float,
    budget_fit: float | None,
    json: bool,
    warnings: Sequence[str] = (),
) -> None:
    found = failure_rate(place.device_fit(bits), sdc, coverage=coverage, budget_fit=budget_fit)
    if json:
        print_json({"bits": bits, "sdc": sdc, "coverage": coverage} | asdict(found) | {"warnings": list(warnings)})
        return
    rows = table("quantity", "value")
    rows.add_row("bits of the memory", number(bits))
    rows.add_row("P(SDC | one upset), upper limit", f"{sdc:.4g}")
    rows.add_row("upsets of the memory, FIT", f"{found.device_fit:,.4g}")
    rows.add_row("silent data corruptions, FIT", f"{found.sdc_fit:,.4g}")
    rows.add_row("mean time to one", duration_text(found.mttf_hours))
    if found.coverage_needed is not None:
        rows.add_row(f"coverage needed for {budget_fit:g} FIT", percent(found.coverage_needed))
    console().print(rows)


def _mispredictions(place: Environment, found: CampaignResult, per_hour: float | None, json: bool) -> None:
    if per_hour is None:
        raise UsageError("how often the model runs was expected: --inferences-per-hour F")
    index = next((index for index, rate in enumerate(found.rates) if rate.rate >= place.rate), None)
    if index is None:
        highest = found.rates[-1].rate
        raise UsageError(
            f"the environment's rate {place.rate:.3g} is above the highest tested one, {highest:g}: "
            f"run ftonnx inject --rate {place.rate:.3g} too"
        )
    tested = found.rates[index].rate
    often = misprediction_rate(_upper(found, index), per_hour)
    content: dict[str, Any] = {"rate": place.rate, "tested_rate": tested, "inferences_per_hour": per_hour}
    if json:
        print_json(content | asdict(often) | {"warnings": list(found.warnings)})
        return
    rows = table("quantity", "value")
    rows.add_row("bit-fault rate of the environment", f"{place.rate:.4g}")
    rows.add_row("tested rate, the next one up", f"{tested:g}")
    rows.add_row("P(SDC-1) per inference, upper limit", f"{often.probability:.4g}")
    rows.add_row("mean time between mispredictions", duration_text(often.hours_between))
    console().print(rows)
