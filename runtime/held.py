"""Batches whose golden run is kept, so that runs with faults start where the faults do."""

import logging
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from ftonnx.inject import Faults
from ftonnx.runtime.chain import Chain, Golden, Work
from ftonnx.runtime.cuts import Cut, choose_cuts, find_cuts, used_by
from ftonnx.runtime.onnx_session import Arrays, same_bits
from ftonnx.runtime.strategies import Divisible, Strategy

__all__ = ["HeldBatch", "Reuse", "cache_limit", "free_memory"]

_LEAST_SKIPPED: Final = 0.1  # share of the work; below, one session for everything is as fast
_PRICE: Final = 10  # opening the segments costs about as much as so many golden runs
_logger = logging.getLogger(__name__)


def free_memory() -> int:
    """Return how many bytes the machine can give without swapping."""
    import psutil

    return int(psutil.virtual_memory().available)


def cache_limit(wanted: int | None) -> int:
    """Return how many bytes golden tensors may take: as many as wanted, else a quarter of the free memory now."""
    return free_memory() // 4 if wanted is None else wanted


class Reuse:
    """Decides whether runs use the segments of a model, and opens them once that pays.

    Attributes:
        chain: the open segments; None while there are none.
        work: what has been done.
    """

    def __init__(self, strategy: Strategy, proof: Faults, memory: int | None) -> None:
        """Look at the graph; nothing is opened yet.

        Args:
            strategy: runs the whole model; one that cannot run stretches of it never reuses anything.
            proof: faults for which the segments must give what the whole model gives.
            memory: bytes that golden tensors of a batch may take; None means a quarter of what is free.
        """
        self.chain: Chain | None = None
        self.work = Work()
        self._strategy, self._proof, self._memory = strategy, proof, memory
        self._possible = isinstance(strategy, Divisible) and strategy.options.providers == ("CPUExecutionProvider",)
        self._missed = 0.0
        self._starts: dict[str, float] = {}
        if isinstance(strategy, Divisible):
            self._starts = _first_reads(strategy.memory.model.graph)

    def pays(self, names: Collection[str], feeds: Arrays) -> bool:
        """Say whether a run that differs from the golden one in these arrays and inputs should use the segments.

        The segments are opened when the work they would have saved so far outweighs their opening.
        """
        if not self._possible:
            return False
        if self.chain is not None:
            return self.chain.skipped_share(names) >= _LEAST_SKIPPED
        skipped = min((self._starts[name] for name in names if name in self._starts), default=1.0)
        if skipped < _LEAST_SKIPPED:
            return False
        self._missed += skipped
        return self._missed >= _PRICE and self.open(feeds)

    def open(self, feeds: Arrays) -> bool:
        """Cut the model, measured on one batch; say whether its segments give what the whole gives."""
        if self.chain is not None:
            return True
        if not self._possible or not isinstance(strategy := self._strategy, Divisible):
            return False
        graph = strategy.memory.model.graph
        places = find_cuts(graph)
        types = _types(strategy, places)
        cuts = [cut for cut in places if all(name in types for name in cut.tensors)]
        candidates = Chain(strategy, cuts, types, self.work)
        seconds, sizes = candidates.measure(feeds)
        before = np.cumsum(seconds)[:-1].tolist()
        chosen = choose_cuts(cuts, before, sizes, _weights(strategy, feeds), cache_limit(self._memory))
        del candidates
        chain = Chain(strategy, chosen, types, self.work)
        chain.measure(feeds)
        golden = chain.golden(feeds)
        with strategy.memory.flipped(self._proof):
            outputs = chain.run(golden, strategy.memory.reached(self._proof), feeds)
        if same_bits(chain.outputs(golden.tensors), strategy.golden(feeds)) and same_bits(
            outputs, strategy.run(feeds, self._proof)
        ):
            self.chain = chain
            _logger.info("golden runs are reused from %d cuts", len(chosen))
            return True
        _logger.warning("golden runs cannot be reused: the model in segments gives other outputs than in one piece")
        self._possible = False
        return False


