"""What rows of a campaign have to be like, whatever their check values say."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.store.header import MOST_BITS, Header
from ftonnx.campaign.store.row_checks import NOTHING, Row
from ftonnx.campaign.store.tables import Tables
from ftonnx.tasks import SIZE, Fraction

__all__ = ["RowRules"]

Numbers = Mapping[str, NDArray[np.int64]]


class RowRules:
    """The bounds of the columns: places in the schedule, counts from 0 to what they are a share of."""

    def __init__(self, header: Header, tables: Tables) -> None:
        self._header = header
        self._tables = tables
        # images of the golden runs that are known, sorted by their batches, of which a header may claim any number
        self._golden_batches = np.zeros(0, np.int64)
        self._sizes = np.zeros(0, np.int64)
        # a mean over parts, or a function of sums, is no count over another
        fractions = [each for each in header.task.fractions.values() if type(each) is Fraction]
        self._shares = [(each.count, each.whole) for each in fractions]

    def know_golden(self, rows: Iterable[Row]) -> None:
        """Let golden runs that are good say on how many images every batch is judged."""
        size = self._tables.columns["golden"].index(SIZE)
        known = {row[0]: row[size] for row in rows}
        self._golden_batches = np.array(sorted(known), np.int64)
        self._sizes = np.array([known[batch] for batch in sorted(known)], np.int64)

    def keep(self, table: str, values: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Say which rows keep within bounds, (rows,), given the bits of their columns, (rows, columns)."""
        columns = dict(zip(self._tables.columns[table], values.T, strict=True))
        numbers = {name: column.view(np.int64) for name, column in columns.items()}
        if table == "units":
            levels = np.array(self._header.levels, np.float64).view(np.uint64)
            is_met = np.isin(columns["rate"], levels) & _within(numbers["repeat"], self._header.patterns)
            return is_met & self._is_batch(numbers) & self._are_counts(numbers)
        if table == "golden":
            was_run: NDArray[np.bool_] = numbers[SIZE] != NOTHING
            return self._is_batch(numbers) & self._are_counts(numbers) & was_run
        return _within(numbers["injection"], self._header.patterns) & self._are_places(numbers)

    def _are_places(self, numbers: Numbers) -> NDArray[np.bool_]:
        """Say which targets, elements and bits there are."""
        tensors = self._header.space.tensors
        is_target = _within(numbers["target"], len(tensors))
        sizes = [tensor.elements for tensor in tensors]
        nothing = len(tensors)
        elements = np.array([*sizes, 0], np.int64)[np.where(is_target, numbers["target"], nothing)]
        is_element = (numbers["element"] >= 0) & (numbers["element"] < elements)
        return is_target & is_element & _within(numbers["bit"], MOST_BITS)

    def _is_batch(self, numbers: Numbers) -> NDArray[np.bool_]:
        return _within(numbers["batch"], self._header.batches)

    def _are_counts(self, numbers: Numbers) -> NDArray[np.bool_]:
        """Say of which rows the counts can be those of their batch, or are none, as of a unit that was not run."""
        size = numbers[SIZE]
        found = self._fits_golden(numbers["batch"], size)
        for name in self._tables.counts:
            found &= numbers[name] >= 0
        for count, whole in self._shares:
            found &= numbers[count] <= numbers[whole]
        allowed: NDArray[np.bool_] = found | (size == NOTHING)
        return allowed

    def _fits_golden(self, batch: NDArray[np.int64], size: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say which sizes are those of the golden runs of their batches, or of batches without one that is known."""
        if not self._sizes.size:
            return np.ones(size.shape, np.bool_)
        place = np.searchsorted(self._golden_batches, batch).clip(max=self._sizes.size - 1)
        fits: NDArray[np.bool_] = (self._golden_batches[place] != batch) | (size == self._sizes[place])
        return fits


def _within(numbers: NDArray[np.int64], end: int) -> NDArray[np.bool_]:
    return (numbers >= 0) & (numbers < end)
