"""Campaigns: units of work, their outcomes, the store that survives a kill, accuracy with intervals.

Not aware of charts, of the command line, or of how a session reaches a model's memory.
"""

from ftonnx.campaign.compare import compare
from ftonnx.campaign.compared import Comparison
from ftonnx.campaign.evaluate import Campaign, evaluate
from ftonnx.campaign.fault_list import PublishedFaults
from ftonnx.campaign.gate import gate
from ftonnx.campaign.goals import Goal
from ftonnx.campaign.plan import PAPER_RATES, CampaignSettings, Unit
from ftonnx.campaign.replay import Replay, replay
from ftonnx.campaign.result import CampaignResult, LayerResult, RateResult, Vulnerability
from ftonnx.campaign.statistics import Estimate, stratified_mean
from ftonnx.campaign.summary import CurveSummary, summarize
from ftonnx.campaign.task import Classification, Judge, Outcomes, Task
from ftonnx.campaign.verdict import GateVerdict, GoalVerdict

__all__ = [
    "PAPER_RATES",
    "Campaign",
    "CampaignResult",
    "CampaignSettings",
    "Classification",
    "Comparison",
    "CurveSummary",
    "Estimate",
    "GateVerdict",
    "Goal",
    "GoalVerdict",
    "Judge",
    "LayerResult",
    "Outcomes",
    "PublishedFaults",
    "RateResult",
    "Replay",
    "Task",
    "Unit",
    "Vulnerability",
    "compare",
    "evaluate",
    "gate",
    "replay",
    "stratified_mean",
    "summarize",
]
