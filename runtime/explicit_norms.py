"""Rewriting stand-alone batch normalizations of a graph as a per-channel scale and shift."""

from collections.abc import Iterator

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx.shape_inference import InferenceError
from onnx_ir.serde import SerdeError

from ftonnx.errors import message_of
from ftonnx.runtime.batch_norm import ExplicitNorm, scale_and_shift

__all__ = ["explicit_batch_norms"]


def explicit_batch_norms(model: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[ExplicitNorm, ...]]:
    """Return a copy with its 4-D inference BatchNormalizations made explicit, and what was changed.

    Nodes whose four parameters are not plain float32 initializers stay as they are.

    Raises:
        ValueError: onnx-ir cannot edit the graph.
    """
    try:
        edited = ir.from_proto(onnx.shape_inference.infer_shapes(model))
        norms = tuple(_replace(edited.graph, node) for node in list(_candidates(edited.graph)))
        return ir.to_proto(edited), norms
    except (SerdeError, InferenceError) as error:
        raise ValueError(message_of(error)) from error


def _candidates(graph: ir.Graph) -> Iterator[ir.Node]:
    for node in graph:
        if node.op_type != "BatchNormalization" or node.domain or node.attributes.get_int("training_mode"):
            continue
        data, *parameters = node.inputs
        stored = all(v is not None and v.is_initializer() and v.dtype == ir.DataType.FLOAT for v in parameters)
        if stored and data is not None and data.shape is not None and len(data.shape) == 4:
            yield node


def _replace(graph: ir.Graph, node: ir.Node) -> ExplicitNorm:
    data, *parameters = node.inputs
    names = tuple(str(value.name) for value in parameters if value is not None)
    arrays = [value.const_value.numpy() for value in parameters if value is not None and value.const_value is not None]
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    gamma, beta, mean, variance = arrays
    scale, shift = scale_and_shift(gamma, beta, mean, variance, epsilon)
    output = node.outputs[0]
    new = [
        _initializer(graph, f"{output.name}/ftonnx_scale", scale.reshape(-1, 1, 1, 1)),
        _initializer(graph, f"{output.name}/ftonnx_shift", shift),
    ]
    conv = ir.node("Conv", [data, *new], {"group": len(scale), "kernel_shape": [1, 1]}, name=node.name)
    ir.convenience.replace_nodes_and_values(graph, node, [node], [conv], [output], conv.outputs)
    return ExplicitNorm(
        scale=str(new[0].name),
        shift=str(new[1].name),
        inputs=(names[0], names[1], names[2], names[3]),
        epsilon=epsilon,
    )


def _initializer(graph: ir.Graph, name: str, array: NDArray[np.float32]) -> ir.Value:
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    value.type, value.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(array.shape)
    graph.register_initializer(value)
    return value
