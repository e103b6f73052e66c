"""Studies: many campaigns from one file, their models made on the way, and tables of what was found.

Every step is a function of another room. Not aware of the command line.
"""

from ftonnx.studies.example import example
from ftonnx.studies.pace import StudyProgress
from ftonnx.studies.plan import PlannedStep, StudyPlan, plan
from ftonnx.studies.result import Failure, StudyResult
from ftonnx.studies.run import run
from ftonnx.studies.schema import json_schema
from ftonnx.studies.study import Cell, CellFaults, Study
from ftonnx.studies.tables import Entry, Mark, Row, VariantTable

__all__ = [
    "Cell",
    "CellFaults",
    "Entry",
    "Failure",
    "Mark",
    "PlannedStep",
    "Row",
    "Study",
    "StudyPlan",
    "StudyProgress",
    "StudyResult",
    "VariantTable",
    "example",
    "json_schema",
    "plan",
    "run",
]
