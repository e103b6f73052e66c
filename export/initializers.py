"""Stored tensors added to a graph that torch exported, under names that tell which module they belong to."""

import ast

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ftonnx.graphs.initializers import add_initializer, free_name

__all__ = ["module_prefix", "new_initializer"]

_SCOPES = "pkg.torch.onnx.name_scopes"


def module_prefix(node: ir.Node) -> str:
    """Where in the module a node comes from, as the beginning of a name: ``layer1.0.relu.``; empty at the top."""
    text = node.metadata_props.get(_SCOPES, "[]")
    # written with repr; literal_eval runs nothing
    scopes = ast.literal_eval(text)
    # the last one is the operation
    modules = scopes[:-1]
    if not modules:
        return ""
    innermost = str(modules[-1])
    if not innermost:
        return ""
    return f"{innermost}."


def new_initializer(graph: ir.Graph, name: str, array: NDArray[np.float32]) -> ir.Value:
    """Add a float32 initializer; where the name is taken, a number is put behind it."""
    return add_initializer(graph, free_name(graph, name), array)
