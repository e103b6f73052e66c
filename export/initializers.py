"""Stored tensors added to a graph that torch exported, under names that tell which module they belong to."""

import ast

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

__all__ = ["module_prefix", "new_initializer"]

_SCOPES = "pkg.torch.onnx.name_scopes"


def module_prefix(node: ir.Node) -> str:
    """Where in the module a node comes from, as the beginning of a name: ``layer1.0.relu.``; empty at the top."""
    scopes = ast.literal_eval(node.metadata_props.get(_SCOPES, "[]"))
    modules = [str(name) for name in scopes[:-1]]  # the last one is the operation
    return f"{modules[-1]}." if modules and modules[-1] else ""


def new_initializer(graph: ir.Graph, name: str, array: NDArray[np.float32]) -> ir.Value:
    """Add a float32 initializer; where the name is taken, a number is put behind it."""
    free, number = name, 0
    while free in graph.initializers:
        number += 1
        free = f"{name}_{number}"
    tensor = ir.tensor(np.array(array, np.float32, order="C"), name=free)
    value = ir.Value(name=free, const_value=tensor, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(array.shape))
    graph.register_initializer(value)
    return value
