"""What a model's outputs are worth: integer counts per run, and the fractions that they make.

Not aware of stores, sessions or statistics.
"""

from ftonnx.tasks.base import SIZE, Counts, Fraction, Judge, Task
from ftonnx.tasks.chance import near_chance
from ftonnx.tasks.classification import NAN_RULES, Classification
from ftonnx.tasks.registry import TASKS, default_task, parse_task, task_from_dict

__all__ = [
    "NAN_RULES",
    "SIZE",
    "TASKS",
    "Classification",
    "Counts",
    "Fraction",
    "Judge",
    "Task",
    "default_task",
    "near_chance",
    "parse_task",
    "task_from_dict",
]