class HeldBatch:
    """A batch of images and its golden run, from which runs with faults start.

    Attributes:
        golden: the model's outputs without faults.
    """

    def __init__(self, strategy: Strategy, reuse: Reuse, feeds: Arrays) -> None:
        self._strategy, self._reuse, self._feeds = strategy, reuse, dict(feeds)
        self._kept: Golden | None = None
        if reuse.chain is None:
            reuse.work.full += 1
            self.golden = strategy.golden(self._feeds)
        else:
            self.golden = reuse.chain.outputs(self._golden(reuse.chain).tensors)

    @property
    def nbytes(self) -> int:
        """Bytes of golden tensors that are held."""
        return 0 if self._kept is None else sum(v.tensor_size_in_bytes() for v in self._kept.tensors.values())

    def run(self, faults: Faults) -> list[NDArray[Any]]:
        """Run the batch with ``faults`` in memory.

        Bit-identical to a run of the whole model; only what the faults reach is computed, where that pays.

        Raises:
            FaultyRunError: ONNX Runtime refused or aborted the run because of the faults.
            UsageError: a fault lies outside the fault space.
        """
        (outputs,) = self.run_each(faults, [{}])
        return outputs

    def run_each(self, faults: Faults, variants: Sequence[Arrays]) -> Iterator[list[NDArray[Any]]]:
        """Run with ``faults`` and, one after the other, with new values for some of the model's inputs.

        What comes before the first of these inputs is computed once. Iterate to the end before the next run.
        """
        changed = [self._changed(inputs) for inputs in variants]
        if not len(faults) and not any(changed):
            yield from [self.golden] * len(variants)
            return
        names = {name for inputs in changed for name in inputs}
        strategy, feeds = self._strategy, [self._feeds | inputs for inputs in changed]
        if isinstance(strategy, Divisible):
            arrays = strategy.memory.reached(faults)
            start = names if len(variants) > 1 else arrays | names
            if self._reuse.pays(start, self._feeds) and (chain := self._reuse.chain) is not None:
                golden = self._golden(chain)
                with strategy.memory.flipped(faults):
                    yield from chain.run_each(golden, arrays, feeds)
                return
        for each in feeds:
            self._reuse.work.full += 1
            yield strategy.run(each, faults)

    def rebase(self, inputs: Arrays) -> None:
        """Take new values for some of the model's inputs into the golden run."""
        changed = self._changed(inputs)
        feeds = self._feeds | changed
        if self._kept is not None and self._reuse.chain is not None:
            self._kept = self._reuse.chain.rebase(self._kept, feeds)
            self.golden = self._reuse.chain.outputs(self._kept.tensors)
        elif changed:
            self._reuse.work.full += 1
            self.golden = self._strategy.golden(feeds)
        self._feeds = feeds

    def _changed(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Return the inputs whose values are not the held ones."""
        return {name: a for name, a in inputs.items() if not same_bits([a], [self._feeds[name]])}

    def _golden(self, chain: Chain) -> Golden:
        if self._kept is None:
            self._kept = chain.golden(self._feeds)
        return self._kept


def _first_reads(graph: onnx.GraphProto) -> dict[str, float]:
    """Return for every name how large a share of the nodes comes before the first that reads it."""
    first: dict[str, float] = {}
    for place, node in enumerate(graph.node):
        for name in used_by(node):
            first.setdefault(name, place / len(graph.node))
    return first


def _types(strategy: Divisible, cuts: Collection[Cut]) -> dict[str, int]:
    """Ask ONNX Runtime for the element types of the tensors at the cuts; those that are no tensors are left out."""
    probe = onnx.ModelProto()
    probe.CopyFrom(strategy.memory.model)
    known = {value.name for value in probe.graph.output}
    names = {name for cut in cuts for name in cut.tensors}
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(names - known))
    session = strategy.part(probe, strategy.memory.arrays.keys()).golden()
    return {value.name: number for value in session.get_outputs() if (number := _element_type(value.type))}


def _element_type(ort_type: str) -> int:
    """Return the ONNX number of an element type by ONNX Runtime's name for it; 0 where it is no tensor.

    >>> _element_type("tensor(float)"), _element_type("tensor(uint8)"), _element_type("seq(tensor(float))")
    (1, 2, 0)
    """
    if not ort_type.startswith("tensor("):
        return 0
    return int(onnx.TensorProto.DataType.Value(ort_type.removeprefix("tensor(").removesuffix(")").upper()))


def _weights(strategy: Divisible, inputs: Collection[str]) -> list[float]:
    """Return per node the share of runs whose first faulty node it may be.

    Half of it by the bits that a node reads (single faults), half in equal parts (a search layer by layer).
    """
    graph, arrays = strategy.memory.model.graph, strategy.memory.arrays
    whole = sum(array.nbytes for array in arrays.values())
    bits, layers = np.zeros(len(graph.node)), np.zeros(len(graph.node))
    for place, node in enumerate(graph.node):
        used = set(used_by(node))
        bits[place] = sum(arrays[name].nbytes for name in used.intersection(arrays)) / whole
        layers[place] = not used.isdisjoint(arrays) or not used.isdisjoint(inputs)
    weights: list[float] = (bits / bits.sum() / 2 + layers / layers.sum() / 2).tolist()
    return weights
