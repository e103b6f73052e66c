"""Bursts of neighbouring bits, against a naive loop and by their statistics."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ftonnx.errors import UsageError
from ftonnx.inject import Bursts, FaultSpace, Target, unit_rng
from ftonnx.inject.fault_models import distinct_positions
from ftonnx.inject.formats import parse_format

SHARES = {1: 0.5, 2: 0.3, 4: 0.2}
SIZES = "1:0.5,2:0.3,4:0.2"


def space_of(*shapes):
    """Return a space of float tensors, all bits of which can flip."""
    form = parse_format("ieee", np.dtype(np.float32))
    targets = [
        Target(tensor=f"t{i}", role="weight", node=f"n{i}", op_type="MatMul", shape=shape, format=form)
        for i, shape in enumerate(shapes)
    ]
    return FaultSpace(tuple(targets), tuple(range(len(targets))))


SMALL = space_of((3, 2), (1,), (5,))
LARGE = space_of((1000, 100))


def bits_of(faults):
    """Return the flips as a set of (target, element, bit)."""
    return set(zip(faults.target.tolist(), faults.element.tolist(), faults.bit.tolist(), strict=True))


def naive(space, model, level, rng):
    """Flip bit by bit in a set, with the same random numbers."""
    sizes = list(SHARES)
    mean = sum(size * share for size, share in SHARES.items())
    upsets = int(rng.binomial(space.bits, level / mean))
    first = distinct_positions(space.bits, upsets, rng).tolist()
    drawn = rng.choice(sizes, size=upsets, p=list(SHARES.values())).tolist()
    places = [
        (number, element, bit)
        for number, target in enumerate(space.targets)
        for element in range(target.elements)
        for bit in range(32)
    ]
    flipped = set()
    for position, size in zip(first, drawn, strict=True):
        target, element, bit = places[position]
        for _ in range(size):
            if element < space.targets[target].elements:
                flipped ^= {(target, element, bit)}
            if model.along == "words":
                element += 1
            else:
                element, bit = element + (bit + 1) // 32, (bit + 1) % 32
    return flipped


@given(st.integers(0, 10**6), st.sampled_from([0.001, 0.05, 0.5, 1.0]), st.sampled_from(["bits", "words"]))
@settings(max_examples=60)
def test_a_pattern_is_that_of_a_loop_over_upsets(seed, rate, along):
    """Neighbours follow each other, tensors end them, and what is hit twice is as it was."""
    model = Bursts(rate, SIZES, along)
    found = model.draw(SMALL, np.random.default_rng(seed))
    assert bits_of(found) == naive(SMALL, model, rate, np.random.default_rng(seed))


def test_the_rate_is_the_mean_number_of_flips_per_bit():
    """So that curves compare with those of independent flips."""
    model = Bursts(1e-4, SIZES)
    counts = [len(model.unit_pattern(LARGE, 3, level=1e-4, repeat=i, batch=0)) for i in range(400)]
    expected = LARGE.bits * 1e-4
    # of a compound of upsets the variance is that of the count times the mean square of the sizes
    mean = sum(size * share for size, share in SHARES.items())
    square = sum(size**2 * share for size, share in SHARES.items())
    error = np.sqrt(expected / mean * square / len(counts))
    assert abs(np.mean(counts) - expected) < 4 * error
    assert np.var(counts) == pytest.approx(expected / mean * square, rel=0.25)


def test_upsets_have_the_sizes_that_are_asked_for():
    """Rare ones lie apart, so that each is one run of neighbours."""
    model = Bursts(1e-5, SIZES)
    found = Counter()
    for repeat in range(300):
        faults = model.unit_pattern(LARGE, 5, level=1e-5, repeat=repeat, batch=0)
        positions = np.sort(faults.element * 32 + faults.bit)
        starts = np.flatnonzero(np.append(True, np.diff(positions) != 1))
        found.update(np.diff(np.append(starts, len(positions))).tolist())
    upsets = sum(found.values())
    expected = [share * upsets for share in SHARES.values()]
    # two upsets are neighbours once in some ten thousand
    assert stats.chisquare([found[size] for size in SHARES], expected, sum_check=False).pvalue > 1e-3


def test_bursts_of_one_bit_are_independent_flips():
    """As many as those at the same rate, and uniform over the space."""
    hits = Counter()
    for repeat in range(400):
        faults = Bursts(0.05, 1).unit_pattern(SMALL, 1, level=0.05, repeat=repeat, batch=0)
        hits.update(bits_of(faults))
    observed = [hits[place] for place in sorted(bits_of(Bursts(1.0, 1).draw(SMALL, unit_rng(0, 1.0, 0, 0))))]
    assert len(observed) == SMALL.bits
    assert stats.chisquare(observed).pvalue > 1e-3


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ("", "sizes of bursts were expected as 2"),
        ("two", "sizes of bursts were expected as 2"),
        ("2:", "sizes of bursts were expected as 2"),
        ("2,3", "sizes of bursts were expected as 2"),
        ("2:0.5:0.5", "sizes of bursts were expected as 2"),
        ("lelape-3", "one of lelape-1, lelape-2; got 'lelape-3'; did you mean lelape-"),
        ("1:0,2:5", "each size once; got '1:0'"),
        ("1:5,2:0.5", "up to 1, or its number of events was expected, each size once; got '1:5'"),
        (f"1:{'9' * 400},2:1", "each size once; got '1:99999"),
        (0, "a burst of 1 to 64 bits"),
        ("65", "a burst of 1 to 64 bits"),
        ("2:0.5,2:0.5", "each size once; got '2:0.5'"),
        ("2:nan", "above 0 and up to 1"),
        ("2:-1,3:2", "above 0 and up to 1"),
        ("2:0.5,3:0.4", "add up to 1 were expected, got 0.9"),
    ],
)
def test_other_sizes_are_refused(sizes, said):
    """In a line that shows how."""
    with pytest.raises(UsageError, match=said):
        Bursts(1e-6, sizes)


@pytest.mark.parametrize(
    ("name", "events", "flips"),
    [
        ("lelape-1", {1: 65 + 104 + 84, 2: 10 + 13 + 12, 3: 6 + 4 + 3, 4: 3 + 1 + 3}, 115 + 146 + 129),
        ("lelape-2", {1: 361, 2: 38}, 437),
    ],
)
def test_published_sizes_are_those_of_their_source(name, events, flips):
    """Its counts of events, test by test, and the flipped bits that it counted apart; numbers of events are shares."""
    assert sum(size * count for size, count in events.items()) == flips
    total = sum(events.values())
    expected = Bursts(1e-6, ",".join(f"{size}:{count / total!r}" for size, count in events.items()))
    counted = Bursts(1e-6, ",".join(f"{size}:{count}" for size, count in events.items()))
    assert Bursts(1e-6, name) == counted == expected
    assert counted.shape.sizes.mean == pytest.approx(flips / total, rel=1e-12)


def mapped(first, sizes, along):
    """Flip cell by cell in an array that is filled word by word, with every other bit of two words."""
    cells = {}
    for number in range(SMALL.bits):
        word, bit = divmod(number, 4)
        row, place = divmod(word, 6)
        pair, lane = divmod(place, 2)
        cells[row, pair * 8 + bit * 2 + lane] = number
    cell_of = {number: cell for cell, number in cells.items()}
    flipped = set()
    for position, size in zip(first, sizes, strict=True):
        row, column = cell_of[position]
        for step in range(size):
            down, right = {"row": (0, step), "column": (step, 0), "block": (step % 2, step // 2)}[along]
            if (row + down, column + right) in cells:
                flipped ^= {cells[row + down, column + right]}
    return flipped


@given(st.integers(0, 10**6), st.sampled_from([0.001, 0.05, 0.5, 1.0]), st.sampled_from(["row", "column", "block"]))
@settings(max_examples=60)
def test_by_a_map_neighbours_are_cells(seed, rate, along):
    """Rows, columns and the space end bursts, and tensors lie one after the other."""
    found = Bursts(rate, SIZES, along, "words=4,columns=24,interleave=2").draw(SMALL, np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    upsets = int(rng.binomial(SMALL.bits, rate / 1.9))
    first = distinct_positions(SMALL.bits, upsets, rng).tolist()
    sizes = rng.choice(list(SHARES), size=upsets, p=list(SHARES.values())).tolist()
    expected = mapped(first, sizes, along)
    numbers = {place: number for number, place in enumerate(sorted(bits_of(Bursts(1.0, 1).draw(SMALL, rng))))}
    assert {numbers[place] for place in bits_of(found)} == expected


def test_a_model_without_a_map_is_written_as_before():
    """So that folders of the time before maps stay what they are."""
    written = Bursts(1e-6, 2).to_dict()
    assert written == {"name": "bursts", "rates": [1e-6], "sizes": "2:1.0", "along": "bits"}


def test_what_else_makes_no_sense_is_refused():
    """Neighbours of another kind, a map that is missing or too much, and bits between which others are missing."""
    with pytest.raises(UsageError, match="along bits, words, row, column, block were expected, got 'byte'"):
        Bursts(1e-6, 2, "byte")
    with pytest.raises(UsageError, match="a map of the memory belongs to neighbours along row"):
        Bursts(1e-6, 2, "row")
    with pytest.raises(UsageError, match="got words and words=32"):
        Bursts(1e-6, 2, "words", "words=32,columns=32")
    chosen = FaultSpace.of("digits", bits=(3, 30))
    with pytest.raises(UsageError, match="no choice of bits was expected"):
        Bursts(1e-6, 2).levels(chosen)
