"""Which strata are measured, and how often what is called certain is true."""

import numpy as np
import pytest

from ftonnx.advice.allocation import Cut, shares_of, worth_measuring
from ftonnx.advice.harms import Harm, standard_error, strata_of
from ftonnx.advice.prediction import accuracy_after, loss_allowed
from ftonnx.inject import FaultSpace

RATE = 1e-4


def strata(rng, number=40):
    """Make strata of different sizes, most of which do no harm, and the harm per flip of each."""
    truth = np.where(rng.random(number) < 0.6, rng.random(number) * 0.01, rng.random(number))
    sizes = rng.integers(200, 5000, number)
    return [Harm(tensor="t", bits=(place,), size=int(size)) for place, size in enumerate(sizes)], truth


def injected(harm, truth, count, rng):
    """Add injections that lose everything or nothing."""
    return harm.with_more(count, float(rng.binomial(count, truth)))


def campaign(rng, allowed_share=0.1):
    """Measure strata as the advisor does; return them, the cut, the truth and what may be lost."""
    harms, truth = strata(rng)
    allowed = allowed_share * RATE * sum(harm.size * mean for harm, mean in zip(harms, truth, strict=True))
    chosen = [(place, 6) for place in range(len(harms))]
    for _ in range(40):
        for place, count in chosen:
            harms[place] = injected(harms[place], truth[place], count, rng)
        cut = Cut.of(harms, RATE, allowed, 0.95)
        if cut.is_certain:
            break
        numbers = worth_measuring(harms, cut)
        chosen = list(zip(numbers, shares_of(harms, numbers, 6 * len(numbers)).tolist(), strict=True))
    return harms, cut, truth, allowed


def test_what_is_left_unguarded_loses_no_more_than_is_allowed_where_that_is_certain():
    """In 95 % of many measurements, each of which stops when it believes so; most of them do."""
    held = 0
    certain = 0
    for seed in range(150):
        harms, cut, truth, allowed = campaign(np.random.default_rng(seed))
        certain += cut.is_certain
        left = RATE * sum(harms[place].size * truth[place] for place in cut.left)
        held += cut.is_certain and left <= allowed
    assert certain >= 120
    assert held >= 0.95 * certain


def test_what_is_shown_to_need_a_guard_does():
    """No stratum above the cut by its interval lies far below it, but in 5 % of the measurements."""
    wrong = 0
    for seed in range(150):
        harms, cut, truth, _ = campaign(np.random.default_rng(1000 + seed))
        threshold = max((harms[place].mean for place in cut.left), default=0.0)
        shown = set(cut.guarded) - set(cut.undecided)
        wrong += any(truth[place] < threshold / 2 for place in shown)
    assert wrong <= 0.05 * 150


def test_a_stratum_that_is_known_to_be_harmful_gets_no_more():
    """More would say nothing that is asked."""
    harms = [
        Harm(tensor="t", bits=(31,), size=1000, injections=400, lost=320.0),
        Harm(tensor="t", bits=(0,), size=1000, injections=10, lost=0.0),
    ]
    cut = Cut.of(harms, 1e-3, 0.1, 0.95)
    assert (cut.guarded, cut.left, cut.undecided) == ((0,), (1,), ())
    assert worth_measuring(harms, cut) == (1,)


def test_shares_follow_size_and_spread():
    """Neyman's allocation, of all injections so far and the new ones; each gets one at least."""
    harms = [
        Harm(tensor="t", bits=(0,), size=1000, injections=100, lost=50.0),
        Harm(tensor="t", bits=(1,), size=1000, injections=100, lost=0.0),
        Harm(tensor="t", bits=(2,), size=9000, injections=100, lost=50.0),
    ]
    small, harmless, large = shares_of(harms, (0, 1, 2), 300)
    assert (small, harmless) == (1, 1)
    assert 290 <= large <= 301


def test_an_error_is_not_zero_where_no_harm_was_seen():
    """Ten injections without harm are no proof."""
    harm = Harm(tensor="t", bits=(0,), size=1000, injections=10)
    assert harm.mean == 0
    assert standard_error([harm], 1e-3) > 0
    assert harm.limits(0.95)[1] > 0.2
    assert Harm(tensor="t", bits=(0,), size=1000).limits(0.95) == (0.0, 1.0)


def test_strata_cover_every_bit_once():
    """Small tensors by groups, large ones bit by bit."""
    space = FaultSpace.of("digits")
    found = strata_of(space)
    assert sum(each.size for each in found) == space.bits
    assert len({(each.tensor, bit) for each in found for bit in each.bits}) == sum(len(each.bits) for each in found)
    by_tensor = {each.tensor: len(each.bits) for each in found}
    assert by_tensor["linear.bias"] == 4
    assert by_tensor["block3.conv2.weight"] == 1


@pytest.mark.parametrize(("golden", "goal"), [(0.98, 0.95), (0.9, 0.2)])
def test_the_loss_that_is_allowed_is_the_one_at_which_the_goal_is_just_met(golden, goal):
    """One function is the other's inverse."""
    assert accuracy_after(loss_allowed(goal, golden), golden) == pytest.approx(goal)


def test_the_prediction_is_the_chance_to_survive_every_flip():
    """Against a simulation of independent flips, each of which turns a share of the right images wrong."""
    rng = np.random.default_rng(5)
    golden, share, bits, rate = 0.9, 0.3, 2000, 1e-3
    flips = rng.binomial(bits, rate, 40_000)
    simulated = (golden * (1 - share) ** flips).mean()
    assert accuracy_after(rate * bits * golden * share, golden) == pytest.approx(simulated, rel=0.01)
