"""Memory for strategies whose graph flips bits of activations too: they need not know."""

from collections.abc import Callable
from dataclasses import replace

from ftonnx.graphs import copy_of, with_outputs_too
from ftonnx.inject import FaultSpace
from ftonnx.runtime.activations.graph import FlippingGraph, activations_of
from ftonnx.runtime.activations.optimized import flip_optimized
from ftonnx.runtime.layout.cache import LayoutCache
from ftonnx.runtime.layout.draft import Draft
from ftonnx.runtime.layout.memory import Memory, MemorySource
from ftonnx.runtime.layout.packing import Packing

__all__ = ["FlippingCache", "FlippingMemory", "FlippingSource"]


class FlippingMemory(Memory):
    """Memory whose graph flips bits of activations.

    Attributes:
        graph: it.
        plain: the memory with the graph that does not.
    """

    def __init__(self, plain: Memory, graph: FlippingGraph, stored: FaultSpace) -> None:
        """Put the graph in place of the plain one."""
        super().__init__(replace(plain.blueprint, model=graph.model), plain.weights, stored, plain.names)
        self.graph = graph
        self.plain = plain


class FlippingSource:
    """Gives memory as another source does, with flips put into its graphs."""

    def __init__(self, source: MemorySource, space: FaultSpace) -> None:
        """Take a source.

        Args:
            source: gives what the plain model becomes.
            space: the fault space, with activations.
        """
        self._source = source
        self._space = space

    def open(self, draft: Draft) -> FlippingMemory:
        """Return what the draft becomes.

        Raises:
            NotPossibleError: a target, stored or computed, has no place.
        """
        plain = self._source.open(self._shown(draft))
        outputs = [value.name for value in draft.model.structure.graph.output]
        graph = flip_optimized(copy_of(plain.model), self._space, outputs)
        return FlippingMemory(plain, graph, draft.space)

    def packing(self, draft: Draft, find: Callable[[], Packing]) -> Packing:
        """Return where kernels keep the weights of what the draft becomes."""
        return self._source.packing(self._shown(draft), find)

    def _shown(self, draft: Draft) -> Draft:
        """Return the draft of a model whose activations are outputs, so that they are there, whatever is fused."""
        names = [target.tensor for target in activations_of(self._space)]
        return replace(draft, model=draft.model.with_proto(with_outputs_too(draft.model.proto, names)))


class FlippingCache(FlippingSource):
    """The same of a cache."""

    def __init__(self, cache: LayoutCache, space: FaultSpace) -> None:
        """Take a cache; arguments as those of any source."""
        super().__init__(cache, space)
        self._cache = cache

    def distrust(self) -> bool:
        """Forget what was read and not computed now; say whether there was any."""
        return self._cache.distrust()
