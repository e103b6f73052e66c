"""``ftonnx fit``: failures in time from a measured probability of silent data corruption."""

import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

import typer

from ftonnx.campaign import CampaignResult
from ftonnx.campaign.results.rate_gap import rate_gap, rounded_up, times_text
from ftonnx.cli.environment import EnvironmentOptions
from ftonnx.cli.options import Json, OwnTask
from ftonnx.cli.output import console, number, percent, print_json, table, warn
from ftonnx.environment.failures import ALONE, failure_rate, misprediction_rate
from ftonnx.environment.radiation import Environment, duration_text
from ftonnx.errors import UsageError
from ftonnx.inject import fits_environment, flips_in
from ftonnx.inject.fault_models.of_environment import require_stored
from ftonnx.words import printable, share_digits

__all__ = ["fit"]

_IN_PYTHON: Final = "the Python program that handed over model and data, with rates=[...]"


@dataclass(frozen=True, slots=True, kw_only=True)
class _HarmOptions:
    """What an upset does, and how much of that is allowed."""

    PANEL: ClassVar[str] = "Harm"

    results: Annotated[
        Path | None, typer.Argument(metavar="RESULTS", file_okay=False, help="Results folder of ftonnx inject.")
    ] = None
    sdc: Annotated[
        float | None, typer.Option("--sdc", metavar="P", help="P(silent data corruption | one upset), without RESULTS.")
    ] = None
    memory_bits: Annotated[
        int | None, typer.Option("--memory-bits", metavar="N", min=1, help="Bits of the memory, without RESULTS.")
    ] = None
    coverage: Annotated[
        float, typer.Option("--coverage", metavar="DC", help="Share of upsets that is detected or corrected already.")
    ] = 0.0
    budget_fit: Annotated[
        float | None, typer.Option("--budget-fit", metavar="FIT", help="Allowed failures per 1e9 hours.")
    ] = None
    task: OwnTask = None
    inferences_per_hour: Annotated[
        float | None, typer.Option("--inferences-per-hour", metavar="F", help="How often the model runs.")
    ] = None

    def measured(self) -> CampaignResult | None:
        """Open the results; None where --sdc and --memory-bits stand for them.

        Raises:
            UsageError: both are given, or neither.
        """
        said = (self.sdc, self.memory_bits)
        if self.results is None:
            if None in said:
                raise UsageError("a results folder, or --sdc P with --memory-bits N, was expected")
            return None
        if said != (None, None):
            raise UsageError("--sdc and --memory-bits were expected without a results folder: it holds both")
        return CampaignResult.open(self.results)


def fit(
    harm: _HarmOptions,
    environment: EnvironmentOptions,
    json: Json = False,
) -> None:
    """Turn measured silent data corruption into failures in time, always by its upper limit.

    A single-fault campaign (or --sdc) gives FIT, mean time to failure and the coverage that a budget needs. A campaign
    at fault rates gives the mean time between mispredictions, from the lowest tested rate that is not below the
    environment's. Where that is another rate, it says how far away, and how to measure at the environment's.
    """
    place = environment.place()
    found = harm.measured()
    if found is not None:
        require_stored(tensor.role for tensor in found.fault_space.tensors)
    if found is None or _single_faults(found):
        _fit(place, harm, found, json=json)
    elif harm.budget_fit is not None or harm.coverage:
        raise UsageError(
            f"{harm.results} is a campaign at fault rates: a budget needs the outcome of single faults, "
            "from ftonnx inject --faults-per-run 1"
        )
    elif not fits_environment(found.faults, place):
        raise UsageError(
            f"{harm.results} has other flips than this environment's upsets make, which are {_upsets(place)}; "
            f"measure these: {_command(found, place) or _IN_PYTHON}"
        )
    else:
        _mispredictions(place, found, harm.inferences_per_hour, json)


def _single_faults(found: CampaignResult) -> bool:
    """Whether the campaign tells what one upset, which hits every bit alike, does."""
    if found.faults.fresh_per_batch:
        return False
    if not found.faults.is_an_upset:
        raise UsageError(
            "an upset hits every bit alike, one at a time: a campaign with --faults-per-run 1, --per-layer or "
            "--exhaustive, or at fault rates, was expected"
        )
    return True


def _upsets(place: Environment) -> str:
    shape = place.shape
    return "single flips" if shape.sizes.is_single else f"bursts of {shape.words}"


def _upper(found: CampaignResult, index: int) -> float:
    high = share_digits(found.rates[index][found.task.harm].high)  # as `ftonnx inject --json` prints it
    if high is None:
        raise UsageError("an upper limit needs two fault patterns or more, and all of an exhaustive campaign: use more")
    return high


