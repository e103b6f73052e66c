"""What a model's outputs are worth: integer counts per run, and the fractions that they make.

Not aware of stores, sessions or statistics.
"""

from ftonnx.tasks.base import SIZE, Columns, Counts, Fraction, Judge, MisfitError, Outputs, Task
from ftonnx.tasks.binary import Auroc, Binary
from ftonnx.tasks.chance import near_chance
from ftonnx.tasks.class_numbers import ClassNumbers
from ftonnx.tasks.classification import NAN_RULES, Classification
from ftonnx.tasks.mean_fraction import MeanFraction
from ftonnx.tasks.mean_iou import MeanIou
from ftonnx.tasks.multi_label import MultiLabel
from ftonnx.tasks.one_output import ArrayJudge, OneOutputTask, described
from ftonnx.tasks.pooled_fraction import PooledFraction
from ftonnx.tasks.registry import (
    TASKS,
    default_task,
    parse_task,
    register_task,
    task_from_dict,
    task_of_file,
    usual_task,
)
from ftonnx.tasks.regression import Regression
from ftonnx.tasks.segmentation import Segmentation

__all__ = [
    "NAN_RULES",
    "SIZE",
    "TASKS",
    "ArrayJudge",
    "Auroc",
    "Binary",
    "ClassNumbers",
    "Classification",
    "Columns",
    "Counts",
    "Fraction",
    "Judge",
    "MeanFraction",
    "MeanIou",
    "MisfitError",
    "MultiLabel",
    "OneOutputTask",
    "Outputs",
    "PooledFraction",
    "Regression",
    "Segmentation",
    "Task",
    "default_task",
    "described",
    "near_chance",
    "parse_task",
    "register_task",
    "task_from_dict",
    "task_of_file",
    "usual_task",
]
