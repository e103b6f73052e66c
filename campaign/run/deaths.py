"""What workers died over: how often, and what is given up."""

import logging
from collections import Counter
from collections.abc import Callable
from typing import Final

from ftonnx.campaign.plan.schedule import Unit
from ftonnx.campaign.run.messages import Item, batch_of
from ftonnx.errors import IncompleteError

__all__ = ["Deaths"]

_TRIES: Final = 3
_MOST_NAMED: Final = 5
_logger: Final = logging.getLogger(__name__)


class Deaths:
    """Counts the deaths of workers over each item, and gives up those that have cost too many."""

    def __init__(self, tries: int = _TRIES) -> None:
        """Begin without any.

        Args:
            tries: deaths after which an item is given up.
        """
        self._tries = tries
        self._times: Counter[Item] = Counter()
        self._given_up: dict[Item, str] = {}

    def blame(self, item: Item, cause: str) -> bool:
        """Note that a worker died at an item; say whether it is given up now."""
        self._times[item] += 1
        _logger.warning("a worker process died (%s) at %s, time %d", cause, _describe(item), self._times[item])
        if self._times[item] >= self._tries:
            self._given_up[item] = cause
        return item in self._given_up

    def gave_up(self, item: Item) -> bool:
        """Say whether an item is given up; without its golden run, a whole batch is."""
        return item in self._given_up or batch_of(item) in self._given_up

    def refuse(self, unwanted: Callable[[Item], bool], summary: str) -> None:
        """Refuse to go on without what was given up, unless it is unwanted.

        Raises:
            IncompleteError: there is such a gap.
        """
        gaps = {item: cause for item, cause in self._given_up.items() if not unwanted(item)}
        if not gaps:
            return
        names = [f"{_describe(item)} ({cause})" for item, cause in gaps.items()]
        more = [f"and {len(names) - _MOST_NAMED} more"] if len(names) > _MOST_NAMED else []
        raise IncompleteError(
            f"worker processes died {self._tries} times over each of: {'; '.join(names[:_MOST_NAMED] + more)}. "
            f"{summary}; the same command tries the others again"
        )


def _describe(item: Item) -> str:
    if isinstance(item, Unit):
        return f"rate {item.rate:g}, repeat {item.repeat}, batch {item.batch}"
    return f"batch {item} without faults"
