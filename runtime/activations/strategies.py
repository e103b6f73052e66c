"""Ways of running a model with faults in its activations: in one session alone, or beside faults in stored values."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import onnx
from numpy.typing import NDArray

from ftonnx.inject import Faults, FaultSpace, OnnxModel
from ftonnx.runtime.activations.graph import FlippingGraph, flipping_graph
from ftonnx.runtime.activations.optimized import optimized_graph
from ftonnx.runtime.activations.places import Place, Run, flips, no_flips
from ftonnx.runtime.activations.source import FlippingMemory
from ftonnx.runtime.layout.draft import NotPossibleError
from ftonnx.runtime.layout.memory import MemorySource
from ftonnx.runtime.session_model import session_model
from ftonnx.runtime.strategies.base import Strategy, on_shared_arena, options_for, run_faulty
from ftonnx.runtime.strategies.on_memory import OnMemory
from ftonnx.sessions import Arrays, Session, SessionOptions, free_inputs, open_session, run_session

__all__ = ["ALONE", "BesideOptimized", "BesideStored", "Flipping", "OnGraph", "OnOptimized", "Told"]


class Told:
    """What tells the runs of a flipping graph which bits flip."""

    def __init__(self, places: Sequence[Place], space: FaultSpace, model: onnx.ModelProto) -> None:
        """Take in where they are.

        Args:
            places: of the space's activations.
            space: the fault space.
            model: the original one.
        """
        self._places = places
        self._space = space
        self._nothing = no_flips(places)
        # a scalar takes no data
        self._images = next(value.name for value in free_inputs(model) if value.type.tensor_type.shape.dim)

    def golden(self, feeds: Arrays) -> Arrays:
        """Return the inputs of a run without faults."""
        return {**feeds, **self._nothing}

    def runs(self, feeds: Sequence[Arrays], faults: Faults) -> Iterator[Arrays]:
        """Yield the inputs of the runs of a unit.

        Args:
            feeds: of every run.
            faults: of the unit; those in stored values are not looked at.

        Raises:
            UsageError: a fault lies outside the fault space.
        """
        self._space.check_drawn(faults)
        first = 0
        for number, each in enumerate(feeds):
            images = len(each[self._images])
            run = Run(number=number, first=first, images=images)
            yield {**each, **self._nothing, **flips(self._places, self._space, faults, run)}
            first += images


class Flipping(Strategy):
    """What runs a graph that flips bits of its activations.

    Attributes:
        graph: it, until ``release``.
        is_optimized: whether that is no longer the model's own graph.
    """

    graph: FlippingGraph
    is_optimized = False

    def release(self) -> None:
        """Give back the graph, which holds the weights twice, once nobody is to be shown anything."""
        del self.graph

    @abstractmethod
    def opened(self, model: onnx.ModelProto) -> Session:
        """Open a fresh session on a variant of the graph, as this strategy's own session is opened."""


class _Alone(Flipping):
    """One session whose graph flips bits of activations, and of nothing else."""

    name = "live"
    in_place = True

    def __init__(self, model: OnnxModel, space: FaultSpace, options: SessionOptions, source: MemorySource) -> None:
        """Open the session.

        Raises:
            NotPossibleError: an activation is not to be found.
        """
        self.options = on_shared_arena(options_for(model, options))
        self.graph = self._graph(model, space)
        self._told = Told(self.graph.places, space, model.structure)
        self._session = self.opened(self.graph.model)

    @abstractmethod
    def _graph(self, model: OnnxModel, space: FaultSpace) -> FlippingGraph:
        """Return the graph that is run."""

    def golden(self, feeds: Arrays) -> list[NDArray[Any]]:
        """Run without faults."""
        return run_session(self._session, self._told.golden(feeds))

    def run_each(self, feeds: Sequence[Arrays], faults: Faults) -> list[list[NDArray[Any]]]:
        """Tell every run its faults."""
        return run_faulty(lambda: self._session, list(self._told.runs(feeds, faults)))


