"""Printing what was found at each rate, and over time."""

from ftonnx.campaign import CampaignResult
from ftonnx.campaign.results.rate_result import figure_cells, figure_names
from ftonnx.cli.output import console, number, percent, table
from ftonnx.stats import Estimate
from ftonnx.words import interval, time_text

__all__ = ["print_over_time", "print_rates"]


def print_rates(result: CampaignResult) -> None:
    """Print what was found at each rate, or of all injections."""
    injected = result.injections is not None
    main, *others = result.task.shown
    labels = [result.task.fractions[name].label for name in others]
    figures = figure_names(result.rates)
    first = ["injections" if injected else "rate"]
    if result.over_time is not None:
        first.insert(0, "time")
    main_label = result.task.fractions[main].label
    rows = table(*first, "faults (mean)", main_label, "95 % interval", *labels, *figures, left=0)
    for rate in result.rates:
        level = [number(rate.units) if injected else f"{rate.rate:g}"]
        if rate.hours is not None:
            level.insert(0, time_text(rate.hours))
        rows.add_row(
            *level,
            number(rate.faults_mean),
            percent(rate[main].mean),
            _interval(rate[main], result.interval_needs),
            *(percent(rate[name].mean) for name in others),
            *figure_cells(rate, figures),
        )
    console().print(rows)


def print_over_time(result: CampaignResult) -> None:
    """Print what histories lose from one time to the next, and their mean."""
    found = result.over_time
    if found is None:
        return
    out = console()
    label = result.task.main.label
    run = {rate.hours: rate.units for rate in result.rates}
    for step in found.steps:
        change = step.difference
        limits = result.interval_needs
        if change.low is not None and change.high is not None:
            limits = f"{100 * change.low:+.2f} to {100 * change.high:+.2f}"
        times = f"{time_text(step.start)} to {time_text(step.end)}"
        some = step.histories < max(run[step.start], run[step.end])
        by = f"by the {step.histories:,} histories that were run at both" if some else "by the same histories"
        out.print(f"{label} from {times}: {100 * change.mean:+.2f} points ({limits}), {by}")
    mean = f"{percent(found.mean.mean)} ({_interval(found.mean, result.interval_needs)})"
    out.print(f"mean {label} from loading to {time_text(found.hours)}: {mean}, linear between the times")


def _interval(estimate: Estimate, needs: str) -> str:
    if estimate.low is None or estimate.high is None:
        return needs
    return interval(estimate.low, estimate.high)
