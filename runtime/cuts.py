"""Where a graph can be cut, and which cuts are worth the memory of their activations."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import onnx

__all__ = ["Cut", "choose_cuts", "find_cuts", "used_by"]

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
    last_use = {name: place for place, node in enumerate(graph.node) for name in used_by(node)}
    last_use |= {value.name: len(graph.node) for value in graph.output}
    alive: dict[str, None] = {}
    places = []
    for place, node in enumerate(graph.node):
        alive |= {name: None for name in node.output if last_use.get(name, -1) > place}
        alive = {name: None for name in alive if last_use[name] > place}
        places.append(Cut(place + 1, tuple(alive)))
    return list(_thinned([cut for cut in places[:-1] if cut.tensors]))


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
    behind = [sum(weights[cut.node :]) for cut in cuts]
    least = max(_LEAST_SECONDS, _LEAST_SHARE * seconds[-1]) if cuts else 0.0
    chosen: list[int] = []
    held: set[str] = set()
    while True:
        worth: dict[int, float] = {}
        for index, cut in enumerate(cuts):
            size = sum(sizes[name] for name in cut.tensors if name not in held)
            if index in chosen or size > memory:
                continue
            before = max((seconds[c] for c in chosen if c < index), default=0.0)
            after = max((behind[c] for c in chosen if c > index), default=0.0)
            gain = (seconds[index] - before) * (behind[index] - after)
            if gain >= least:
                worth[index] = gain / max(size, 1)
        if not worth:
            return [cuts[index] for index in sorted(chosen)]
        best = max(worth, key=worth.__getitem__)
        memory -= sum(sizes[name] for name in cuts[best].tensors if name not in held)
        held.update(cuts[best].tensors)
        chosen.append(best)


def _thinned(cuts: Sequence[Cut]) -> Iterator[Cut]:
    """Yield at most so many cuts; of each stretch the one with the fewest tensors, of equal ones the last."""
    stretch = max(1, -(-len(cuts) // _MOST_CANDIDATES))
    for start in range(0, len(cuts), stretch):
        yield min(reversed(cuts[start : start + stretch]), key=lambda cut: len(cut.tensors))


def used_by(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the tensors that a node needs, also those that its subgraphs take from around them."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from used_by(inner)
            yield from (value.name for value in graph.output)
