"""The section on how to repeat campaigns."""

from collections.abc import Mapping
from typing import Any, Final

from ftonnx.campaign import CampaignResult
from ftonnx.campaign.store.header import PartInfo
from ftonnx.inject import ProtectionPlan
from ftonnx.report.cells import Named
from ftonnx.report.command import plan_file, repeat_command
from ftonnx.report.formats import number
from ftonnx.report.page import Listing, Section, Table

__all__ = ["settings_section"]

_VERSIONS: Final = ("python", "onnx", "platform")


def settings_section(named: Named) -> Section:
    """Return how to repeat the campaigns: the commands, what differs between them, and what all have in common."""
    tables = _differing(named)
    commands = [command for _, result in named if (command := repeat_command(result))]
    text = ["With the same model, data, settings and versions a campaign gives the same counts, to the last image."]
    if commands:
        text.append("To repeat:")
    if len(commands) < len(named):
        text.append("Where model or data were handed over in Python, only that program repeats the campaign.")
    return Section(
        "settings",
        "How to repeat this",
        text=text,
        tables=[*tables, *_parts(named)],
        code=commands,
        listings=_plans(named),
    )


def _plans(named: Named) -> list[Listing]:
    """Return the protection plans as the files that the commands name."""
    groups: dict[ProtectionPlan, list[str]] = {}
    for name, result in named:
        plan = result.settings.protection
        if plan is not None:
            groups.setdefault(plan, []).append(name)
    return [
        Listing(f"{plan_file(plan)}, the protection plan of {', '.join(names)}", plan.to_toml())
        for plan, names in groups.items()
    ]


def _differing(named: Named) -> list[Table]:
    """Return what differs between the campaigns, and what all of them have in common."""
    facts = [_facts(result) for _, result in named]
    keys = dict.fromkeys(key for found in facts for key in found)
    common = []
    differing = []
    for key in keys:
        texts = [found.get(key, "-") for found in facts]
        if len(set(texts)) == 1:
            common.append([key, texts[0]])
        else:
            differing.append([key, *texts])
    header = ["", *(name for name, _ in named)]
    tables = [Table("What differs", header, differing, left=len(header))] if differing else []
    title = "Settings, hashes and versions" if len(named) == 1 else "Settings, hashes and versions that are the same"
    return [*tables, Table(title, ["", "value"], common, left=2, folded=True)]


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
