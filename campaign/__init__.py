"""Campaigns: units of work, their outcomes, the store that survives a kill, estimates with intervals.

Not aware of charts, of the command line, or of how a session reaches a model's memory.
"""

from ftonnx.campaign.campaign import Campaign
from ftonnx.campaign.evaluate import evaluate
from ftonnx.campaign.integrity import CheckedResults, check_results
from ftonnx.campaign.merge import Merged, merge
from ftonnx.campaign.plan.schedule import Schedule, Unit
from ftonnx.campaign.plan.settings import PAPER_RATES, Settings
from ftonnx.campaign.plan.stopping import Budget
from ftonnx.campaign.readiness.checking import check
from ftonnx.campaign.readiness.result import Readiness
from ftonnx.campaign.replay import Replay, replay
from ftonnx.campaign.results.compare import compare, judged_together
from ftonnx.campaign.results.comparison import Comparison
from ftonnx.campaign.results.curve import CurveSummary, summarize
from ftonnx.campaign.results.rate_result import LayerResult, RateResult
from ftonnx.campaign.results.result import CampaignResult
from ftonnx.campaign.results.vulnerability import Vulnerability
from ftonnx.campaign.store.kept_maps import KeptMaps, MapPair

__all__ = [
    "PAPER_RATES",
    "Budget",
    "Campaign",
    "CampaignResult",
    "CheckedResults",
    "Comparison",
    "CurveSummary",
    "KeptMaps",
    "LayerResult",
    "MapPair",
    "Merged",
    "RateResult",
    "Readiness",
    "Replay",
    "Schedule",
    "Settings",
    "Unit",
    "Vulnerability",
    "check",
    "check_results",
    "compare",
    "evaluate",
    "judged_together",
    "merge",
    "replay",
    "summarize",
]
