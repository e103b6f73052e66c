"""May a model ship? Goals, evidence, verdicts.

Not aware of charts, of JUnit or of the command line.
"""

from ftonnx.gates.decide import DEFAULT_BUDGET, gate
from ftonnx.gates.goals import Goal, resolve_goals
from ftonnx.gates.verdict import GateVerdict, GoalVerdict

__all__ = ["DEFAULT_BUDGET", "GateVerdict", "Goal", "GoalVerdict", "gate", "resolve_goals"]
