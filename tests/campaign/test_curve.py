"""What a curve amounts to, against plain arithmetic on the recorded rows."""

import math

import numpy as np
import pytest
from campaign_kit import digits_batches, rows
from scipy.stats import beta

from ftonnx.campaign import CampaignResult, evaluate
from ftonnx.campaign.results.curve import summarize
from ftonnx.errors import StoreError
from ftonnx.stats.patterns import independent_images


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """A small campaign: three rates and rate 0, two batches, six patterns."""
    folder = tmp_path_factory.mktemp("summary") / "r"
    return evaluate(
        "digits", digits_batches(40, 80), rates=[0, 1e-6, 1e-5, 1e-4], repeats=6, batch_size=40, threads=1,
        strategy="live", results=folder,
    )  # fmt: skip


def test_numbers_are_those_of_the_recorded_rows(result):
    """Area by trapezoids over log10 of the rate, accuracy as log-odds, correlation by analysis of variance."""
    found = summarize(result.results)
    recorded = rows(result.results)
    accuracy = {
        rate: sum(r["correct1"] for r in recorded if r["rate"] == rate) / (12 * 40) for rate in (1e-6, 1e-5, 1e-4)
    }
    curve = [accuracy[rate] for rate in sorted(accuracy)]
    assert found.auc.mean == pytest.approx((curve[0] / 2 + curve[1] + curve[2] / 2) / 2)
    assert [each.rate for each in found.rates] == [1e-6, 1e-5, 1e-4]
    for each in found.rates:
        assert each.log_odds.mean == pytest.approx(math.log(accuracy[each.rate] / (1 - accuracy[each.rate])))
        assert each.log_odds.low <= each.log_odds.mean <= each.log_odds.high
        assert each.warning.startswith("12 fault patterns: harm that up to 26 % of patterns do")
        shares = np.array([r["correct1"] / r["n"] for r in recorded if r["rate"] == each.rate])
        between = 40 * shares.var(ddof=1)
        within = (40 * shares * (1 - shares)).sum() / (12 * 39)
        icc = (between - within) / (between + 39 * within)
        assert each.correlation.icc == pytest.approx(icc)
        assert each.correlation.design_effect == pytest.approx(1 + 39 * icc)


def test_the_rate_at_a_loss_lies_between_the_rates_that_enclose_it(result):
    """And its interval around it; a loss that never comes has none."""
    found = summarize(result, points=0.3)
    means = {rate.rate: rate.top1.mean for rate in result.rates}
    level = result.golden["top1"] - 0.3
    lower = max(rate for rate in means if rate and means[rate] > level)
    upper = min(rate for rate in means if means[rate] <= level)
    assert lower <= found.critical.at.rate <= upper
    assert found.critical.low.rate <= found.critical.at.rate
    assert str(summarize(result, points=0.99).critical.at) == "> 0.0001"


def test_the_area_leaves_the_room_that_the_rates_leave(result):
    """Its limits are those of the rates, added as squares."""
    weights = np.array([0.25, 0.5, 0.25])
    top1 = [rate.top1 for rate in result.rates[1:]]
    found = summarize(result).auc
    down = np.array([one.mean - one.low for one in top1])
    up = np.array([one.high - one.mean for one in top1])
    assert found.low == pytest.approx(found.mean - np.linalg.norm(weights * down))
    assert found.high == pytest.approx(found.mean + np.linalg.norm(weights * up))


def test_for_new_images_the_area_has_room_for_the_same_new_images_at_all_rates(result):
    """Clopper and Pearson's limits of the area among 80 images, added to the error from the patterns as squares."""
    these = summarize(result).auc
    new = summarize(CampaignResult.open(result.results, question="new-images")).auc
    golden = [row["correct1"] for row in rows(result.results, "golden")]
    assert independent_images(np.array(golden), np.array([40, 40])) == 80
    right = 80 * these.mean
    lowest, highest = beta.ppf(0.025, right, 81 - right), beta.ppf(0.975, right + 1, 80 - right)
    assert new.mean == these.mean
    assert new.low == pytest.approx(these.mean - math.hypot(these.mean - these.low, these.mean - lowest))
    assert new.high == pytest.approx(these.mean + math.hypot(these.high - these.mean, highest - these.mean))


def test_a_folder_that_is_none_is_refused(tmp_path):
    """With its name."""
    with pytest.raises(StoreError, match="no campaign"):
        summarize(tmp_path)
