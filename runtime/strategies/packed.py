"""Packed: one open session reads packed weights from a file's mapping, in which they are flipped."""

import sys
import weakref
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from ftonnx.files import scratch_folder
from ftonnx.graphs import hide_constants, take_bytes
from ftonnx.inject import Faults, FaultSpace, OnnxModel
from ftonnx.inject.formats import Undo
from ftonnx.runtime.layout.branches import Switches, branch_convolutions
from ftonnx.runtime.layout.draft import Draft, NotPossibleError
from ftonnx.runtime.layout.memory import MemorySource
from ftonnx.runtime.layout.packed_graph import packed_graph
from ftonnx.runtime.layout.packed_memory import PackedMemory
from ftonnx.runtime.layout.packing import find_packing
from ftonnx.runtime.strategies.base import Part, for_parts, has_integers, is_cpu_alone, on_shared_arena, run_faulty
from ftonnx.runtime.strategies.on_memory import OnMemory, stand_in
from ftonnx.sessions import Arrays, Session, SessionOptions, give_back, open_session, run_session

__all__ = ["Packed"]

_PLATFORM: Final = "linux"
_PRODUCTS: Final = ("MatMul", "Gemm")
_MATRIX: Final = 2  # axes
_LEAST_OF_PRODUCTS: Final = 1 << 20  # elements; fewer stay in the processor's caches, packed or not


class Packed(OnMemory):
    """One session with default options whose kernels read packed weights from a mapped file.

    ONNX Runtime maps the file privately and does not write into it; what is written through a shared mapping of the
    same file is therefore what its kernels read. Other arrays that faults can reach are read unpacked, as they are.
    """

    name = "packed"
    in_place = True

    def __init__(self, model: OnnxModel, space: FaultSpace, options: SessionOptions, source: MemorySource) -> None:
        """Pack the graph that was optimized once, and open the session.

        Raises:
            NotPossibleError: ONNX Runtime packs no weight of the model so that it can be followed.
        """
        own = on_shared_arena(options)
        _require_possible(model, space, own)
        # the same as for rebuild: outputs are those of a default session on the file
        draft = Draft(
            model=model,
            space=space,
            options=own,
            explicit_norms=False,
        )
        memory = source.open(draft)
        self._take(memory, draft, own)
        self.packing = source.packing(draft, lambda: find_packing(memory.model, memory.arrays, own))
        self._parts: weakref.WeakSet[_PackedPart] = weakref.WeakSet()
        self._whole = self._opened(memory.model, memory.arrays.keys(), own)
        if not self._whole.packed.names:
            raise NotPossibleError("ONNX Runtime keeps no packed weights of this model where they can be flipped")

    @classmethod
    def can_win(cls, space: FaultSpace) -> bool:
        """Say whether there are integer weights, which kernels pack, or floats of matrix products are most of all."""
        return has_integers(space) or _is_of_products(space)

    def golden(self, feeds: Arrays) -> list[NDArray[Any]]:
        """Run without faults."""
        return run_session(self._whole.session, feeds)

    def run_each(self, feeds: Sequence[Arrays], faults: Faults) -> list[list[NDArray[Any]]]:
        """Flip in place, run, flip back."""
        with self._flipped_in([self._whole], faults):
            return run_faulty(self._whole.flipped, feeds)

    def rest(self) -> None:
        """Let go of the pages through which packed weights were changed; the session maps the same ones by itself."""
        self._whole.packed.give_back()

    @contextmanager
    def flipped(self, faults: Faults) -> Iterator[None]:
        """Hold the faults in memory, and in the open parts, inside the block."""
        with self._flipped_in(self._parts, faults):
            yield

    def part(self, model: onnx.ModelProto, arrays: Collection[str]) -> Part:
        """Open one session, which reads its packed weights from a file of its own."""
        part = self._opened(model, arrays, for_parts(self.options))
        self._parts.add(part)
        return part

    @contextmanager
    def _flipped_in(self, parts: Iterable["_PackedPart"], faults: Faults) -> Iterator[None]:
        undos: list[Undo] = []
        with self.memory.flipped(faults) as overwritten:
            # an interrupt may come at any time
            try:
                for part in parts:
                    part.packed.follow(overwritten, undos)
                    part.switches.follow(overwritten)
                yield
            finally:
                for part in parts:
                    part.switches.off()
                for undo in reversed(undos):
                    undo()
                for part in parts:
                    part.packed.restored(len(faults))

    def _opened(self, model: onnx.ModelProto, arrays: Collection[str], options: SessionOptions) -> "_PackedPart":
        """Pack a graph, map the file, and open a session on it; the files are removed, their mappings stay.

        Raises:
            NotPossibleError: the file cannot be mapped.
            ModelError: ONNX Runtime refuses the graph.
        """
        held = {name: self.memory.arrays[name] for name in arrays}
        packing = self.packing or {}
        weights = [name for name in arrays if name in packing]
        with scratch_folder() as folder:
            saved = packed_graph(model, held, weights, options, folder)
            packed = PackedMemory(saved, packing, self.memory, weights)
            saved.keep_blocks(packed.names)
            unpacked = [name for name in arrays if name not in packed.names]
            hide_constants(saved.model, unpacked)
            branches = branch_convolutions(saved.model, model, held)
            switches = Switches(branches, self.memory)
            hide_constants(saved.model, switches.values.keys())
            ort_options = replace(options, optimize=False).to_ort()
            self._give(unpacked, saved.model, ort_options, folder)
            given = _give_switches(switches, ort_options)
            session = open_session(saved.model.SerializeToString(), options, ort_options)
        give_back()
        return _PackedPart(session, packed, switches, given)

    def _give(self, names: Sequence[str], model: onnx.ModelProto, options: ort.SessionOptions, folder: Path) -> None:
        """Let a session read arrays from our memory."""
        largest = 0
        stored = {tensor.name: tensor for tensor in model.graph.initializer}
        for name in names:
            value = self._values[name]
            size = value.tensor_size_in_bytes()
            options.add_initializer(name, value)
            take_bytes(stored[name], size)
            largest = max(largest, size)
        stand_in(folder, options, largest)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class _PackedPart:
    """One session for both: it reads what is in memory.

    Attributes:
        session: it.
        packed: the weights that it reads packed.
        switches: say which of its convolutions read the memory, and which ones constants.
        values: the switches as the session reads them; they must live as long as it.
    """

    session: Session
    packed: PackedMemory
    switches: Switches
    values: Sequence[ort.OrtValue]

    def golden(self) -> Session:
        return self.session

    def flipped(self) -> Session:
        return self.session


