"""What every way of running with faults answers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Final, Protocol

import onnx
from numpy.typing import NDArray

from ftonnx.errors import ModelError
from ftonnx.inject import Faults, FaultSpace, OnnxModel
from ftonnx.runtime.layout.memory import Memory, MemorySource
from ftonnx.runtime.layout.packing import Packing
from ftonnx.runtime.session_model import session_model
from ftonnx.sessions import Arrays, Session, SessionOptions, open_session, run_session

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
        in_place: whether runs with faults are those of a session that is open already.
        rewritten: whether the fresh session it equals is one on a rewritten file (see ``prepared``).
        memory: the arrays that it flips, which other processes can map; None where it has none.
        packing: where its kernels keep packed weights, which other processes need not find; None where it follows none.
    """

    name: str
    in_place: bool = False
    rewritten: bool = False
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

    @property
    def kind(self) -> str:
        """By what another process knows which strategy to open."""
        return type(self).__name__

    @classmethod
    def can_win(cls, space: FaultSpace) -> bool:
        """Say whether it may be the fastest."""
        return True

    @abstractmethod
    def golden(self, feeds: Arrays) -> list[NDArray[Any]]:
        """Run without faults."""

    def run(self, feeds: Arrays, faults: Faults) -> list[NDArray[Any]]:
        """Run with faults; afterwards the memory is the original one, also after an exception."""
        (outputs,) = self.run_each([feeds], faults)
        return outputs

    @abstractmethod
    def run_each(self, feeds: Sequence[Arrays], faults: Faults) -> list[list[NDArray[Any]]]:
        """Run several feeds one after the other, with the faults in memory until the last; then as ``run``."""

    def rest(self) -> None:
        """Close what runs with faults do not need; it is opened again where it is needed."""
        return

    def divisible(self) -> Divisible | None:
        """Return what can run stretches of the model with the same bits; None where only the whole runs."""
        return None

    def reference(self, proto: onnx.ModelProto) -> Session:
        """Open a fresh session on a model file with this strategy's options."""
        return open_session(session_model(self.prepared(proto)), self.options)

    def prepared(self, proto: onnx.ModelProto) -> onnx.ModelProto:
        """Return what such a session is opened on: the model, or a rewritten one that does the same."""
        return proto


def run_faulty(opened: Callable[[], Session], feeds: Sequence[Arrays]) -> list[list[NDArray[Any]]]:
    """Run a session that reads flipped bits; it may refuse them when it is opened, or when it runs.

    Args:
        opened: returns the session, which is opened once for all runs.
        feeds: of every run.

    Raises:
        FaultyRunError: it did.
    """
    try:
        session = opened()
        return [run_session(session, each) for each in feeds]
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
    # by name: of the four-bit ones numpy knows the size only
    return any(target.format.dtype.name.startswith(("int", "uint")) for target in space.targets)


def is_cpu_alone(options: SessionOptions) -> bool:
    """Say whether nothing but the processor runs the model."""
    return options.providers == _CPU_ALONE
