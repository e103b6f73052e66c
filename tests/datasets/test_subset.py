"""Stratified subsets: quotas by largest remainder, images drawn at random, the same for the same seed."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftonnx.datasets import as_dataset, load_dataset, stratified_subset
from ftonnx.datasets.subset import largest_remainder
from ftonnx.errors import UsageError


def naive_quotas(counts, total):
    """Share seats one at a time with fractions; of equal remainders the first class wins."""
    exact = [Fraction(count * total, sum(counts)) for count in counts]
    seats = [share.numerator // share.denominator for share in exact]
    order = sorted(range(len(counts)), key=lambda k: (seats[k] - exact[k], k))
    for k in order[: total - sum(seats)]:
        seats[k] += 1
    return seats


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 2000), min_size=1, max_size=40).filter(any), st.data())
def test_quotas_are_those_of_exact_arithmetic(counts, data):
    """They sum up, no class gives more than it has, and ties go to the first class."""
    total = data.draw(st.integers(1, sum(counts)))
    got = largest_remainder(np.array(counts, np.int64), total)
    assert got.tolist() == naive_quotas(counts, total)
    assert got.sum() == total
    assert (got <= counts).all()


def test_the_papers_4800_images_of_1000_classes_are_4_or_5_each():
    """4.8 per class (reference P11)."""
    quotas = largest_remainder(np.full(1000, 1280, np.int64), 4800)
    assert quotas.sum() == 4800
    assert sorted(set(quotas.tolist())) == [4, 5]
    assert np.count_nonzero(quotas == 5) == 800


def numbered(counts):
    """Return a data set whose images hold their own number, and its labels in mixed order."""
    labels = np.random.default_rng(9).permutation(np.repeat(np.arange(len(counts)), counts))
    images = np.arange(len(labels), dtype=np.float32).reshape(-1, 1, 1, 1)
    return as_dataset([(images, labels)], name="numbered"), labels


def numbers(data, size=7):
    """Return the numbers of the images of a data set."""
    return np.concatenate([images.ravel() for images, _ in data.batches(size)]).astype(int).tolist()


def test_a_subset_holds_every_class_in_its_share_and_images_with_their_own_labels():
    """In their old order, none twice."""
    data, labels = numbered([10, 20, 70])
    subset = stratified_subset(data, 8, seed=1)
    chosen = numbers(subset)
    assert len(subset) == len(chosen) == 8
    assert chosen == sorted(set(chosen))
    assert subset.labels.tolist() == labels[chosen].tolist()
    assert subset.counts().tolist() == [1, 2, 5]
    assert (subset.classes, subset.sample_shape, subset.name) == (3, (1, 1, 1), "numbered")
    for size in (1, 3, 100):
        assert numbers(subset, size) == chosen
        assert np.concatenate([y for _, y in subset.batches(size)]).tolist() == labels[chosen].tolist()


def test_the_same_seed_draws_the_same_images_and_another_one_others():
    """Also by fingerprint; a seed may be several numbers, such as (seed, iteration)."""
    data, _ = numbered([40, 40])
    again = [stratified_subset(data, 20, seed=(3, 1)) for _ in range(2)]
    assert numbers(again[0]) == numbers(again[1])
    assert again[0].fingerprint == again[1].fingerprint
    others = [stratified_subset(data, 20, seed=seed) for seed in (3, 1, (3, 2), (4, 1))]
    assert len({tuple(numbers(each)) for each in (again[0], *others)}) == 5
    assert len({each.fingerprint for each in (again[0], *others)}) == 5


def test_every_image_of_a_class_is_equally_likely():
    """2000 draws of 2 of 5: each image 800 times, give or take five standard deviations."""
    data, labels = numbered([5, 5])
    times = np.bincount([n for seed in range(2000) for n in numbers(stratified_subset(data, 4, seed=seed))])
    assert len(labels) == 10
    assert np.abs(times - 800).max() < 5 * (2000 * 0.4 * 0.6) ** 0.5


def test_a_subset_of_everything_is_the_data_itself():
    """As many images as there are, or more."""
    data, _ = numbered([3, 4])
    assert stratified_subset(data, 7, seed=0) is data
    assert stratified_subset(data, 8, seed=0) is data


def test_the_embedded_digits_can_be_drawn_from():
    """Shares to one image, pixels those of the whole set."""
    data = load_dataset("digits", split="val")
    subset = stratified_subset(data, 100, seed=0)
    assert np.abs(subset.counts() - data.counts() * 100 / len(data)).max() < 1
    (whole, _), (part, labels) = next(data.batches(len(data))), next(subset.batches(100))
    for image, label in zip(part, labels, strict=True):
        same = np.flatnonzero((whole == image).all(axis=(1, 2, 3)))
        assert label in data.labels[same]


@pytest.mark.parametrize("size", [0, -3])
def test_fewer_than_one_image_is_refused(size):
    """What came is said."""
    with pytest.raises(UsageError, match=f"at least 1 image, got {size}"):
        stratified_subset(numbered([3, 4])[0], size, seed=0)


@pytest.mark.parametrize("seed", [-1, (0, -1)])
def test_a_negative_seed_is_refused(seed):
    """Generators of numpy take none."""
    with pytest.raises(UsageError, match="seed of 0 or more"):
        stratified_subset(numbered([3, 4])[0], 2, seed=seed)


def test_some_batches_of_a_subset_are_those_among_all():
    """Read one by one from a data set that is read in any order."""
    subset = stratified_subset(load_dataset("digits"), 50, seed=3)
    assert subset.any_order
    every = list(subset.batches(8))
    for number, (images, labels) in zip((1, 6), subset.batches(8, [6, 1]), strict=True):
        np.testing.assert_array_equal(images, every[number][0])
        np.testing.assert_array_equal(labels, every[number][1])
