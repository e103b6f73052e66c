"""RebuildFromFile: a fresh session for every run, on a flipped file."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from ftonnx.inject import Faults, FaultSpace, OnnxModel
from ftonnx.runtime.layout.memory import MemorySource
from ftonnx.runtime.session_model import faulty_session_model
from ftonnx.runtime.strategies.base import Strategy, run_faulty
from ftonnx.sessions import Arrays, SessionOptions, open_session, run_session

__all__ = ["RebuildFromFile"]


class RebuildFromFile(Strategy):
    """A fresh session per run on a flipped copy of the whole model: slow, and possible for every model."""

    name = "rebuild"

    def __init__(self, model: OnnxModel, space: FaultSpace, options: SessionOptions, source: MemorySource) -> None:
        """Open the fault-free session; no memory is needed."""
        self.options = options
        self._model = model
        self._space = space
        self._golden = self.reference(model.structure)

    def golden(self, feeds: Arrays) -> list[NDArray[Any]]:
        """Run the unflipped session, which stays open."""
        return run_session(self._golden, feeds)

    def run_each(self, feeds: Sequence[Arrays], faults: Faults) -> list[list[NDArray[Any]]]:
        """Write the flips into a copy of the model, open a session on it, run."""
        original = self._model.structure
        faulty = faulty_session_model(original, self._space, faults)
        return run_faulty(lambda: open_session(faulty, self.options), feeds)
