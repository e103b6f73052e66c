"""The command line that repeats a campaign."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ftonnx.campaign import CampaignResult
from ftonnx.campaign.tables import is_injected

__all__ = ["repeat_command"]

_REPEATED: Final = {"rates": "--rate", "include": "--include", "exclude": "--exclude"}


_AT_RATES: Final = {"faults_per_run": None, "exhaustive": False, "per_layer": None, "fault_list": None}


def repeat_command(result: CampaignResult, *, rates: Sequence[float] | None = None) -> str | None:
    """Return the command that repeats a campaign; None where model or data existed only in a Python program.

    Of a published list of faults, only the content is known: FILE.csv stands for the file.

    Args:
        result: the campaign.
        rates: fault rates to measure at instead, with the same model, data and settings otherwise.
    """
    path = result.model["path"]
    if path is None or not result.source:
        return None
    arguments = ["ftonnx", "inject", str(path), *_data_options(result.source)]
    settings = result.settings if rates is None else _moved(result.settings, rates)
    for name, value in settings.items():
        if name not in _derived(settings):
            arguments += _options(name, value)
    for name, value in _early_end(result).items():
        arguments += _options(name, value)
    return shlex.join(arguments)


def _moved(settings: Mapping[str, Any], rates: Sequence[float]) -> dict[str, Any]:
    """Return settings for other rates; a number of injections is no number of patterns per rate and batch."""
    repeats = None if is_injected(settings) else settings["repeats"]
    return dict(settings) | _AT_RATES | {"rates": list(rates), "repeats": repeats}


def _derived(settings: Mapping[str, Any]) -> set[str]:
    """Return the settings that follow from others and cannot be asked for."""
    if not is_injected(settings):
        return set()
    return {"rates"} if settings["faults_per_run"] is not None else {"rates", "repeats"}


def _early_end(result: CampaignResult) -> dict[str, Any]:
    """Return what ended a campaign before its last repeat, and what its intervals are for."""
    target = {} if result.target == "test-set" else {"target": result.target}
    if result.stopping is None:
        return target
    budget = result.stopping["budget"] or {}
    units = {"seconds": "s", "units": "units"}
    parts = [f"{value}{units[name]}" for name, value in budget.items() if value is not None]
    return {"precision": result.stopping["precision"], "budget": ",".join(parts) or None} | target


def _data_options(source: Mapping[str, Any]) -> list[str]:
    """Return how the data set was opened as options.

    >>> _data_options({"data": "digits", "split": "val", "limit": None, "preprocess": {"mean": [0.1, 0.2]}})
    ['--data', 'digits', '--split', 'val', '--mean', '0.1,0.2']
    """
    asked = {name: source[name] for name in ("data", "split", "limit")} | source["preprocess"]
    return [text for name, value in asked.items() for text in _options(name, value)]


def _options(name: str, value: Any) -> list[str]:
    """Return one setting as options.

    >>> _options("rates", [1e-07, 3e-07]), _options("targets", ["weight"]), _options("threads", None)
    (['--rate', '1e-07', '--rate', '3e-07'], ['--targets', 'weight'], [])
    >>> _options("exhaustive", True), _options("bits", []), _options("faults_per_run", 2)
    (['--exhaustive'], [], ['--faults-per-run', '2'])
    """
    if name == "fault_list" and value is not None:
        return ["--fault-list", "FILE.csv"]
    if isinstance(value, bool):
        return [f"--{name}"] if value else []
    if name in _REPEATED:
        return [text for item in value for text in (_REPEATED[name], str(item))]
    return [] if value in (None, []) else [f"--{name.replace('_', '-')}", _text(value)]


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
