"""Stuck bits, against bits that numpy sets in the stored bytes."""

from collections import Counter

import numpy as np
import pytest
from inject_kit import space_of, space_storing
from onnx_zoo import small_cnn
from scipy import stats

from ftonnx.errors import UsageError
from ftonnx.inject import FaultSpace, StuckCount, StuckRates, faulty_model, unit_rng

STORED = np.array([0b01010101, 0b11110000, 0, 255], np.uint8)
SPACE = space_storing(STORED)
ONES = {(element, bit) for element, value in enumerate(STORED.tolist()) for bit in range(8) if value >> bit & 1}
EVERY = {(element, bit) for element in range(4) for bit in range(8)}


def bits_of(faults):
    """Return flips of the only tensor as a set of (element, bit)."""
    return set(zip(faults.element.tolist(), faults.bit.tolist(), strict=True))


@pytest.mark.parametrize(("at", "flipped"), [(0, ONES), (1, EVERY - ONES)])
def test_where_every_bit_is_stuck_those_of_the_other_value_flip(at, flipped):
    """At rate 1 nothing is left to chance."""
    assert bits_of(StuckRates(1.0, at).draw(SPACE, np.random.default_rng(0))) == flipped
    assert bits_of(StuckCount(32, at).draw(SPACE, np.random.default_rng(0))) == flipped


@pytest.mark.parametrize("at", [0, 1])
def test_a_file_with_stuck_bits_holds_what_numpy_writes_there(at):
    """Stuck bits are set or cleared in the words of a float tensor, whatever they were."""
    model = small_cnn()
    space = FaultSpace.of(model, format="ieee", bits=range(22))
    faults = StuckRates(1.0, at).draw(space, np.random.default_rng(1))
    found = faulty_model(model, space, faults)
    mask = np.uint32((1 << 22) - 1)
    for before, after in zip(space.tensors(model), space.tensors(found), strict=True):
        words, stuck = (np.frombuffer(tensor.raw_data, np.uint32) for tensor in (before, after))
        assert (stuck == (words | mask if at else words & ~mask)).all()


def test_half_of_the_stuck_bits_flip_where_either_value_is_as_likely():
    """Of each bit, whichever it stores."""
    hits = Counter()
    for repeat in range(3000):
        hits.update(bits_of(StuckRates(0.4).unit_pattern(SPACE, 5, level=0.4, repeat=repeat, batch=0)))
    spread = np.array([hits[place] for place in sorted(EVERY)]) - 3000 * 0.2
    statistic = float((spread**2).sum() / (3000 * 0.2 * 0.8))
    assert 1e-3 < stats.chi2.sf(statistic, 32) < 1 - 1e-3


def test_injections_of_one_stuck_bit_are_quiet_as_often_as_it_is_stored():
    """They have no flip, and are injections all the same."""
    model = StuckCount(1, 1)
    found = [len(model.unit_pattern(SPACE, 2, level=1 / 32, repeat=i, batch=0)) for i in range(2000)]
    assert set(found) == {0, 1}
    assert stats.binomtest(found.count(0), 2000, len(ONES) / 32).pvalue > 1e-3
    assert not model.is_single_bit
    assert not model.is_an_upset


def test_stuck_bits_do_not_depend_on_the_value_at_which_they_are():
    """A pattern at 0 and one at 1 are the two halves of the same stuck bits."""
    low, high = (StuckRates(0.3, at).draw(SPACE, unit_rng(1, 0.3, 0, 0, 2)) for at in (0, 1))
    assert bits_of(low).isdisjoint(bits_of(high))
    assert bits_of(low) <= ONES
    assert bits_of(high) <= EVERY - ONES
    assert bits_of(low)
    assert bits_of(high)


def test_what_makes_no_sense_is_refused():
    """A value that no bit has, more bits than there are, and a space that knows no stored bits."""
    with pytest.raises(UsageError, match="stuck at 0, 1 or both were expected, got 'boht'; did you mean both"):
        StuckRates(1e-6, "boht")
    with pytest.raises(UsageError, match="only 32 can be stuck"):
        StuckCount(33).levels(SPACE)
    with pytest.raises(UsageError, match="made without a model"):
        StuckRates(1.0).draw(space_of((4, np.float32)), np.random.default_rng(0))


def test_rates_join_where_the_value_is_the_same():
    """So that a campaign grows by rates, and is paired with its like alone."""
    both = StuckRates(1e-6).joined_with(StuckRates(1e-7))
    assert both == StuckRates((1e-7, 1e-6))
    assert both.has_patterns_of(StuckRates(1e-7))
    other = StuckRates(1e-7, 0)
    assert not both.has_patterns_of(other)
    assert both.joined_with(other) is both
