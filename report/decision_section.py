"""The first screen of a page: what was tested, a table that decides, a paragraph for every model."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from ftonnx.campaign import CampaignResult
from ftonnx.campaign.store.database import UNITS
from ftonnx.inject.guards import CHECK
from ftonnx.inject.roles import ACTIVATION
from ftonnx.report.cells import Named
from ftonnx.report.decision import Decision, Demand, Verdict, decide
from ftonnx.report.formats import format_words, number, percent, rate_words
from ftonnx.report.page import Fact, Marked, Said, Section, Table, Tone
from ftonnx.report.words import best_and_worst, level_words, paragraph, unfinished_words, warnings

__all__ = ["decision_section"]

_TONES: Final[Mapping[Verdict, Tone]] = {
    "holds": "good",
    "holds in part": "fair",
    "fails": "bad",
    "undecided": "open",
    "doubtful": "bad",
}
_MEANINGS: Final[Mapping[Verdict, str]] = {
    "holds": "no more than {loss} is lost in all that was tested",
    "holds in part": "no more than {loss} is lost up to the rate in the table",
    "fails": "more than {loss} is lost",
    "doubtful": "hardly better than chance without faults",
}
_REASONS: Final[Mapping[bool, str]] = {
    True: "the intervals show neither",
    False: "what was tested does not say it, for the reason below",
}
"""Why a verdict is undecided, by whether what was tested applies to what is asked."""
_FIT: Final = "FIT are silent corruptions per 1e9 hours; only single-fault campaigns tell them."
_AT_A_RATE: Final = "no more than {loss} is lost at the environment's rate"


def decision_section(named: Named, demand: Demand) -> Section:
    """Return the first section.

    Args:
        named: the campaigns with their labels.
        demand: what is asked of every model.

    Raises:
        UsageError: the environment has no rate, as its interval is missing.
    """
    decisions = [decide(result, demand) for _, result in named]
    said = [
        Said(name, paragraph(result, decision, demand))
        for (name, result), decision in zip(named, decisions, strict=True)
    ]
    unfinished = unfinished_words(named)
    results = [result for _, result in named]
    return Section(
        "verdict",
        "Verdict",
        warnings=[*warnings(results), *([unfinished.rstrip(".")] if unfinished else [])],
        facts=_facts(named, demand),
        tables=[_table(named, decisions, demand)],
        said=[*said, *(Said("Compared", text) for text in best_and_worst(named))],
    )


def _table(named: Named, decisions: list[Decision], demand: Demand) -> Table:
    task = named[0][1].task
    harm = task.fractions[task.harm].label
    header = ["model", "verdict", "holds up to", "fails from", f"{task.main.label} without faults", f"{harm} at most"]
    header += ["FIT at most"] if demand.environment else []
    rows: list[list[str | Marked]] = []
    notes = [f"{name}: {each.note}." for (name, _), each in zip(named, decisions, strict=True) if each.note]
    for (name, result), decision in zip(named, decisions, strict=True):
        row: list[str | Marked] = [
            name,
            Marked(decision.verdict, tone=_TONES[decision.verdict], below="" if result.complete else "so far"),
            level_words(result, decision.held[-1]) if decision.held else "-",
            level_words(result, decision.lost) if decision.lost else "-",
            percent(result.clean),
            _harm(result, decision),
        ]
        if demand.environment:
            row.append("-" if decision.fit is None else f"{decision.fit:,.4g}")
        rows.append(row)
    return Table(
        f"What is shown, where a loss of up to {demand.loss_words} is allowed",
        header,
        rows,
        left=2,
        notes=[_legend(decisions, demand), *([_FIT] if demand.environment else []), *notes],
    )


def _harm(result: CampaignResult, decision: Decision) -> Marked:
    """Return the upper limit of silent corruption, and where it is told."""
    high = decision.at[result.task.harm].high
    level = level_words(result, decision.at)
    where = f"at {level}" if result.injections is None else f"with {level}"
    return Marked("no interval" if high is None else percent(high), below=where)


def _legend(decisions: list[Decision], demand: Demand) -> str:
    """Say what the verdicts of the table mean."""
    used = dict.fromkeys(decision.verdict for decision in decisions)
    meanings = dict(_MEANINGS)
    if demand.environment is not None:
        meanings["holds"] = _AT_A_RATE
    reasons = {decision.applies for decision in decisions if decision.verdict == "undecided"}
    if reasons:
        meanings["undecided"] = ", or ".join(_REASONS[applies] for applies in sorted(reasons, reverse=True))
    told = [f"{verdict}: {meanings[verdict].format(loss=demand.loss_words)}" for verdict in used]
    return f"What the intervals show. {'; '.join(told)}."


def _facts(named: Named, demand: Demand) -> list[Fact]:
    """Return what was tested, said once where it is the same for all models."""
    told: Mapping[str, Callable[[CampaignResult], str]] = {
        "Data": _data,
        "Faults": _faults,
        "Numbers": _numbers,
        "Confidence": _confidence,
        "Measured": _date,
    }
    if any(result.settings.protection is not None for _, result in named):
        told = {**told, "Protection": _protection}
    facts = []
    for title, tell in told.items():
        groups: dict[str, list[str]] = {}
        for name, result in named:
            groups.setdefault(tell(result), []).append(name)
        texts = [text if len(groups) == 1 else f"{', '.join(names)}: {text}" for text, names in groups.items()]
        facts.append(Fact(title, "; ".join(texts)))
    if demand.environment is not None:
        facts.append(Fact("Environment", _environment(demand)))
    return facts


def _data(result: CampaignResult) -> str:
    data = result.data
    split = "" if data.split is None else f", {data.split}"
    classes = "" if data.classes is None else f", {number(data.classes)} classes"
    return f"{data.name}{split}, {number(data.samples)} images{classes}"


def _faults(result: CampaignResult) -> str:
    """Say what was done, and where it was not to the memory alone."""
    roles = {tensor.role for tensor in result.fault_space.tensors}
    place = ""
    if ACTIVATION in roles:
        place = "in activations, " if roles == {ACTIVATION} else "in stored values and activations, "
    if result.injections is not None:
        flips = level_words(result, result.rates[0])
        return f"{place}{number(result.injections)} injections of {flips}, each met by all images"
    rates = [rate_words(rate) for rate in result.rates]
    spread = f"rate {rates[0]}" if len(rates) == 1 else f"{len(rates)} rates from {rates[0]} to {rates[-1]}"
    manner = result.faults.note or "every bit flips alike"
    return f"{place}{manner}, {spread}, {number(result.rates[-1].units)} patterns at each"


def _numbers(result: CampaignResult) -> str:
    formats = {tensor.format for tensor in result.fault_space.tensors if tensor.role != CHECK}
    return "; ".join(format_words(name) for name in sorted(formats))


def _protection(result: CampaignResult) -> str:
    """Say what guards the memory, and how many bits that takes."""
    plan = result.settings.protection
    if plan is None:
        return "none"
    checks = sum(tensor.bits for tensor in result.fault_space.tensors if tensor.role == CHECK)
    stored = result.fault_space.bits - checks
    return f"{plan.text}: {number(checks)} bits besides {number(stored)} that can flip"


def _confidence(result: CampaignResult) -> str:
    images = "these images" if result.question == "these-images" else "new images too"
    return f"{100 * result.confidence:g} % for each interval, for {images}"


def _date(result: CampaignResult) -> str:
    """Return the day on which the last unit was recorded; a result put together by hand has none."""
    try:
        seconds = (result.results / UNITS).stat().st_mtime
    except OSError:
        return "unknown"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def _environment(demand: Demand) -> str:
    place = demand.environment
    if place is None or place.interval is None:
        return "upsets only, no interval"
    return f"a bit is found flipped with probability {place.rate:.4g}"
