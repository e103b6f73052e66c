"""Ways of running a model with faults in its memory.

``live`` flips bits in the memory that one open session reads. ``rebuild`` opens a fresh session on
flipped memory for every run. Both give the outputs of a fresh session, opened with the same
options, on a model file that carries the same flips; ``reference`` opens exactly that session.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from ftonnx.errors import ModelError
from ftonnx.inject import Faults, FaultSpace, OnnxModel, faulty_model
from ftonnx.runtime.memory import Memory, NotPossibleError
from ftonnx.runtime.onnx_session import Arrays, FaultyRunError, SessionOptions, open_session, run_session

__all__ = ["Live", "Rebuild", "RebuildFromFile", "Strategy"]

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
        return open_session(proto.SerializeToString(), self.options)


class Live(Strategy):
    """One session whose kernels read their weights from our arrays at every run."""

    name = "live"

    def __init__(self, model: OnnxModel, space: FaultSpace, options: SessionOptions) -> None:
        """Open the session.

        Raises:
            NotPossibleError: the optimizer mixes stored values arithmetically, or wraps them up.
        """
        self._memory = _first_possible(
            lambda disabled: Memory(
                model, space, replace(options, prepack=False, disabled=disabled), explicit_norms=True
            )
        )
        self.options = self._memory.options
        ort_options = replace(self.options, optimize=False).to_ort()
        self._values = {name: ort.OrtValue.ortvalue_from_numpy(a) for name, a in self._memory.arrays.items()}
        for name, value in self._values.items():
            ort_options.add_initializer(name, value)
        self._session = open_session(self._memory.model.SerializeToString(), self.options, ort_options)

    def golden(self, feeds: Arrays) -> list[NDArray[Any]]:
        """Run without faults."""
        return run_session(self._session, feeds)

    def run(self, feeds: Arrays, faults: Faults) -> list[NDArray[Any]]:
        """Flip in place, run, flip back."""
        with self._memory.flipped(faults):
            return _run_faulty(lambda: self._session, feeds)

    def reference(self, proto: onnx.ModelProto) -> ort.InferenceSession:
        """Open a fresh session on ``proto``, batch normalizations made explicit as here."""
        return super().reference(self._memory.prepare(proto))


class Rebuild(Strategy):
    """A fresh session per run on the graph that was optimized once, its weights passed as arrays."""

    name = "rebuild"

    def __init__(self, model: OnnxModel, space: FaultSpace, options: SessionOptions) -> None:
        """Optimize the graph once.

        Raises:
            NotPossibleError: a target has no place in the optimized graph.
        """
        self.options = replace(options, shared_arena=options.providers == ("CPUExecutionProvider",))
        self._memory = Memory(model, space, self.options)
        arrays = self._memory.arrays
        self._graph = _without_bytes(self._memory.model, arrays)
        self._names = list(arrays)
        self._values = [ort.OrtValue.ortvalue_from_numpy(array) for array in arrays.values()]
        self._golden = self._open()

    def golden(self, feeds: Arrays) -> list[NDArray[Any]]:
        """Run the unflipped session, which stays open."""
        return run_session(self._golden, feeds)

    def run(self, feeds: Arrays, faults: Faults) -> list[NDArray[Any]]:
        """Flip, open a session on the flipped arrays, run, flip back."""
        with self._memory.flipped(faults):
            return _run_faulty(self._open, feeds)

    def _open(self) -> ort.InferenceSession:
        ort_options = replace(self.options, optimize=False).to_ort()
        ort_options.add_external_initializers(self._names, self._values)
        return open_session(self._graph, self.options, ort_options)


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


def _without_bytes(model: onnx.ModelProto, arrays: Arrays) -> bytes:
    """Serialize ``model`` with the named initializers declared as external and carrying no bytes."""
    stub = onnx.ModelProto()
    stub.CopyFrom(model)
    for tensor in stub.graph.initializer:
        if tensor.name in arrays:
            dims, data_type, name = list(tensor.dims), tensor.data_type, tensor.name
            tensor.Clear()
            tensor.dims.extend(dims)
            tensor.data_type, tensor.name, tensor.data_location = data_type, name, onnx.TensorProto.EXTERNAL
            for key, value in (("location", "memory"), ("offset", "0"), ("length", str(arrays[name].nbytes))):
                tensor.external_data.add(key=key, value=value)
    serialized: bytes = stub.SerializeToString()
    return serialized
