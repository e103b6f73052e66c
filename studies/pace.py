"""How far a run of a study is, and how long what is left will take.

Units of different models take different times, so every model's are counted by what its own have taken; before it has
run, by those of what it is made from.
"""

import math
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ftonnx.studies.campaigns import CellCampaign
from ftonnx.studies.study import ACTIVATIONS, Cell

__all__ = ["Pace", "StudyProgress", "work_of"]

_SECONDS: Final = 0.1
"""Between two of a campaign's units that are told of."""

_RUNNING: Final = "running"
_DOING: Final[Mapping[str, str]] = {
    "exported": "exporting",
    "relu6": "clipping",
    "actmax": "measuring thresholds",
    "ranger": "measuring thresholds",
    "clipact": "searching thresholds",
    "ptq": "quantizing",
    "qat": "training",
    ACTIVATIONS: "measuring activations",
}
"""What is done to make a file, by its last step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyProgress:
    """How far a run of a study is.

    Attributes:
        work: what is done now, such as ``searching thresholds``, or ``running`` a cell.
        step: of what: the name of a model file below its model's, or of a cell.
        step_done: so much of it, in its own measure: images, measurements, units.
        step_total: likewise, of all of it; 0 where that is not known.
        done: units that are recorded, of all cells that are to be run.
        total: all their units, as far as they are known.
        seconds_left: for the units that are not recorded; None where none has been measured. Models that are to be made
            are not in it.
    """

    work: str
    step: str
    step_done: int
    step_total: int
    done: int
    total: int
    seconds_left: float | None


@dataclass(slots=True)
class _Times:
    """What units of one kind have taken.

    Attributes:
        units: of them.
        seconds: of all.
    """

    units: int = 0
    seconds: float = 0.0


def work_of(name: str) -> str:
    """Return what is done to make a model file, by its name below its model's, or for a cell that is no campaign.

    >>> work_of("net/exported"), work_of("net/clipact@digits"), work_of("net/clipact+ptq@digits")
    ('exporting', 'searching thresholds', 'quantizing')
    """
    steps = name.rpartition("/")[2].partition("@")[0]
    return _DOING.get(steps.rpartition("+")[2], "making")


class Pace:
    """Follows a run: what is done now, how many units are left, and what one takes."""

    def __init__(
        self,
        campaigns: Mapping[Cell, CellCampaign],
        units: Mapping[Cell, int],
        watcher: Callable[[StudyProgress], None] | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin.

        Args:
            campaigns: that are to be run.
            units: of each, as far as they are known.
            watcher: called with the progress; None where nobody watches.
            clock: seconds.
        """
        self._campaigns = campaigns
        self._units = dict(units)
        self._done = dict.fromkeys(units, 0)
        self._begun: set[Cell] = set()
        self._times: dict[Hashable, _Times] = {}
        self._openings = _Times()
        self._watcher = watcher
        self._clock = clock
        self._told = -math.inf
        self._work = ""
        self._step = ""
        self._since = 0.0
        self._running: _Times | None = None
        self._first = 0

    def make(self, name: str) -> None:
        """A model file is made now, by its name below its model's."""
        self._work = work_of(name)
        self._step = name
        self.step(0, 0)

    def step(self, done: int, total: int) -> None:
        """So much of the step is done."""
        if self._watcher is None:
            return
        self._told = self._clock()
        self._watcher(
            StudyProgress(
                work=self._work,
                step=self._step,
                step_done=done,
                step_total=total,
                done=sum(self._done.values()),
                total=sum(self._units.values()),
                seconds_left=self._seconds_left(),
            )
        )

    def open(self, cell: Cell) -> None:
        """A campaign is opened now, whose model is there."""
        self._work = _RUNNING
        self._step = cell.name
        self._since = self._clock()
        self._running = None

    def run(self, cell: Cell, done: int, total: int) -> None:
        """So many units of the campaign are recorded."""
        now = self._clock()
        if self._running is None:
            self._openings.units += 1
            self._openings.seconds += now - self._since
            self._begun.add(cell)
            self._running = self._times.setdefault(self._kind_of(cell), _Times())
        else:
            self._running.units += done - self._first
            self._running.seconds += now - self._since
        self._first = done
        self._since = now
        self._units[cell] = total
        self._done[cell] = done
        # units of small models take less time than telling of them
        if now - self._told >= _SECONDS:
            self.step(done, total)

    def end(self, cell: Cell) -> None:
        """All of a cell is there."""
        self._begun.add(cell)
        self._done[cell] = self._units.get(cell, 0)
        self._tell_of(cell)

    def fail(self, cell: Cell) -> None:
        """A cell will not be done."""
        self._begun.add(cell)
        self._units.pop(cell, None)
        self._done.pop(cell, None)
        self._tell_of(cell)

    def _tell_of(self, cell: Cell) -> None:
        self._work = _RUNNING
        self._step = cell.name
        units = self._units.get(cell, 0)
        self.step(units, units)

    def _seconds_left(self) -> float | None:
        """Return what is left of all units, and of opening what was not begun; None where nothing was measured."""
        if not any(times.units for times in self._times.values()):
            return None
        opening = self._openings.seconds / self._openings.units
        seconds = 0.0
        for cell, units in self._units.items():
            left = units - self._done[cell]
            seconds += left * self._seconds_of(cell)
            seconds += 0.0 if cell in self._begun else opening
        return seconds

    def _seconds_of(self, cell: Cell) -> float:
        """Return what a unit of a cell takes, by the nearest that was measured."""
        for times in self._alike(cell):
            if times.units:
                return times.seconds / times.units
        units = sum(times.units for times in self._times.values())
        return sum(times.seconds for times in self._times.values()) / units

    def _alike(self, cell: Cell) -> Iterator[_Times]:
        """Yield the times of a cell's model, and of those that it is made from."""
        _, *others = self._kind_of(cell)
        for file in reversed(self._campaigns[cell].files):
            yield self._times.get((file, *others), _Times())

    def _kind_of(self, cell: Cell) -> tuple[Hashable, ...]:
        """Return what the time of a unit depends on: the model, the images, and whether one unit takes many."""
        campaign = self._campaigns[cell]
        return (campaign.file, cell.data, campaign.settings.images_per_pattern)
