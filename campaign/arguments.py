"""Arguments of the public calls, checked for their types before the work of opening model and data."""

from collections.abc import Callable
from typing import Any

from ftonnx.tasks import Task
from ftonnx.words import file_path, of_kind

__all__ = ["check_arguments"]


def check_arguments(*, task: Any, results: Any, progress: Any) -> None:
    """Refuse what is no task, no folder or no callback.

    Raises:
        UsageError: one of them is something else, and not None.
    """
    if task is not None:
        of_kind("task", task, Task, "a task such as Classification()")
    if results is not None:
        file_path("results", results, "a folder")
    if progress is not None:
        of_kind("progress", progress, Callable, "a function of (done, total)")  # type: ignore[arg-type]
