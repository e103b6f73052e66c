"""Running units in other processes: what is asked for, what has come back, and what was given up.

Whoever runs ahead of what is asked for brings records that wait here until they are asked for, and are forgotten if
they never are.
"""

from abc import abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator

from ftonnx.campaign.plan.schedule import Unit
from ftonnx.campaign.run.base import Enough, Executor, never
from ftonnx.campaign.run.deaths import Deaths
from ftonnx.campaign.run.ledger import Ledger
from ftonnx.campaign.run.messages import Item
from ftonnx.campaign.run.signals import StopRequest
from ftonnx.campaign.store.folder import Record

__all__ = ["Elsewhere"]


class Elsewhere(Executor):
    """What executors have in common whose units run in other processes; a leaf hands them out and takes them in."""

    def __init__(self, ledger: Ledger, stop: StopRequest, deaths: Deaths) -> None:
        """Begin with nothing asked for.

        Args:
            ledger: what is left.
            stop: asks for an early end.
            deaths: what other processes died over.
        """
        self._ledger = ledger
        self._stop = stop
        self._deaths = deaths
        self._begun: object = self  # what was asked for at the last call; nothing yet
        self._all_read = False
        self._asked: set[Item] = set()  # and has not been done
        self._given: set[Item] = set()  # is elsewhere, or on its way
        self._due: deque[Record] = deque()
        self._early: dict[Unit, Record] = {}  # finished, but not asked for

    @abstractmethod
    def _look(self) -> None:
        """Find out what is left of what is asked for now."""

    @abstractmethod
    def _hand_out(self) -> None:
        """See that everybody has enough to do; set ``_all_read`` when all that is asked for is in ``_asked``."""

    @abstractmethod
    def _await(self) -> None:
        """Take in what comes back, for a moment; what was done is given to ``_take``."""

    @abstractmethod
    def _drain(self) -> None:
        """Wait for what is in work, and take that in too."""

    def run(self, enough: Enough = never) -> bool:
        """Hand out what is left, and record what comes back.

        Raises:
            IncompleteError: other processes died over some units, or cannot be had; all others are recorded.
            Interrupted: a signal came; the units in work are finished and recorded.
            FtonnxError: what another process has raised.
            RuntimeError: a bug in another process; the text holds its traceback.
        """
        try:
            return self._run(enough)
        finally:
            self._ledger.flush()

    def _run(self, enough: Enough) -> bool:
        if self._ledger.asked is not self._begun:
            self._begin()
        while True:
            while self._due:
                record = self._recorded()
                if enough(record):
                    return False
            if self._stop.asked:
                self._drain()
                while self._due:
                    self._recorded()
                self._stop.raise_if_asked(self._ledger.summary)
            self._hand_out()
            if self._all_read and not self._asked:
                self._deaths.refuse(self._is_unwanted, self._ledger.summary)
                return True
            self._await()

    def _begin(self) -> None:
        """Forget what was asked for before, and keep what may be asked for later."""
        self._begun = self._ledger.asked
        self._early |= {record.unit: record for record in self._due}
        self._due.clear()
        self._early = {unit: record for unit, record in self._early.items() if self._ledger.may_be_asked(unit)}
        self._asked.clear()
        self._look()

    def _is_unwanted(self, item: Item) -> bool:
        return isinstance(item, Unit) and not self._ledger.may_be_asked(item)

    def _new(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield what of these is neither known nor given to anybody; what is known is due."""
        for item in items:
            if isinstance(item, Unit) and item in self._early:
                self._due.append(self._early.pop(item))
            elif item not in self._given:
                yield item

    def _take(self, record: Record) -> None:
        """Take in a finished unit."""
        if record.unit in self._asked:
            self._due.append(record)
        elif self._ledger.may_be_asked(record.unit):
            self._early[record.unit] = record

    def _recorded(self) -> Record:
        """Record the next unit that is due."""
        record = self._due.popleft()
        self._ledger.add(record)
        self._asked.discard(record.unit)
        return record

    def _drop_given_up(self) -> None:
        """Ask no more for what was given up."""
        self._asked = {item for item in self._asked if not self._deaths.gave_up(item)}
