"""Recorded units as arrays, which statistics start from."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.statistics import independent_images
from ftonnx.campaign.store import Store
from ftonnx.campaign.task import Outcomes

__all__ = ["UnitTable", "is_by_argmax", "is_injected", "is_single_fault"]


def is_injected(settings: Mapping[str, Any]) -> bool:
    """Return whether a campaign draws a pattern once for the whole data set, given the settings in its header."""
    return settings["faults_per_run"] is not None or is_single_fault(settings)


def is_single_fault(settings: Mapping[str, Any]) -> bool:
    """Return whether every pattern of a campaign is one bit, given the settings in its header."""
    one = (settings["faults_per_run"] == 1, settings["exhaustive"], settings["per_layer"], settings["fault_list"])
    return any(one)


def is_by_argmax(settings: Mapping[str, Any]) -> bool:
    """Return whether outputs with NaN count by their argmax, given the settings in a header; old ones do not say."""
    return bool(settings.get("nan") == "argmax")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitTable:
    """The units of one rate: patterns in the columns, batches of images in the rows.

    Of a finished campaign it holds every unit. Of an unfinished one, it holds as many units as possible with
    equally many patterns for every batch in it; injections have to be the same ones in all of them.

    Attributes:
        rate: the rate.
        recorded: units of the rate in the store.
        repeats: number of the repeat or injection in each column, (patterns,); where an unfinished campaign
            at a rate has other repeats in other batches, those of the first.
        sizes: images of each batch, (batches,).
        counts: ``n``, every outcome and ``n_faults`` by name, each (batches, patterns).
        golden: every outcome without faults by name, each (batches,).
        images: as how many independent images these count for new ones; None with one batch.
    """

    rate: float
    recorded: int
    repeats: NDArray[np.int64]
    sizes: NDArray[np.int64]
    counts: Mapping[str, NDArray[np.int64]]
    golden: Mapping[str, NDArray[np.int64]]
    images: float | None

    @classmethod
    def of(cls, store: Store, rate: float, *, among: Collection[tuple[int, int]] | None = None) -> "UnitTable | None":
        """Return the table of one rate; None where no unit of it is recorded.

        Args:
            store: the results folder.
            rate: the rate.
            among: only the units of these (batch, repeat).
        """
        columns = store.columns(rate)
        if among is not None:
            pairs = zip(columns["batch"].tolist(), columns["repeat"].tolist(), strict=True)
            wanted = np.fromiter((pair in among for pair in pairs), np.bool_, columns["batch"].size)
            columns = {name: column[wanted] for name, column in columns.items()}
        if not columns["batch"].size:
            return None
        _, first, place, lengths = np.unique(
            columns["batch"], return_index=True, return_inverse=True, return_counts=True
        )
        most = _patterns_of_largest_table(lengths)
        chosen = (lengths >= most)[place] & (np.arange(place.size) - first[place] < most)
        table = {name: column[chosen].reshape(-1, most) for name, column in columns.items()}
        repeats = table.pop("repeat")
        if is_injected(store.header["settings"]) and (repeats != repeats[0]).any():
            table = {name: column[:1] for name, column in table.items()}
        sizes = table["n"][:, 0]
        golden = _golden_columns(store.golden(), table["batch"][:, 0].tolist())
        return cls(
            rate=rate,
            recorded=columns["batch"].size,
            repeats=repeats[0],
            sizes=sizes,
            counts={name: column for name, column in table.items() if name not in ("batch", "wall_ns")},
            golden=golden,
            images=independent_images(golden["correct1"], sizes),
        )

    def pooled(self) -> "UnitTable":
        """Return the table with all batches in one row, as injections need, which all batches meet."""
        counts = {name: column.sum(axis=0, keepdims=True) for name, column in self.counts.items()}
        return replace(
            self,
            sizes=self.sizes.sum(keepdims=True),
            counts=counts | {"n_faults": self.counts["n_faults"][:1]},
            golden={name: column.sum(keepdims=True) for name, column in self.golden.items()},
        )

    def row(self, index: int) -> "UnitTable":
        """Return the table of one row."""
        return replace(
            self,
            sizes=self.sizes[[index]],
            counts={name: column[[index]] for name, column in self.counts.items()},
            golden={name: column[[index]] for name, column in self.golden.items()},
        )

    def fractions(self, column: str) -> NDArray[np.float64]:
        """Return the share of each batch's images with an outcome, (batches, patterns)."""
        found: NDArray[np.float64] = self.counts[column] / self.sizes[:, np.newaxis]
        return found

    def golden_fractions(self, column: str) -> NDArray[np.float64]:
        """Return the same without faults, (batches,)."""
        found: NDArray[np.float64] = self.golden[column] / self.sizes
        return found


def _golden_columns(golden: Mapping[int, Outcomes], batches: Sequence[int]) -> dict[str, NDArray[np.int64]]:
    rows = [asdict(golden[batch]) for batch in batches]
    return {name: np.array([row[name] for row in rows], np.int64) for name in rows[0]}


def _patterns_of_largest_table(lengths: NDArray[np.int64]) -> int:
    """Return how many patterns per batch give the largest table; the more patterns where two are as large.

    >>> _patterns_of_largest_table(np.array([10, 10, 4])), _patterns_of_largest_table(np.array([8, 7, 7]))
    (10, 7)
    """
    candidates = np.unique(lengths)
    areas = candidates * (lengths >= candidates[:, np.newaxis]).sum(axis=1)
    return int(candidates[areas == areas.max()].max())
