"""What stands on the page: sections with their texts, charts and tables."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

import polars as pl

from ftonnx.campaign import CampaignResult, Estimate, compare
from ftonnx.campaign.compared import PAIRINGS
from ftonnx.campaign.comparison import Difference
from ftonnx.campaign.curves import CriticalRate, rate_at_loss
from ftonnx.campaign.environment import PLACES, duration_text, time_to_reach
from ftonnx.campaign.summary import summarize
from ftonnx.campaign.tables import is_by_argmax
from ftonnx.errors import StoreError, UsageError
from ftonnx.report.activations import Activations
from ftonnx.report.charts import (
    accuracy_chart,
    activation_chart,
    clipped_chart,
    fault_space_chart,
    outcome_chart,
    vulnerability_chart,
)
from ftonnx.report.command import repeat_command
from ftonnx.report.formats import interval, number, percent, rate_text, shape_text
from ftonnx.report.page import Figure, Section, Table
from ftonnx.report.tables import labels, swept, vulnerability_table
from ftonnx.report.words import verdict, warnings

__all__ = ["sections"]

_Named = Sequence[tuple[str, CampaignResult]]


def sections(results: Sequence[CampaignResult], activations: Sequence[Activations]) -> tuple[Section, ...]:
    """Return the sections that have something to say, in reading order."""
    named = list(zip(labels(results), results, strict=True))
    curves = swept(results)
    hit = [(name, result) for name, result in named if result.vulnerability]
    made = [Section("verdict", "Verdict", warnings=warnings(results), text=[verdict(results, warned=True)])]
    if curves:
        made.append(_accuracy(results, curves))
    if len(curves) > 1:
        made.append(_comparison(curves))
    made.append(_outcomes(named))
    if hit:
        made.append(_vulnerability(hit))
    if activations:
        made.append(_activations(activations))
    if curves:
        made.append(_environment(curves))
    return (*made, _fault_space(named), _settings(named))


def _accuracy(results: Sequence[CampaignResult], named: _Named) -> Section:
    caption = (
        "Top-1 accuracy against the bit-fault rate (logarithmic), one curve per model. Bands are the intervals, thin "
        "horizontal lines the fault-free accuracies."
    )
    if any(rate.top1.low is None for _, result in named for rate in result.rates):
        caption += " A curve without a band has too few fault patterns for intervals, or too few batches."
    header = ["model", "rate", "units", "flips per run", "top-1", "interval", "top-5", "interval"]
    rows = [
        [name, rate_text(rate.rate), number(rate.units), number(rate.faults_mean)]
        + [text for estimate in (rate.top1, rate.top5) for text in _estimate(estimate)]
        for name, result in named
        for rate in result.rates
    ]
    return Section(
        "accuracy",
        "Accuracy",
        figures=[Figure("accuracy", accuracy_chart(results), caption)],
        tables=[Table("Accuracy per fault rate", header, rows), *_summaries(named)],
    )


def _summaries(named: _Named) -> list[Table]:
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


def _with_limits(estimate: Estimate | None, text: Callable[[float], str]) -> tuple[str, str]:
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


def _outcomes(named: _Named) -> Section:
    text = (
        "Masked: the output is bit-identical to the fault-free one. Tolerable: it differs, the class does not. "
        "SDC (silent data corruption, SDC-1): another class, and nothing shows it. SDC-5: a class that is not among "
        "the fault-free run's first five. SDC-10 % and SDC-20 %: the confidence in the class is off by more than that. "
        "DUE (detected, uncorrectable error): NaN or Inf in the output, counted as wrong."
    )
    if any(is_by_argmax(result.settings) for _, result in named):
        text += (
            " Of campaigns with --nan argmax, an output with NaN has the class that argmax finds, so it is masked, "
            "tolerable or SDC, and is counted as DUE once more in the table."
        )
    figures = [
        Figure(name, outcome_chart(result), f"{label}: what becomes of the images at each fault rate.")
        for name, label, result in _each("outcomes", named)
    ]
    columns = {
        "masked": "masked", "SDC-1": "sdc1", "SDC-5": "sdc5", "SDC-10 %": "sdc10", "SDC-20 %": "sdc20", "DUE": "due",
    }  # fmt: skip
    header = ["model", "rate", *(title for name in columns for title in (name, "interval"))]
    rows = [
        [name, rate_text(rate.rate), *(text for key in columns.values() for text in _estimate(getattr(rate, key)))]
        for name, result in named
        for rate in result.rates
    ]
    return Section(
        "outcomes", "Outcomes", text=[text], figures=figures, tables=[Table("Outcomes per fault rate", header, rows)]
    )


def _comparison(named: _Named) -> Section:
    rates = sorted({rate.rate for _, result in named for rate in result.rates})
    cells = {(name, rate.rate): rate.top1 for name, result in named for rate in result.rates}
    rows = [
        ["bits that can flip", *(number(result.fault_space["bits"]) for _, result in named)],
        ["fault-free", *(percent(result.golden["top1"]) for _, result in named)],
        ["5 points lost at", *(_lost(result) for _, result in named)],
        *([rate_text(rate), *(_short(cells.get((name, rate))) for name, _ in named)] for rate in rates),
    ]
    notes, differences = _differences(named)
    return Section(
        "comparison",
        "Comparison",
        text=["Equal rates mean equal flips per bit: a model with fewer bits meets fewer flips per run.", *notes],
        tables=[Table("Top-1 accuracy of each model", ["rate", *(name for name, _ in named)], rows), *differences],
    )


def _differences(named: _Named) -> tuple[list[str], list[Table]]:
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
    return notes, [Table("Differences in top-1 accuracy", header, rows)]


def _points(difference: Difference | Estimate) -> tuple[str, str]:
    """Return a difference and its interval in points of a percent."""
    if difference.low is None or difference.high is None:
        return f"{100 * difference.mean:+.2f}", "none"
    return f"{100 * difference.mean:+.2f}", f"{100 * difference.low:+.2f} to {100 * difference.high:+.2f}"


def _lost(result: CampaignResult) -> str:
    """Return the rate at which accuracy is 5 points below the fault-free one, interpolated."""
    rates = [rate for rate in result.rates if rate.rate > 0]
    if not rates:
        return "-"
    accuracies = [rate.top1.mean for rate in rates]
    return rate_at_loss([rate.rate for rate in rates], accuracies, result.golden["top1"], 0.05).words(rate_text)


def _vulnerability(named: _Named) -> Section:
    figures = [
        Figure(
            name,
            vulnerability_chart(result),
            f"{label}: share of images that get another class when this bit of an element of this tensor flips. "
            f"Empty cells were not tried. Colours are estimates; {result.ranking('cell').words('cell')}.",
        )
        for name, label, result in _each("vulnerability", named)
    ]
    tables = [_layers(named)] if any(result.layers for _, result in named) else []
    tables += [_shares(named, "tensor"), _shares(named, "bit")]
    text = [
        f"{label}: {result.ranking('bit').words('bit')}; {result.ranking('tensor').words('tensor')}."
        for label, result in named
    ]
    note = "Intervals are over injections, which are what is random. Which is the worst is corrected for their number."
    return Section(
        "vulnerability", "Vulnerability per layer and bit", text=[*text, note], figures=figures, tables=tables
    )


def _shares(named: _Named, by: Literal["bit", "tensor"]) -> Table:
    """Return what single faults did per bit or tensor, summed over the other."""
    counts = ("injections", "images", "masked", "critical", "sdc5", "due")
    rows = []
    for label, result in named:
        shares = {group.name: group.share for group in result.ranking(by).groups}
        sums = vulnerability_table([result]).group_by(by, maintain_order=True).agg(pl.col(counts).sum())
        for row in (sums.sort("bit") if by == "bit" else sums).iter_rows(named=True):
            name = str(row[by])
            rows.append([label, name, *(number(row[count]) for count in counts), *_estimate(shares[name])])
    header = ["model", by, *counts, "critical share", "interval"]
    return Table(f"Vulnerability per {by}", header, rows, left=2, folded=True)


def _layers(named: _Named) -> Table:
    rows = [
        [name, layer.tensor, percent(layer.weight), number(layer.injections)]
        + [text for estimate in (layer.sdc1, layer.top1, layer.due) for text in _estimate(estimate)]
        for name, result in named
        for layer in result.layers
    ]
    header = [
        "model",
        "tensor",
        "share of bits",
        "injections",
        *(x for n in ("SDC-1", "top-1", "DUE") for x in (n, "interval")),
    ]
    return Table("One random bit of each tensor", header, rows, left=2)


def _activations(measured: Sequence[Activations]) -> Section:
    figures, rows = [], []
    for index, found in enumerate(measured, 1):
        ending = f"-{index}-{_slug(found.model)}" if len(measured) > 1 else ""
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


def _environment(named: _Named) -> Section:
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


def _fault_space(named: _Named) -> Section:
    groups: dict[str, list[str]] = {}
    for name, result in named:
        groups.setdefault(repr(result.targets), []).append(name)
    first = {names[0]: ", ".join(names) for names in groups.values()}
    figures = [
        Figure(name, fault_space_chart(result), f"{first[label]}: where {number(result.fault_space['bits'])} bits are.")
        for name, label, result in _each("fault-space", named)
        if label in first
    ]
    rows = [
        [
            name,
            target["tensor"],
            target["role"],
            target["op_type"],
            shape_text(target["shape"]),
            target["format"],
            number(target["bits"]),
            percent(target["bits"] / result.fault_space["bits"]),
        ]
        for name, result in named
        for target in result.targets
    ]
    header = ["model", "tensor", "role", "operator", "shape", "format", "bits", "share"]
    text = "Every bit of these stored tensors flips with the same probability; nothing else does."
    table = Table("Fault space tensor by tensor", header, rows, left=6, folded=True)
    return Section("fault-space", "Fault space by layer", text=[text], figures=figures, tables=[table])


def _settings(named: _Named) -> Section:
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
    return Section("settings", "How to repeat this", text=text, tables=[table], code=commands)


def _facts(result: CampaignResult) -> dict[str, str]:
    """Return everything that identifies a campaign, as texts."""
    groups: dict[str, Mapping[str, Any]] = {
        "model": result.model,
        "data": result.data,
        "data source": {key: value for key, value in result.source.items() if key != "split"},
        "fault space": result.fault_space,
        "setting": result.settings,
        "engine": result.engine,
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


def _each(kind: str, named: _Named) -> Iterator[tuple[str, str, CampaignResult]]:
    """Yield a figure's name, the model's label, and the result, for every model."""
    for index, (label, result) in enumerate(named, 1):
        yield f"{kind}-{index}-{_slug(label)}" if len(named) > 1 else kind, label, result


def _slug(name: str) -> str:
    """Return a name that is safe in files and links everywhere.

    >>> _slug("ResNet-18 (int8)/<b>"), _slug("моя сеть")
    ('resnet-18-int8-b', 'model')
    """
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "model"


def _estimate(estimate: Estimate) -> tuple[str, str]:
    return percent(estimate.mean), interval(estimate.low, estimate.high)


def _short(estimate: Estimate | None) -> str:
    """Return mean and limits in one cell.

    >>> _short(Estimate(0.981, 0.9706, 0.9914)), _short(Estimate(0.981, None, None)), _short(None)
    ('98.1 % (97.1 to 99.1 %)', '98.1 %', '-')
    """
    if estimate is None or estimate.low is None:
        return percent(None if estimate is None else estimate.mean, 1)
    return f"{percent(estimate.mean, 1)} ({interval(estimate.low, estimate.high, 1)})"
