"""The tasks by name, those of users among them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import UsageError
from ftonnx.files import UserFunction
from ftonnx.tasks.base import MisfitError, Outputs, Task
from ftonnx.tasks.binary import Auroc, Binary
from ftonnx.tasks.class_numbers import ClassNumbers
from ftonnx.tasks.classification import Classification
from ftonnx.tasks.multi_label import MultiLabel
from ftonnx.tasks.one_output import OneOutputTask
from ftonnx.tasks.regression import Regression
from ftonnx.tasks.segmentation import Segmentation
from ftonnx.words import near, parsed_json

__all__ = ["TASKS", "default_task", "parse_task", "register_task", "task_from_dict", "task_of_file", "usual_task"]

TASKS: Final[tuple[type[Task], ...]] = (
    Classification,
    Binary,
    ClassNumbers,
    MultiLabel,
    Regression,
    Auroc,
    Segmentation,
)
"""All of them, the usual one first; a new one needs a file of its own and its name here."""

_GUESSED: Final[tuple[type[OneOutputTask], ...]] = (Classification, Binary, ClassNumbers, MultiLabel, Segmentation)
_FILE: Final = re.compile(r"(?P<path>.+\.py):(?P<name>[^\W\d]\w*)")

_registered: dict[str, type[Task]] = {}


def default_task() -> Task:
    """Return what is meant where nothing is known of a model's outputs."""
    return TASKS[0]()


def usual_task(outputs: Outputs, labels: NDArray[Any], classes: int | None) -> Task:
    """Return the task that is meant where nobody names one: the first that some output and the labels fit.

    Args:
        outputs: golden ones of the first batch.
        labels: of its images.
        classes: that the data know; None where labels are no class numbers.

    Raises:
        UsageError: the labels are numbers of a regression, which needs a tolerance.
        MisfitError: one output looks like scores of classes, another like a binary score.

    >>> labels = np.array([0, 1])
    >>> usual_task({"p": np.array([[.1], [.9]])}, labels, 2).name, usual_task({"y": np.array([0, 1])}, labels, 2).name
    ('binary', 'class-numbers')
    """
    if np.issubdtype(labels.dtype, np.floating):
        return Regression()
    fitting = {kind: kind().fitting(outputs, labels, classes) for kind in _GUESSED}
    if fitting[Classification] and fitting[Binary]:
        # features may have as many columns as there are classes
        scores = ", ".join(fitting[Classification])
        single = ", ".join(fitting[Binary])
        raise MisfitError(f"{scores} can be scores of the classes, {single} a binary score: name one as `output`")
    for kind, names in fitting.items():
        if names:
            return kind()
    return default_task()


def register_task(kind: type[Task]) -> None:
    """Make a task of one's own known by its name, for results folders that were judged by it.

    Raises:
        UsageError: ftonnx has a task of that name.
    """
    if any(each.name == kind.name for each in TASKS):
        raise UsageError(f"ftonnx has a task {kind.name!r} of its own; give {kind.__name__} another name")
    _registered[kind.name] = kind


def task_from_dict(values: Mapping[str, Any]) -> Task:
    """Return the task that ``Task.to_dict`` wrote; settings that are left out have their usual values.

    Raises:
        UsageError: the task is not known, or has no such settings.

    >>> task_from_dict({"name": "classification", "nan": "argmax"})
    Classification(nan='argmax')
    """
    kinds = {kind.name: kind for kind in TASKS} | _registered
    name = values["name"]
    if name in kinds:
        return kinds[name].from_dict(values)
    known = ", ".join(kinds)
    meant = near(str(name), list(kinds))
    raise UsageError(f"task {name!r} is not known: {known}, or FILE.py:Class{meant}")


def parse_task(text: str) -> Task:
    """Read a task as the command line has it: its name or ``FILE.py:Class``, and settings behind a colon.

    A user's file is executed, and its task is registered.

    Raises:
        UsageError: it is not known, is no task, or has no such settings.

    >>> parse_task("classification:nan=argmax")
    Classification(nan='argmax')
    """
    match = _FILE.match(text)
    if match is None:
        name, _, rest = text.partition(":")
    else:
        name = task_of_file(Path(match["path"]), match["name"]).name
        rest = text[match.end() :].removeprefix(":")
    values: dict[str, Any] = {"name": name}
    for setting in filter(None, rest.split(",")):
        key, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"task: NAME or NAME:key=value,... was expected, got {text!r}")
        values[key] = _value(value)
    return task_from_dict(values)


def task_of_file(path: Path, name: str) -> type[Task]:
    """Run a user's file and register the task in it.

    Raises:
        UsageError: there is no such file or class, or it is no task.
    """
    kind: Any = UserFunction(path, name, role="task", expected="a task", error=UsageError).function
    if not isinstance(kind, type) or not issubclass(kind, Task):
        raise UsageError(f"{path}: expected a class {name} derived from ftonnx.tasks.Task, got {type(kind).__name__}")
    register_task(kind)
    return kind


def _value(text: str) -> Any:
    """Return a number or truth value where it is one, else the text.

    >>> _value("0.5"), _value("due")
    (0.5, 'due')
    """
    try:
        return parsed_json(text)
    except ValueError:
        return text