class OnOptimized(_Alone):
    """A session on the graph that ONNX Runtime made of the plain model, with flips put in: as fast as the plain one."""

    is_optimized = True

    def _graph(self, model: OnnxModel, space: FaultSpace) -> FlippingGraph:
        if not self.options.optimize:
            raise NotPossibleError("the graph is not optimized")
        return optimized_graph(model, space, self.options)

    def opened(self, model: onnx.ModelProto) -> Session:
        """Open a fresh session on a variant of the graph."""
        return open_session(session_model(model), replace(self.options, optimize=False))


class OnGraph(_Alone):
    """A session on the model's own graph with flips put in: any model has one."""

    def _graph(self, model: OnnxModel, space: FaultSpace) -> FlippingGraph:
        return flipping_graph(model.proto, space)

    def opened(self, model: onnx.ModelProto) -> Session:
        """Open a fresh session on a variant of the graph."""
        return open_session(session_model(model), self.options)


ALONE: Final = (OnOptimized, OnGraph)
"""Strategies for activations alone, the fastest first."""


class BesideStored(Flipping):
    """A strategy for stored values, on a graph that flips bits of its activations too."""

    def __init__(self, inner: Strategy, graph: FlippingGraph, space: FaultSpace, model: onnx.ModelProto) -> None:
        """Take what is open.

        Args:
            inner: opened on the graph, for the space's stored values.
            graph: what it runs.
            space: the fault space.
            model: the original one.
        """
        self._inner = inner
        self.graph = graph
        self._told = Told(graph.places, space, model)
        self._stored = space.stored_targets
        self.name = inner.name
        self.options = inner.options
        self.in_place = inner.in_place
        self.rewritten = inner.rewritten
        self.memory = inner.memory
        self.packing = inner.packing

    @property
    def kind(self) -> str:
        """That of the strategy for stored values, and on which graph it is open."""
        return f"{type(self).__name__} {self._inner.kind}"

    def golden(self, feeds: Arrays) -> list[NDArray[Any]]:
        """Run without faults."""
        return self._inner.golden(self._told.golden(feeds))

    def run_each(self, feeds: Sequence[Arrays], faults: Faults) -> list[list[NDArray[Any]]]:
        """Hold the faults in stored values in memory, and tell every run its others."""
        told = list(self._told.runs(feeds, faults))
        stored = faults.target < self._stored
        held = Faults.in_order(faults.target[stored], faults.element[stored], faults.bit[stored])
        return self._inner.run_each(told, held)

    def opened(self, model: onnx.ModelProto) -> Session:
        """Open a fresh session on a variant of the graph."""
        return self._inner.reference(model)

    def rest(self) -> None:
        """Close what runs with faults do not need."""
        self._inner.rest()

    def prepared(self, proto: onnx.ModelProto) -> onnx.ModelProto:
        """Return what a fresh session is opened on."""
        return self._inner.prepared(proto)


class BesideOptimized(BesideStored):
    """The same, where the graph is the one that ONNX Runtime made of the plain model, with flips put in."""

    is_optimized = True

    def __init__(self, inner: Strategy, space: FaultSpace, model: onnx.ModelProto) -> None:
        """Take what is open.

        Args:
            inner: opened on the memory of a ``FlippingSource``.
            space: the fault space.
            model: the original one.

        Raises:
            NotPossibleError: it has no such memory.
        """
        if not isinstance(inner, OnMemory) or not isinstance(inner.memory, FlippingMemory):
            raise NotPossibleError("it runs no graph into which flips were put")
        super().__init__(inner, inner.memory.graph, space, model)
        # others put the flips in themselves
        self.memory = inner.memory.plain
        self._on_memory = inner

    def opened(self, model: onnx.ModelProto) -> Session:
        """Open a fresh session on a variant of the graph."""
        return self._on_memory.part(model, self._on_memory.memory.arrays.keys()).golden()
