"""Statistics: pure functions of arrays and numbers, from counts to estimates with intervals.

Not aware of campaigns, files, models or sessions.
"""

from ftonnx.stats.betting import QUESTIONS, RoundTest, anytime_limits, anytime_mean, parse_question
from ftonnx.stats.curves import (
    AUC_AXES,
    CriticalRate,
    GridRate,
    adjusted_log_odds,
    area_under,
    auc,
    auc_weights,
    critical_rate,
    log_odds,
    rate_at_loss,
)
from ftonnx.stats.differences import DIFFERENCES, Difference, holm, sign_flip_p_value
from ftonnx.stats.estimate import CONFIDENCE, Estimate, check_confidence, weighted_sum
from ftonnx.stats.patterns import (
    Correlation,
    few_patterns,
    for_new_images,
    independent_images,
    intra_pattern_correlation,
    sampling_error,
    stratified_mean,
    stratified_values,
    unseen_share,
)
from ftonnx.stats.pooled import PooledFunction, linearised
from ftonnx.stats.proportions import anytime_proportion, bounded_mean, clopper_pearson, normal_quantile
from ftonnx.stats.ranking import Group, Hits, Ranking, critical_share, listed, rank, sampling_of, spans
from ftonnx.stats.sample_size import sample_size, zero_failure_size

__all__ = [
    "AUC_AXES",
    "CONFIDENCE",
    "DIFFERENCES",
    "QUESTIONS",
    "Correlation",
    "CriticalRate",
    "Difference",
    "Estimate",
    "GridRate",
    "Group",
    "Hits",
    "PooledFunction",
    "Ranking",
    "RoundTest",
    "adjusted_log_odds",
    "anytime_limits",
    "anytime_mean",
    "anytime_proportion",
    "area_under",
    "auc",
    "auc_weights",
    "bounded_mean",
    "check_confidence",
    "clopper_pearson",
    "critical_rate",
    "critical_share",
    "few_patterns",
    "for_new_images",
    "holm",
    "independent_images",
    "intra_pattern_correlation",
    "linearised",
    "listed",
    "log_odds",
    "normal_quantile",
    "parse_question",
    "rank",
    "rate_at_loss",
    "sample_size",
    "sampling_error",
    "sampling_of",
    "sign_flip_p_value",
    "spans",
    "stratified_mean",
    "stratified_values",
    "unseen_share",
    "weighted_sum",
    "zero_failure_size",
]
