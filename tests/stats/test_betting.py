"""Betting on rounds of fault patterns: against products written out, and against simulated campaigns of known truth."""

import math

import numpy as np
import pytest

from ftonnx.errors import UsageError
from ftonnx.stats.betting import RoundTest, anytime_limits, anytime_mean, parse_question

STAKES = (0.02, 0.05, 0.15, 0.4, 1.0)
PURSES = (0.05, 0.1, 0.15, 0.25, 0.45)
SIZES = np.array([128, 128, 104])
ROUNDS = np.array([[0.9, 1.0, 0.8], [0.95, 0.0, 0.97], [1.0, 1.0, 0.9]])


def wealths(rounds, m, question, sizes=SIZES):
    """The wealth after each round of a gambler who bets on a mean above m, one pattern after the other."""
    wealth, found, singles = list(PURSES), [], []
    for values in rounds:
        single = list(PURSES)
        for value, size in zip(values, sizes, strict=True):
            for place, stake in enumerate(STAKES):
                factor = 1 + stake * size / max(sizes) * (value - m) / m
                wealth[place] *= factor
                single[place] *= factor
        singles.append(sum(single))
        found.append(sum(wealth) if question == "these-images" else sum(singles) / len(singles))
    return found


def filled(test, rounds):
    """Return the test after it has seen the rounds."""
    for values in rounds:
        test.add(values)
    return test


@pytest.mark.parametrize("question", ["these-images", "new-images"])
@pytest.mark.parametrize("m", [0.3, 0.6, 0.9])
def test_the_p_value_is_one_over_the_largest_wealth(m, question):
    """Five stakes, scaled by the batch's images; rounds are multiplied, or averaged for new images."""
    test = filled(RoundTest(m, "above", SIZES, question=question), ROUNDS)
    assert test.p_value == pytest.approx(1 / max(1.0, *wealths(ROUNDS, m, question)))
    mirrored = filled(RoundTest(1 - m, "below", SIZES, question=question), 1 - ROUNDS)
    assert mirrored.p_value == pytest.approx(test.p_value)
    assert test.rounds == 3


GOLDEN = np.array([1.0, 0.75, 0.875])


def differences(rounds):
    """Return what the second gambler bets on, in [0, 1], and the mean there of a mean fraction."""
    zero = GOLDEN - GOLDEN.max()
    width = 1 + GOLDEN.max() - GOLDEN.min()
    mean_zero = (zero * SIZES).sum() / SIZES.sum()
    return (rounds - zero) / width, lambda mean: (mean - mean_zero) / width


@pytest.mark.parametrize("m", [0.5, 0.6, 0.85])
def test_a_second_gambler_bets_on_differences_to_the_fault_free_run(m):
    """Each has half of the wealth; on both sides."""
    shifted, of_mean = differences(ROUNDS)
    both = [
        (one + other) / 2
        for one, other in zip(
            wealths(ROUNDS, m, "these-images"), wealths(shifted, of_mean(m), "these-images"), strict=True
        )
    ]
    test = filled(RoundTest(m, "above", SIZES, golden=GOLDEN), ROUNDS)
    assert test.p_value == pytest.approx(1 / max(1.0, *both))
    mirrored = filled(RoundTest(1 - m, "below", SIZES, golden=1 - GOLDEN), 1 - ROUNDS)
    assert mirrored.p_value == pytest.approx(test.p_value)


def test_limits_with_the_fault_free_run_are_just_rejected():
    """By the average of both gamblers' wealth."""
    rounds = np.repeat(ROUNDS, 5, axis=0)
    low, high = anytime_limits(rounds, SIZES, 0.05, golden=GOLDEN)

    def wealth(mean):
        shifted, of_mean = differences(rounds)
        other = wealths(shifted, of_mean(mean), "these-images")[-1] if of_mean(mean) > 0 else math.inf
        return (wealths(rounds, mean, "these-images")[-1] + other) / 2

    assert wealth(low) >= 20 > wealth(low + 1e-5)
    mirrored = anytime_limits(1 - rounds, SIZES, 0.05, golden=1 - GOLDEN)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-6)


def test_batches_that_fare_alike_without_faults_leave_everything_as_it_is():
    """Then both gamblers bet on the same."""
    rounds = np.repeat(ROUNDS, 4, axis=0)
    assert anytime_limits(rounds, SIZES, 0.05, golden=np.full(3, 0.9)) == anytime_limits(rounds, SIZES, 0.05)


def test_where_faults_do_no_harm_the_limits_are_narrower():
    """Batches of eight images differ by themselves; the differences to the fault-free run do not."""
    golden = np.random.default_rng(3).binomial(8, 0.9, 45) / 8
    rounds = np.tile(golden, (10, 1))
    sizes = np.full(45, 8)
    plain = np.subtract(*anytime_limits(rounds, sizes, 0.05)[::-1])
    known = np.subtract(*anytime_limits(rounds, sizes, 0.05, golden=golden)[::-1])
    assert known < 0.6 * plain


@pytest.mark.parametrize("question", ["these-images", "new-images"])
def test_limits_are_the_thresholds_that_are_just_rejected(question):
    """Inside by a hair they are not; on both sides."""
    rounds = np.repeat(ROUNDS, 5, axis=0)
    low, high = anytime_limits(rounds, SIZES, 0.05, question=question)
    assert 0 < low < high < 1
    assert wealths(rounds, low, question)[-1] >= 20
    assert wealths(rounds, low + 1e-5, question)[-1] < 20
    assert wealths(1 - rounds, 1 - high, question)[-1] >= 20
    assert wealths(1 - rounds, 1 - high + 1e-5, question)[-1] < 20


