"""Histories of upsets, against a loop over time steps and bits, and by what is exact of them."""

import math
from collections import Counter

import numpy as np
import pytest
from inject_kit import space_of
from scipy import stats

from ftonnx.errors import UsageError
from ftonnx.inject import Accumulation

SPACE = space_of((3, np.int8), (2, np.int16))
"""24 + 32 bits."""

TIMES = (6.0, 12.0, 48.0)
PER_DAY = 0.2


def positions(faults):
    """Return flips as positions in the space, by counting up."""
    start = {0: 0, 1: 24}
    width = {0: 8, 1: 16}
    rows = zip(faults.target.tolist(), faults.element.tolist(), faults.bit.tolist(), strict=True)
    return {start[t] + e * width[t] + b for t, e, b in rows}


def histories(model, count, seed=1):
    """Return the pattern of each history at each time."""
    levels = model.levels(SPACE)
    return [
        [positions(model.unit_pattern(SPACE, seed, level=level, repeat=i, batch=0)) for level in levels]
        for i in range(count)
    ]


def stepped(sizes, shares, count, seed, steps_per_hour=20):
    """Do the same the naive way: in every short step each bit begins an upset with a small probability."""
    rng = np.random.default_rng(seed)
    ends = [24] * 24 + [56] * 32
    found = []
    for _ in range(count):
        flipped = np.zeros(56, bool)
        seen = []
        done = 0
        for hours in TIMES:
            steps = round((hours - done) * steps_per_hour)
            done = hours
            begun = rng.random((steps, 56)) < PER_DAY / 24 / steps_per_hour
            for bit in np.nonzero(begun)[1].tolist():
                flipped[bit : min(bit + rng.choice(sizes, p=shares), ends[bit])] ^= True
            seen.append(set(np.flatnonzero(flipped).tolist()))
        found.append(seen)
    return found


@pytest.mark.parametrize(("sizes", "shares"), [([1], [1.0]), ([1, 3], [0.6, 0.4])])
def test_histories_are_like_those_of_a_loop_over_time(sizes, shares):
    """Numbers of flips at each time, and of bits that changed in between, have the same distribution."""
    text = ",".join(f"{size}:{share}" for size, share in zip(sizes, shares, strict=True))
    ours = histories(Accumulation(TIMES, PER_DAY, text), 1500)
    naive = stepped(sizes, shares, 1500, seed=2)
    measures = (
        lambda h: len(h[0]),
        lambda h: len(h[2]),
        lambda h: len(h[0] ^ h[1]),
        lambda h: len(h[1] & h[2]),
        lambda h: min(h[2], default=-1),
    )
    for measure in measures:
        cells = Counter(map(measure, ours)), Counter(map(measure, naive))
        common = [key for key in cells[0] | cells[1] if cells[0][key] + cells[1][key] >= 20]
        table = np.array([[cell[key] for key in common] for cell in cells])
        assert stats.chi2_contingency(table).pvalue > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [[1], [1, 3]])
def test_the_share_of_flipped_bits_is_the_level(sizes):
    """Of each bit that is not near the start of a tensor: half of 1 - exp(-2 L m t)."""
    text = ",".join(f"{size}:{1 / len(sizes)!r}" for size in sizes)
    model = Accumulation(TIMES, PER_DAY, text)
    mean = sum(sizes) / len(sizes)
    expected = [(1 - math.exp(-2 * PER_DAY / 24 * mean * hours)) / 2 for hours in TIMES]
    assert model.levels(SPACE) == pytest.approx(expected, rel=1e-12)
    inner = [bit for bit in range(56) if bit not in (0, 1, 24, 25)]
    count = 1500
    found = histories(model, count, seed=3)
    for number, rate in enumerate(expected):
        hits = Counter(bit for history in found for bit in history[number])
        spread = np.array([hits[bit] for bit in inner]) - count * rate
        # neighbours of bursts are correlated, so each bit has a test of its own
        assert np.abs(spread).max() < 4.5 * math.sqrt(count * rate * (1 - rate))
        assert abs(spread.mean()) < 4.5 * math.sqrt(count * rate * (1 - rate) / 56 * mean**2)


