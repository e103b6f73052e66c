"""What strategies have in common that run an optimized graph on arrays of our own."""

from abc import abstractmethod
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import onnx
import onnxruntime as ort

from ftonnx.files import scratch_folder
from ftonnx.graphs import LOCATION
from ftonnx.inject import Faults
from ftonnx.runtime.layout.draft import Draft
from ftonnx.runtime.layout.memory import Memory
from ftonnx.runtime.strategies.base import Divisible, Part, Strategy, is_cpu_alone
from ftonnx.sessions import SessionOptions

__all__ = ["OnMemory", "stand_in", "standing_in"]

_FOLDER_OF_DATA: Final = "session.model_external_initializers_file_folder_path"


class OnMemory(Strategy):
    """A strategy that runs an optimized graph on arrays of our own, so that it can run stretches of it.

    Attributes:
        memory: the graph and the arrays.
    """

    memory: Memory

    def _take(self, memory: Memory, draft: Draft, options: SessionOptions) -> None:
        """Take the memory that a draft became."""
        self.memory = memory
        self.options = options
        self._draft = draft
        # these read the arrays' own memory, so that a flip is seen by every session that is given them
        self._values: dict[str, ort.OrtValue] = {}
        held = memory.blueprint.held
        for name, array in memory.arrays.items():
            # named, as numpy lacks some of the types
            data_type = held[name].data_type
            self._values[name] = ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, data_type)

    def divisible(self) -> Divisible | None:
        """Return itself; None where a device holds copies of the tensors between two stretches."""
        return self if is_cpu_alone(self.options) else None

    @property
    def model(self) -> onnx.ModelProto:
        """The optimized graph."""
        return self.memory.model

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of the arrays that faults can reach."""
        return {name: value.tensor_size_in_bytes() for name, value in self._values.items()}

    def reached(self, faults: Faults) -> set[str]:
        """Return the names of the arrays that these faults change."""
        return self.memory.reached(faults)

    def flipped(self, faults: Faults) -> AbstractContextManager[object]:
        """Hold the faults in memory inside the block."""
        return self.memory.flipped(faults)

    @abstractmethod
    def part(self, model: onnx.ModelProto, arrays: Collection[str]) -> Part:
        """Open a stretch of the graph."""


def stand_in(folder: Path, options: ort.SessionOptions, size: int) -> None:
    """Write the file for a graph whose arrays are given by ``add_initializer``, and name its folder to a session.

    ONNX Runtime insists on a file that is long enough for every external tensor, and does not read it where an array
    is given. This one has no content (a hole of ``size`` bytes).
    """
    with (folder / LOCATION).open("wb") as file:
        file.truncate(size)
    options.add_session_config_entry(_FOLDER_OF_DATA, str(folder))


@contextmanager
def standing_in(options: ort.SessionOptions, size: int) -> Iterator[None]:
    """Let a session open inside the block on a graph whose arrays, up to so many bytes, ``add_initializer`` gives."""
    with scratch_folder() as folder:
        stand_in(folder, options, size)
        yield
