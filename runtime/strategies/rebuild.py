"""Rebuild: a fresh session for every run, on a graph that was optimized once."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from ftonnx.graphs import copy_of, take_bytes
from ftonnx.inject import Faults, FaultSpace, OnnxModel
from ftonnx.runtime.layout.draft import Draft
from ftonnx.runtime.layout.memory import MemorySource
from ftonnx.runtime.strategies.base import (
    Part,
    for_parts,
    has_integers,
    is_cpu_alone,
    on_shared_arena,
    options_for,
    run_faulty,
)
from ftonnx.runtime.strategies.on_memory import OnMemory, standing_in
from ftonnx.sessions import Arrays, Session, SessionOptions, Values, open_session, run_session

__all__ = ["Rebuild"]

_WORTH_A_FILE: Final = 1 << 23  # bytes


class Rebuild(OnMemory):
    """A fresh session per run on the graph that was optimized once, its weights passed as arrays."""

    name = "rebuild"

    def __init__(self, model: OnnxModel, space: FaultSpace, options: SessionOptions, source: MemorySource) -> None:
        """Optimize the graph once.

        Raises:
            NotPossibleError: a target has no place in the optimized graph.
        """
        own = on_shared_arena(options_for(model, options))
        # its outputs are those of a default session on the file, so nothing is rewritten
        draft = Draft(
            model=model,
            space=space,
            options=own,
            explicit_norms=False,
        )
        memory = source.open(draft)
        self._take(memory, draft, own)
        self._whole = self._part(memory.model, memory.arrays.keys(), own)

    @classmethod
    def can_win(cls, space: FaultSpace) -> bool:
        """Say whether packed weights can make up for packing them in every run: in integer kernels only."""
        return has_integers(space)

    def golden(self, feeds: Arrays) -> list[NDArray[Any]]:
        """Run the unflipped session, which stays open."""
        return run_session(self._whole.golden(), feeds)

    def rest(self) -> None:
        """Close the unflipped session."""
        self._whole.rest()

    def run_each(self, feeds: Sequence[Arrays], faults: Faults) -> list[list[NDArray[Any]]]:
        """Flip, open a session on the flipped arrays, run, flip back."""
        with self.memory.flipped(faults):
            return run_faulty(self._whole.flipped, feeds)

    def part(self, model: onnx.ModelProto, arrays: Collection[str]) -> Part:
        """Open one session for runs without faults; every other run opens its own."""
        return self._part(model, arrays, for_parts(self.options))

    def _part(self, model: onnx.ModelProto, arrays: Collection[str], options: SessionOptions) -> "_RebuiltPart":
        used: dict[str, ort.OrtValue] = {}
        sizes: dict[str, int] = {}
        for name in arrays:
            value = self._values[name]
            used[name] = value
            sizes[name] = value.tensor_size_in_bytes()
        graph = _without_bytes(model, sizes)
        return _RebuiltPart(graph, used, options)


class _RebuiltPart:
    """A graph whose sessions take the arrays as they are when a session is opened.

    What kernels pack is theirs from then on; what they do not pack they read from the arrays, at every run.
    """

    def __init__(self, graph: bytes, values: Values, options: SessionOptions) -> None:
        self._graph = graph
        self._names = list(values.keys())
        self._values = list(values.values())
        self._options = options
        # the graph is optimized already; to do so again would move the weights once more
        self._unoptimized = replace(options, optimize=False)
        self._sizes = [value.tensor_size_in_bytes() for value in self._values]
        # a file to stand in for the arrays takes longer than copies of few bytes; devices have copies anyway
        self._is_uncopied = is_cpu_alone(options) and sum(self._sizes) >= _WORTH_A_FILE
        self._golden: Session | None = self.flipped()

    def golden(self) -> Session:
        # after a rest no bits are flipped
        if self._golden is None:
            self._golden = self.flipped()
        return self._golden

    def rest(self) -> None:
        """Close the session without flipped bits."""
        self._golden = None

    def flipped(self) -> Session:
        ort_options = self._unoptimized.to_ort()
        if not self._is_uncopied:
            ort_options.add_external_initializers(self._names, self._values)
            return open_session(self._graph, self._options, ort_options)
        for name, value in zip(self._names, self._values, strict=True):
            ort_options.add_initializer(name, value)
        with standing_in(ort_options, max(self._sizes, default=0)):
            return open_session(self._graph, self._options, ort_options)


def _without_bytes(model: onnx.ModelProto, sizes: Mapping[str, int]) -> bytes:
    """Serialize ``model`` with the named initializers (sizes in bytes) declared as external and carrying no bytes."""
    stub = copy_of(model)
    for tensor in stub.graph.initializer:
        if tensor.name in sizes:
            take_bytes(tensor, sizes[tensor.name])
    serialized: bytes = stub.SerializeToString()
    return serialized
