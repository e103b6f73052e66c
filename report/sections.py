"""What stands on the page: sections with their texts, charts and tables."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from ftonnx.campaign import CampaignResult
from ftonnx.campaign.results.curve import summarize
from ftonnx.campaign.results.rate_result import figure_cells, figure_names
from ftonnx.errors import StoreError
from ftonnx.report.activation_charts import activation_chart, clipped_chart
from ftonnx.report.activations import Activations
from ftonnx.report.cells import Named, capital, each_figure, fraction_cells, fraction_titles, slug, with_limits
from ftonnx.report.charts import accuracy_chart, injections_chart, outcome_chart
from ftonnx.report.comparison_section import comparison_section, injections_comparison_section
from ftonnx.report.decision import Demand
from ftonnx.report.decision_section import decision_section
from ftonnx.report.environment_section import environment_section
from ftonnx.report.formats import number, percent, rate_text, rate_words, shape_text
from ftonnx.report.guards_section import guards_section
from ftonnx.report.label_maps import label_maps_section
from ftonnx.report.layer_charts import fault_space_chart
from ftonnx.report.page import MOST_ROWS, Figure, Marked, Section, Table
from ftonnx.report.settings_section import settings_section
from ftonnx.report.tables import labelled, swept
from ftonnx.report.vulnerability_section import vulnerability_section
from ftonnx.report.words import can_stop, level_words
from ftonnx.stats.curves import CriticalRate
from ftonnx.words import time_text

__all__ = ["sections"]

_STOPS: Final = "Where a guard that stops has detected an error, the run gives no output."


def sections(
    results: Sequence[CampaignResult], activations: Sequence[Activations], demand: Demand
) -> tuple[Section, ...]:
    """Return the sections that have something to say, in reading order.

    Args:
        results: the campaigns.
        activations: distributions to show.
        demand: what is asked of every model.

    Raises:
        UsageError: the environment has no rate, as its interval is missing.
    """
    named = labelled(results)
    curves = swept(results)
    hit = [(name, result) for name, result in named if result.vulnerability]
    made = [decision_section(named, demand)]
    if curves:
        made.append(_accuracy(results, curves))
    if len(curves) > 1:
        made.append(comparison_section(curves, demand))
    struck = [(name, result) for name, result in named if result.injections is not None]
    if len(struck) > 1:
        made.append(injections_comparison_section(struck))
    made.append(_outcomes(named))
    for found in (guards_section(named), label_maps_section(named)):
        if found is not None:
            made.append(found)
    if hit:
        made.append(vulnerability_section(hit))
    if activations:
        made.append(_activations(activations))
    often = environment_section(curves)
    if often is not None:
        made.append(often)
    return (*made, _fault_space(named), settings_section(named))


def _accuracy(results: Sequence[CampaignResult], named: Named) -> Section:
    task = named[0][1].task
    title = capital(task.main.title)
    over = "the bit-fault rate" if any(rate.hours is None for _, result in named for rate in result.rates) else "time"
    caption = (
        f"{title} against {over} (logarithmic), one curve per model. Bands are the intervals, thin horizontal lines "
        "the fault-free accuracies."
    )
    if any(rate[task.headline].low is None for _, result in named for rate in result.rates):
        caption += " A curve without a band has too few fault patterns for intervals, or too few batches."
    figures = figure_names(rate for _, result in named for rate in result.rates)
    header = ["model", "rate", "units", "flips per run", *fraction_titles(task, task.golden), *figures]
    rows: list[list[str | Marked]] = []
    for name, result in named:
        for rate in result.rates:
            first = [name, rate_words(rate), number(rate.units), number(rate.faults_mean)]
            rows.append([*first, *fraction_cells(rate, task.golden), *figure_cells(rate, figures)])
    return Section(
        "accuracy",
        "Accuracy",
        figures=[Figure("accuracy", accuracy_chart(results), caption, f"{title} against {over}")],
        tables=[
            Table("Accuracy per fault rate", header, rows, folded=len(rows) > MOST_ROWS),
            *_over_time(named),
            *_summaries(named),
        ],
    )


def _over_time(named: Named) -> list[Table]:
    """Return what histories lose from one time to the next, and their means, of those campaigns that have some."""
    rows: list[list[str | Marked]] = []
    for name, result in named:
        found = result.over_time
        if found is None:
            continue
        for step in found.steps:
            points = with_limits(step.difference, lambda value: f"{100 * value:+.2f} points")
            rows.append([name, f"{time_text(step.start)} to {time_text(step.end)}", "change", *points])
        rows.append([name, f"loading to {time_text(found.hours)}", "mean", *with_limits(found.mean, percent)])
    if not rows:
        return []
    return [Table("Over time, by the same histories", ["model", "time", "figure", "found", "interval"], rows, left=3)]


def _summaries(named: Named) -> list[Table]:
    """Return what curves amount to, of those whose results folder can still be read."""
    found = []
    for name, result in named:
        with suppress(StoreError):
            found.append((name, summarize(result)))
    if not found:
        return []
    curves = [
        [name, *with_limits(summary.auc, lambda area: f"{area:.3f}"), *_critical(summary.critical)]
        for name, summary in found
    ]
    rates = [
        [
            name,
            rate_text(rate.rate),
            *with_limits(rate.log_odds, lambda odds: f"{odds:+.2f}"),
            _two_digits(rate.correlation.icc),
            _two_digits(rate.correlation.design_effect),
            rate.warning or "",
        ]
        for name, summary in found
        for rate in summary.rates
    ]
    return [
        Table("Curves", ["model", "area (log axis)", "interval", "5 points lost at", "interval"], curves),
        Table(
            "Log-odds, and correlation of the images that met one fault pattern",
            ["model", "rate", "log-odds", "interval", "correlation", "design effect", "note"],
            rows=rates,
            folded=True,
        ),
    ]


def _critical(critical: CriticalRate | None) -> tuple[str, str]:
    if critical is None:
        return "-", "-"
    return critical.at.words(rate_text), critical.interval(rate_text) or "none"


def _two_digits(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _outcomes(named: Named) -> Section:
    meanings = dict.fromkeys(result.task.meaning for _, result in named)
    stops = [_STOPS] if any(can_stop(result) for _, result in named) else []
    curves = [(name, result) for name, result in named if result.injections is None]
    struck = [(name, result) for name, result in named if result.injections is not None]
    figures = [
        Figure(
            name,
            outcome_chart(result),
            f"{label}: what becomes of the images at each fault rate.",
            f"{label}: outcomes per bit-fault rate",
        )
        for name, label, result in each_figure("outcomes", curves)
    ]
    tables = [_outcomes_of_rates(curves)] if curves else []
    if struck:
        caption = "What becomes of the images under injections, each of which all images meet."
        chart = injections_chart(struck)
        figures.append(Figure("injections", chart, caption, "Outcomes of injections"))
        tables.append(_outcomes_of_injections(struck))
    return Section("outcomes", "Outcomes", text=[*meanings, *stops], figures=figures, tables=tables)


def _outcomes_of_rates(named: Named) -> Table:
    task = named[0][1].task
    header = ["model", "rate", *fraction_titles(task, task.outcomes)]
    rows: list[list[str | Marked]] = []
    for name, result in named:
        for rate in result.rates:
            rows.append([name, rate_words(rate), *fraction_cells(rate, task.outcomes)])
    return Table("Outcomes per fault rate", header, rows, folded=len(rows) > MOST_ROWS)


def _outcomes_of_injections(named: Named) -> Table:
    task = named[0][1].task
    shown = [*task.golden[:1], *task.outcomes]
    header = ["model", "faults", "injections", *fraction_titles(task, shown)]
    rows: list[list[str | Marked]] = []
    for name, result in named:
        level = result.rates[0]
        rows.append([name, level_words(result, level), number(level.units), *fraction_cells(level, shown)])
    return Table("Outcomes of injections", header, rows, left=2)


def _activations(measured: Sequence[Activations]) -> Section:
    figures, rows = [], []
    for index, found in enumerate(measured, 1):
        ending = f"-{index}-{slug(found.model)}" if len(measured) > 1 else ""
        caption = f"{found.model}: range (thin), quartiles (thick) and median (line across) of every activation."
        title = f"{found.model}: values of every activation"
        figures.append(Figure(f"activations{ending}", activation_chart(found), caption, title))
        if any(row["above"] is not None for row in found.rows):
            caption = f"{found.model}: share of values that clipping removes, per activation."
            title = f"{found.model}: values above the clipping thresholds"
            figures.append(Figure(f"clipped{ending}", clipped_chart(found), caption, title))
        rows += [_activation(found.model, row) for row in found.rows]
    header = [
        "model", "activation", "rate", "values", "min", "quartile 1", "median", "quartile 3", "max", "mean",
        "not finite", "zeros", "above threshold",
    ]  # fmt: skip
    table = Table("Distribution of every activation", header, rows, left=2, folded=True)
    return Section("activations", "Activations", figures=figures, tables=[table])


def _activation(model: str, row: Mapping[str, Any]) -> list[str]:
    numbers = ("count", "minimum", "quartile1", "median", "quartile3", "maximum", "mean")
    shares = [percent(row[name], 4) for name in ("not_finite", "sparsity", "above")]
    return [model, row["activation"], rate_text(row["rate"]), *(number(row[name]) for name in numbers), *shares]


def _fault_space(named: Named) -> Section:
    groups: dict[str, list[str]] = {}
    for name, result in named:
        groups.setdefault(repr(result.fault_space.tensors), []).append(name)
    first = {names[0]: ", ".join(names) for names in groups.values()}
    figures = [
        Figure(
            name,
            fault_space_chart(result),
            f"{first[label]}: where {number(result.fault_space.bits)} bits are.",
            f"{first[label]}: bits that can flip, by layer",
        )
        for name, label, result in each_figure("fault-space", named)
        if label in first
    ]
    rows = [
        [
            name,
            tensor.tensor,
            tensor.role,
            tensor.op_type,
            shape_text(tensor.shape),
            tensor.format,
            number(tensor.bits),
            percent(tensor.bits / result.fault_space.bits),
        ]
        for name, result in named
        for tensor in result.fault_space.tensors
    ]
    header = ["model", "tensor", "role", "operator", "shape", "format", "bits", "share"]
    text = [*_chances(named), *_covered(named)]
    tables = [Table("Fault space tensor by tensor", header, rows, left=6, folded=True), *_left_out(named)]
    return Section("fault-space", "Fault space by layer", text=text, figures=figures, tables=tables)


def _chances(named: Named) -> list[str]:
    """Say what flips how probably, of each model where that differs."""
    groups: dict[str, list[str]] = {}
    for name, result in named:
        groups.setdefault(result.faults.chances, []).append(name)
    if len(groups) == 1:
        return [*groups]
    return [f"{', '.join(names)}: {chances}" for chances, names in groups.items()]


def _covered(named: Named) -> list[str]:
    """Say of each model how much of what it stores can flip."""
    found = []
    for name, result in named:
        space = result.fault_space
        found.append(f"{name}: {space.coverage.words(tensor.role for tensor in space.tensors)} can flip.")
    return found


def _left_out(named: Named) -> list[Table]:
    """Return what models store besides, by reason; no table where that is nothing."""
    rows = []
    for name, result in named:
        coverage = result.fault_space.coverage
        for group in coverage.groups:
            largest = ", ".join(group.largest)
            rows.append(
                [name, group.reason, largest, number(group.tensors), number(group.elements), coverage.part(group)]
            )
    if not rows:
        return []
    header = ["model", "reason", "such as", "tensors", "elements", "share"]
    return [Table("Stored but left out", header, rows, left=3, folded=True)]
