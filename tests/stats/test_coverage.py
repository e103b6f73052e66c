"""Simulated campaigns of known truth: how often reported intervals cover it, how often a gate passes wrongly.

Wherever an interval is given, nominal 95 % ones cover the truth in at least 94 % of all campaigns, from two fault
patterns on. Student's t, and one sample of all patterns for new images, covered as little as 12 to 60 % of these.
"""

import numpy as np
import pytest

import ftonnx
from ftonnx.campaign import Campaign, Settings
from ftonnx.campaign.inputs import open_model
from ftonnx.inject import BitFlipRates
from ftonnx.stats.betting import RoundTest, anytime_mean
from ftonnx.stats.curves import area_under, auc, critical_rate, rate_at_loss
from ftonnx.stats.differences import DIFFERENCES
from ftonnx.stats.patterns import for_new_images, independent_images, stratified_mean, stratified_values
from ftonnx.stats.pooled import linearised
from ftonnx.tasks import Segmentation

IMAGES = 128
LEAST = 0.94
SLACK = 0.015  # of a share of 400 campaigns: two standard errors of 94.9 %


def beta_binomial(rng, shape, accuracy, rho, images=IMAGES):
    """Draw correct images per pattern; each pattern draws its own accuracy, so that images correlate."""
    heap = (1 - rho) / rho
    return rng.binomial(images, rng.beta(accuracy * heap, (1 - accuracy) * heap, shape))


def harmful(rng, shape, share, jitter=0.0, golden=0.95, left=0.1):
    """Fractions of correct images where a share of the patterns ruins everything, and the others jitter a little."""
    mild = np.clip(rng.normal(golden, jitter, shape), 0, 1)
    return np.where(rng.random(shape) < share, left * rng.random(shape), mild)


def covered(estimates, truth):
    """Return the share of intervals that hold the truth; none has zero width."""
    assert all(one.high > one.low for one in estimates)
    return np.mean([one.low - 1e-12 <= truth <= one.high + 1e-12 for one in estimates])


SHAPES = [(1, 2), (2, 2), (1, 5), (2, 4), (1, 10), (3, 15), (15, 2), (40, 1), (15, 15)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("accuracy", "rho"), [(0.5, 0.3), (0.9, 0.3), (0.99, 0.3), (0.98, 0.5), (0.999, 0.3)])
def test_patterns_of_any_accuracy_are_covered(shape, accuracy, rho):
    """Where a binomial interval covers 2 to 24 % and Student's t as little as 2 %."""
    rng, sizes = np.random.default_rng(17), np.full(shape[0], IMAGES)
    golden = np.full(shape[0], IMAGES)
    found = [stratified_mean(beta_binomial(rng, shape, accuracy, rho), sizes, golden=golden) for _ in range(400)]
    assert covered(found, accuracy) >= LEAST


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("share", "jitter"), [(0.003, 0), (0.03, 0.01), (0.1, 0.01), (0.01, 0.003), (0.3, 0.05)])
def test_catastrophes_behind_mild_jitter_are_covered(shape, share, jitter):
    """Jitter makes the spread look even, so that a switch to Student's t covered 20 to 57 % with few patterns."""
    rng, batches = np.random.default_rng(18), shape[0]
    known = np.full(batches, 0.95)
    truth = harmful(np.random.default_rng(1), 400_000, share, jitter).mean()
    found = [
        stratified_values(harmful(rng, shape, share, jitter), np.full(batches, IMAGES), known=known) for _ in range(400)
    ]
    assert covered(found, truth) >= LEAST - SLACK


CLASSES = 5
ACCURACIES = {
    task.accuracy: task.main
    for task in (Segmentation(classes=CLASSES), Segmentation(classes=CLASSES, accuracy="pixel"))
}


def labelled_pixels(rng, batches):
    """Pixels of every class in every batch: of very different classes, one of which few batches have."""
    sizes = rng.integers(200, 2000, (batches, 1)) * np.array([20, 5, 2, 1, 1]) // 20
    sizes[1:, 3] = 0
    sizes[0, 3] += 5
    return sizes


