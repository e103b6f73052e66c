"""Whether golden runs are reused: only where that pays, and where it gives the same bits."""

import logging
import math
import time
from collections.abc import Collection
from typing import Final

import numpy as np
import onnx

from ftonnx.graphs import used_by
from ftonnx.inject import Faults
from ftonnx.runtime.reuse.chain import Chain, Work
from ftonnx.runtime.reuse.cuts import choose_cuts, find_cuts
from ftonnx.runtime.reuse.limits import cache_limit
from ftonnx.runtime.reuse.segments import element_types
from ftonnx.runtime.strategies.base import Divisible, Strategy
from ftonnx.sessions import Arrays, same_bits

__all__ = ["Reuse"]

_LEAST_SKIPPED: Final = 0.1  # share of the work; below, one session for everything is as fast
_PRICE: Final = 10  # opening the segments costs as much as so many golden runs, or more
_OPENINGS: Final = 1.0  # and about as much time as so many openings of the session
_MEASURED_RUNS: Final = 7
_MEASURED_SECONDS: Final = 0.1
_logger = logging.getLogger(__name__)


class Reuse:
    """Decides whether runs use the segments of a model, and opens them once that pays.

    Attributes:
        chain: the open segments; None while there are none.
        work: what has been done.
        divisible: opens the segments; None where the model only runs as a whole.
    """

    def __init__(self, strategy: Strategy, proof: Faults, memory: int | None, *, opening: float = 0.0) -> None:
        """Look at the graph; nothing is opened yet.

        Args:
            strategy: runs the whole model; one that cannot run stretches of it never reuses anything.
            proof: faults for which the segments must give what the whole model gives.
            memory: bytes that golden tensors of a batch may take; None means a quarter of what is free.
            opening: seconds that opening the session took.
        """
        self.chain: Chain | None = None
        self.work = Work()
        self.divisible = strategy.divisible()
        self._strategy = strategy
        self._proof = proof
        self._memory = memory
        self._missed = 0.0
        self._opening = opening
        self._run_seconds = math.inf
        # what all segments take, in runs in one piece; nothing where they are to be used whatever they cost
        self._cost = 0.0
        self._starts: dict[str, float] = {}
        self._live: set[str] = set()
        if self.divisible is not None:
            graph = self.divisible.model.graph
            self._starts = _first_reads(graph)
            self._live = _live(graph)

    def reached(self, faults: Faults) -> set[str] | None:
        """Return the names of the arrays that these faults change and that an output depends on.

        None where only the model as a whole knows.

        Raises:
            UsageError: a fault lies outside the fault space.
        """
        if self.divisible is None:
            return None
        return self.divisible.reached(faults) & self._live

    def chain_for(self, names: Collection[str], feeds: Arrays) -> Chain | None:
        """Return the segments if a run should use them that differs from the golden one in these arrays and inputs.

        They are opened when the work they would have saved so far outweighs their opening.
        """
        if self.chain is not None:
            return self.chain if self._pays(self.chain, names) else None
        if self.divisible is None:
            return None
        skipped = self._skipped_share(names)
        if skipped < _LEAST_SKIPPED:
            return None
        # nobody knows how many runs are still to come: pay when as much was lost as the price
        self._missed += skipped
        if self._missed >= self._price and self.open(feeds):
            self._cost = _cost(self._opened(), self._strategy, feeds)
            return self.chain_for(names, feeds)
        return None

    @property
    def _price(self) -> float:
        """What opening the segments costs, in golden runs."""
        return max(_PRICE, _OPENINGS * self._opening / self._run_seconds)

    def note_golden(self, seconds: float) -> None:
        """Take in what a golden run of the whole model took; the shortest counts, as others were disturbed."""
        self._run_seconds = min(self._run_seconds, seconds)

    def _opened(self) -> Chain:
        """Return the segments, which are open."""
        assert self.chain is not None
        return self.chain

    def _pays(self, chain: Chain, names: Collection[str]) -> bool:
        """Say whether the segments from the first that reads any of these are less work than the whole."""
        skipped = chain.skipped_share(names)
        # in a small model running a segment may cost more than what is in it
        return skipped >= _LEAST_SKIPPED and (1 - skipped) * self._cost <= 1

    def open(self, feeds: Arrays) -> bool:
        """Cut the model, measured on one batch; say whether its segments give what the whole gives.

        They are used from then on wherever they skip some of the work.
        """
        if self.chain is not None:
            return True
        if self.divisible is None:
            return False
        chain = self._cut(self.divisible, feeds)
        if self._gives_the_same(chain, self.divisible, feeds):
            self.chain = chain
            _logger.info("golden runs are reused from %d cuts", len(chain) - 1)
            return True
        _logger.warning("golden runs cannot be reused: the model in segments gives other outputs than in one piece")
        # from now on as a model that only runs as a whole
        self.divisible = None
        return False

    def _skipped_share(self, names: Collection[str]) -> float:
        """Return the share of nodes before the first that reads any of the stored tensors or inputs."""
        share = 1.0
        for name in names:
            # what no node reads changes nothing
            start = self._starts.get(name, 1.0)
            share = min(share, start)
        return share

    def _cut(self, divisible: Divisible, feeds: Arrays) -> Chain:
        """Measure the model cut in as many places as it can be, and cut it in those that are worth it."""
        places = find_cuts(divisible.model.graph)
        types = element_types(divisible, places)
        cuts = []
        for cut in places:
            if types.keys() >= set(cut.tensors):
                cuts.append(cut)
        candidates = Chain(divisible, cuts, types, self.work)
        seconds, sizes = candidates.measure(feeds)
        before = np.cumsum(seconds)[:-1]
        chosen = choose_cuts(
            cuts,
            before.tolist(),
            sizes,
            _weights(divisible, feeds),
            cache_limit(self._memory),
        )
        # the candidates' sessions are closed before those are opened that stay
        del candidates
        chain = Chain(divisible, chosen, types, self.work)
        chain.measure(feeds)
        return chain

    def _gives_the_same(self, chain: Chain, divisible: Divisible, feeds: Arrays) -> bool:
        """Compare with the whole model, without faults and with some."""
        golden = chain.golden(feeds)
        reached = divisible.reached(self._proof)
        with divisible.flipped(self._proof):
            faulty = chain.run(golden, reached, feeds)
        # the optimizer sees less of the graph in a segment, and might choose other kernels
        without = chain.outputs(golden.tensors)
        expected = self._strategy.golden(feeds)
        if not same_bits(without, expected):
            return False
        expected = self._strategy.run(feeds, self._proof)
        return same_bits(faulty, expected)


