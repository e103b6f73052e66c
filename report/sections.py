"""What stands on the page: sections with their texts, charts and tables."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from ftonnx.campaign import CampaignResult, compare
from ftonnx.campaign.results.comparison import PAIRINGS
from ftonnx.campaign.results.curve import summarize
from ftonnx.campaign.results.rate_result import figure_cells, figure_names
from ftonnx.campaign.store.header import PartInfo
from ftonnx.environment.radiation import PLACES, duration_text, time_to_reach
from ftonnx.errors import StoreError, UsageError
from ftonnx.report.activations import Activations
from ftonnx.report.cells import Named, each_figure, fraction_cells, fraction_titles, short_cell, slug
from ftonnx.report.charts import (
    accuracy_chart,
    activation_chart,
    clipped_chart,
    fault_space_chart,
    outcome_chart,
)
from ftonnx.report.command import repeat_command
from ftonnx.report.formats import number, percent, rate_text, shape_text
from ftonnx.report.label_maps import label_maps_section
from ftonnx.report.page import Figure, Section, Table
from ftonnx.report.tables import labelled, swept
from ftonnx.report.vulnerability_section import vulnerability_section
from ftonnx.report.words import verdict, warnings
from ftonnx.stats import Estimate
from ftonnx.stats.curves import CriticalRate, rate_at_loss
from ftonnx.stats.differences import Difference

__all__ = ["sections"]

_VERSIONS: Final = ("python", "onnx", "platform")


def sections(results: Sequence[CampaignResult], activations: Sequence[Activations]) -> tuple[Section, ...]:
    """Return the sections that have something to say, in reading order."""
    named = labelled(results)
    curves = swept(results)
    hit = [(name, result) for name, result in named if result.vulnerability]
    made = [Section("verdict", "Verdict", warnings=warnings(results), text=[verdict(results, warned=True)])]
    if curves:
        made.append(_accuracy(results, curves))
    if len(curves) > 1:
        made.append(_comparison(curves))
    made.append(_outcomes(named))
    maps = label_maps_section(named)
    if maps is not None:
        made.append(maps)
    if hit:
        made.append(vulnerability_section(hit))
    if activations:
        made.append(_activations(activations))
    if curves:
        made.append(_environment(curves))
    return (*made, _fault_space(named), _settings(named))


def _accuracy(results: Sequence[CampaignResult], named: Named) -> Section:
    task = named[0][1].task
    title = _capital(task.main.title)
    caption = (
        f"{title} against the bit-fault rate (logarithmic), one curve per model. Bands are the intervals, thin "
        "horizontal lines the fault-free accuracies."
    )
    if any(rate[task.headline].low is None for _, result in named for rate in result.rates):
        caption += " A curve without a band has too few fault patterns for intervals, or too few batches."
    figures = figure_names(rate for _, result in named for rate in result.rates)
    header = ["model", "rate", "units", "flips per run", *fraction_titles(task, task.golden), *figures]
    rows = []
    for name, result in named:
        for rate in result.rates:
            first = [name, rate_text(rate.rate), number(rate.units), number(rate.faults_mean)]
            rows.append([*first, *fraction_cells(rate, task.golden), *figure_cells(rate, figures)])
    return Section(
        "accuracy",
        "Accuracy",
        figures=[Figure("accuracy", accuracy_chart(results), caption)],
        tables=[Table("Accuracy per fault rate", header, rows), *_summaries(named)],
    )


def _capital(text: str) -> str:
    """Return a text that can begin a sentence.

    >>> _capital("top-1 accuracy")
    'Top-1 accuracy'
    """
    return f"{text[0].upper()}{text[1:]}"


def _summaries(named: Named) -> list[Table]:
    """Return what curves amount to, of those whose results folder can still be read."""
    found = []
    for name, result in named:
        with suppress(StoreError):
            found.append((name, summarize(result)))
    if not found:
        return []
    curves = [
        [name, *_with_limits(summary.auc, lambda area: f"{area:.3f}"), *_critical(summary.critical)]
        for name, summary in found
    ]
    rates = [
        [
            name,
            rate_text(rate.rate),
            *_with_limits(rate.log_odds, lambda odds: f"{odds:+.2f}"),
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


def _with_limits(estimate: Estimate | Difference | None, text: Callable[[float], str]) -> tuple[str, str]:
    if estimate is None:
        return "-", "-"
    if estimate.low is None or estimate.high is None:
        return text(estimate.mean), "none"
    return text(estimate.mean), f"{text(estimate.low)} to {text(estimate.high)}"


def _critical(critical: CriticalRate | None) -> tuple[str, str]:
    if critical is None:
        return "-", "-"
    return critical.at.words(rate_text), critical.interval(rate_text) or "none"


def _two_digits(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _outcomes(named: Named) -> Section:
    meanings = dict.fromkeys(result.task.meaning for _, result in named)
    figures = [
        Figure(name, outcome_chart(result), f"{label}: what becomes of the images at each fault rate.")
        for name, label, result in each_figure("outcomes", named)
    ]
    task = named[0][1].task
    header = ["model", "rate", *fraction_titles(task, task.outcomes)]
    rows = []
    for name, result in named:
        for rate in result.rates:
            rows.append([name, rate_text(rate.rate), *fraction_cells(rate, task.outcomes)])
    table = Table("Outcomes per fault rate", header, rows)
    return Section("outcomes", "Outcomes", text=list(meanings), figures=figures, tables=[table])


def _comparison(named: Named) -> Section:
    main = named[0][1].task.main
    cells = {}
    for name, result in named:
        for rate in result.rates:
            cells[name, rate.rate] = rate[result.task.headline]
    rows = [
        ["bits that can flip", *(number(result.fault_space.bits) for _, result in named)],
        ["fault-free", *(percent(result.clean) for _, result in named)],
        ["5 points lost at", *(_lost(result) for _, result in named)],
    ]
    for each in sorted({at for _, at in cells}):
        rows.append([rate_text(each), *(short_cell(cells.get((name, each))) for name, _ in named)])
    notes, differences = _differences(named)
    return Section(
        "comparison",
        "Comparison",
        text=["Equal rates mean equal flips per bit: a model with fewer bits meets fewer flips per run.", *notes],
        tables=[
            Table(f"{_capital(main.title)} of each model", ["rate", *(name for name, _ in named)], rows),
            *differences,
        ],
    )


def _differences(named: Named) -> tuple[list[str], list[Table]]:
    """Return the differences to the first model, and in words what they rest on or why there are none."""
    names = [name for name, _ in named]
    try:
        found = compare([result for _, result in named])
    except (UsageError, StoreError) as error:
        return [f"Differences are not shown: {error}."], []
    notes, rows = [], []
    for name, model in zip(names[1:], found.models, strict=True):
        notes.append(f"{name} against {names[0]}: {PAIRINGS[model.pairing]}{f' ({model.why})' if model.why else ''}.")
        each: list[tuple[str, Difference | Estimate, str]] = [
            (rate_text(rate.rate), rate.difference, rate.outcome) for rate in model.rates
        ]
        each += [("area under the curve", model.auc.difference, model.auc.outcome)] if model.auc else []
        rows += [[name, at, *_points(difference), outcome] for at, difference, outcome in each]
    notes.append("Verdicts at a rate are Holm-corrected for all rates and models; that on the area is not.")
    header = ["model", "rate", f"points more than {names[0]}", "interval", "verdict"]
    title = named[0][1].task.main.title
    return notes, [Table(f"Differences in {title}", header, rows)]


def _points(difference: Difference | Estimate) -> tuple[str, str]:
    """Return a difference and its interval in points of a percent."""
    return _with_limits(difference, lambda value: f"{100 * value:+.2f}")


def _lost(result: CampaignResult) -> str:
    """Return the rate at which accuracy is 5 points below the fault-free one, interpolated."""
    rates = [rate for rate in result.rates if rate.rate > 0]
    if not rates:
        return "-"
    heights = [rate[result.task.headline].mean for rate in rates]
    lost = rate_at_loss([rate.rate for rate in rates], heights, result.clean, 0.05)
    return lost.words(rate_text)


def _activations(measured: Sequence[Activations]) -> Section:
    figures, rows = [], []
    for index, found in enumerate(measured, 1):
        ending = f"-{index}-{slug(found.model)}" if len(measured) > 1 else ""
        caption = f"{found.model}: range (thin), quartiles (thick) and median (light mark) of every activation."
        figures.append(Figure(f"activations{ending}", activation_chart(found), caption))
        if any(row["above"] is not None for row in found.rows):
            caption = f"{found.model}: share of values that clipping removes, per activation."
            figures.append(Figure(f"clipped{ending}", clipped_chart(found), caption))
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


def _environment(named: Named) -> Section:
    text = (
        "How long a memory that is neither corrected nor reloaded takes to collect that many upsets. These are orders "
        "of magnitude: memories differ, and so do places. Where the time is long, the rate stands for a stress test, "
        "or for a memory with low voltage or wear. Only these rates were measured; nothing is said about those between "
        "them, below or above."
    )
    rates = sorted({rate.rate for _, result in named for rate in result.rates if rate.rate > 0})
    rows = [
        [rate_text(rate), *(duration_text(time_to_reach(rate, upsets)) for upsets in PLACES.values())] for rate in rates
    ]
    table = Table("Time until the rate is reached", ["rate", *PLACES], rows, left=4)
    return Section("environment", "How often this happens", text=[text], tables=[table])


def _fault_space(named: Named) -> Section:
    groups: dict[str, list[str]] = {}
    for name, result in named:
        groups.setdefault(repr(result.fault_space.tensors), []).append(name)
    first = {names[0]: ", ".join(names) for names in groups.values()}
    figures = [
        Figure(name, fault_space_chart(result), f"{first[label]}: where {number(result.fault_space.bits)} bits are.")
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
    text = ["Every bit of these stored tensors flips with the same probability; nothing else does.", *_covered(named)]
    tables = [Table("Fault space tensor by tensor", header, rows, left=6, folded=True), *_left_out(named)]
    return Section("fault-space", "Fault space by layer", text=text, figures=figures, tables=tables)


def _covered(named: Named) -> list[str]:
    """Say of each model how much of what it stores can flip."""
    found = []
    for name, result in named:
        coverage = result.fault_space.coverage
        found.append(f"{name}: {percent(coverage.share)} of {number(coverage.elements)} stored elements can flip.")
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


def _settings(named: Named) -> Section:
    facts = [_facts(result) for _, result in named]
    keys = dict.fromkeys(key for found in facts for key in found)
    rows = [[key, *(found.get(key, "-") for found in facts)] for key in keys]
    header = ["", *(name for name, _ in named)]
    commands = [command for _, result in named if (command := repeat_command(result))]
    text = ["With the same model, data, settings and versions a campaign gives the same counts, to the last image."]
    if commands:
        text.append("To repeat:")
    if len(commands) < len(named):
        text.append("Where model or data were handed over in Python, only that program repeats the campaign.")
    table = Table("Settings, hashes and versions", header, rows, left=len(header))
    return Section("settings", "How to repeat this", text=text, tables=[table, *_parts(named)], code=commands)


def _parts(named: Named) -> list[Table]:
    """Return which machines ran the parts of merged campaigns; no table where none was merged."""
    groups: dict[tuple[str, ...], list[PartInfo]] = {}
    for name, result in named:
        for part in result.header.parts:
            versions = ", ".join(f"{key} {part.machine.get(key, '-')}" for key in _VERSIONS)
            groups.setdefault((name, part.place, versions, part.strategy), []).append(part)
    rows = []
    for group, parts in groups.items():
        others = sum(part.other_batches > 0 for part in parts)
        rows.append([*group, number(len(parts)), number(sum(part.units for part in parts)), number(others)])
    if not rows:
        return []
    header = ["model", "machine", "versions", "strategy", "parts", "units", "other fault-free outputs"]
    return [Table("Merged parts", header, rows, left=4)]


def _facts(result: CampaignResult) -> dict[str, str]:
    """Return everything that identifies a campaign, as texts."""
    source = dict(result.data.source)
    source.pop("split", None)
    groups: dict[str, Mapping[str, Any]] = {
        "model": result.model.to_dict(),
        "data": result.data.summary(),
        "data source": source,
        "fault space": result.fault_space.summary(),
        "faults": result.faults.to_dict(),
        "task": result.task.to_dict(),
        "setting": result.shown_settings,
        "engine": result.engine.to_dict(),
        "version": result.versions,
        "machine": result.machine,
    }
    facts = {f"{group}: {key}": _text(value) for group, values in groups.items() for key, value in values.items()}
    return facts | {"results": str(result.results)}


def _text(value: Any) -> str:
    """Return a JSON value as people read it.

    >>> _text([1e-07, 0.5]), _text({"scale": 0.5}), _text(None), _text([])
    ('1e-07, 0.5', 'scale 0.5', '-', '-')
    """
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(inner)}" for key, inner in value.items()) or "-"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or "-"
    return "-" if value is None else str(value)
