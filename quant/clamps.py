"""Relu and Clip: which of them the codes of their output stand for, so that the quantizer may remove them.

The quantizer removes a clamp and lets what comes before it saturate. That is the same function only where the codes
end where the clamp does, and where nobody else reads what comes before it.
"""

import math
from collections.abc import Mapping
from typing import Final

from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from ftonnx.graphs import count_readers
from ftonnx.quant.calibrate import activations
from ftonnx.quant.shares import float_attribute

__all__ = ["Clamps"]

_CLAMPS: Final = ("Relu", "Clip")
_RESCALING: Final = {
    "Conv", "Gemm", "MatMul", "Add", "Mul", "AveragePool", "GlobalAveragePool", "Concat", "LeakyRelu", "Sigmoid",
}  # fmt: skip
"""Integer operators whose output has a scale of its own, and not that of their input."""


class Clamps:
    """The clamps of a model's graph.

    Args:
        model: prepared, with the types of its values.
        clipped: outputs of those clamps that stand for a CReLU.
        excluded: names of nodes that stay in floating point.
    """

    def __init__(self, model: ModelProto, clipped: set[str], excluded: set[str]) -> None:
        graph = model.graph
        self._model = model
        self._clipped = clipped
        self._excluded = excluded
        self._readers = count_readers(graph)
        self._outputs = {value.name for value in graph.output}
        self._makers = {name: node for node in graph.node for name in node.output}
        self._stored = {tensor.name: tensor for tensor in graph.initializer}
        self._nodes = [node for node in graph.node if node.op_type in _CLAMPS]
        # outputs of those that may be removed between integer operators; nodes are sorted, so makers come first
        self._removable: set[str] = set()
        for node in self._nodes:
            if self._is_removable(node):
                self._removable.add(node.output[0])

    def kept(self, quant_format: str) -> set[str]:
        """Return the names of clamps that must stay, in the given format."""
        removable = self._in_operators if quant_format == "qoperator" else self._in_pairs
        return {node.name for node in self._nodes if not removable(node)}

    def borrowers(self) -> dict[str, str]:
        """Return the tensors that only a clamp reads which is removed in both formats, and whose range they take."""
        candidates = set(activations(self._model))
        found = {}
        for node in self._nodes:
            before = node.input[0]
            after = node.output[0]
            if {before, after} <= candidates and self._in_operators(node):
                found[before] = after
        return found

    def _in_pairs(self, node: NodeProto) -> bool:
        """Say whether a clamp may be removed between QuantizeLinear and DequantizeLinear."""
        before = node.input[0]
        # whoever runs the model reads it too, which the quantizer forgets
        if node.name in self._excluded or before in self._outputs:
            return False
        # the codes of a CReLU's output end one above its threshold
        if before in self._clipped:
            return False
        low, high = self._bounds(node)
        # codes represent 0 in any case
        return low <= 0 <= high

    def _in_operators(self, node: NodeProto) -> bool:
        """Say whether a clamp may be removed between integer operators.

        The quantizer does so also where others read what comes before it, or where that has the codes of what comes
        before it in turn.
        """
        return node.output[0] in self._removable

    def _is_removable(self, node: NodeProto) -> bool:
        """Say the same of a clamp of which the clamps before it are known."""
        before = node.input[0]
        if self._readers[before] != 1 or not self._in_pairs(node):
            return False
        maker = self._makers.get(before)
        if maker is None or maker.name in self._excluded:
            return False
        if maker.op_type in _CLAMPS:
            return before in self._removable
        return maker.op_type in _RESCALING

    def _bounds(self, node: NodeProto) -> tuple[float, float]:
        if node.op_type == "Relu":
            return 0.0, math.inf
        low = self._bound(node, 1, "min", -math.inf)
        high = self._bound(node, 2, "max", math.inf)
        return low, high

    def _bound(self, node: NodeProto, slot: int, name: str, default: float) -> float:
        """Return a bound of a Clip, an attribute in old files; NaN where it is computed."""
        if slot >= len(node.input) or not node.input[slot]:
            return float_attribute(node, name, default)
        return _number(self._stored, node.input[slot])


def _number(stored: Mapping[str, TensorProto], name: str) -> float:
    tensor = stored.get(name)
    if tensor is None:
        return math.nan
    values = numpy_helper.to_array(tensor)
    return float(values.reshape(-1)[0])
