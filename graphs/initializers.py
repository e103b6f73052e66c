"""Stored tensors added to a graph of onnx-ir."""

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

__all__ = ["add_initializer", "free_name"]


def add_initializer(graph: ir.Graph, name: str, array: NDArray[Any]) -> ir.Value:
    """Store a copy of ``array`` in the graph as float32.

    Raises:
        ValueError: another value has the name.
    """
    owned = np.array(array, np.float32, order="C")
    tensor = ir.tensor(owned, name=name)
    value = ir.Value(
        name=name,
        const_value=tensor,
        type=ir.TensorType(ir.DataType.FLOAT),
        shape=ir.Shape(owned.shape),
    )
    graph.register_initializer(value)
    return value


def free_name(graph: ir.Graph, wanted: str) -> str:
    """Return ``wanted``, with a number behind it where another initializer has that name."""
    name = wanted
    number = 0
    while name in graph.initializers:
        number += 1
        name = f"{wanted}_{number}"
    return name
