"""Simulated campaigns of known truth: how often reported intervals cover it, how often a gate passes wrongly.

The images of a pattern are beta-binomial: each pattern draws its own accuracy, so that images correlate.
"""

import numpy as np
import pytest

from ftonnx.campaign.sequential import BettingSequence, MeanTest
from ftonnx.campaign.statistics import clustered_mean, stratified_mean

IMAGES = 128


def patterns(rng, shape, accuracy, rho, images=IMAGES):
    """Draw correct images per pattern."""
    heap = (1 - rho) / rho
    return rng.binomial(images, rng.beta(accuracy * heap, (1 - accuracy) * heap, shape))


def coverage(draw, estimate, truth, runs):
    """Return how often an interval of ``estimate(draw())`` covers ``truth``, and the intervals' mean width."""
    found = [estimate(draw()) for _ in range(runs)]
    assert all(one.high > one.low for one in found)
    return np.mean([one.low <= truth <= one.high for one in found]), np.mean([one.high - one.low for one in found])


@pytest.mark.parametrize(
    ("batches", "repeats", "images", "accuracy", "rho", "least", "width"),
    [
        (1, 5, 10_000, 0.5, 0.3, 0.93, 0.64),
        (3, 15, IMAGES, 0.9, 0.3, 0.95, 0.133),
        (40, 10, IMAGES, 0.9, 0.3, 0.95, 0.037),
        (3, 15, IMAGES, 0.99, 0.3, 0.95, 0.086),
        (1, 10, IMAGES, 0.98, 0.5, 0.95, 0.323),
        (15, 15, IMAGES, 0.99, 0.3, 0.95, 0.023),
    ],
)
def test_nominal_95_percent_intervals_cover_as_often_as_they_say(batches, repeats, images, accuracy, rho, least, width):
    """The cases of docs/statistics.md, where a binomial interval covers 2 to 24 % and t as little as 44 %."""
    rng, sizes = np.random.default_rng(17), np.full(batches, images)
    covered, found = coverage(
        lambda: patterns(rng, (batches, repeats), accuracy, rho, images),
        lambda counts: stratified_mean(counts, sizes),
        accuracy,
        400,
    )
    assert covered >= least
    assert found == pytest.approx(width, rel=0.1)
    covered, found = coverage(
        lambda: patterns(rng, batches * repeats, accuracy, rho, images),
        lambda counts: clustered_mean(counts, np.full(batches * repeats, images)),
        accuracy,
        400,
    )
    assert covered >= least
    assert found == pytest.approx(width, rel=0.15)


@pytest.mark.parametrize("harmful", [0.003, 0.02, 0.1, 0.5])
def test_campaigns_of_harmful_and_harmless_patterns_are_covered(harmful):
    """Batches of different golden accuracy; a harmful pattern leaves a random share of it, the others all of it."""
    rng, images = np.random.default_rng(18), 1000
    golden = rng.integers(800, 1000, 20)

    def draw():
        left = np.where(rng.random((20, 10)) < harmful, rng.random((20, 10)), 1.0)
        return np.rint(golden[:, np.newaxis] * left).astype(int)

    truth = golden.mean() / images * (1 - harmful / 2)
    covered, _ = coverage(draw, lambda counts: stratified_mean(counts, np.full(20, images)), truth, 400)
    assert covered >= 0.95


def test_counting_images_as_independent_would_fail():
    """45 patterns of 128 images: a binomial interval covers about 24 % (the table of docs/statistics.md)."""
    rng = np.random.default_rng(19)
    means = patterns(rng, (2000, 45), 0.9, 0.3).mean(axis=1) / IMAGES
    half = 1.96 * np.sqrt(means * (1 - means) / (45 * IMAGES))
    assert np.mean(np.abs(means - 0.9) <= half) == pytest.approx(0.24, abs=0.03)


@pytest.mark.parametrize(("threshold", "rho"), [(0.5, 0.3), (0.9, 0.3), (0.98, 0.5), (0.99, 0.3)])
def test_a_model_exactly_at_the_threshold_passes_in_less_than_5_percent_of_gates(threshold, rho):
    """Looking after every one of 200 patterns; likewise on the other side, for a failure wrongly called."""
    rng, passed, failed, runs = np.random.default_rng(20), 0, 0, 200
    for _ in range(runs):
        above, below = MeanTest(threshold, "above", 0.05), MeanTest(threshold, "below", 0.05)
        for value in patterns(rng, 200, threshold, rho) / IMAGES:
            above.add(value)
            below.add(value)
        passed += above.rejected
        failed += below.rejected
    assert passed / runs < 0.05
    assert failed / runs < 0.05


def test_a_confidence_sequence_covers_at_all_times_together():
    """Looked at after each of 150 patterns of accuracy .9."""
    rng, held, runs = np.random.default_rng(21), 0, 100
    for _ in range(runs):
        sequence, always = BettingSequence(grid=400), True
        for value in patterns(rng, 150, 0.9, 0.3) / IMAGES:
            sequence.add(value)
            low, high = sequence.interval()
            always &= low <= 0.9 <= high
        held += always
    assert held / runs >= 0.95