def _fit(place: Environment, harm: _HarmOptions, measured: CampaignResult | None, *, json: bool) -> None:
    if measured is None:
        bits = harm.memory_bits or 0
        sdc = harm.sdc or 0.0
    elif not place.shape.sizes.is_single:
        raise UsageError(
            f"these injections are of single flips, and an upset of this environment is one of {_upsets(place)}: "
            "give P(silent data corruption | one upset) as --sdc with --memory-bits, or measure at its rate: "
            f"{_command(measured, place) or _IN_PYTHON}"
        )
    else:
        bits = measured.fault_space.bits
        sdc = _upper(measured, 0)
    coverage = harm.coverage
    budget_fit = harm.budget_fit
    found = failure_rate(place.device_fit(bits), sdc, coverage=coverage, budget_fit=budget_fit)
    together = None if place.interval is None else place.expected_flips(bits)
    note = None
    command = None
    if together is not None and together > ALONE:
        note = (
            f"{together:,.3g} flipped bits at a time are to be expected, and P(SDC | one upset) was measured with one: "
            "what several do together was not measured."
        )
        flips = shlex.join(flips_in(place, rounded_up(place.rate)).arguments())
        any_model = f"ftonnx inject MODEL --data SPEC {flips}"
        command = any_model if measured is None else _command(measured, place)
    warnings = [] if measured is None else list(measured.warnings)
    warn(warnings)
    if json:
        content = {"bits": bits, "sdc": sdc, "coverage": coverage} | asdict(found)
        print_json(content | {"flips_at_a_time": together, "note": note, "command": command, "warnings": warnings})
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
    if note is not None:
        _print_gap(note, command)


def _mispredictions(place: Environment, found: CampaignResult, per_hour: float | None, json: bool) -> None:
    if per_hour is None:
        raise UsageError("how often the model runs was expected: --inferences-per-hour F")
    gap = rate_gap(place.rate, [rate.rate for rate in found.rates])
    if gap is None:
        raise UsageError(_above(place, found))
    often = misprediction_rate(_upper(found, gap.index), per_hour)
    note = None if gap.note is None else gap.note + _sparse(place, found)
    command = None if note is None else _command(found, place)
    warn(found.warnings)
    if json:
        content: dict[str, Any] = {"rate": place.rate, "tested_rate": gap.tested, "factor": gap.factor}
        extra = {"measured": gap.measured, "note": note, "command": command, "warnings": list(found.warnings)}
        print_json(content | {"inferences_per_hour": per_hour} | asdict(often) | extra)
        return
    rows = table("quantity", "value")
    rows.add_row("bit-fault rate of the environment", f"{place.rate:.4g}")
    rows.add_row("tested rate" if gap.measured else "tested rate, the next one up", f"{gap.tested:g}")
    rows.add_row("P(SDC-1) per inference, upper limit", f"{often.probability:.4g}")
    rows.add_row("mean time between mispredictions", duration_text(often.hours_between))
    console().print(rows)
    if note is not None:
        _print_gap(note, command)


def _sparse(place: Environment, found: CampaignResult) -> str:
    """Say where a campaign at the environment's rate would mostly run without flips, if upsets are single flips."""
    flips = place.expected_flips(found.fault_space.bits)
    if flips > ALONE or not place.shape.sizes.is_single:
        return ""
    return f" There a run meets {flips:.2g} flips on average, so injections (--faults-per-run 1) tell more than runs."


def _above(place: Environment, found: CampaignResult) -> str:
    """Say why nothing can be said about a rate above the tested ones, and what would measure it."""
    highest = found.rates[-1].rate
    times = f", by a factor of {times_text(place.rate / highest)}" if highest else ""
    return (
        f"the environment's rate {place.rate:.4g} is above the highest tested one, {highest:g}{times}, and fewer flips "
        f"tell nothing about more; measure there: {_command(found, place) or _IN_PYTHON}"
    )


def _command(found: CampaignResult, place: Environment) -> str | None:
    """Return the command that measures in an environment what a campaign has measured elsewhere."""
    from ftonnx.report import repeat_command  # charts come with it, which only a gap pays for

    return repeat_command(found, faults=flips_in(place, rounded_up(place.rate)))


def _print_gap(note: str, command: str | None) -> None:
    out = console()
    out.print(f"\n{note}", soft_wrap=True)
    out.print(printable(f"To measure there (more patterns narrow the limit): {command or _IN_PYTHON}"), soft_wrap=True)