def test_the_mean_weighs_batches_by_their_images_and_lies_within_its_interval():
    """Also where all values are 1, and where early rounds were better than later ones."""
    found = anytime_mean(ROUNDS, SIZES)
    assert found.mean == pytest.approx(sum(ROUNDS.mean(axis=0) * SIZES) / SIZES.sum())
    assert found.low <= found.mean <= found.high
    perfect = anytime_mean(np.ones((5, 3)), SIZES)
    assert (perfect.mean, perfect.high) == (1.0, 1.0)
    assert 0 < perfect.low < 1


def test_a_fluke_early_on_does_not_narrow_the_interval_for_good():
    """Forty good rounds, then forty bad ones: the mean of all lies well inside, not at an edge that flukes left."""
    found = anytime_mean(np.concatenate([np.ones((40, 1)), np.zeros((40, 1))]), np.array([100]))
    assert found.low < found.mean - 0.1
    assert found.high > found.mean + 0.1


@pytest.mark.parametrize("threshold", [0.0, 1.0, math.nan])
def test_a_threshold_at_the_ends_is_refused(threshold):
    """Every mean lies beyond it, or none does."""
    with pytest.raises(UsageError, match="threshold between 0 and 1"):
        RoundTest(threshold, "above", SIZES)


def test_values_outside_the_unit_interval_and_unknown_targets_are_refused():
    """They would break the guarantee."""
    with pytest.raises(UsageError, match=r"values in \[0, 1\]"):
        RoundTest(0.5, "above", SIZES).add(np.array([0.5, 1.01, 0.2]))
    with pytest.raises(UsageError, match="use these-images or new-images"):
        parse_question("images")


def beta_binomial(rng, rounds, means, rho=0.3, images=128):
    """Fractions of correct images, (rounds, batches); images of a pattern correlate."""
    heap = (1 - rho) / rho
    accuracy = rng.beta(means * heap, (1 - means) * heap, (rounds, len(means)))
    return rng.binomial(images, accuracy) / images


@pytest.mark.parametrize(("batches", "rounds", "spread"), [(1, 150, 0.0), (3, 100, 0.1), (40, 15, 0.1)])
def test_test_set_means_at_the_threshold_are_wrongly_called_in_less_than_5_percent(batches, rounds, spread):
    """Batches of different difficulty, always the same ones; looked at after every round, on both sides."""
    rng, wrong, runs = np.random.default_rng(31), np.zeros(2), 300
    means = np.clip(0.85 + spread * rng.standard_normal(batches), 0.3, 0.98)
    sizes = np.full(batches, 128)
    for _ in range(runs):
        tests = [RoundTest(float(means.mean()), side, sizes) for side in ("above", "below")]
        for values in beta_binomial(rng, rounds, means):
            for test in tests:
                test.add(values)
        wrong += [test.p_value <= 0.05 for test in tests]
    assert (wrong / runs < 0.05).all()


def test_population_means_at_the_threshold_are_wrongly_called_in_less_than_5_percent():
    """Batches are drawn once and repeated; multiplying rounds would learn these batches by heart and call 10 %."""
    rng, runs, sizes = np.random.default_rng(32), 200, np.full(40, 128)
    wrong = {"new-images": 0, "these-images": 0}
    for _ in range(runs):
        means = np.clip(rng.beta(9, 1, 40), 1e-6, 1 - 1e-6)
        rounds = beta_binomial(rng, 40, means)
        for question in wrong:
            wrong[question] += filled(RoundTest(0.9, "above", sizes, question=question), rounds).p_value <= 0.05
    assert wrong["new-images"] / runs < 0.05
    assert wrong["these-images"] / runs > 0.05


@pytest.mark.parametrize(("truth", "most"), [(0.97, 80), (0.999, 45)])
def test_a_clear_case_is_decided_within_few_patterns(truth, most):
    """At least 0.9 in the median of 60 runs, whether they are met by 3 batches or by 15."""
    rng = np.random.default_rng(33)
    for batches in (3, 15):
        needed = []
        for _ in range(60):
            test = RoundTest(0.9, "above", np.full(batches, 128))
            while test.p_value > 0.05:
                test.add(beta_binomial(rng, 1, np.full(batches, truth))[0])
            needed.append(test.rounds * batches)
        assert np.median(needed) <= most


def test_an_interval_covers_at_all_times_together_and_is_not_much_wider_than_a_fixed_one():
    """Within a factor of 2 of Student's t after 100 rounds of 3 batches."""
    rng, runs, held, widths = np.random.default_rng(34), 60, 0, []
    means, sizes = np.array([0.95, 0.9, 0.8]), np.full(3, 128)
    for _ in range(runs):
        rounds = beta_binomial(rng, 100, means)
        looks = [anytime_mean(rounds[:n], sizes) for n in (1, 3, 10, 30, 60, 100)]
        held += all(one.low <= means.mean() <= one.high for one in looks)
        student = 2 * 1.96 * math.sqrt(sum(rounds.var(axis=0, ddof=1)) / 9 / 100)
        widths.append((looks[-1].high - looks[-1].low) / student)
    assert held / runs >= 0.95
    assert np.mean(widths) < 2