def _cost(chain: Chain, strategy: Strategy, feeds: Arrays) -> float:
    """Return what all segments one after the other take, in runs in one piece; the shortest of a few each."""
    segments = math.inf
    whole = math.inf
    begun = time.perf_counter()
    for _ in range(_MEASURED_RUNS):
        start = time.perf_counter()
        strategy.golden(feeds)
        between = time.perf_counter()
        chain.measure_again(feeds)
        end = time.perf_counter()
        whole = min(whole, between - start)
        segments = min(segments, end - between)
        # the longer a run, the less it is disturbed
        if end - begun > _MEASURED_SECONDS:
            break
    return segments / whole


def _first_reads(graph: onnx.GraphProto) -> dict[str, float]:
    """Return for every name how large a share of the nodes comes before the first that reads it."""
    first: dict[str, float] = {}
    count = len(graph.node)
    for place, node in enumerate(graph.node):
        share = place / count
        for name in used_by(node):
            first.setdefault(name, share)
    return first


def _live(graph: onnx.GraphProto) -> set[str]:
    """Return the names of all values that the graph's outputs depend on; an optimizer may leave others in it."""
    names = {value.name for value in graph.output}
    for node in reversed(graph.node):
        if not names.isdisjoint(node.output):
            names.update(used_by(node))
    return names


def _weights(divisible: Divisible, inputs: Collection[str]) -> list[float]:
    """Return per node the share of runs whose first faulty node it may be.

    Half of it by the bits that a node reads (single faults), half in equal parts (a search layer by layer).
    """
    nodes = divisible.model.graph.node
    sizes = divisible.sizes
    whole = sum(sizes.values())
    bits = np.zeros(len(nodes))
    layers = np.zeros(len(nodes))
    for place, node in enumerate(nodes):
        used = set(used_by(node))
        stored = used.intersection(sizes)
        # a bit is as likely to flip as any other, so a large layer is hit more often
        read = sum(sizes[name] for name in stored)
        bits[place] = read / whole
        # a search varies thresholds, which are inputs
        varied = used.intersection(inputs)
        layers[place] = bool(stored or varied)
    by_bits = bits / bits.sum()
    by_layers = layers / layers.sum()
    shares = by_bits / 2 + by_layers / 2
    weights: list[float] = shares.tolist()
    return weights
