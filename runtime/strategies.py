"""Ways of running a model with faults in its memory.

``live`` flips bits in the memory that one open session reads. ``rebuild`` opens a fresh session on
flipped memory for every run. Both give the outputs of a fresh session, opened with the same
options, on a model file that carries the same flips; ``reference`` opens exactly that session.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol

import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from ftonnx.errors import ModelError
from ftonnx.inject import Faults, FaultSpace, OnnxModel, faulty_model
from ftonnx.runtime.blueprint import stand_in
from ftonnx.runtime.cache import Source
from ftonnx.runtime.memory import Memory, NotPossibleError
from ftonnx.runtime.onnx_session import Arrays, FaultyRunError, SessionOptions, Values, open_session, run_session

__all__ = ["Divisible", "Live", "Part", "Rebuild", "RebuildFromFile", "Strategy"]

_ARITHMETIC_FUSIONS: Final = (
    "ConvAddFusion",
    "ConvBNFusion",
    "ConvMulFusion",
    "MatMulBNFusion",
    "MatMulScaleFusion",
)
"""Optimizers that compute new constants from stored ones, after which no element has a place."""


class Strategy(ABC):
    """One way of running with faults."""

    name: str
    options: SessionOptions

    @abstractmethod
    def golden(self, feeds: Arrays) -> list[NDArray[Any]]:
        """Run without faults."""

    @abstractmethod
    def run(self, feeds: Arrays, faults: Faults) -> list[NDArray[Any]]:
        """Run with faults; afterwards the memory is the original one, also after an exception."""

    def reference(self, proto: onnx.ModelProto) -> ort.InferenceSession:
        """Open a fresh session on a model file with this strategy's options."""
        return open_session(self.serialized(proto), self.options)

    def serialized(self, proto: onnx.ModelProto) -> bytes:
        """Return the bytes of a model file that such a session is opened on."""
        serialized: bytes = proto.SerializeToString()
        return serialized


class Part(Protocol):
    """A stretch of an optimized graph, ready to run."""

    def golden(self) -> ort.InferenceSession:
        """Return a session for memory without flipped bits."""

    def flipped(self) -> ort.InferenceSession:
        """Return a session for the memory as it is now.

        Raises:
            ModelError: ONNX Runtime refuses the flipped values.
        """


class Divisible(Strategy):
    """A strategy that runs an optimized graph on arrays of our own, so that it can run stretches of it.

    Attributes:
        memory: the graph and the arrays.
    """

    memory: Memory

    @abstractmethod
    def part(self, model: onnx.ModelProto, arrays: Collection[str]) -> Part:
        """Open a stretch of the memory's graph.

        Args:
            model: the stretch.
            arrays: which of the memory's arrays it reads.
        """


class Live(Divisible):
    """One session whose kernels read their weights from our arrays at every run."""

    name = "live"

    def __init__(
        self, model: OnnxModel, space: FaultSpace, options: SessionOptions, source: Source | None = None
    ) -> None:
        """Open the session.

        Raises:
            NotPossibleError: the optimizer mixes stored values arithmetically, or wraps them up.
        """
        self.memory = _first_possible(
            lambda disabled: Memory(
                model, space, replace(options, prepack=False, disabled=disabled), explicit_norms=True, source=source
            )
        )
        self.options = self.memory.options
        self._values = {name: ort.OrtValue.ortvalue_from_numpy(a) for name, a in self.memory.arrays.items()}
        self._session = self._open(self.memory.model, self._values.keys(), _on_shared_arena(self.options))

    def golden(self, feeds: Arrays) -> list[NDArray[Any]]:
        """Run without faults."""
        return run_session(self._session, feeds)

    def run(self, feeds: Arrays, faults: Faults) -> list[NDArray[Any]]:
        """Flip in place, run, flip back."""
        with self.memory.flipped(faults):
            return _run_faulty(lambda: self._session, feeds)

    def serialized(self, proto: onnx.ModelProto) -> bytes:
        """Return the bytes of ``proto``, batch normalizations made explicit as here."""
        return super().serialized(self.memory.prepare(proto))

    def part(self, model: onnx.ModelProto, arrays: Collection[str]) -> Part:
        """Open one session, which reads the memory at every run."""
        return _LivePart(self._open(model, arrays, _for_parts(self.options)))

    def _open(self, model: onnx.ModelProto, arrays: Collection[str], options: SessionOptions) -> ort.InferenceSession:
        ort_options = replace(options, optimize=False).to_ort()
        for name in arrays:
            ort_options.add_initializer(name, self._values[name])
        with stand_in(ort_options, max((self._values[name].tensor_size_in_bytes() for name in arrays), default=0)):
            return open_session(model.SerializeToString(), options, ort_options)


