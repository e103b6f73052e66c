"""What is known of a threshold, piece by piece, and which piece is worth measuring next.

A cell is the smallest thing that is measured: an image under a pattern of faults, or where a task cannot judge images
alone, all of them at a rate. What is not measured counts as right, which bounds a threshold's worth from above.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ftonnx.inject import Faults
from ftonnx.mitigate.points import ClipActSettings, Evaluation

__all__ = ["Cells", "Pattern", "cells_by_image", "cells_by_rate", "known_from", "marks_of"]

Values = NDArray[np.float64]
Places = NDArray[np.intp]

_UNKNOWN: Final = np.nan
_MARKS: Final = "01?"
_FIRST_GUESS: Final = 0.25
"""Share of wrong answers that is expected where nothing is known of an image under a pattern."""


class Pattern(NamedTuple):
    """One drawing of faults for one batch.

    Attributes:
        batch: number of the batch.
        images: of the batch.
        faults: in the weights that feed the activation.
    """

    batch: int
    images: int
    faults: Faults


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """The cells of one activation, which all of its thresholds share.

    Attributes:
        settings: of the search.
        counts: how often a cell counts in the accuracy at each of the columns, (columns, cells).
        group: per cell, the batch that it belongs to; only cells of one are measured together.
        pattern: per cell, the number of its pattern.
        image: per cell, the number of its image in the batch.
        together: how many are measured together at most.
    """

    settings: ClipActSettings
    counts: NDArray[np.int64]
    group: Places
    pattern: Places
    image: Places
    together: int

    def __len__(self) -> int:
        return len(self.group)

    def accuracies(self, known: Values) -> list[float]:
        """Return what the accuracy at each of the columns is at most."""
        at_most = np.nan_to_num(known, nan=1.0)
        right = self.counts @ at_most
        whole = self.counts.sum(axis=1)
        found: list[float] = (right / whole).tolist()
        return found

    def measured(self, known: Values) -> list[bool]:
        """Say of each of the columns whether all of it is known."""
        missing = self.counts @ np.isnan(known)
        complete: list[bool] = (missing == 0).tolist()
        return complete

    def next(self, known: Values, others: Sequence[Values]) -> Places:
        """Return cells to measure next, of one group: those first that are likely to lower the score most.

        Args:
            known: of the threshold in question.
            others: of other thresholds on the same images, whose wrong answers are likely to be wrong here too.
        """
        gains = self._weights() * self._likely_wrong(others)
        gains[~np.isnan(known)] = -1.0
        best = None
        most = 0.0
        for group in np.unique(self.group):
            places = np.flatnonzero((self.group == group) & (gains >= 0))
            # of equal ones the first, whatever the machine
            order = np.argsort(-gains[places], kind="stable")
            chosen = places[order]
            gain = float(gains[chosen[: self.together]].sum())
            if len(chosen) and (best is None or gain > most):
                best = chosen
                most = gain
        if best is None:
            raise ValueError("all cells are measured")
        return best

    def _weights(self) -> Values:
        """Return what a wrong answer in each of the cells takes from the score."""
        shares = self.counts / self.counts.sum(axis=1, keepdims=True)
        weights: Values = np.asarray(self.settings.weights) @ shares
        return weights

    def _likely_wrong(self, others: Sequence[Values]) -> Values:
        """Return how likely the answer in each of the cells is wrong."""
        wrong = np.full(len(self), _FIRST_GUESS)
        seen = np.ones(len(self))
        for other in others:
            wrong += np.nan_to_num(1 - other, nan=0.0)
            seen += ~np.isnan(other)
        likely: Values = wrong / seen
        return likely

    def nothing(self) -> Values:
        """Return what is known at the beginning."""
        return np.full(len(self), _UNKNOWN)


class _Columns(NamedTuple):
    """Which patterns each of the columns is made of, in order and with those that count several times."""

    patterns: list[Pattern]
    of: list[list[int]]

    @classmethod
    def made(cls, drawn: Sequence[Iterable[Pattern]]) -> Self:
        patterns: list[Pattern] = []
        unharmed: dict[int, int] = {}
        of = []
        for column in drawn:
            numbers = []
            for pattern in column:
                # without faults all rates and repeats are the same
                number = len(patterns) if len(pattern.faults) else unharmed.setdefault(pattern.batch, len(patterns))
                if number == len(patterns):
                    patterns.append(pattern)
                numbers.append(number)
            of.append(numbers)
        return cls(patterns, of)


def cells_by_image(
    settings: ClipActSettings, drawn: Sequence[Iterable[Pattern]], together: int
) -> tuple[Cells, list[Pattern]]:
    """Return one cell per image and pattern.

    Args:
        settings: of the search.
        drawn: the patterns of each of the columns.
        together: how many cells are measured together.
    """
    columns = _Columns.made(drawn)
    sizes = [each.images for each in columns.patterns]
    pattern = np.repeat(np.arange(len(sizes)), sizes)
    times = np.zeros((len(columns.of), len(sizes)), np.int64)
    for column, numbers in enumerate(columns.of):
        np.add.at(times[column], numbers, 1)
    batches = np.array([each.batch for each in columns.patterns])
    cells = Cells(
        settings=settings,
        counts=times[:, pattern],
        group=batches[pattern],
        pattern=pattern,
        image=np.concatenate([np.arange(size) for size in sizes]),
        together=together,
    )
    return cells, columns.patterns


def cells_by_rate(settings: ClipActSettings, drawn: Sequence[Iterable[Pattern]]) -> tuple[Cells, list[list[Pattern]]]:
    """Return one cell per rate, for rates at which nothing flips one together; and the patterns of each cell."""
    columns = _Columns.made(drawn)
    kinds: dict[tuple[int, ...], int] = {}
    cell_of = []
    for numbers in columns.of:
        # repeats without faults are one pattern, and count the same
        harmless = all(not len(columns.patterns[number].faults) for number in numbers)
        kind = tuple(sorted(set(numbers))) if harmless else tuple(numbers)
        cell_of.append(kinds.setdefault(kind, len(kinds)))
    counts = np.zeros((len(cell_of), len(kinds)), np.int64)
    counts[np.arange(len(cell_of)), cell_of] = 1
    places = np.arange(len(kinds))
    cells = Cells(
        settings=settings,
        counts=counts,
        group=np.zeros(len(kinds), np.intp),
        pattern=places,
        image=np.zeros(len(kinds), np.intp),
        together=1,
    )
    return cells, [[columns.patterns[number] for number in kind] for kind in kinds]


def marks_of(known: Values) -> str:
    """Return what is known of images as text.

    >>> marks_of(np.array([0.0, 1.0, np.nan]))
    '01?'
    """
    places = np.nan_to_num(known, nan=2.0).astype(int)
    return "".join(_MARKS[place] for place in places)


def known_of(marks: str) -> Values:
    """Return what a text says is known.

    >>> known_of("01?")
    array([ 0.,  1., nan])
    """
    values = {"0": 0.0, "1": 1.0, "?": _UNKNOWN}
    return np.array([values[mark] for mark in marks])


def known_from(evaluation: Evaluation, cells: Cells, *, by_image: bool) -> Values:
    """Return what an evaluation says is known, nothing where it says it of other cells."""
    if by_image:
        return known_of(evaluation.images) if len(evaluation.images) == len(cells) else cells.nothing()
    known = cells.nothing()
    for column, accuracy in enumerate(evaluation.columns):
        if accuracy is not None:
            known[cells.counts[column] > 0] = accuracy
    return known