def test_a_later_pattern_is_the_earlier_one_and_what_arrived_since():
    """What arrived between two times is independent of what was there, and few bits are hit twice."""
    model = Accumulation((1.0, 2.0), 0.01)
    for first, second in histories(model, 300):
        assert len(first - second) <= 1
    between = Accumulation((1.0, 2.0), PER_DAY)
    changed = [len(first ^ second) for first, second in histories(between, 2000, seed=5)]
    rate = (1 - math.exp(-2 * PER_DAY / 24)) / 2
    assert stats.binomtest(sum(changed), 2000 * 56, rate).pvalue > 1e-3


def test_a_history_does_not_depend_on_the_times_behind():
    """So a campaign goes on to later times, and the recorded ones stay as they are."""
    short, long = Accumulation(TIMES[:2], PER_DAY), Accumulation(TIMES, PER_DAY)
    level = short.levels(SPACE)[1]
    patterns = [positions(model.unit_pattern(SPACE, 1, level=level, repeat=4, batch=2)) for model in (short, long)]
    assert patterns[0] == patterns[1]
    assert long.has_patterns_of(short)
    assert short.joined_with(long) == long
    between = Accumulation((3.0, *TIMES), PER_DAY)
    assert not between.has_patterns_of(short)
    assert short.joined_with(between) is short
    assert not long.has_patterns_of(Accumulation(TIMES[:2], 2 * PER_DAY))
    assert not long.has_patterns_of(Accumulation(TIMES[:2], PER_DAY, 2))


def test_the_next_scrub_changes_no_pattern():
    """So histories are compared with those of another interval; what is asked for says which one it is."""
    soon, late = Accumulation(TIMES, PER_DAY, scrub="2d"), Accumulation(TIMES, PER_DAY, scrub="9d")
    level = soon.levels(SPACE)[1]
    patterns = [positions(model.unit_pattern(SPACE, 1, level=level, repeat=4, batch=2)) for model in (soon, late)]
    assert patterns[0] == patterns[1]
    assert soon.has_patterns_of(late)
    assert soon.joined_with(late) == soon
    assert late.joined_with(soon) == late


def test_memory_that_lies_for_long_tends_to_one_flipped_bit_in_two():
    """More upsets than bits do no harm to the drawing."""
    model = Accumulation("1h", 40.0, "1:0.5,2:0.5")
    assert model.levels(SPACE)[0] > 0.49
    counts = [len(history[0]) for history in histories(model, 300)]
    assert 25 < np.mean(counts) < 31


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("soon", 1e-7), "a length of time such as 90min"),
        ((0, 1e-7), "times above 0 since the memory was loaded were expected, got 0 seconds"),
        (([], 1e-7), "got none"),
        ((math.inf, 1e-7), "got for ever"),
        (("1h", 0), "upsets per bit and day above 0"),
        (("1h", -1.0), "upsets per bit and day above 0"),
        (("1h", 1e-7, "1:0.5"), "add up to 1"),
        (("1h", 1e-7, 1, "rows"), "neighbours along bits, words, row, column, block were expected"),
        (("1h,2h", 1e-7, 1, "bits", None, "90min"), "loaded again every 90min: times since then up to that"),
        (("1y,2y", 1e6), "times that differ in how many bits are flipped"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, said):
    """In a line that says what was expected."""
    with pytest.raises(UsageError, match=said):
        Accumulation(*arguments)


def test_levels_have_their_times():
    """By which tables show them."""
    model = Accumulation("90min,1d", 1e-7)
    assert [model.hours_at(level) for level in model.levels(SPACE)] == [1.5, 24.0]


@pytest.mark.parametrize("scrub", [[], (), [1.0, 2.0], "1d,2d"])
def test_a_memory_is_scrubbed_at_one_interval(scrub):
    """Also where a damaged results folder says something else."""
    with pytest.raises(UsageError, match="one time was expected"):
        Accumulation("1h", 1e-7, scrub=scrub)
