"""Where a graph can be cut, and which cuts are worth the memory of their activations."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import onnx

from ftonnx.graphs import used_by

__all__ = ["Cut", "choose_cuts", "cut_at", "find_cuts"]

_MOST_CANDIDATES: Final = 64
_LEAST_SHARE: Final = 0.001  # of the whole run's time that a cut must save per run, on average
_LEAST_SECONDS: Final = 60e-6  # what a further session call costs


@dataclass(frozen=True, slots=True)
class Cut:
    """A place between two nodes.

    Attributes:
        node: number of nodes before it.
        tensors: what those nodes made and later ones need; all later work starts from these.
    """

    node: int
    tensors: tuple[str, ...]


def find_cuts(graph: onnx.GraphProto) -> list[Cut]:
    """Return the candidates for cuts, in order: of every stretch of nodes the place with the fewest tensors.

    Args:
        graph: topologically sorted, as ONNX demands.
    """
    last_use = _last_uses(graph)
    alive: list[str] = []
    cuts = []
    for place, node in enumerate(graph.node):
        for name in node.output:
            if name not in alive:
                alive.append(name)
        # what only this node or earlier ones needed is spent
        alive = [name for name in alive if last_use.get(name, 0) > place]
        cut = Cut(place + 1, tuple(alive))
        cuts.append(cut)
    # behind the last node nothing is left to do, and where nothing is alive nothing was done
    useful = [cut for cut in cuts[:-1] if cut.tensors]
    outputs = {value.name for value in graph.output}
    thinned = list(_thinned(useful))
    return _with_work_behind(thinned, outputs)


def cut_at(graph: onnx.GraphProto, place: int) -> Cut:
    """Return the cut before the node with this number, however many tensors are alive there."""
    last_use = _last_uses(graph)
    alive: dict[str, None] = {}
    for node in graph.node[:place]:
        for name in node.output:
            if last_use.get(name, 0) >= place:
                alive[name] = None
    return Cut(place, tuple(alive))


def _with_work_behind(cuts: Sequence[Cut], outputs: set[str]) -> list[Cut]:
    """Leave out cuts behind which nothing is made that anyone needs; ONNX Runtime runs nothing without outputs."""
    kept: list[Cut] = []
    needed = outputs
    for cut in reversed(cuts):
        if not needed.issubset(cut.tensors):
            kept.append(cut)
            needed = set(cut.tensors)
    kept.reverse()
    return kept


def _last_uses(graph: onnx.GraphProto) -> dict[str, int]:
    """Return the number of the last node that needs each tensor; outputs are needed to the end."""
    last_use: dict[str, int] = {}
    for place, node in enumerate(graph.node):
        for name in used_by(node):
            last_use[name] = place  # later ones overwrite earlier ones
    for value in graph.output:
        last_use[value.name] = len(graph.node)
    return last_use


def _thinned(cuts: Sequence[Cut]) -> Iterator[Cut]:
    """Yield at most so many cuts; of each stretch the one with the fewest tensors, of equal ones the last."""
    rounded_up = -(-len(cuts) // _MOST_CANDIDATES)
    stretch = max(1, rounded_up)
    # in a residual block few tensors are alive at its ends, and those are the places to keep
    for start in range(0, len(cuts), stretch):
        end = start + stretch
        last_first = reversed(cuts[start:end])
        yield min(last_first, key=lambda cut: len(cut.tensors))


def choose_cuts(
    cuts: Sequence[Cut],
    seconds: Sequence[float],
    sizes: Mapping[str, int],
    weights: Sequence[float],
    memory: int,
) -> list[Cut]:
    """Choose cuts by time saved per byte held.

    A run whose first faulty node has the number x starts at the last cut before x. With t(c) the
    time before cut c, and W(c) the share of runs that start behind it, a new cut c between the
    chosen neighbours a and b saves (t(c) - t(a)) (W(c) - W(b)) per run on average. The cut that
    saves most per byte is taken, again and again, while any saves enough and fits.

    Args:
        cuts: candidates in order.
        seconds: time of the nodes before each candidate.
        sizes: bytes of each tensor.
        weights: per node, the share of runs whose first faulty node it is; they sum to 1.
        memory: bytes that may be held.

    >>> cuts = [Cut(1, ("a",)), Cut(2, ("b",)), Cut(3, ("c",))]
    >>> [cut.node for cut in choose_cuts(cuts, [1, 2, 3], {"a": 9, "b": 1, "c": 1}, [0.1, 0, 0.4, 0.5], 5)]
    [2, 3]
    """
    choice = _Choice(cuts, seconds, sizes, weights, memory)
    while (best := choice.best()) is not None:
        choice.take(best)
    return choice.chosen()


class _Choice:
    """The cuts chosen so far, by number, and what a further one would bring."""

    def __init__(
        self,
        cuts: Sequence[Cut],
        seconds: Sequence[float],
        sizes: Mapping[str, int],
        weights: Sequence[float],
        memory: int,
    ) -> None:
        self._cuts = cuts
        self._seconds = seconds
        self._sizes = sizes
        # per cut, the share of runs that start behind it
        self._behind: list[float] = []
        for cut in cuts:
            share = sum(weights[cut.node :])
            self._behind.append(share)
        self._left = memory
        self._taken: list[int] = []
        self._held: set[str] = set()
        whole = seconds[-1] if cuts else 0.0
        worthwhile = _LEAST_SHARE * whole
        self._least = max(_LEAST_SECONDS, worthwhile)

    def chosen(self) -> list[Cut]:
        """Return them in order."""
        return [self._cuts[index] for index in sorted(self._taken)]

    def take(self, index: int) -> None:
        self._left -= self._bytes(index)
        self._held.update(self._cuts[index].tensors)
        self._taken.append(index)

    def best(self) -> int | None:
        """Return the cut that saves most per byte; None where none saves enough and fits."""
        best = None
        most = -math.inf
        for index in range(len(self._cuts)):
            size = self._bytes(index)
            if index in self._taken or size > self._left:
                continue
            gain = self._gain(index)
            if gain < self._least:
                continue
            # what is held anyway is worth most
            worth = gain / max(size, 1)
            if worth > most:
                best = index
                most = worth
        return best

    def _bytes(self, index: int) -> int:
        """Return the bytes that a cut needs beside what is held anyway."""
        size = 0
        for name in self._cuts[index].tensors:
            if name not in self._held:
                size += self._sizes[name]
        return size

    def _gain(self, index: int) -> float:
        """Return the seconds per run that a cut saves on average."""
        before = 0.0  # of the chosen neighbour in front: runs that start there save so much already
        after = 0.0  # share of the runs that start at the chosen neighbour behind, or later
        for taken in self._taken:
            if taken < index:
                before = max(before, self._seconds[taken])
            elif taken > index:
                after = max(after, self._behind[taken])
        time = self._seconds[index] - before
        share = self._behind[index] - after
        return time * share
