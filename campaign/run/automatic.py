"""Measuring where units run faster, and handing what is left to that place."""

import logging
import statistics
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Final, Self

from ftonnx.campaign.plan.settings import LOCAL, Settings
from ftonnx.campaign.run.base import Enough, Executor, Work, never
from ftonnx.campaign.run.in_process import InProcess
from ftonnx.campaign.run.processes import Processes, cores
from ftonnx.campaign.store.folder import Record

__all__ = ["Automatic"]

_SAMPLE_UNITS: Final = 5
_SAMPLE_SECONDS: Final = 0.5
_UNKNOWN_SECONDS: Final = 2.0  # likewise, where nobody knows how much is left: so much is lost at most by waiting
_WORTH_SECONDS: Final = 10.0  # of work left; starting processes takes a second or two
_logger: Final = logging.getLogger(__name__)


class Automatic(Executor):
    """This process or others, whichever turns out to be faster.

    Both are measured on the campaign's own units, so nothing is done twice. A campaign of a few seconds stays in this
    process; of one that may end early nobody knows, so it begins here with as much work as others cost to start.
    """

    def __init__(
        self,
        here: Executor,
        others: Callable[[], Executor] | None,
        left: Callable[[], int],
        *,
        may_end_early: bool = False,
    ) -> None:
        """Prepare; the others are made when they are needed.

        Args:
            here: runs units in this process.
            others: makes what runs them elsewhere; None where nothing else is worth a measurement.
            left: returns the number of units that are left.
            may_end_early: they are the most there may be.
        """
        self._here = _Trial(here, _UNKNOWN_SECONDS if may_end_early else _SAMPLE_SECONDS)
        self._make_others = others
        self._others: _Trial | None = None
        self._left = left
        self._opened = ExitStack()
        self._chosen: Executor | None = here if others is None else None

    @classmethod
    def takes(cls, settings: Settings) -> bool:
        """It is nobody's number."""
        return settings.engine == LOCAL and settings.jobs == "auto"

    @classmethod
    def of(cls, work: Work) -> Self:
        """Return the executor for a campaign: as many processes as the cores allow, if more than one, against this."""
        most = max(1, cores() // (work.settings.threads or 1))
        others = partial(Processes.so_many, work, most) if most > 1 else None
        return cls(InProcess.of(work), others, lambda: work.ledger.left, may_end_early=work.may_end_early)

    @property
    def at_once(self) -> int:
        """The number of units that run at the same time in the chosen place; in this one before."""
        return (self._chosen or self._here.place).at_once

    def __exit__(self, *_: object) -> None:
        """End the others, if there are any, and let go of what is held here."""
        self._opened.close()
        self._here.place.__exit__()

    def run(self, enough: Enough = never) -> bool:
        """Do what is left: a sample here, one elsewhere where that is worth it, the rest where it is faster."""
        while self._chosen is None:
            trial = self._others or self._here
            if not trial.complete:
                done = trial.run(enough)
                if done or trial.paused:
                    return done
            self._go_on()
        return self._chosen.run(enough)

    def _go_on(self) -> None:
        """After a complete trial, choose, or begin the other trial."""
        alone = self._here.seconds
        if self._others is not None:
            self._choose(alone, self._others)
        elif self._make_others is not None and alone * self._left() > _WORTH_SECONDS:
            others = self._opened.enter_context(self._make_others())
            self._others = _Trial(others, _SAMPLE_SECONDS)
        else:
            self._chosen = self._here.place

    def _choose(self, alone: float, others: "_Trial") -> None:
        together = others.seconds
        _logger.info(
            "a unit takes %.3g s in one process, %.3g s in %d processes", alone, together, others.place.at_once
        )
        if together < alone:
            self._here.place.__exit__()  # the batches that it holds
            self._chosen = others.place
        else:
            self._opened.close()
            self._chosen = self._here.place


class _Trial:
    """Runs units somewhere until their times tell what one takes there.

    Attributes:
        place: where they run.
        paused: the last run ended because its caller had enough.
    """

    def __init__(self, place: Executor, least_seconds: float) -> None:
        self.place = place
        self._least_seconds = least_seconds
        self.paused = False
        self._seconds: list[float] = []

    def run(self, enough: Enough) -> bool:
        """Run until the sample is complete, everything is done, or the caller has enough."""

        def noted(record: Record) -> bool:
            if self.place.warm:
                self._seconds.append(record.wall_ns * 1e-9)
            self.paused = enough(record)
            return self.paused or self.complete

        return self.place.run(noted)

    @property
    def complete(self) -> bool:
        """Whether the sample is large enough."""
        return len(self._seconds) > _SAMPLE_UNITS * self.place.at_once and sum(self._seconds) > self._least_seconds

    @property
    def seconds(self) -> float:
        """Median time of a unit, the first one left out, over how many run at once."""
        return statistics.median(self._seconds[1:]) / self.place.at_once
