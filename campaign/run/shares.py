"""Which worker gets which of the waiting items next.

Work stays with those who hold its batch, because a golden run costs about as much as a unit; whoever has
nothing to do takes batches that nobody holds, and in the end some of another one's work.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar

from ftonnx.campaign.run.messages import Item, batch_of

__all__ = ["Shares"]

_Worker = TypeVar("_Worker", bound=Hashable)


class Shares(Generic[_Worker]):
    """Waiting items, and who holds which batch."""

    def __init__(self) -> None:
        self._own: dict[_Worker, deque[Item]] = {}
        self._free: dict[int, list[Item]] = {}  # by batch, of those that nobody holds
        self._holders: defaultdict[int, set[_Worker]] = defaultdict(set)
        self._held: defaultdict[_Worker, set[int]] = defaultdict(set)

    def __len__(self) -> int:
        """Return the number of waiting items."""
        return sum(map(len, self._own.values())) + sum(map(len, self._free.values()))

    @property
    def has_free(self) -> bool:
        """Whether something waits that belongs to nobody."""
        return bool(self._free)

    def join(self, worker: _Worker) -> None:
        """Take a worker in."""
        self._own[worker] = deque()

    def leave(self, worker: _Worker) -> None:
        """Let a worker go; what waited for it waits for others."""
        left = self._own.pop(worker)
        for batch in self._held.pop(worker, set()):
            self._holders[batch].discard(worker)
        self.add(left)

    def add(self, items: Iterable[Item]) -> None:
        """Have items wait behind the others, each for the one of its batch's holders who has least to do."""
        for item in items:
            batch = batch_of(item)
            holders = self._holders[batch]
            if holders:
                least = min(holders, key=lambda worker: len(self._own[worker]))
                self._own[least].append(item)
            else:
                self._free.setdefault(batch, []).append(item)

    def hold(self, worker: _Worker, batch: int) -> None:
        """Note that a worker holds a batch."""
        self._holders[batch].add(worker)
        self._held[worker].add(batch)

    def drop(self, worker: _Worker, batch: int) -> None:
        """Note that a worker holds a batch no longer; what waits for it stays its own."""
        self._holders[batch].discard(worker)
        self._held[worker].discard(batch)

    def take(self, worker: _Worker, most: int, batches: int) -> list[Item]:
        """Return what a worker is to do next: of its own, then of batches that nobody holds.

        Args:
            worker: it.
            most: so many items.
            batches: it takes no free batch once it holds so many, unless it has nothing else.
        """
        own = self._own[worker]
        found: list[Item] = []
        while len(found) < most:
            if own:
                found.append(own.popleft())
            elif self._free and (len(self._held[worker]) < batches or not found):
                batch = next(iter(self._free))
                own.extend(self._free.pop(batch))
                self.hold(worker, batch)
            else:
                break
        return found

    def take_from_others(self, worker: _Worker, most: int) -> list[Item]:
        """Return items of one batch that wait for the one who has most to do, at best of a batch that is held."""
        others = [each for each in self._own if each != worker]
        fullest = max(others, key=lambda each: len(self._own[each]), default=None)
        # one item is done as soon by whoever has the batch
        if fullest is None or len(self._own[fullest]) < 2:
            return []
        waiting = self._own[fullest]
        held = self._held[worker]
        batch = next((batch_of(item) for item in waiting if batch_of(item) in held), batch_of(waiting[0]))
        found: list[Item] = []
        kept: deque[Item] = deque()
        for item in waiting:
            (found if batch_of(item) == batch and len(found) < most else kept).append(item)
        self._own[fullest] = kept
        self.hold(worker, batch)
        return found

    def remove(self, unwanted: Callable[[Item], bool]) -> list[Item]:
        """Return items that need not be done, which wait no longer."""
        removed: list[Item] = []
        for worker, waiting in self._own.items():
            self._own[worker] = deque(_rest(waiting, unwanted, removed))
        for batch, items in list(self._free.items()):
            rest = _rest(items, unwanted, removed)
            if rest:
                self._free[batch] = rest
            else:
                del self._free[batch]
        return removed


def _rest(items: Sequence[Item], unwanted: Callable[[Item], bool], removed: list[Item]) -> list[Item]:
    rest: list[Item] = []
    for item in items:
        (removed if unwanted(item) else rest).append(item)
    return rest
