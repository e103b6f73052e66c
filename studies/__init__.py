"""Studies: many campaigns from one file, their models made on the way, and tables of what was found.

Every step is a function of another room. Not aware of the command line.
"""

from ftonnx.studies.beside import Beside
from ftonnx.studies.cell_table import CellTable
from ftonnx.studies.differences import DifferenceRow, DifferenceTable
from ftonnx.studies.example import example
from ftonnx.studies.figures import Figure, figures_of
from ftonnx.studies.marks import Mark
from ftonnx.studies.pace import StudyProgress
from ftonnx.studies.plan import PlannedStep, StudyPlan, plan
from ftonnx.studies.published import PublishedNumber
from ftonnx.studies.result import Failure, StudyResult
from ftonnx.studies.run import run
from ftonnx.studies.schema import json_schema
from ftonnx.studies.shipped.parts import Part
from ftonnx.studies.shipped.preset import Preset, PresetStudy, presets
from ftonnx.studies.study import Cell, CellFaults, Study
from ftonnx.studies.tables import Entry, Row, VariantTable

__all__ = [
    "Beside",
    "Cell",
    "CellFaults",
    "CellTable",
    "DifferenceRow",
    "DifferenceTable",
    "Entry",
    "Failure",
    "Figure",
    "Mark",
    "Part",
    "PlannedStep",
    "Preset",
    "PresetStudy",
    "PublishedNumber",
    "Row",
    "Study",
    "StudyPlan",
    "StudyProgress",
    "StudyResult",
    "VariantTable",
    "example",
    "figures_of",
    "json_schema",
    "plan",
    "presets",
    "run",
]
