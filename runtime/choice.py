"""Which strategy runs a model: those in question are opened and proved, and the fastest is taken."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ftonnx.errors import ModelError
from ftonnx.inject import Faults
from ftonnx.runtime.layout.draft import NotPossibleError
from ftonnx.runtime.layout.memory import MemorySource
from ftonnx.runtime.proof import Case, Proof, mild_pattern, repeated, require_runs
from ftonnx.runtime.strategies import AUTO, LAST_RESORT, candidates
from ftonnx.runtime.strategies.base import Strategy
from ftonnx.sessions import Arrays, give_back, shrink_arena

__all__ = ["Choice", "choose_strategy"]

_TIMED_RUNS: Final = 2
_HOPELESS: Final = 1.4  # times the fastest; one that took longer once is not run again
_LONG: Final = 0.05  # seconds; what is shorter may have been disturbed, and costs little
_logger = logging.getLogger(__name__)

Within = Callable[[Strategy], Strategy]


@dataclass(frozen=True, slots=True)
class Choice:
    """The strategy in use.

    Attributes:
        strategy: it.
        fallback: why those that were asked for first are not in use; None where they are.
    """

    strategy: Strategy
    fallback: str | None


class Source(MemorySource, Protocol):
    """What gives memory, and can be told that it was wrong."""

    def distrust(self) -> bool:
        """Forget what was read and not computed now; say whether there was any."""


def choose_strategy(wanted: str, case: Case, cache: Source, *, within: Within = lambda strategy: strategy) -> Choice:
    """Open the strategies in question, keep those that pass the proof, take the fastest.

    Args:
        wanted: a name, or ``auto``.
        case: what they are compared on.
        cache: where they get their memory from.
        within: returns what runs a strategy, once that is open.

    Raises:
        ModelError: ONNX Runtime refuses the model, or it does not repeat itself.
        DataError: the model refuses the sample.
    """
    chooser = _Chooser(case, cache, within)
    strategy = chooser.choose(wanted)
    # what the others have left behind
    shrink_arena()
    give_back()
    return Choice(strategy, "; ".join(chooser.reasons) or None)


class _Chooser:
    """Tries strategies, and keeps the reasons against those that are not possible."""

    def __init__(self, case: Case, cache: Source, within: Within) -> None:
        self._within = within
        self.reasons: list[str] = []
        self._case = case
        self._proof = Proof(case)
        self._cache = cache

    def choose(self, wanted: str) -> Strategy:
        proved = self._all_proved(wanted)
        if len(proved) == 1:
            return proved[0]
        if proved:
            return self._fastest_of(proved)
        reasons = "; ".join(self.reasons)
        if wanted not in (AUTO, LAST_RESORT.name):
            _logger.warning("%s; using %s instead", reasons, LAST_RESORT.name)
            # others of that name may be faster than the last resort itself
            return self.choose(LAST_RESORT.name)
        _logger.info("%s; every run opens a session on a flipped copy of the file", reasons)
        return self._last_resort()

    def _all_proved(self, wanted: str) -> list[Strategy]:
        """Return the strategies of that name that pass; any of them for ``auto``."""
        proved: list[Strategy] = []
        for kind in candidates(self._case.space):
            asked = wanted in (AUTO, kind.name)
            # opening takes seconds for a large model
            if not asked or (proved and not self._may_be_faster(kind, proved)):
                continue
            strategy = self._proved(kind)
            if strategy is not None:
                proved.append(strategy)
        return proved

    def _fastest_of(self, proved: Sequence[Strategy]) -> Strategy:
        """Measure strategies on the full batch, the largest of all runs, and so with as little else open as can be."""
        # a model from a file is read again where it is needed
        self._case.model.release()
        for strategy in proved:
            _put_away(strategy)
        pattern = mild_pattern(self._case.space)
        return _fastest(proved, self._case.feeds, pattern)

    def _may_be_faster(self, kind: type[Strategy], proved: Sequence[Strategy]) -> bool:
        """Say whether a strategy may be faster than those that are proved."""
        # of two that open nothing, the first has the faster kernels or the same
        if kind.in_place and any(strategy.in_place for strategy in proved):
            return False
        return kind.can_win(self._case.space)

    def _proved(self, kind: type[Strategy]) -> Strategy | None:
        """Open a strategy and prove it; what the cache said is thrown away where it does not pass."""
        found = self._try(kind)
        # only outputs tell that a map is wrong whose digest is right
        if isinstance(found, str) and self._cache.distrust():
            _logger.info("a cached layout is wrong (%s); it is computed anew", found)
            found = self._try(kind)
        if isinstance(found, Strategy):
            return found
        self.reasons.append(f"{kind.name} is not possible: {found}")
        return None

    def _try(self, kind: type[Strategy]) -> Strategy | str:
        """Open a strategy and prove it; a text says where it falls short."""
        case = self._case
        try:
            strategy = self._within(kind(case.model, case.space, case.options, self._cache))
        except (NotPossibleError, ModelError) as error:
            return str(error)
        return self._proof.shortfall(strategy) or strategy

    def _last_resort(self) -> Strategy:
        """Open what needs no proof, as it is what the others are compared with."""
        case = self._case
        strategy = self._within(LAST_RESORT(case.model, case.space, case.options, self._cache))
        require_runs(strategy, case, case.feeds)
        repeated(strategy, case)
        return strategy


def _fastest(strategies: Sequence[Strategy], feeds: Arrays, faults: Faults) -> Strategy:
    """Run the strategies in turn and return the one with the smallest time."""
    seconds: dict[Strategy, float] = dict.fromkeys(strategies, float("inf"))
    left = list(strategies)
    for _ in range(_TIMED_RUNS):
        # in turn, so that a busy moment of the machine does not meet one of them alone
        for strategy in left:
            start = time.perf_counter()
            strategy.run(feeds, faults)
            spent = time.perf_counter() - start
            seconds[strategy] = min(seconds[strategy], spent)
            _put_away(strategy)
        hopeless = max(_LONG, _HOPELESS * min(seconds.values()))
        left = [strategy for strategy in left if seconds[strategy] <= hopeless]
        if len(left) == 1:
            break
    return min(strategies, key=seconds.__getitem__)


def _put_away(strategy: Strategy) -> None:
    """Keep nothing of a strategy that the others would have to run beside, and none of the memory that it ran in."""
    strategy.rest()
    shrink_arena()
    give_back()
