"""Batches whose golden run is kept, so that runs with faults start where the faults do."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from ftonnx.inject import Faults
from ftonnx.runtime.reuse.chain import Chain, Golden
from ftonnx.runtime.reuse.decision import Reuse
from ftonnx.runtime.strategies.base import Divisible, Strategy
from ftonnx.sessions import Arrays, same_bits

__all__ = ["HeldBatch", "HeldRuns"]


class HeldBatch:
    """A batch of images and its golden run, from which runs with faults start.

    Attributes:
        golden: the model's outputs without faults.
    """

    def __init__(self, strategy: Strategy, reuse: Reuse, feeds: Arrays) -> None:
        self._strategy = strategy
        self._reuse = reuse
        self._feeds = dict(feeds)
        self._kept: Golden | None = None
        if reuse.chain is None:
            self.golden = self._whole_golden(self._feeds)
        else:
            kept = self.kept_golden(reuse.chain)
            self.golden = reuse.chain.outputs(kept.tensors)

    @property
    def nbytes(self) -> int:
        """Bytes of golden tensors that are held."""
        return 0 if self._kept is None else self._kept.nbytes

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
        divisible = self._reuse.divisible
        reached = self._reuse.reached(faults)
        if _is_golden(faults, reached) and not any(changed):
            yield from [self.golden] * len(variants)
            return
        feeds = [self._feeds | inputs for inputs in changed]
        if divisible is not None and reached is not None:
            chain = self._chain(reached, changed)
            if chain is not None:
                yield from self._reached(chain, divisible, faults, reached, feeds)
                return
        for each in feeds:
            self._reuse.work.full += 1
            yield self._strategy.run(each, faults)

    def rebase(self, inputs: Arrays) -> None:
        """Take new values for some of the model's inputs into the golden run."""
        changed = self._changed(inputs)
        feeds = self._feeds | changed
        chain = self._reuse.chain
        # a batch that was held before the segments were opened may not have their tensors
        if self._kept is not None and chain is not None:
            self._kept = chain.rebase(self._kept, feeds)
            self.golden = chain.outputs(self._kept.tensors)
        elif changed:
            self.golden = self._whole_golden(feeds)
        self._feeds = feeds

    def kept_golden(self, chain: Chain) -> Golden:
        """Return the golden run segment by segment; it is done when it is needed first."""
        if self._kept is None:
            self._kept = chain.golden(self._feeds)
        return self._kept

    @property
    def feeds(self) -> Arrays:
        """The model's inputs."""
        return self._feeds

    def _chain(self, reached: set[str], changed: Sequence[Arrays]) -> Chain | None:
        """Return the segments if these runs should use them."""
        start: set[str] = set()
        for inputs in changed:
            start.update(inputs)
        # several variants share what comes before their inputs, wherever the faults lie
        if len(changed) == 1:
            start |= reached
        return self._reuse.chain_for(start, self._feeds)

    def _reached(
        self, chain: Chain, divisible: Divisible, faults: Faults, reached: set[str], feeds: Sequence[Arrays]
    ) -> Iterator[list[NDArray[Any]]]:
        """Run only what the faults and the new inputs reach."""
        golden = self.kept_golden(chain)
        with divisible.flipped(faults):
            yield from chain.run_each(golden, reached, feeds)

    def _changed(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Return the inputs whose values are not the held ones."""
        changed: dict[str, NDArray[Any]] = {}
        for name, array in inputs.items():
            held = self._feeds[name]
            if not same_bits([array], [held]):
                changed[name] = array
        return changed

    def _whole_golden(self, feeds: Arrays) -> list[NDArray[Any]]:
        """Run without faults in one session."""
        self._reuse.work.full += 1
        start = time.perf_counter()
        outputs = self._strategy.golden(feeds)
        self._reuse.note_golden(time.perf_counter() - start)
        return outputs


class HeldRuns:
    """Images in several runs that meet the same faults, which stay in memory from the first run to the last.

    Attributes:
        golden: the model's outputs without faults, by run.
    """

    def __init__(self, strategy: Strategy, reuse: Reuse, runs: Sequence[HeldBatch]) -> None:
        self._strategy = strategy
        self._reuse = reuse
        self._runs = runs
        self.golden = [held.golden for held in runs]

    @property
    def nbytes(self) -> int:
        """Bytes of golden tensors that are held."""
        return sum(held.nbytes for held in self._runs)

    def run(self, faults: Faults) -> list[list[NDArray[Any]]]:
        """Do all runs with ``faults`` in memory and return their outputs, by run.

        Bit-identical to runs of the whole model; only what the faults reach is computed, where that pays.

        Raises:
            FaultyRunError: ONNX Runtime refused or aborted a run because of the faults.
            UsageError: a fault lies outside the fault space.
        """
        if len(self._runs) == 1:
            return [self._runs[0].run(faults)]
        divisible = self._reuse.divisible
        reached = self._reuse.reached(faults)
        if _is_golden(faults, reached):
            return self.golden
        if divisible is not None and reached is not None:
            chain = self._reuse.chain_for(reached, self._runs[0].feeds)
            if chain is not None:
                goldens = [held.kept_golden(chain) for held in self._runs]
                with divisible.flipped(faults):
                    return list(chain.run_all(goldens, reached))
        self._reuse.work.full += len(self._runs)
        return self._strategy.run_each([held.feeds for held in self._runs], faults)


def _is_golden(faults: Faults, reached: set[str] | None) -> bool:
    """Say whether nothing that an output depends on differs from the golden run, so that nothing need be run.

    Args:
        faults: in memory.
        reached: the arrays that they reach and that something reads; None where nobody knows.
    """
    return not len(faults) if reached is None else not reached
