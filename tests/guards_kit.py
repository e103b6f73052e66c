"""Memory codes as textbooks have them: words are lists of bits, decoders go through rows and columns one at a time."""

from itertools import combinations


def hsiao_columns(data_bits):
    """Return the parity-check matrix as a list of columns, each the set of its rows; the data come first."""
    rows = 7 if data_bits == 32 else 8
    threes = sorted(
        (set(rows_) for rows_ in combinations(range(rows), 3)), key=lambda each: sum(2**row for row in each)
    )
    if data_bits == 32:
        threes = [each for each in threes if each not in ({0, 1, 2}, {3, 4, 5}, {0, 3, 6})]
    fives = [{(turn + step) % 8 for step in range(5)} for turn in range(data_bits - len(threes))]
    return [*threes, *fives, *({row} for row in range(rows))]


class Secded:
    """Single error correction, double error detection, of words that may be shorter than the code."""

    def __init__(self, data_bits):
        self.columns = hsiao_columns(data_bits)
        self.full = data_bits
        self.checks = len(self.columns) - data_bits

    def encode(self, data):
        """Return the check bits."""
        checks = []
        for row in range(self.checks):
            ones = sum(bit for bit, column in zip(data, self.columns, strict=False) if row in column)
            checks.append(ones % 2)
        return checks

    def decode(self, data, checks):
        """Return (data, what the decoder says)."""
        expected = self.encode(data)
        syndrome = {row for row in range(self.checks) if expected[row] != checks[row]}
        if not syndrome:
            return data, "clean"
        for place in range(len(data)):
            if self.columns[place] == syndrome:
                return [bit ^ (place == number) for number, bit in enumerate(data)], "corrected"
        if any(self.columns[self.full + row] == syndrome for row in range(self.checks)):
            return data, "corrected"
        return data, "detected"


class Parity:
    """An even number of ones."""

    checks = 1

    def encode(self, data):
        """Return the check bit."""
        return [sum(data) % 2]

    def decode(self, data, checks):
        """Return (data, what the decoder says)."""
        return data, "clean" if (sum(data) + checks[0]) % 2 == 0 else "detected"


def words_of(bits, width, interleave):
    """Deal the numbers of ``bits`` bits out to words, as a person deals cards to so many players at a time."""
    words = []
    for start in range(0, bits, width * interleave):
        here = list(range(start, min(start + width * interleave, bits)))
        players = min(interleave, len(here))
        words += [here[player::players] for player in range(players)]
    return words


def check_places(words, width, interleave):
    """Return for each word the places of its check bits in memory, where as many words take turns."""
    places = []
    start = 0
    for first in range(0, len(words), interleave):
        players = len(words[first : first + interleave])
        places += [[start + turn * players + player for turn in range(width)] for player in range(players)]
        start += players * width
    return places


def verdict(before, after, said):
    """Return under which name a word that had flips is counted."""
    if said == "detected":
        return "detected"
    if said == "corrected":
        return "corrected" if after == before else "miscorrected"
    return "missed" if after != before else "unharmed"