class Rebuild(Divisible):
    """A fresh session per run on the graph that was optimized once, its weights passed as arrays."""

    name = "rebuild"

    def __init__(
        self, model: OnnxModel, space: FaultSpace, options: SessionOptions, source: Source | None = None
    ) -> None:
        """Optimize the graph once.

        Raises:
            NotPossibleError: a target has no place in the optimized graph.
        """
        self.options = _on_shared_arena(options)
        self.memory = Memory(model, space, self.options, source=source)
        self._values = {name: ort.OrtValue.ortvalue_from_numpy(a) for name, a in self.memory.arrays.items()}
        self._whole = self.part(self.memory.model, self._values.keys())

    def golden(self, feeds: Arrays) -> list[NDArray[Any]]:
        """Run the unflipped session, which stays open."""
        return run_session(self._whole.golden(), feeds)

    def run(self, feeds: Arrays, faults: Faults) -> list[NDArray[Any]]:
        """Flip, open a session on the flipped arrays, run, flip back."""
        with self.memory.flipped(faults):
            return _run_faulty(self._whole.flipped, feeds)

    def part(self, model: onnx.ModelProto, arrays: Collection[str]) -> Part:
        """Open one session for runs without faults; every other run opens its own."""
        used = {name: self._values[name] for name in arrays}
        options = self.options if model is self.memory.model else _for_parts(self.options)
        graph = _without_bytes(model, {name: value.tensor_size_in_bytes() for name, value in used.items()})
        return _RebuiltPart(graph, used, options)


class _LivePart:
    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session

    def golden(self) -> ort.InferenceSession:
        return self._session

    flipped = golden


class _RebuiltPart:
    def __init__(self, graph: bytes, values: Values, options: SessionOptions) -> None:
        self._graph, self._names, self._values, self._options = graph, list(values), list(values.values()), options
        self._golden = self.flipped()

    def golden(self) -> ort.InferenceSession:
        return self._golden

    def flipped(self) -> ort.InferenceSession:
        ort_options = replace(self._options, optimize=False).to_ort()
        ort_options.add_external_initializers(self._names, self._values)
        return open_session(self._graph, self._options, ort_options)


class RebuildFromFile(Strategy):
    """A fresh session per run on a flipped copy of the whole model: slow, and possible for every model."""

    name = "rebuild"

    def __init__(self, model: OnnxModel, space: FaultSpace, options: SessionOptions) -> None:
        """Open the fault-free session."""
        self.options, self._model, self._space = options, model, space
        self._golden = self.reference(model.proto)

    def golden(self, feeds: Arrays) -> list[NDArray[Any]]:
        """Run the unflipped session, which stays open."""
        return run_session(self._golden, feeds)

    def run(self, feeds: Arrays, faults: Faults) -> list[NDArray[Any]]:
        """Write the flips into a copy of the model, open a session on it, run."""
        faulty = faulty_model(self._model.proto, self._space, faults)
        return _run_faulty(lambda: self.reference(faulty), feeds)


def _run_faulty(opened: Callable[[], ort.InferenceSession], feeds: Arrays) -> list[NDArray[Any]]:
    try:
        return run_session(opened(), feeds)
    except ModelError as error:
        raise FaultyRunError(str(error)) from error


def _first_possible(make: Callable[[tuple[str, ...]], Memory]) -> Memory:
    """Try with all graph optimizers, then without those that compute with stored values."""
    try:
        return make(())
    except NotPossibleError:
        return make(_ARITHMETIC_FUSIONS)


def _on_shared_arena(options: SessionOptions) -> SessionOptions:
    """Let sessions on the CPU share one arena, so that a fresh one does not page-fault its own."""
    return replace(options, shared_arena=options.providers == ("CPUExecutionProvider",))


def _for_parts(options: SessionOptions) -> SessionOptions:
    """Return the options for sessions that run in turn: their idle threads must leave the processor to the next."""
    return replace(_on_shared_arena(options), spin_between_runs=False)


def _without_bytes(model: onnx.ModelProto, sizes: Mapping[str, int]) -> bytes:
    """Serialize ``model`` with the named initializers (sizes in bytes) declared as external and carrying no bytes."""
    stub = onnx.ModelProto()
    stub.CopyFrom(model)
    for tensor in stub.graph.initializer:
        if tensor.name in sizes:
            dims, data_type, name = list(tensor.dims), tensor.data_type, tensor.name
            tensor.Clear()
            tensor.dims.extend(dims)
            tensor.data_type, tensor.name, tensor.data_location = data_type, name, onnx.TensorProto.EXTERNAL
            for key, value in (("location", "memory"), ("offset", "0"), ("length", str(sizes[name]))):
                tensor.external_data.add(key=key, value=value)
    serialized: bytes = stub.SerializeToString()
    return serialized
