"""The section on several models: what tells them apart."""

from ftonnx.campaign import CampaignResult, Comparison, compare
from ftonnx.campaign.results.comparison import PAIRINGS, RateComparison
from ftonnx.campaign.results.rate_gap import written_rate
from ftonnx.errors import StoreError, UsageError
from ftonnx.report.cells import Named, capital, short_cell, with_limits
from ftonnx.report.decision import Demand
from ftonnx.report.formats import number, percent, rate_text, rate_words
from ftonnx.report.loss_panels import loss_panels
from ftonnx.report.page import MOST_ROWS, Figure, Section, Table
from ftonnx.stats import Estimate
from ftonnx.stats.curves import rate_at_loss
from ftonnx.stats.differences import Difference

__all__ = ["comparison_section", "injections_comparison_section"]


def comparison_section(named: Named, demand: Demand) -> Section:
    """Return what tells the models apart: what they lose near the fault-free line, and the differences to the first.

    Args:
        named: two or more campaigns at fault rates.
        demand: what is asked of them.
    """
    main = named[0][1].task.main
    cells = {}
    words: dict[float, set[str]] = {}
    for name, result in named:
        for rate in result.rates:
            written = written_rate(rate.rate)
            cells[name, written] = rate[result.task.headline]
            words.setdefault(written, set()).add(rate_words(rate))
    rows = [
        ["bits that can flip", *(number(result.fault_space.bits) for _, result in named)],
        ["fault-free", *(percent(result.clean) for _, result in named)],
        ["5 points lost at", *(_lost(result) for _, result in named)],
    ]
    for each, said in sorted(words.items()):
        # upsets that come more often have come to a rate at another time
        at = said.pop() if len(said) == 1 else rate_text(each)
        rows.append([at, *(short_cell(cells.get((name, each))) for name, _ in named)])
    notes, differences = _differences(named)
    return Section(
        "comparison",
        "Comparison",
        figures=_losses(named, demand),
        text=["Equal rates mean equal flips per bit: a model with fewer bits meets fewer flips per run.", *notes],
        tables=[
            Table(f"{capital(main.title)} of each model", ["rate", *(name for name, _ in named)], rows),
            *differences,
        ],
    )


def injections_comparison_section(named: Named) -> Section:
    """Return the differences of injections to the first model's.

    Args:
        named: two or more campaigns of injections.
    """
    notes, differences = _differences(named)
    return Section("comparison-injections", "Comparison of injections", text=notes, tables=differences)


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
            (_level(found, rate), rate.difference, rate.outcome) for rate in model.rates
        ]
        each += [("area under the curve", model.auc.difference, model.auc.outcome)] if model.auc else []
        rows += [[name, at, *_points(difference), outcome] for at, difference, outcome in each]
    corrected = "Verdicts at a rate are Holm-corrected for all rates and models; that on the area is not."
    notes.append("Verdicts are Holm-corrected for all models." if found.faults else corrected)
    header = ["model", "faults" if found.faults else "rate", f"points more than {names[0]}", "interval", "verdict"]
    title = named[0][1].task.main.title
    return notes, [Table(f"Differences in {title}", header, rows, folded=len(rows) > MOST_ROWS)]


def _level(found: Comparison, rate: RateComparison) -> str:
    """Return what a level is called, with a rate as the page writes it."""
    return found.level(rate) if found.faults or found.has_other_rates else rate_words(rate)


def _points(difference: Difference | Estimate) -> tuple[str, str]:
    """Return a difference and its interval in points of a percent."""
    return with_limits(difference, lambda value: f"{100 * value:+.2f}")


def _lost(result: CampaignResult) -> str:
    """Return the rate at which accuracy is 5 points below the fault-free one, interpolated."""
    rates = [rate for rate in result.rates if rate.rate > 0]
    if not rates:
        return "-"
    heights = [rate[result.task.headline].mean for rate in rates]
    lost = rate_at_loss([rate.rate for rate in rates], heights, result.clean, 0.05)
    return lost.words(rate_text)


def _losses(named: Named, demand: Demand) -> list[Figure]:
    """Return the panels near the fault-free line; none where no loss lies near it."""
    panels = loss_panels(named, demand)
    if panels is None:
        return []
    title = named[0][1].task.main.title
    caption = (
        f"What every model loses of its own {title}, in points, with the number at every rate; bands are the "
        f"intervals. The dashed line is a loss of {demand.loss_words}. Hollow triangles lie below what is shown."
    )
    return [Figure("losses", panels, caption, f"Loss of {title} near the fault-free line")]