def seen_pixels(rng, labels, shape, share, mild):
    """Draw right pixels by class, (batches, repeats, classes); where a pattern does harm, only class 0 is seen."""
    kept = rng.binomial(labels[:, np.newaxis], 0.9 - mild * rng.random((*shape, CLASSES)))
    ruined = rng.random(shape)[..., np.newaxis] < share
    only_first = labels[:, np.newaxis] * np.eye(1, CLASSES, dtype=np.int64)
    return np.where(ruined, only_first, kept)


def columns(hits, labels):
    """Counts of pixels by the task's names."""
    own = {f"hits{k}": hits[..., k] for k in range(CLASSES)} | {f"labels{k}": labels[:, k] for k in range(CLASSES)}
    return own | {"correct": hits.sum(axis=-1), "pixels": labels.sum(axis=-1)}


@pytest.mark.parametrize("accuracy", ACCURACIES)
@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("shape", [(1, 10), (15, 2), (30, 1)])
@pytest.mark.parametrize(("share", "mild"), [(0.003, 0.0), (0.03, 0.05), (0.3, 0.2)])
def test_ratios_of_pixels_and_their_mean_over_classes_are_covered(accuracy, early, shape, share, mild):
    """Batches weigh by what they have of a class, and one of them has nearly all of a rare one."""
    rng = np.random.default_rng(21)
    fraction = ACCURACIES[accuracy]
    labels = labelled_pixels(rng, shape[0])
    golden = columns(np.int64(0.9 * labels), labels)
    weights, known = fraction.weights(golden), fraction.by_batch(golden, golden)
    truth = 0.0
    for _ in range(10):
        many = columns(seen_pixels(rng, labels, (shape[0], 1000), share, mild), labels)
        truth += np.dot(weights, fraction.by_batch(many, golden).mean(axis=1)) / weights.sum() / 10
    found = []
    for _ in range(150):
        values = fraction.by_batch(columns(seen_pixels(rng, labels, shape, share, mild), labels), golden)
        if early:
            found.append(anytime_mean(values.T, weights, golden=known))
        else:
            found.append(stratified_values(values, weights, known=known))
    assert covered(found, truth) >= LEAST - SLACK


def confused_pixels(rng, labels, shape, share, ruin):
    """Draw sums of hits, labels and predictions by class, (batches, repeats, 3 classes).

    Where a pattern does harm, one class is seen everywhere: that of number ``ruin``, or, where it is None, any one.
    """
    all_labels = np.broadcast_to(labels[:, np.newaxis], (*shape, CLASSES))
    hits = rng.binomial(all_labels, 0.9 - 0.05 * rng.random((*shape, CLASSES)))
    lost = (all_labels - hits).sum(axis=-1, keepdims=True)
    seen = hits + (lost * rng.dirichlet(np.ones(CLASSES), shape)).astype(np.int64)
    only = np.eye(CLASSES, dtype=np.int64)[rng.integers(0, CLASSES, shape) if ruin is None else np.full(shape, ruin)]
    ruined = rng.random(shape)[..., np.newaxis] < share
    hits = np.where(ruined, only * all_labels, hits)
    seen = np.where(ruined, only * all_labels.sum(axis=-1, keepdims=True), seen)
    return np.concatenate([hits, all_labels, seen], axis=-1)


@pytest.mark.parametrize("shape", [(1, 2), (1, 10), (3, 15), (30, 1)])
@pytest.mark.parametrize(("share", "ruin"), [(0.003, 4), (0.1, None), (0.3, None)])
def test_mean_iou_is_covered(shape, share, ruin):
    """Catastrophes of one class everywhere behind mild harm; class 4 is a rare one, which they cost most."""
    rng = np.random.default_rng(22)
    mean = Segmentation(classes=CLASSES).fractions["mean_iou"]
    labels = labelled_pixels(rng, shape[0])
    golden = np.concatenate([np.int64(0.9 * labels), labels, labels], axis=-1)
    many = [confused_pixels(rng, labels, (shape[0], 2000), share, ruin).mean(axis=1).sum(axis=0) for _ in range(3)]
    truth = mean.value(np.mean(many, axis=0))
    totals = golden.sum(axis=0)
    found = []
    for _ in range(150):
        counts = confused_pixels(rng, labels, shape, share, ruin)
        found.append(linearised(counts, golden, mean, worst=mean.worst(totals), best=mean.best(totals)))
    assert covered(found, truth) >= LEAST - SLACK


