"""The tasks by name."""

import json
from collections.abc import Mapping
from typing import Any, Final

from ftonnx.errors import UsageError
from ftonnx.tasks.base import Task
from ftonnx.tasks.classification import Classification

__all__ = ["TASKS", "default_task", "parse_task", "task_from_dict"]

TASKS: Final[tuple[type[Task], ...]] = (Classification,)
"""All of them, the usual one first; a new one needs a file of its own and its name here."""


def default_task() -> Task:
    """Return what is meant where nobody names a task."""
    return TASKS[0]()


def task_from_dict(values: Mapping[str, Any]) -> Task:
    """Return the task that ``Task.to_dict`` wrote; settings that are left out have their usual values.

    Raises:
        UsageError: the task is not known, or has no such settings.

    >>> task_from_dict({"name": "classification", "nan": "argmax"})
    Classification(nan='argmax')
    """
    for kind in TASKS:
        if kind.name == values["name"]:
            return kind.from_dict(values)
    known = ", ".join(kind.name for kind in TASKS)
    raise UsageError(f"task {values['name']!r} is not known: {known}")


def parse_task(text: str) -> Task:
    """Read a task as the command line has it: its name, and settings behind a colon.

    Raises:
        UsageError: it is not known, or has no such settings.

    >>> parse_task("classification:nan=argmax")
    Classification(nan='argmax')
    """
    name, _, rest = text.partition(":")
    values: dict[str, Any] = {"name": name}
    for setting in filter(None, rest.split(",")):
        key, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"task: NAME or NAME:key=value,... was expected, got {text!r}")
        values[key] = _value(value)
    return task_from_dict(values)


def _value(text: str) -> Any:
    """Return a number or truth value where it is one, else the text.

    >>> _value("0.5"), _value("due")
    (0.5, 'due')
    """
    try:
        return json.loads(text)
    except ValueError:
        return text
