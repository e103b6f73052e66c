"""Campaigns: units of work, their outcomes, the store that survives a kill, accuracy with intervals.

Not aware of charts, of the command line, or of how a session reaches a model's memory.
"""

from ftonnx.campaign.evaluate import Campaign, evaluate
from ftonnx.campaign.plan import PAPER_RATES, CampaignSettings, Unit
from ftonnx.campaign.replay import Replay, replay
from ftonnx.campaign.result import CampaignResult, RateResult
from ftonnx.campaign.statistics import Estimate, stratified_mean
from ftonnx.campaign.task import Classification, Outcomes, Task

__all__ = [
    "PAPER_RATES",
    "Campaign",
    "CampaignResult",
    "CampaignSettings",
    "Classification",
    "Estimate",
    "Outcomes",
    "RateResult",
    "Replay",
    "Task",
    "Unit",
    "evaluate",
    "replay",
    "stratified_mean",
]