def few_images(rng, images, repeats, share, mild):
    """Draw a test set of 96 images, and campaigns whose patterns are for a few of them each; return the truth too."""
    right = (rng.random(96) < 0.9).reshape(-1, images)
    shape = (len(right), repeats, images)
    kept = right[:, np.newaxis] & (rng.random(shape) >= mild)
    guessed = rng.random(shape) < 0.1
    counts = np.where(rng.random(shape[:2])[..., np.newaxis] < share, guessed, kept).sum(axis=2)
    return counts, right.sum(axis=1), share * 0.1 + (1 - share) * (1 - mild) * right.mean()


@pytest.mark.parametrize(("images", "repeats"), [(8, 1), (8, 2), (8, 10), (2, 1), (2, 10), (1, 1), (1, 4)])
@pytest.mark.parametrize(("share", "mild"), [(0.003, 0), (0.02, 0.01), (0.2, 0.01), (0.02, 0.1)])
def test_patterns_for_a_few_images_are_covered(images, repeats, share, mild):
    """Catastrophes behind mild harm, in batches of which each has its own, coarse accuracy without faults."""
    rng, hits, runs = np.random.default_rng(26), 0, 400
    for _ in range(runs):
        counts, golden, truth = few_images(rng, images, repeats, share, mild)
        hits += covered([stratified_mean(counts, np.full(len(golden), images), golden=golden)], truth)
    assert hits / runs >= LEAST - SLACK


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A campaign of the embedded model with 100 patterns per batch: its tables by rate."""
    data = ftonnx.load_dataset("digits")
    settings = Settings(repeats=100, batch_size=180, seed=3, strategy="live", threads=1)
    faults = BitFlipRates((1e-6, 1e-5, 1e-4))
    folder = tmp_path_factory.mktemp("real") / "r"
    result = Campaign(open_model("digits"), data, faults, settings=settings, results=folder).run()
    return {rate: result.recorded.table(rate) for rate in faults.rates}


@pytest.mark.parametrize("repeats", [1, 2, 4, 10])
@pytest.mark.parametrize("rate", [1e-6, 1e-5, 1e-4])
def test_campaigns_resampled_from_a_real_one_are_covered(real, rate, repeats):
    """Its patterns as the population: two batches with few repeats were covered in 48 to 90 % of the cases."""
    table = real[rate]
    counts = table.counts["correct1"]
    sizes = table.golden["n"]
    rng = np.random.default_rng(19)
    rows = np.arange(2)[:, np.newaxis]
    found = [
        stratified_mean(counts[rows, rng.integers(0, 100, (2, repeats))], sizes, golden=table.golden["correct1"])
        for _ in range(400)
    ]
    assert covered(found, counts.sum() / table.counts["n"].sum()) >= LEAST


def new_images(rng, batches, repeats, accuracy, share):
    """Draw images and patterns; a harmful pattern loses the images that are more vulnerable than it is mild."""
    right = rng.random((batches, IMAGES)) < accuracy
    loss = np.where(rng.random((batches, repeats)) < share, rng.random((batches, repeats)), 0.0)
    lost = rng.random((batches, IMAGES))[:, np.newaxis] < loss[:, :, np.newaxis]
    return (right[:, np.newaxis] & ~lost).sum(axis=2), right.sum(axis=1)


@pytest.mark.parametrize(("batches", "repeats"), [(2, 2), (3, 15), (15, 15), (40, 10), (40, 50)])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5])
def test_new_images_are_covered_although_repeats_reuse_the_same_ones(batches, repeats, share):
    """Repeats counted as new images covered 23 to 53 % without any harm."""
    rng, sizes, found = np.random.default_rng(20), np.full(batches, IMAGES), []
    for _ in range(200 if batches * repeats < 1000 else 60):
        counts, golden = new_images(rng, batches, repeats, 0.92, share)
        these = stratified_mean(counts, sizes, golden=golden)
        found.append(for_new_images(these, independent_images(golden, sizes)))
    assert covered(found, 0.92 * (1 - share / 2)) >= LEAST - 2 * SLACK


@pytest.mark.parametrize("batches", [3, 5, 15, 40])
def test_new_images_are_covered_where_those_of_a_batch_are_alike(batches):
    """Batches whose accuracy varies by 5 points more than chance, such as frames of one scene each."""
    rng, sizes, found = np.random.default_rng(21), np.full(batches, IMAGES), []
    for _ in range(300):
        golden = rng.binomial(IMAGES, np.clip(rng.normal(0.85, 0.05, batches), 0, 1))
        these = stratified_mean(np.repeat(golden[:, np.newaxis], 10, axis=1), sizes, golden=golden)
        found.append(for_new_images(these, independent_images(golden, sizes)))
    assert covered(found, 0.85) >= LEAST - SLACK


@pytest.mark.parametrize("shape", [(1, 2), (2, 2), (1, 10), (3, 15), (15, 15)])
@pytest.mark.parametrize(("mine", "its", "both"), [(0, 0, 0), (0.03, 0, 0), (0.02, 0.02, 0.1), (0.3, 0.05, 0)])
def test_differences_of_models_are_covered(shape, mine, its, both):
    """Patterns that ruin one model, the other, or both at once; the models differ by 3 points without faults."""

    def draw(rng, size):
        at_once = rng.random(size) < both
        sides = (harmful(rng, size, mine, 0.01, 0.95), harmful(rng, size, its, 0.01, 0.92))
        return [np.where(at_once, 0.1, side) for side in sides]

    a, b = draw(np.random.default_rng(2), 400_000)
    truth = a.mean() - b.mean()
    rng, batches, found = np.random.default_rng(22), shape[0], []
    for _ in range(300):
        a, b = draw(rng, shape)
        known = np.full(batches, 0.03)
        found.append(stratified_values(a - b, np.full(batches, IMAGES), known=known, span=DIFFERENCES))
    assert covered(found, truth) >= LEAST - SLACK


@pytest.mark.parametrize("shape", [(1, 2), (2, 2), (1, 10), (3, 10), (15, 15)])
@pytest.mark.parametrize("shares", [(0.001, 0.005, 0.02, 0.05), (0.005, 0.05, 0.3, 0.9), (0, 0, 0, 0.03)])
def test_areas_and_critical_rates_are_covered_as_the_rates_are(shape, shares):
    """Harm that was not drawn has the same room in them; resampled patterns knew nothing of it."""
    rng, rates, sizes = np.random.default_rng(23), [1e-7, 1e-6, 1e-5, 1e-4], np.full(shape[0], IMAGES)
    truth = [0.95 * (1 - share) + 0.05 * share for share in shares]
    crossing = place(rate_at_loss(rates, truth, 0.95, 0.05))
    areas, crossed, runs = [], 0, 300
    for _ in range(runs):
        curve = [
            stratified_values(harmful(rng, shape, share), sizes, known=np.full(shape[0], 0.95)) for share in shares
        ]
        areas.append(area_under(rates, curve))
        found = critical_rate(rates, curve, 0.95, 0.05)
        crossed += place(found.low) <= crossing * (1 + 1e-9) and crossing <= place(found.high) * (1 + 1e-9)
    assert covered(areas, auc(rates, truth)) >= LEAST
    assert crossed / runs >= LEAST


def place(rate):
    """Return a rate that compares right with others of the grid."""
    return {"<=": 1e-9, "=": rate.rate, ">": 1.0}[rate.relation]


def until_precise(draw, sizes, precision, most, golden=None):
    """Return the interval at which a campaign ends that looks at ever larger distances."""
    rounds, look = [], 1
    while len(rounds) < most:
        rounds.append(draw())
        if len(rounds) >= look:
            look = int(1.15 * len(rounds)) + 1
            found = anytime_mean(np.array(rounds), sizes, golden=golden)
            if (found.high - found.low) / 2 <= precision:
                break
    return found


@pytest.mark.parametrize("accuracy", [0.9, 0.22])
@pytest.mark.parametrize("batches", [1, 3])
def test_an_interval_that_is_precise_enough_holds_when_it_is(accuracy, batches):
    """At the time a campaign ends because of it; the mean lies inside, and few campaigns end far too early."""
    rng, sizes, found = np.random.default_rng(24), np.full(batches, IMAGES), []
    for _ in range(60):
        found.append(until_precise(lambda: beta_binomial(rng, batches, accuracy, 0.3) / IMAGES, sizes, 0.08, 400))
    assert covered(found, accuracy) >= LEAST
    assert all(one.low < one.mean < one.high for one in found)


@pytest.mark.parametrize(("accuracy", "rho"), [(0.9, 0.3), (0.5, 0.5)])
def test_an_interval_of_many_patterns_a_round_holds_when_it_is_precise_enough(accuracy, rho):
    """45 batches of 8 images, the last of 6, so that a round says much and few are run."""
    rng, sizes, found = np.random.default_rng(27), np.array([8] * 44 + [6]), []
    for _ in range(40):
        found.append(until_precise(lambda: beta_binomial(rng, 45, accuracy, rho, sizes) / sizes, sizes, 0.05, 400))
    assert covered(found, accuracy) >= LEAST


@pytest.mark.parametrize("harm", [0.0, 0.02, 0.3])
def test_an_interval_that_knows_the_fault_free_run_holds_when_it_is_precise_enough(harm):
    """45 batches of 8 images, each as right as it is without faults, until a harmful pattern leaves a tenth of it."""
    rng, sizes, found = np.random.default_rng(29), np.full(45, 8), []
    golden = rng.binomial(8, 0.85, 45) / 8

    def draw():
        return golden * np.where(rng.random(45) < harm, 0.1, 1.0)

    for _ in range(60):
        found.append(until_precise(draw, sizes, 0.02, 200, golden=golden))
    assert covered(found, golden.mean() * (1 - 0.9 * harm)) >= LEAST


@pytest.mark.parametrize("harm", [0.02, 0.3])
def test_a_gate_that_knows_the_fault_free_run_is_wrong_in_at_most_5_percent(harm):
    """At exactly the threshold, on both sides, looking after each of 30 rounds of 45 batches."""
    rng, sizes, runs = np.random.default_rng(30), np.full(45, 8), 100
    golden = rng.binomial(8, 0.85, 45) / 8
    threshold = golden.mean() * (1 - 0.9 * harm)
    wrong = np.zeros(2)
    for _ in range(runs):
        tests = [RoundTest(threshold, side, sizes, golden=golden) for side in ("above", "below")]
        for _ in range(30):
            values = golden * np.where(rng.random(45) < harm, 0.1, 1.0)
            for test in tests:
                test.add(values)
        wrong += [test.p_value <= 0.05 for test in tests]
    assert wrong.max() / runs <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / runs)


def test_fewer_images_a_pattern_need_fewer_passes_over_the_data():
    """Of the same 360 images whose answers correlate by one half: a tenth of them until it is precise enough."""
    rng, passes = np.random.default_rng(28), {}
    for images in (120, 8):
        batches = 360 // images
        sizes, rounds = np.full(batches, images), []
        while not rounds or np.subtract(*anytime_ends(rounds, sizes)) > 2 * 0.05:
            rounds.append(beta_binomial(rng, batches, 0.8, 0.5, images) / images)
        passes[images] = len(rounds)
    assert passes[8] <= passes[120] / 8


def anytime_ends(rounds, sizes):
    """Return the upper and the lower limit."""
    found = anytime_mean(np.array(rounds), sizes)
    return found.high, found.low


@pytest.mark.parametrize(("accuracy", "rho"), [(0.9, 0.3), (0.98, 0.5)])
def test_a_model_exactly_at_the_threshold_passes_or_fails_in_at_most_5_percent_of_gates(accuracy, rho):
    """At the time the gate decides, looking after every one of 60 rounds of 3 batches."""
    rng, sizes, runs = np.random.default_rng(25), np.full(3, IMAGES), 150
    wrong = {"above": 0, "below": 0}
    for _ in range(runs):
        tests = {side: RoundTest(accuracy, side, sizes) for side in wrong}
        for _ in range(60):
            values = beta_binomial(rng, 3, accuracy, rho) / IMAGES
            for test in tests.values():
                test.add(values)
        for side, test in tests.items():
            wrong[side] += test.p_value <= 0.05
    assert max(wrong.values()) / runs <= 0.05


def test_counting_images_as_independent_would_fail():
    """45 patterns of 128 images: a binomial interval covers about 24 % (the table of docs/statistics.md)."""
    rng = np.random.default_rng(19)
    means = beta_binomial(rng, (2000, 45), 0.9, 0.3).mean(axis=1) / IMAGES
    half = 1.96 * np.sqrt(means * (1 - means) / (45 * IMAGES))
    assert np.mean(np.abs(means - 0.9) <= half) == pytest.approx(0.24, abs=0.03)
