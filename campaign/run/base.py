"""What every executor is: a place where the units of a campaign run."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from numpy.typing import NDArray

from ftonnx.campaign.plan.settings import Settings
from ftonnx.campaign.run.batch import BatchRunner, Recipe
from ftonnx.campaign.run.ledger import Ledger
from ftonnx.campaign.run.signals import StopRequest
from ftonnx.campaign.store.folder import Record
from ftonnx.datasets import Dataset
from ftonnx.runtime import FaultySession
from ftonnx.samples import Samples

__all__ = ["Enough", "Executor", "Work", "never"]

Enough = Callable[[Record], bool]
"""Called with every new record; True pauses the work."""


def never(record: Record) -> bool:
    """Let the work go on to its end."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A campaign as executors see it.

    Attributes:
        recipe: how its units are run, in whatever process.
        session: the campaign's own faulty session, open in this process.
        data: the images; only this process reads them.
        ledger: what is left, and where it is recorded; only this process writes.
        stop: asks for an early end.
        opened: batches whose golden run was done before, by number; whoever runs their units takes them out.
        memory: bytes that batches and their golden runs may take from one round to the next, in all processes
            together; 0 where every batch is met once.
        may_end_early: it goes by rounds, so that what the ledger says is left is the most there may be.
        may_not_end: the model has loops, so that a run may have to end with its process.
    """

    recipe: Recipe
    session: FaultySession
    data: Dataset
    ledger: Ledger
    stop: StopRequest
    opened: dict[int, BatchRunner] = field(default_factory=dict)
    memory: int = 0
    may_end_early: bool = False
    may_not_end: bool = False

    @property
    def settings(self) -> Settings:
        """How the campaign is run."""
        return self.recipe.schedule.settings

    def open_batch(self, images: Samples, labels: NDArray[Any]) -> BatchRunner:
        """Do a batch's golden run in this process, and return what runs its units."""
        return self.recipe.open_batch(self.session, images, labels)


class Executor(ABC):
    """Does what is left of a campaign; a context manager that gives back what it needed for that.

    A leaf is listed in ``executors``. Counts depend on a unit alone, never on where it ran.
    """

    @classmethod
    @abstractmethod
    def takes(cls, settings: Settings) -> bool:
        """Say whether this executor is what settings ask for, by ``jobs`` and ``engine``; all settings mean one."""

    @classmethod
    @abstractmethod
    def of(cls, work: Work) -> Self:
        """Return the executor for a campaign; nothing is started yet."""

    @classmethod
    def speedup(cls, settings: Settings) -> int:
        """Return how many times as fast as one process it is at best, as far as that is known beforehand."""
        return 1

    @property
    def at_once(self) -> int:
        """How many units run at the same time."""
        return 1

    @property
    def warm(self) -> bool:
        """Whether the times of units tell by now what one takes."""
        return True

    def __enter__(self) -> Self:
        """Prepare what the units need."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give back what the units needed."""
        return

    @abstractmethod
    def run(self, enough: Enough = never) -> bool:
        """Do what the ledger says is left; say whether all of it is done, False after ``enough`` has said so.

        What is recorded is on disk when it returns. It may be called again, to go on after a pause or with what the
        ledger has come to ask for. What it asks for is all that is recorded; whoever has nothing to do may run ahead.

        Raises:
            Interrupted: a signal came; every finished unit is recorded.
            IncompleteError: some units could not be run; all others are recorded.
            FtonnxError: what running a unit has raised.
        """
