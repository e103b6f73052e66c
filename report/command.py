"""The command line that repeats a campaign."""

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from ftonnx.campaign import CampaignResult, Settings
from ftonnx.campaign.plan.stopping import Stopping
from ftonnx.campaign.store.header import Header
from ftonnx.inject import FaultModel, ProtectionPlan
from ftonnx.stats.betting import Question
from ftonnx.tasks import Task, default_task

__all__ = ["header_arguments", "plan_file", "repeat_command"]

_DATA_OPTIONS: Final = ("data", "split", "splits", "limit", "class_names")
_REPEATED: Final = ("include", "exclude", "feed")


def repeat_command(result: CampaignResult, *, faults: FaultModel | None = None) -> str | None:
    """Return the command that repeats a campaign; None where model or data existed only in a Python program.

    Where seeds were pooled, it is a command for each of them, and the one that pools them. FILE.csv stands for the file
    of a published list of faults, of which only a fingerprint is known; that of a protection plan is ``plan_file``.

    Args:
        result: the campaign.
        faults: what is to flip instead, with the same model, data and settings otherwise.
    """
    if result.model.path is None or not result.data.source:
        return None
    if faults is not None:
        return shlex.join(_inject(result, faults, result.settings))
    if len(result.seeds) == 1:
        return shlex.join(_inject(result, result.faults, result.settings))
    return _pooling(result)


def plan_file(plan: ProtectionPlan) -> str:
    """Return how a plan's file is called in commands, whose own name is not known."""
    return f"PLAN-{plan.fingerprint}.toml"


def header_arguments(header: Header, *, asked: Collection[str] = (), plan: str | None = None) -> list[str] | None:
    """Return the arguments of ``ftonnx inject`` for a recorded campaign; None where model or data had no file.

    Args:
        header: what its results folder says.
        asked: names of options that say what flips instead; what they leave out of the same kind is as recorded.
        plan: where the protection plan can be read; None to call it by what tells it from others.
    """
    if header.model.path is None or not header.data.source:
        return None
    question = "these-images" if header.stopping is None else header.stopping.question
    own = {option.name for option in header.faults.options}
    faults = header.faults.arguments()
    if asked:
        faults = header.faults.arguments_beside(asked) if own.issuperset(asked) else []
    repeats = header.settings.repeats if header.faults.is_endless else None
    return _arguments(header, faults, header.settings, repeats, question, plan)


def _pooling(result: CampaignResult) -> str:
    """Return the commands that run every seed in a folder of its own, and put them together."""
    commands = []
    folders = []
    for each in result.seeds:
        settings = replace(result.settings, seed=each.seed, repeats=each.repeats)
        folder = f"seed-{each.seed}"
        folders.append(folder)
        commands.append(shlex.join([*_inject(result, result.faults, settings), "--results", folder]))
    commands.append(shlex.join(["ftonnx", "merge", *folders, "--pool-seeds", "-o", "pooled"]))
    return " && ".join(commands)


def _inject(result: CampaignResult, faults: FaultModel, used: Settings) -> list[str]:
    """Return the words of the command that runs a campaign with other faults and settings."""
    repeats = used.repeats
    if not faults.is_endless or faults.fresh_per_batch != result.faults.fresh_per_batch:
        # It follows from the faults, or a number of injections is no number of patterns per rate and batch.
        repeats = None
    return ["ftonnx", "inject", *_arguments(result.header, faults.arguments(), used, repeats, result.question)]


def _arguments(
    header: Header,
    faults: Sequence[str],
    used: Settings,
    repeats: int | None,
    question: Question,
    plan: str | None = None,
) -> list[str]:
    settings = used.to_dict()
    settings["repeats"] = repeats
    settings["feed"] = [feed.text for feed in used.constants]
    del settings["feeds"]
    if used.protection is not None:
        settings["protection"] = plan or plan_file(used.protection)
    arguments = [str(header.model.path), *_data_options(header.data.source), *faults]
    for name, value in settings.items():
        arguments += _options(name, value)
    arguments += _task_options(header.task)
    for name, value in _early_end(header.stopping, question).items():
        arguments += _options(name, value)
    return arguments


def _task_options(task: Task) -> list[str]:
    """Return what the task was asked for; the usual one's settings have options of their own."""
    settings = task.to_dict()
    name = settings.pop("name")
    written: list[str] = []
    if name == default_task().name:
        for key, value in settings.items():
            written += _options(key, value)
        return written
    return ["--task", task.text]


def _early_end(stopping: Stopping | None, question: Question) -> dict[str, Any]:
    """Return what ended a campaign before its last repeat, and what its intervals are for."""
    found: dict[str, Any] = {}
    if stopping is not None:
        found["precision"] = stopping.precision
        found["budget"] = None if stopping.budget is None else stopping.budget.text
    if question != "these-images":
        found["question"] = question
    return found


def _data_options(source: Mapping[str, Any]) -> list[str]:
    """Return how the data set was opened as options.

    >>> _data_options({"data": "digits", "split": "val", "limit": None, "preprocess": {"mean": [0.1, 0.2]}})
    ['--data', 'digits', '--split', 'val', '--mean', '0.1,0.2']
    """
    asked = {name: source.get(name) for name in _DATA_OPTIONS} | source["preprocess"]
    written: list[str] = []
    for name, value in asked.items():
        written += _options(name, value)
    return written


def _options(name: str, value: Any) -> list[str]:
    """Return one setting as options.

    >>> _options("include", ["a*", "b*"]), _options("roles", ["weight"]), _options("threads", None)
    (['--include', 'a*', '--include', 'b*'], ['--roles', 'weight'], [])
    >>> _options("bits", []), _options("batch_size", 2)
    ([], ['--batch-size', '2'])
    """
    flag = f"--{name.replace('_', '-')}"
    if name in _REPEATED:
        written: list[str] = []
        for item in value:
            written += [flag, str(item)]
        return written
    if value is None or value == []:
        return []
    return [flag, _text(value)]


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
