"""Guards of stored bits: parity, ECC, copies and range checks, as a plan, its cost, and what of flips they let pass.

Not aware of campaigns, of the command line, or of how a model is run.
"""

from ftonnx.inject.guards.bank import CHECK
from ftonnx.inject.guards.chosen_bits import Bits, bits_of
from ftonnx.inject.guards.codes import CODES
from ftonnx.inject.guards.cost import GuardCost, PlanCost, cost_of
from ftonnx.inject.guards.memory import Decoded, GuardedMemory
from ftonnx.inject.guards.plan import RANGE, Guard, ProtectionPlan
from ftonnx.inject.guards.repair import WordCounts

__all__ = [
    "CHECK",
    "CODES",
    "RANGE",
    "Bits",
    "Decoded",
    "Guard",
    "GuardCost",
    "GuardedMemory",
    "PlanCost",
    "ProtectionPlan",
    "WordCounts",
    "bits_of",
    "cost_of",
]
