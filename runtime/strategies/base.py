"""What every way of running with faults answers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, ClassVar, Final, Protocol

import onnx
from numpy.typing import NDArray

from ftonnx.errors import ModelError
from ftonnx.inject import Faults, FaultSpace, OnnxModel
from ftonnx.runtime.layout.memory import Memory, MemorySource
from ftonnx.runtime.layout.packing import Packing
from ftonnx.runtime.session_model import session_model
from ftonnx.sessions import Arrays, Session, SessionModel, SessionOptions, open_session, run_session

__all__ = [
    "Divisible",
    "FaultyRunError",
    "Part",
    "Strategy",
    "for_parts",
    "has_integers",
    "is_cpu_alone",
    "on_shared_arena",
    "options_for",
    "run_faulty",
]

_CPU_ALONE: Final = ("CPUExecutionProvider",)


class FaultyRunError(ModelError):
    """ONNX Runtime refused or aborted a run because of the flipped bits: a detected, unrecoverable error."""


class Part(Protocol):
    """A stretch of an optimized graph, ready to run."""

    def golden(self) -> Session:
        """Return a session for memory without flipped bits."""

    def flipped(self) -> Session:
        """Return a session for the memory as it is now.

        Raises:
            ModelError: ONNX Runtime refuses the flipped values.
        """


class Divisible(Protocol):
    """An optimized graph on arrays of our own, of which stretches can be run."""

    @property
    def model(self) -> onnx.ModelProto:
        """The graph; the initializers that faults can reach carry no bytes."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Bytes of these initializers, by name."""

    def reached(self, faults: Faults) -> set[str]:
        """Return the names of the initializers that these faults change.

        Raises:
            UsageError: a fault lies outside the fault space.
        """

    def flipped(self, faults: Faults) -> AbstractContextManager[object]:
        """Hold the faults in memory inside the block."""

    def part(self, model: onnx.ModelProto, arrays: Collection[str]) -> Part:
        """Open a stretch of the graph.

        Args:
            model: the stretch.
            arrays: which of the initializers it reads.
        """


class Strategy(ABC):
    """One way of running with faults.

    Attributes:
        name: the word for it on the command line and in results.
        options: how its sessions are opened.
        memory: the arrays that it flips, which other processes can map; None where it has none.
        packing: where its kernels keep packed weights, which other processes need not find; None where it follows none.
    """

    name: ClassVar[str]
    options: SessionOptions
    memory: Memory | None = None
    packing: Packing | None = None

    @abstractmethod
    def __init__(self, model: OnnxModel, space: FaultSpace, options: SessionOptions, source: MemorySource) -> None:
        """Open the model.

        Args:
            model: it.
            space: where faults can lie.
            options: how sessions are to be opened.
            source: gives the memory, to those who need one.

        Raises:
            NotPossibleError: this way cannot run the model.
            ModelError: ONNX Runtime refuses the model.
        """

    @classmethod
    def can_win(cls, space: FaultSpace) -> bool:
        """Say whether it may be faster than the strategies before it in the registry."""
        return True

    @abstractmethod
    def golden(self, feeds: Arrays) -> list[NDArray[Any]]:
        """Run without faults."""

    @abstractmethod
    def run(self, feeds: Arrays, faults: Faults) -> list[NDArray[Any]]:
        """Run with faults; afterwards the memory is the original one, also after an exception."""

    def divisible(self) -> Divisible | None:
        """Return what can run stretches of the model with the same bits; None where only the whole runs."""
        return None

    def reference(self, proto: onnx.ModelProto) -> Session:
        """Open a fresh session on a model file with this strategy's options."""
        return open_session(self.serialized(proto), self.options)

    def serialized(self, proto: onnx.ModelProto) -> SessionModel:
        """Return what such a session is opened on."""
        return session_model(proto)


def run_faulty(opened: Callable[[], Session], feeds: Arrays) -> list[NDArray[Any]]:
    """Run a session that reads flipped bits; it may refuse them when it is opened, or when it runs.

    Raises:
        FaultyRunError: it did.
    """
    try:
        return run_session(opened(), feeds)
    except ModelError as error:
        raise FaultyRunError(str(error)) from error


def on_shared_arena(options: SessionOptions) -> SessionOptions:
    """Let sessions on the CPU share one arena, so that a fresh one does not page-fault its own."""
    return replace(options, shared_arena=is_cpu_alone(options))


def for_parts(options: SessionOptions) -> SessionOptions:
    """Return the options for sessions that run in turn: their idle threads must leave the processor to the next."""
    return replace(on_shared_arena(options), spin_between_runs=False)


def options_for(model: OnnxModel, options: SessionOptions) -> SessionOptions:
    """Return how an optimized form of a model is made: of one over 2 GiB there is none, and it runs as it is."""
    return replace(options, optimize=False) if model.large else options


def has_integers(space: FaultSpace) -> bool:
    """Say whether faults can reach integers, whose kernels pack them."""
    return any(target.format.dtype.kind in "iu" for target in space.targets)


def is_cpu_alone(options: SessionOptions) -> bool:
    """Say whether nothing but the processor runs the model."""
    return options.providers == _CPU_ALONE
