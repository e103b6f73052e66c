"""What people usually do after a command, as one line on stderr."""

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

__all__ = ["next_step"]

_Values = Mapping[str, Any]
_SAME_CAMPAIGN: Final = (
    "split",
    "splits",
    "limit",
    "class_names",
    "scale",
    "mean",
    "std",
    "resize",
    "crop",
    "channels",
    "interpolation",
    "format",
    "roles",
    "include",
    "exclude",
    "bits",
    "task",
    "feed",
)
"""Options of advise that inject takes too, and without which its campaign would be of other images or other bits."""


def next_step(
    command: str, values: _Values, given: Mapping[str, Sequence[str]] = MappingProxyType({}), *, code: int = 0
) -> str | None:
    """Return the command that usually follows; None where there is none.

    Args:
        command: that has done its work.
        values: of its parameters.
        given: the arguments of those that were given, by parameter.
        code: with which it ends.

    >>> next_step("merge", {"output": "all"})
    'ftonnx report all -o report.html'
    """
    if command == "advise":
        words = _after_advise(values, given, code)
    else:
        follows = _STEPS.get(command)
        words = None if follows is None else follows(values)
    return None if words is None else shlex.join(str(word) for word in words)


def _after_inject(values: _Values) -> list[Any] | None:
    if values.get("dry_run") or values.get("results") is None:
        return None
    if values.get("shard") or values.get("images"):
        return ["ftonnx", "merge", "PARTS...", "-o", "all"]
    if values.get("report") is not None:
        return ["ftonnx", "inject", "--results", values["results"], "--repeats", "MORE"]
    return ["ftonnx", "report", values["results"], "-o", "report.html"]


def _after_export(values: _Values) -> list[Any]:
    return ["ftonnx", "inject", values["output"], "--data", "SPEC", "--results", "run"]


def _after_model(values: _Values) -> list[Any]:
    data = values.get("data") or "SPEC"
    return ["ftonnx", "inject", values["output"], "--data", data, "--results", "run"]


def _after_training(values: _Values) -> list[Any]:
    output = values["output"]
    if str(output).endswith(".onnx"):
        return _after_model(values)
    return ["ftonnx", "export", values["arch"], "--weights", output, "-o", "model.onnx"]


def _after_pretraining(values: _Values) -> list[Any]:
    return ["ftonnx", "finetune", values["arch"], "--weights", values["output"], "--data", "SPEC", "-o", "tuned.pth"]


def _after_merge(values: _Values) -> list[Any]:
    return ["ftonnx", "report", values["output"], "-o", "report.html"]


def _after_compare(values: _Values) -> list[Any]:
    return ["ftonnx", "report", *values["results"], "-o", "report.html"]


def _after_gate(values: _Values) -> list[Any] | None:
    if values.get("results") is None:
        return None
    return ["ftonnx", "report", values["results"], "-o", "report.html"]


def _after_advise(values: _Values, given: Mapping[str, Sequence[str]], code: int) -> list[Any] | None:
    # a model that meets the goal as it is gets no plan, and a plan that misses it is no advice
    if code or values.get("output") is None or not os.path.exists(values["output"]):
        return None
    inject = ["ftonnx", "inject", values["model"], "--data", values["data"], "--rate", values["goal"].rate]
    inject += ["--protection", values["output"], "--results", "run"]
    for name in _SAME_CAMPAIGN:
        inject += given.get(name, ())
    if "model_output" in given:
        # --output of advise is the plan's file
        inject += ["--output", *given["model_output"][1:]]
    return inject


def _after_data(values: _Values) -> list[Any]:
    return ["ftonnx", "inject", "MODEL", "--data", values["data"], "--dry-run"]


def _after_inspect(values: _Values) -> list[Any]:
    return ["ftonnx", "inject", values.get("model", "MODEL"), "--data", "SPEC", "--dry-run"]


_STEPS: Final[Mapping[str, Callable[[_Values], list[Any] | None]]] = {
    "inject": _after_inject,
    "inspect": _after_inspect,
    "data": _after_data,
    "export": _after_export,
    "pretrain": _after_pretraining,
    "finetune": _after_training,
    "protect": _after_model,
    "quantize": _after_model,
    "qat": _after_model,
    "gate": _after_gate,
    "merge": _after_merge,
    "compare": _after_compare,
}
