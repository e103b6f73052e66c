"""Live: one open session reads the arrays that are flipped."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Final

import onnx
from numpy.typing import NDArray

from ftonnx.inject import Faults, FaultSpace, OnnxModel
from ftonnx.runtime.layout.draft import Draft, NotPossibleError
from ftonnx.runtime.layout.memory import MemorySource
from ftonnx.runtime.strategies.base import Part, for_parts, on_shared_arena, options_for, run_faulty
from ftonnx.runtime.strategies.on_memory import OnMemory, standing_in
from ftonnx.sessions import Arrays, Session, SessionOptions, open_session, run_session

__all__ = ["Live"]

_ARITHMETIC_FUSIONS: Final = (
    "ConvAddFusion",
    "ConvBNFusion",
    "ConvMulFusion",
    "MatMulBNFusion",
    "MatMulScaleFusion",
)
"""Optimizers that compute new constants from stored ones, after which no element has a place."""


_FOUR_BIT_PRODUCT: Final = "MatMulNBits"
_IN_FLOAT: Final = 1  # accuracy levels 0 and 1 compute in float32, packed or not


class Live(OnMemory):
    """One session whose kernels read their weights from our arrays at every run."""

    name = "live"
    in_place = True
    rewritten = True

    def __init__(self, model: OnnxModel, space: FaultSpace, options: SessionOptions, source: MemorySource) -> None:
        """Open the session.

        Raises:
            NotPossibleError: the optimizer mixes stored values arithmetically, or wraps them up.
        """
        chosen = options_for(model, options)
        # a packed copy of the weights would not see the flips
        draft = Draft(
            model=model,
            space=space,
            options=replace(chosen, prepack=False),
            # nothing is folded that would have to be kept apart where nothing is optimized
            explicit_norms=chosen.optimize,
        )
        try:
            memory = source.open(draft)
        except NotPossibleError:
            if not chosen.optimize:
                raise
            # more nodes to run, but every element keeps a place
            fewer = replace(draft.options, disabled=_ARITHMETIC_FUSIONS)
            draft = replace(draft, options=fewer)
            memory = source.open(draft)
        self._take(memory, draft, draft.options)
        _require_same_arithmetic(memory.model)
        own = on_shared_arena(self.options)
        self._session = self._opened(memory.model, memory.arrays.keys(), own)

    def golden(self, feeds: Arrays) -> list[NDArray[Any]]:
        """Run without faults."""
        return run_session(self._session, feeds)

    def run_each(self, feeds: Sequence[Arrays], faults: Faults) -> list[list[NDArray[Any]]]:
        """Flip in place, run, flip back."""
        with self.memory.flipped(faults):
            return run_faulty(lambda: self._session, feeds)

    def prepared(self, proto: onnx.ModelProto) -> onnx.ModelProto:
        """Return ``proto``, batch normalizations made explicit as here."""
        prepared, _ = self._draft.prepared(proto)
        return prepared

    def part(self, model: onnx.ModelProto, arrays: Collection[str]) -> Part:
        """Open one session, which reads the memory at every run."""
        options = for_parts(self.options)
        session = self._opened(model, arrays, options)
        return _LivePart(session)

    def _opened(self, model: onnx.ModelProto, arrays: Collection[str], options: SessionOptions) -> Session:
        ort_options = replace(options, optimize=False).to_ort()
        largest = 0
        for name in arrays:
            value = self._values[name]
            ort_options.add_initializer(name, value)
            largest = max(largest, value.tensor_size_in_bytes())
        with standing_in(ort_options, largest):
            return open_session(model.SerializeToString(), options, ort_options)


def _require_same_arithmetic(model: onnx.ModelProto) -> None:
    """Refuse a graph with kernels that compute otherwise where they find their weights unpacked."""
    for node in model.graph.node:
        if node.op_type != _FOUR_BIT_PRODUCT:
            continue
        for attribute in node.attribute:
            if attribute.name == "accuracy_level" and attribute.i > _IN_FLOAT:
                kernel = f"{_FOUR_BIT_PRODUCT} at accuracy level {attribute.i}"
                raise NotPossibleError(f"{kernel} rounds its inputs where its weights are packed")


class _LivePart:
    """One session for both: it reads what is in memory."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def golden(self) -> Session:
        return self._session

    def flipped(self) -> Session:
        return self._session