def _give_switches(switches: Switches, options: ort.SessionOptions) -> list[ort.OrtValue]:
    """Let a session read switches from our memory."""
    values: list[ort.OrtValue] = []
    for name, array in switches.values.items():
        value = ort.OrtValue.ortvalue_from_numpy(array)
        options.add_initializer(name, value)
        values.append(value)
    return values


def _is_of_products(space: FaultSpace) -> bool:
    """Say whether most elements are floats of matrix products, and so many that unpacked products cost time."""
    elements = sum(target.elements for target in space.targets)
    products = _elements_of_products(space)
    return products >= _LEAST_OF_PRODUCTS and 2 * products >= elements


def _elements_of_products(space: FaultSpace) -> int:
    elements = 0
    for target in space.targets:
        is_matrix = len(target.shape) == _MATRIX
        if is_matrix and target.op_type in _PRODUCTS and target.format.dtype == np.float32:
            elements += target.elements
    return elements


def _require_possible(model: OnnxModel, space: FaultSpace, options: SessionOptions) -> None:
    if not has_integers(space) and not _elements_of_products(space):
        raise NotPossibleError("there are no weights of integers or matrix products, which ONNX Runtime would pack")
    if sys.platform != _PLATFORM:
        raise NotPossibleError("a session sees what is written into a file that it maps on Linux only")
    if not is_cpu_alone(options):
        raise NotPossibleError("only the processor's kernels read packed weights from a file")
    if model.large:
        raise NotPossibleError("a model over 2 GiB is not optimized, and its weights cannot be packed in one message")
