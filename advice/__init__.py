"""What to harden in a model, and what it buys: single faults measured, guards searched, plans verified by campaigns.

Not aware of the command line, of charts, or of how a guard decodes.
"""

from ftonnx.advice.advisor import advise
from ftonnx.advice.candidates import GUARDS, Candidates
from ftonnx.advice.result import Advice, AdvisedGuard, Compared, FrontierPoint, HarmRanking

__all__ = [
    "GUARDS",
    "Advice",
    "AdvisedGuard",
    "Candidates",
    "Compared",
    "FrontierPoint",
    "HarmRanking",
    "advise",
]
