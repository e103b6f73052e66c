"""Betting on batches that are drawn at random: against products written out, and campaigns of known truth."""

import math

import numpy as np
import pytest

from ftonnx.stats.draws import DrawnValues, drawn_limits, drawn_p_value

STAKES = (0.02, 0.05, 0.15, 0.4, 1.0)
PURSES = (0.05, 0.1, 0.15, 0.25, 0.45)
VALUES = np.array([0.5, 1.0, 1.0, 0.0, 1.0, 1.0, 0.5, 1.0])


def wealths(numbers, m):
    """The wealth after each draw of a gambler who bets that numbers in [0, 1] have a mean above m."""
    wealth = list(PURSES)
    found = []
    for number in numbers:
        wealth = [own * (1 + stake * (number - m) / m) for own, stake in zip(wealth, STAKES, strict=True)]
        found.append(sum(wealth))
    return found


@pytest.mark.parametrize("threshold", [0.2, 0.6, 0.9])
def test_the_p_value_is_one_over_the_largest_wealth(threshold):
    """On both sides, which are mirrored."""
    found = drawn_p_value([DrawnValues(VALUES, 0.0, 1.0)], threshold, "above")
    assert found == pytest.approx(1 / max(1.0, *wealths(VALUES, threshold)))
    mirrored = drawn_p_value([DrawnValues(1 - VALUES, 0.0, 1.0)], 1 - threshold, "below")
    assert mirrored == pytest.approx(found)


def test_losses_are_bet_on_without_knowing_the_accuracy():
    """What is gained lies between -1 and 1; a limit of the loss is one of that."""
    gained = -np.array([0.0, 0.5, 0.0, -0.5, 0.0, 1.0])
    found = drawn_p_value([DrawnValues(gained, -1.0, 1.0)], -0.3, "above")
    assert found == pytest.approx(1 / max(1.0, *wealths((gained + 1) / 2, 0.35)))


def test_two_gamblers_share_what_they_start_with_also_while_one_of_them_waits():
    """A known mean is an offset; the average of what they have counts."""
    plain = DrawnValues(VALUES, 0.0, 1.0)
    differences = np.array([0.0, 0.0, 0.5, -0.5, 0.0, 0.0, 0.0, 0.0])
    other = DrawnValues(differences, -1.0, 1.0, offset=0.8)
    own = wealths(VALUES, 0.5)
    others = wealths((differences + 1) / 2, (0.5 - 0.8 + 1) / 2)
    both = [(one + two) / 2 for one, two in zip(own, others, strict=True)]
    assert drawn_p_value([plain, other], 0.5, "above", gamblers=2) == pytest.approx(1 / max(1.0, *both))
    halves = [one / 2 for one in own]
    assert drawn_p_value([plain], 0.5, "above", gamblers=2) == pytest.approx(1 / max(1.0, *halves))


def test_limits_are_the_thresholds_that_are_just_rejected_now():
    """Inside by a hair they are not; also of losses, and of two gamblers."""
    numbers = np.tile(VALUES, 6)
    low, high = drawn_limits([DrawnValues(numbers, 0.0, 1.0)], 0.05)
    assert 0 < low < numbers.mean() < high < 1
    assert wealths(numbers, low)[-1] >= 20 > wealths(numbers, low + 1e-5)[-1]
    assert wealths(1 - numbers, 1 - high)[-1] >= 20 > wealths(1 - numbers, 1 - high + 1e-5)[-1]
    shifted = drawn_limits([DrawnValues(2 * numbers - 1, -1.0, 1.0, offset=0.25)], 0.05)
    assert shifted == pytest.approx((2 * low - 0.75, 2 * high - 0.75), abs=1e-6)
    both = [DrawnValues(numbers, 0.0, 1.0)] * 2
    assert drawn_limits(both, 0.05, gamblers=2) == pytest.approx((low, high), abs=1e-6)


def test_nothing_drawn_says_nothing():
    """Nor does a threshold beyond what is possible."""
    assert drawn_p_value([DrawnValues(np.zeros(0), 0.0, 1.0)], 0.5, "above") == 1.0
    assert drawn_p_value([DrawnValues(VALUES, 0.0, 1.0, offset=0.5)], 0.4, "above") == 1.0
    low, high = drawn_limits([DrawnValues(np.zeros(0), 0.0, 1.0)], 0.05)
    assert (low, high) == pytest.approx((0.0, 1.0))


def test_harmless_faults_need_the_draws_that_arithmetic_says():
    """Of one point: 0.45 (1 + 0.01 / 0.99)^n and the smaller stakes reach 20."""
    needed = next(n for n in range(1, 1000) if wealths(np.full(n, 0.5), 0.495)[-1] >= 20)
    bets = [DrawnValues(np.zeros(needed), -1.0, 1.0)]
    assert drawn_p_value(bets, -0.01, "above") <= 0.05
    assert drawn_p_value([bets[0]._replace(values=bets[0].values[1:])], -0.01, "above") > 0.05
    assert 300 < needed < 380


def campaigns(rng, runs, draws, batches, images=2):
    """Losses of drawn batches and what they lose on average, (runs, draws): few batches lose most, one gains.

    Of a batch's images so many are right without faults; a pattern ruins all of them, one of them, or none.
    """
    right = rng.integers(0, images + 1, batches)
    ruined = np.clip(rng.beta(0.3, 4, batches), 0, 0.85)
    gains = 0.02
    lost_mean = (right * ruined + 0.1 * (right > 0) - gains * (right < images)) / images
    drawn = rng.integers(batches, size=(runs, draws))
    luck = rng.random((runs, draws))
    chance = ruined[drawn]
    lost = np.where(luck < chance, right[drawn], 0) / images
    one = (luck >= chance) & (luck < chance + 0.1) & (right[drawn] > 0)
    lost = np.where(one, 1 / images, lost)
    gained = (luck > 1 - gains) & (right[drawn] < images) & (lost == 0)
    return np.where(gained, -1 / images, lost), float(lost_mean.mean())


@pytest.mark.parametrize("batches", [16, 400])
def test_a_mean_at_the_limit_is_wrongly_called_in_less_than_5_percent_however_often_one_looks(batches):
    """On both sides, with batches of their own means, which are drawn again and again; and limits hold at the end."""
    rng = np.random.default_rng(51)
    runs = 300
    lost, mean = campaigns(rng, runs, 400, batches)
    # what is drawn in the long run is what was said to be true
    assert abs(lost.mean() - mean) < 4 * lost.std() / math.sqrt(lost.size)
    wrong = np.zeros(2)
    outside = 0
    for row in lost:
        bets = [DrawnValues(-row, -1.0, 1.0)]
        wrong += [drawn_p_value(bets, -mean, side) <= 0.05 for side in ("above", "below")]
        low, high = drawn_limits([bets[0]._replace(values=bets[0].values[:150])], 0.025)
        outside += not low <= -mean <= high
    assert (wrong / runs < 0.05).all()
    assert outside / runs < 0.05
