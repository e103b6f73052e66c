"""Reports: verdict in words, charts, tables, one self-contained page; JUnit XML and Markdown for gates.

Not aware of sessions, of data sets, or of the command line: it reads what campaigns have found.
"""

from ftonnx.report.activation_charts import activation_chart, clipped_chart
from ftonnx.report.activations import Activations
from ftonnx.report.build import Report, build
from ftonnx.report.charts import accuracy_chart, outcome_chart, plot
from ftonnx.report.command import repeat_command
from ftonnx.report.junit import Case, junit_xml
from ftonnx.report.layer_charts import fault_space_chart, vulnerability_chart
from ftonnx.report.summary import markdown_table, markdown_text
from ftonnx.report.tables import (
    activations_table,
    fault_space_table,
    outcomes_table,
    rates_table,
    vulnerability_table,
)
from ftonnx.report.words import verdict

__all__ = [
    "Activations",
    "Case",
    "Report",
    "accuracy_chart",
    "activation_chart",
    "activations_table",
    "build",
    "clipped_chart",
    "fault_space_chart",
    "fault_space_table",
    "junit_xml",
    "markdown_table",
    "markdown_text",
    "outcome_chart",
    "outcomes_table",
    "plot",
    "rates_table",
    "repeat_command",
    "verdict",
    "vulnerability_chart",
    "vulnerability_table",
]
