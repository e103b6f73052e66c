"""Flips of ones and of zeros at different rates, by counting both."""

from collections import Counter

import numpy as np
import pytest
from inject_kit import space_storing
from scipy import stats

from ftonnx.errors import UsageError
from ftonnx.inject import AsymmetricRates, fault_model_from_dict

STORED = np.random.default_rng(4).integers(0, 2**16, 500, dtype=np.uint16)
SPACE = space_storing(STORED)
BITS = (STORED[:, np.newaxis] >> np.arange(16)) & 1


@pytest.mark.parametrize(("fall", "rise"), [(0.02, 0.001), (0.001, 0.02), (0.05, 0.0), (0.0, 0.05), (0.01, 0.01)])
def test_ones_and_zeros_flip_as_often_as_their_rates_say(fall, rise):
    """Counted by what is stored, over many patterns."""
    model = AsymmetricRates(fall, rise)
    (level,) = model.levels(SPACE)
    flips = Counter()
    for repeat in range(60):
        found = model.unit_pattern(SPACE, 1, level=level, repeat=repeat, batch=3)
        flips.update(BITS[found.element, found.bit].tolist())
    ones = int(BITS.sum())
    for value, rate, bits in ((1, fall, ones), (0, rise, BITS.size - ones)):
        if rate == 0:
            assert flips[value] == 0
        else:
            assert stats.binomtest(flips[value], 60 * bits, rate).pvalue > 1e-3


def test_bits_of_one_value_flip_alike_and_independently():
    """Positions of flips to zero are uniform over the ones."""
    hits = np.zeros(BITS.shape, int)
    for repeat in range(400):
        found = AsymmetricRates(0.1, 0.01).unit_pattern(SPACE, 9, level=0.1, repeat=repeat, batch=0)
        hits[found.element, found.bit] += 1
    for value, rate in ((1, 0.1), (0, 0.01)):
        counts = hits[value == BITS]
        statistic = float(((counts - 400 * rate) ** 2).sum() / (400 * rate * (1 - rate)))
        assert 1e-3 < stats.chi2.sf(statistic, counts.size) < 1 - 1e-3


def test_rates_of_both_belong_together_as_they_are_given():
    """One number goes with all of the others; a level is the larger rate."""
    model = AsymmetricRates([1e-5, 1e-6, 1e-7], [1e-9, 1e-4, 1e-8])
    assert set(zip(model.rates_1to0, model.rates_0to1, strict=True)) == {(1e-5, 1e-9), (1e-6, 1e-4), (1e-7, 1e-8)}
    assert model.levels(SPACE) == (1e-7, 1e-5, 1e-4)
    assert fault_model_from_dict(model.to_dict()) == model
    assert AsymmetricRates([1e-5, 1e-6], 1e-8).rates_0to1 == (1e-8, 1e-8)
    assert AsymmetricRates(rates_0to1=[1e-5, 1e-6]).levels(SPACE) == (1e-6, 1e-5)


@pytest.mark.parametrize(
    ("falls", "rises", "said"),
    [
        ([1e-6, 1e-5], [1e-8, 1e-7, 1e-6], "got 3 and 2"),
        ([1e-6, 1e-5], 1e-4, "another larger rate each"),
        ([1e-6, 1e-5], [1e-5, 1e-6], "another larger rate each"),
        (1.5, 0.0, "0 to 1 was expected; got 1.5"),
        (0.1, -0.1, "0 to 1 was expected; got -0.1"),
    ],
)
def test_pairs_that_make_no_sense_are_refused(falls, rises, said):
    """In a line that says what came."""
    with pytest.raises(UsageError, match=said):
        AsymmetricRates(falls, rises)


def test_pairs_join_where_each_keeps_its_own():
    """A campaign grows by pairs; two with the same larger rate stay apart."""
    one = AsymmetricRates(1e-6, 1e-8)
    both = one.joined_with(AsymmetricRates(1e-5, 1e-7))
    assert both.has_patterns_of(one)
    assert both.levels(SPACE) == (1e-6, 1e-5)
    crossed = AsymmetricRates(1e-5, 1e-9)
    assert one.joined_with(crossed) == AsymmetricRates([1e-5, 1e-6], [1e-9, 1e-8])
    same_level = AsymmetricRates(1e-6, 1e-7)
    assert one.joined_with(same_level) is one
    assert not one.has_patterns_of(same_level)
