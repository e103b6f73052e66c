"""Recorded units as arrays, which statistics start from; each folder's rows are read once."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.store.folder import Store
from ftonnx.campaign.store.header import Header
from ftonnx.errors import StoreError
from ftonnx.stats.patterns import independent_images
from ftonnx.tasks import SIZE, Columns, Counts, Fraction

__all__ = ["Recorded", "UnitTable", "images_for", "largest_table"]

_Pair = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recorded:
    """All counts of a results folder.

    Attributes:
        path: the folder.
        header: the content of ``campaign.json``.
        golden: the fault-free counts per batch.
        columns: the units of each level, sorted by batch and repeat, as one array (units,) per column.
    """

    path: Path
    header: Header
    golden: Mapping[int, Counts]
    columns: Mapping[float, Columns]

    @classmethod
    def of(cls, store: Store) -> "Recorded":
        """Read what a store holds so far.

        Raises:
            StoreError: no unit is recorded yet, or some were not run, so that the others are no random sample.
        """
        quiet = store.quiet()
        if quiet:
            raise StoreError(
                f"{store.path} is of a gate that did not run {quiet:,} units, as they have no flip; a folder with all "
                "units was expected: name it in the gate's `results`"
            )
        golden = store.golden()
        columns = {level: store.columns(level) for level in store.levels()}
        if not golden or not columns:
            raise StoreError(f"{store.path} has no recorded unit yet; run the campaign first")
        return cls(path=store.path, header=store.header, golden=golden, columns=columns)

    @classmethod
    def open(cls, path: str | Path) -> "Recorded":
        """Read a results folder.

        Raises:
            StoreError: there is no campaign, or it is damaged, or as ``of``.
        """
        with Store.open(Path(path).absolute()) as store:
            return cls.of(store)

    @property
    def golden_fractions(self) -> dict[str, float]:
        """What the task tells of fault-free runs, over all recorded batches."""
        return self.header.task.golden_fractions(Counts.total(self.golden.values()))

    def pairs(self, level: float) -> frozenset[_Pair]:
        """Return the (batch, repeat) that are recorded at a level."""
        columns = self.columns[level]
        return frozenset(zip(columns["batch"].tolist(), columns["repeat"].tolist(), strict=True))

    def table(self, level: float, *, among: Collection[_Pair] | None = None) -> "UnitTable | None":
        """Return the table of one level; None where no unit of it is recorded.

        Args:
            level: flips per bit.
            among: only the units of these (batch, repeat).
        """
        if level not in self.columns:
            return None
        columns = self.columns[level]
        if among is not None:
            columns = _chosen(columns, among)
        if not columns["batch"].size:
            return None
        return UnitTable.of(columns, level, self)


def _chosen(columns: Columns, among: Collection[_Pair]) -> Columns:
    batches = columns["batch"]
    pairs = zip(batches.tolist(), columns["repeat"].tolist(), strict=True)
    is_wanted = np.fromiter((pair in among for pair in pairs), np.bool_, batches.size)
    return {name: column[is_wanted] for name, column in columns.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitTable:
    """The units of one level: patterns in the columns, batches of images in the rows.

    Of a finished campaign it holds every unit. Of an unfinished one, it holds as many units as possible with
    equally many patterns for every batch in it; injections have to be the same ones in all of them.

    Attributes:
        rate: the level, flips per bit.
        recorded: units of the level in the store.
        repeats: number of the repeat or injection in each column, (patterns,); where an unfinished campaign
            at a rate has other repeats in other batches, those of the first.
        counts: every count and ``n_faults`` by name, each (batches, patterns).
        golden: every count without faults by name, each (batches,).
        images: as how many independent images these count for new ones; None with one batch.
    """

    rate: float
    recorded: int
    repeats: NDArray[np.int64]
    counts: Columns
    golden: Columns
    images: float | None

    @classmethod
    def of(cls, columns: Columns, level: float, recorded: Recorded) -> "UnitTable":
        """Arrange the columns of one level, of which there is one unit at least."""
        is_in, patterns = largest_table(columns["batch"])
        table = {name: column[is_in].reshape(-1, patterns) for name, column in columns.items()}
        repeats = table.pop("repeat")
        # Injections are the same ones in every batch, or else only the first batch says something.
        is_one_sample = recorded.header.faults.fresh_per_batch or (repeats == repeats[0]).all()
        if not is_one_sample:
            table = {name: column[:1] for name, column in table.items()}
        batches = table.pop("batch")[:, 0].tolist()
        golden = _golden_columns([recorded.golden[batch] for batch in batches])
        main = recorded.header.task.main
        return cls(
            rate=level,
            recorded=columns["batch"].size,
            repeats=repeats[0],
            counts=table,
            golden=golden,
            images=images_for(main, golden),
        )

    @property
    def patterns(self) -> int:
        """Number of patterns in all."""
        return self.counts[SIZE].size

    def pooled(self) -> "UnitTable":
        """Return the table with all batches in one row, as injections need, which all batches meet."""
        counts = {name: column.sum(axis=0, keepdims=True) for name, column in self.counts.items()}
        counts["n_faults"] = self.counts["n_faults"][:1]
        golden = {name: column.sum(keepdims=True) for name, column in self.golden.items()}
        return replace(self, counts=counts, golden=golden)

    def row(self, index: int) -> "UnitTable":
        """Return the table of one row."""
        return replace(
            self,
            counts={name: column[[index]] for name, column in self.counts.items()},
            golden={name: column[[index]] for name, column in self.golden.items()},
        )

    def weights(self, fraction: Fraction) -> NDArray[Any]:
        """Return how much a fraction weighs in each batch, such as its images, (batches,)."""
        return fraction.weights(self.golden)

    def fractions(self, fraction: Fraction) -> NDArray[np.float64]:
        """Return a fraction by batch and pattern, (batches, patterns)."""
        return fraction.by_batch(self.counts, self.golden)

    def golden_fractions(self, fraction: Fraction) -> NDArray[np.float64]:
        """Return the same without faults, (batches,)."""
        return fraction.by_batch(self.golden, self.golden)

    def mean(self, fraction: Fraction) -> float:
        """Return a fraction over all units; counts add up exactly, where the sum of fractions is rounded."""
        return fraction.of({name: int(self.counts[name].sum()) for name in fraction.names})


def images_for(fraction: Fraction, golden: Columns) -> float | None:
    """Return as how many independent images those of some batches count for a fraction; None with one batch.

    Args:
        fraction: such as the headline.
        golden: the batches' counts without faults, each (batches,).
    """
    images = golden[SIZE]
    right = fraction.by_batch(golden, golden) * images
    return independent_images(right, images, weights=fraction.weights(golden))


def largest_table(groups: NDArray[np.int64]) -> tuple[NDArray[np.bool_], int]:
    """Return which units make the largest table with equally many for every group, and how many these are.

    Args:
        groups: such as the batch of each unit, ascending, (units,).

    >>> largest_table(np.array([0, 0, 0, 1, 1]))
    (array([ True,  True, False,  True,  True]), 2)
    """
    _, first, place, lengths = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    most = _patterns_of_largest_table(lengths)
    is_long = (lengths >= most)[place]
    number_in_group = np.arange(place.size) - first[place]
    return is_long & (number_in_group < most), most


def _golden_columns(golden: list[Counts]) -> dict[str, NDArray[np.int64]]:
    return {name: Counts.column(golden, name) for name in golden[0]}


def _patterns_of_largest_table(lengths: NDArray[np.int64]) -> int:
    """Return how many patterns per batch give the largest table; the more patterns where two are as large.

    >>> _patterns_of_largest_table(np.array([10, 10, 4])), _patterns_of_largest_table(np.array([8, 7, 7]))
    (10, 7)
    """
    candidates = np.unique(lengths)
    areas = candidates * (lengths >= candidates[:, np.newaxis]).sum(axis=1)
    return int(candidates[areas == areas.max()].max())
