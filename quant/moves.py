"""Stored tensors that the graph only moves about before it computes with them, stored as they are used.

ONNX Runtime folds such nodes before it quantizes, but not in a model with functions, which it would inline. The
quantizer would then put a QuantizeLinear behind them, in floating point: the weight would stay as large as it was, and
its bits would not be those that the device holds.
"""

from collections import Counter
from typing import Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from ftonnx.graphs import count_readers
from ftonnx.quant.scopes import outer_reads
from ftonnx.quant.upgrade import STANDARD

__all__ = ["store_moved"]

_MOVES: Final = {"Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}


def store_moved(model: ModelProto, excluded: frozenset[str]) -> None:
    """Take away nodes that move stored FP32 tensors only, and store what they make, in place.

    A tensor that nobody else reads keeps its name.

    Args:
        model: its nodes are sorted.
        excluded: names of nodes that stay.
    """
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    readers = count_readers(graph)
    asked_for = {output.name for output in graph.output} | outer_reads(graph)
    renamed: dict[str, str] = {}
    for node in list(graph.node):
        for slot, name in enumerate(node.input):
            node.input[slot] = renamed.get(name, name)
        is_fixed = node.name in excluded or node.output[0] in asked_for
        if is_fixed or not _moves_stored(node, stored):
            continue
        source = stored[node.input[0]]
        made = _made(node, stored, model)
        if readers[source.name] > 1:
            readers[source.name] -= 1
            source = graph.initializer.add()
            source.name = node.output[0]
            stored[source.name] = source
        else:
            renamed[node.output[0]] = source.name
            readers[source.name] = readers[node.output[0]]
        source.CopyFrom(numpy_helper.from_array(made, source.name))
        graph.node.remove(node)
        _forget(model, node, source.name, readers)


def _moves_stored(node: NodeProto, stored: dict[str, TensorProto]) -> bool:
    if node.op_type not in _MOVES or node.domain not in STANDARD:
        return False
    if not all(name in stored for name in node.input):
        return False
    return stored[node.input[0]].data_type == TensorProto.FLOAT


def _made(node: NodeProto, stored: dict[str, TensorProto], model: ModelProto) -> NDArray[np.float32]:
    """Return what a node makes of stored tensors."""
    output = helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "move", [], [output], [stored[name] for name in set(node.input)])
    alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    (made,) = ReferenceEvaluator(alone).run(None, {})
    moved: NDArray[np.float32] = np.ascontiguousarray(made)
    return moved


def _forget(model: ModelProto, node: NodeProto, kept: str, readers: Counter[str]) -> None:
    """Remove shapes and axes that nobody reads any more, and what was said of values that changed or are gone."""
    graph = model.graph
    gone = set()
    for name in node.input[1:]:
        readers[name] -= 1
        if not readers[name]:
            gone.add(name)
    for tensor in list(graph.initializer):
        if tensor.name in gone:
            graph.initializer.remove(tensor)
    for value in list(graph.value_info):
        if value.name in (kept, node.output[0]):
            graph.value_info.remove(value)
