"""One campaign of a comparison: what was run, and what of it another one shares."""

from collections.abc import Collection
from pathlib import Path

from ftonnx.campaign.results.comparison import Pairing
from ftonnx.campaign.results.injected import estimable, flips_text
from ftonnx.campaign.store.header import Header
from ftonnx.campaign.store.unit_table import Recorded, UnitTable
from ftonnx.errors import UsageError

__all__ = ["Side"]


class Side:
    """One campaign.

    Attributes:
        path: its results folder.
        header: the content of its ``campaign.json``.
        golden: its headline without faults, such as top-1 accuracy.
        main: its headline.
        units: the (batch, repeat) that are recorded, by level: rates above 0, or the one of injections.
        flips: what every injection is, such as ``one flip`` or ``one stuck bit``; None at fault rates.
    """

    def __init__(self, recorded: Recorded) -> None:
        self._recorded = recorded
        self.path: Path = recorded.path
        self.header: Header = recorded.header
        self.main = self.header.task.main
        self.golden = recorded.golden_fractions[self.header.task.headline]
        self.units = {rate: recorded.pairs(rate) for rate in recorded.columns if rate > 0}
        self.flips = None
        if not self.header.faults.fresh_per_batch:
            (columns,) = recorded.columns.values()
            self.flips = self.header.faults.injected or flips_text(float(columns["n_faults"].mean()))

    @property
    def name(self) -> str:
        """The model's name."""
        return self.header.model.name

    @property
    def times(self) -> dict[float, float]:
        """The levels by hours since the memory was loaded, where upsets accumulate; else empty."""
        return self.header.faults.times_of(self.units)

    @property
    def kind(self) -> str:
        """What kind of campaign it is, for messages."""
        return "at fault rates" if self.flips is None else f"of injections with {self.flips}"

    @property
    def warnings(self) -> list[str]:
        """What a reader of the campaign's numbers must know first."""
        accuracy = self.header.task.caution(self.golden, self.header.data.classes)
        found = [accuracy, self.header.space.coverage.caution]
        return [f"{self.name}: {text}" for text in found if text is not None]

    @property
    def ends_early(self) -> bool:
        """Whether the campaign could end early."""
        return self.header.stopping is not None

    @property
    def every(self) -> int | None:
        """How many patterns there are, where each is run once and nothing is random; else None."""
        return self.header.space.bits if self.header.faults.covers_all else None

    @property
    def patterns(self) -> int:
        """How many patterns the level with fewest of them has; all batches meet the same injection."""
        if self.flips is not None:
            return min(len({repeat for _, repeat in units}) for units in self.units.values())
        return min((len(units) for units in self.units.values()), default=0)

    def table(self, level: float, among: Collection[tuple[int, int]]) -> UnitTable:
        """Return the counts of some units of a level.

        Raises:
            UsageError: there is none of them.
        """
        table = self._recorded.table(level, among=among)
        if table is None:
            raise UsageError(f"{self.path} has no fault pattern at {level:g} in common with the other campaign")
        return estimable(table, self.header)

    def pairing(self, other: "Side") -> tuple[Pairing, str | None]:
        """Say what this campaign shares with another one on the same data, and why not the fault patterns."""
        if self.flips is not None:
            why = self._other_injections(other)
            return ("faults", None) if why is None else ("none", why)
        mine, its = self.header, other.header
        if mine.settings.images_per_pattern != its.settings.images_per_pattern:
            sizes = f"{mine.settings.images_per_pattern} and {its.settings.images_per_pattern}"
            return "none", f"{sizes} images share a pattern; only equal numbers are compared pattern by pattern"
        why = self._other_flips(other) or self._other_space(other) or self._other_seed(other)
        return ("faults", None) if why is None else ("images", why)

    def _other_injections(self, other: "Side") -> str | None:
        """Say why injections are not those of another campaign; None where they are."""
        mine, its = self.header, other.header
        if mine.faults != its.faults:
            return "the injections were chosen in different ways"
        sizes = (mine.settings.images_per_unit, its.settings.images_per_unit)
        if sizes[0] != sizes[1]:
            return f"{sizes[0]} and {sizes[1]} images make a batch"
        is_drawn = mine.faults.is_drawn
        return self._other_space(other) or (self._other_seed(other) if is_drawn else None)

    def _other_flips(self, other: "Side") -> str | None:
        """Say why flips at the same rate are not the same; None where they are."""
        mine, its = self.header.faults, other.header.faults
        # one that can have the patterns of both draws them alike
        return None if mine.joined_with(its).has_patterns_of(its) else "the flips are drawn in different ways"

    def _other_space(self, other: "Side") -> str | None:
        mine, its = self.header.space, other.header.space
        return None if mine.sha256 == its.sha256 else f"the fault spaces differ, {mine.bits:,} and {its.bits:,} bits"

    def _other_seed(self, other: "Side") -> str | None:
        mine, its = self.header, other.header
        if mine.settings.seed == its.settings.seed and mine.identity.pooled == its.identity.pooled:
            return None
        seeds = [header.identity.pooled or header.settings.seed for header in (mine, its)]
        return f"the seeds differ, {seeds[0]} and {seeds[1]}"
