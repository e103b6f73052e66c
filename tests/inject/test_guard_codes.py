"""Codes of guarded words, against textbook decoders that know data, rows and columns."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from guards_kit import Parity, Secded, check_places, hsiao_columns, verdict, words_of

from ftonnx.inject.guards.codes import CODES
from ftonnx.inject.guards.dealing import Dealing
from ftonnx.inject.guards.hsiao import columns

SECDED = CODES["secded"]


def decoded(code, dealt, data, *beside):
    """Decode flips that are given as lists."""
    arrays = [np.array(sorted(flips), np.int64) for flips in (data, *beside)]
    return code.decode(dealt, arrays[0], arrays[1:])


def each_in_a_word_of_its_own(patterns, data_bits):
    """Decode patterns of flips of a code word, data bits first; return what is left and said, pattern by pattern."""
    dealt = Dealing.of(len(patterns) * data_bits, data_bits, 1)
    checks = SECDED.check_width(data_bits)
    data, own = [], []
    for word, pattern in enumerate(patterns):
        data += [word * data_bits + place for place in pattern if place < data_bits]
        own += [word * checks + place - data_bits for place in pattern if place >= data_bits]
    found = decoded(SECDED, dealt, data, own)
    left = [[] for _ in patterns]
    for number in found.left.tolist():
        left[number // data_bits].append(number % data_bits)
    return left, set(found.detected.tolist()), found


@pytest.mark.parametrize("data_bits", [32, 64])
def test_the_matrix_is_one_of_hsiaos(data_bits):
    """Distinct columns with an odd number of ones; rows have equally many, or nearly so where that cannot be."""
    matrix = [int(column) for column in columns(data_bits)]
    assert [{row for row in range(8) if column >> row & 1} for column in matrix] == hsiao_columns(data_bits)
    assert len(set(matrix)) == len(matrix) == data_bits + (7 if data_bits == 32 else 8)
    assert all(column.bit_count() % 2 for column in matrix)
    ones = Counter(row for column in matrix for row in range(8) if column >> row & 1)
    assert sorted(set(ones.values())) == ([14, 15] if data_bits == 32 else [27])


@pytest.mark.parametrize("data_bits", [32, 64])
def test_every_single_error_is_corrected(data_bits):
    """Of all 39 or 72 bits, check bits included."""
    total = len(columns(data_bits))
    left, detected, found = each_in_a_word_of_its_own([(place,) for place in range(total)], data_bits)
    assert not any(left)
    assert not detected
    assert (found.corrected, found.miscorrected, found.missed) == (total, 0, 0)


@pytest.mark.parametrize(("data_bits", "pairs"), [(32, 741), (64, 2556)])
def test_every_double_error_is_detected(data_bits, pairs):
    """All pairs of bits; what flipped is left for whoever acts on it."""
    patterns = list(combinations(range(len(columns(data_bits))), 2))
    assert len(patterns) == pairs
    left, detected, found = each_in_a_word_of_its_own(patterns, data_bits)
    assert detected == set(range(pairs))
    assert left == [[place for place in pattern if place < data_bits] for pattern in patterns]
    assert (found.corrected, found.miscorrected, found.missed) == (0, 0, 0)


def test_every_triple_error_of_39_bits_is_what_a_textbook_decoder_makes_of_it():
    """All 9,139, miscorrections included, on random data."""
    textbook = Secded(32)
    patterns = list(combinations(range(39), 3))
    left, detected, found = each_in_a_word_of_its_own(patterns, 32)
    rng = np.random.default_rng(4)
    counts = Counter()
    for word, pattern in enumerate(patterns):
        data = rng.integers(2, size=32).tolist()
        checks = textbook.encode(data)
        flipped = [bit ^ (place in pattern) for place, bit in enumerate(data + checks)]
        after, said = textbook.decode(flipped[:32], flipped[32:])
        assert left[word] == [place for place in range(32) if after[place] != data[place]]
        assert (word in detected) == (said == "detected")
        counts[verdict(data, after, said)] += 1
    assert counts == {"detected": len(detected), "miscorrected": found.miscorrected}
    assert found.miscorrected > 1000


def naive(textbook, dealt, data_flips, check_flips, rng):
    """Return what a textbook decoder leaves and says of the words of random data, all of them one after the other."""
    data = rng.integers(2, size=dealt.bits).tolist()
    words = words_of(dealt.bits, dealt.width, dealt.interleave)
    places = check_places(words, textbook.checks, dealt.interleave)
    left, detected, counts = [], [], Counter()
    for number, (word, own) in enumerate(zip(words, places, strict=True)):
        before = [data[bit] for bit in word]
        checks = [bit ^ (place in check_flips) for bit, place in zip(textbook.encode(before), own, strict=True)]
        flipped = [data[bit] ^ (bit in data_flips) for bit in word]
        after, said = textbook.decode(flipped, checks)
        left += [bit for bit, one, other in zip(word, before, after, strict=True) if one != other]
        detected += [number] if said == "detected" else []
        if set(word) & data_flips or set(own) & check_flips:
            counts[verdict(before, after, said)] += 1
    return sorted(left), detected, counts


@pytest.mark.parametrize("name", ["secded", "parity"])
@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize(("bits", "interleave"), [(1, 1), (64, 1), (200, 1), (300, 3), (515, 4), (67, 16)])
def test_words_of_any_length_are_decoded_as_by_hand(name, width, bits, interleave):
    """Many flips in few words, the last of which are short; shorter words lack the bits that a syndrome may mean."""
    textbook = Secded(width) if name == "secded" else Parity()
    code = CODES[name]
    dealt = Dealing.of(bits, width, interleave)
    rng = np.random.default_rng([width, bits])
    for _ in range(25):
        checks = dealt.words * code.check_width(width)
        share = rng.choice([0.01, 0.05, 0.2])
        data_flips = set(np.flatnonzero(rng.random(bits) < share).tolist())
        check_flips = set(np.flatnonzero(rng.random(checks) < share).tolist())
        left, detected, counts = naive(textbook, dealt, data_flips, check_flips, rng)
        found = decoded(code, dealt, data_flips, check_flips)
        assert found.left.tolist() == left
        assert found.detected.tolist() == detected
        expected = (counts["corrected"], counts["miscorrected"], counts["missed"])
        assert (found.corrected, found.miscorrected, found.missed) == expected


@pytest.mark.parametrize("name", ["tmr", "duplication"])
def test_copies_are_compared_bit_by_bit(name):
    """A loop over words and bits with real copies of random data."""
    rng = np.random.default_rng(7)
    code = CODES[name]
    dealt = Dealing.of(150, 32, 2)
    for _ in range(100):
        data = rng.integers(2, size=150)
        flips = [set(np.flatnonzero(rng.random(150) < 0.1).tolist()) for _ in range(1 + code.copies)]
        copies = [[int(bit) ^ (place in flipped) for place, bit in enumerate(data)] for flipped in flips]
        left, detected, counts = [], [], Counter()
        for number, word in enumerate(words_of(150, 32, 2)):
            if name == "tmr":
                after = {bit: int(sum(copy[bit] for copy in copies) >= 2) for bit in word}
            else:
                after = {bit: copies[0][bit] for bit in word}
            wrong = [bit for bit in word if after[bit] != data[bit]]
            differ = any(len({copy[bit] for copy in copies}) > 1 for bit in word)
            left += wrong
            if name == "duplication" and differ:
                detected.append(number)
            elif wrong:
                counts["miscorrected" if differ else "missed"] += 1
            elif differ:
                counts["corrected"] += 1
        found = decoded(code, dealt, *flips)
        assert found.left.tolist() == sorted(left)
        assert found.detected.tolist() == detected
        expected = (counts["corrected"], counts["miscorrected"], counts["missed"])
        assert (found.corrected, found.miscorrected, found.missed) == expected


@pytest.mark.parametrize(
    ("bits", "width", "interleave"), [(7, 4, 1), (10, 4, 2), (64, 32, 4), (131, 32, 4), (3, 64, 8)]
)
def test_bits_are_dealt_as_cards_are(bits, width, interleave):
    """Every bit has one place, and every place its bit; so have the check bits."""
    dealt = Dealing.of(bits, width, interleave)
    words = words_of(bits, width, interleave)
    assert dealt.words == len(words)
    place = dealt.places(np.arange(bits))
    for word, numbers in enumerate(words):
        assert place.word[numbers].tolist() == [word] * len(numbers)
        assert place.bit[numbers].tolist() == list(range(len(numbers)))
        assert dealt.of_words(np.array([word])).tolist() == sorted(numbers)
    assert dealt.numbers(place).tolist() == list(range(bits))
    own = dealt.beside(8).places(np.arange(8 * len(words)))
    for word, numbers in enumerate(check_places(words, 8, interleave)):
        assert own.word[numbers].tolist() == [word] * 8
        assert own.bit[numbers].tolist() == list(range(8))


@pytest.mark.parametrize("burst", [2, 3, 4])
def test_a_burst_no_longer_than_the_interleaving_is_corrected(burst):
    """Wherever it begins, in the data or in the check bits; one bit longer, it is not everywhere."""
    dealt = Dealing.of(700, 64, 4)
    for start in range(700 - burst + 1):
        found = decoded(SECDED, dealt, range(start, start + burst), ())
        assert (found.corrected, len(found.left), len(found.detected)) == (burst, 0, 0)
    for start in range(dealt.words * 8 - burst + 1):
        found = decoded(SECDED, dealt, (), range(start, start + burst))
        assert (found.corrected, len(found.left), len(found.detected)) == (burst, 0, 0)
    assert len(decoded(SECDED, dealt, range(5), ()).detected) == 1


@pytest.mark.parametrize("rate", [1e-3, 5e-3])
def test_words_with_two_or_more_flips_are_as_many_as_the_formula_says(rate):
    """1 - (1 - r)^72 - 72 r (1 - r)^71 of the words are not corrected, within five standard deviations."""
    words = 200_000
    dealt = Dealing.of(64 * words, 64, 1)
    rng = np.random.default_rng(11)
    data = np.flatnonzero(rng.random(64 * words) < rate)
    checks = np.flatnonzero(rng.random(8 * words) < rate)
    found = SECDED.decode(dealt, data, [checks])
    lost = len(found.detected) + found.miscorrected + found.missed
    expected = 1 - (1 - rate) ** 72 - 72 * rate * (1 - rate) ** 71
    assert abs(lost - words * expected) < 5 * np.sqrt(words * expected)
