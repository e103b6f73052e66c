"""A task from a user's own file, on its way to a process that may not have the file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ftonnx.errors import UsageError
from ftonnx.files import UserFunction, scratch_folder
from ftonnx.tasks import Task, task_from_dict, task_of_file

__all__ = ["UserTask", "check_importable"]


@dataclass(frozen=True, slots=True)
class UserTask:
    """A task and the file that defines it.

    Attributes:
        file: the file's name.
        source: what is in it.
        name: of the class.
        values: the task as ``to_dict`` writes it.
    """

    file: str
    source: bytes
    name: str
    values: Mapping[str, Any]

    @classmethod
    def where_needed(cls, task: Task) -> "Task | UserTask":
        """Return a task that can be imported elsewhere as it is, one from a user's file with the file.

        Raises:
            UsageError: it is defined where another process cannot import it.
        """
        check_importable(task)
        own_file = UserFunction.file_of(type(task))
        if own_file is None:
            return task
        return cls(own_file.name, own_file.read_bytes(), type(task).__qualname__, task.to_dict())

    def made(self) -> Task:
        """Define the task here, by running the file, and return it."""
        with scratch_folder() as folder:
            path = folder / self.file
            path.write_bytes(self.source)
            task_of_file(path, self.name)
        return task_from_dict(self.values)


def check_importable(task: Task) -> None:
    """Refuse a task that another process cannot import.

    Raises:
        UsageError: it is defined in the main script or in a function.
    """
    kind = type(task)
    if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__:
        raise UsageError(f"worker processes cannot import {kind.__qualname__}; move it into a module, or use `jobs=1`")
