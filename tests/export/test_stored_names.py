"""Names of what torch's exporter computes of parameters: transposed weights, arrays without a name of a module."""

import numpy as np
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")

from ftonnx.export.stored_names import name_by_module, name_transposed  # noqa: E402


def graph_of(stored, scopes=None):
    """A graph with stored arrays by name, each the second factor of a MatMul in the module of its name."""
    nodes, initializers = [], []
    for name, array in stored.items():
        value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
        node = ir.Node("", "MatMul", [ir.Value(name=f"x_{name}"), value])
        scope = (scopes or {}).get(name)
        if scope is not None:
            node.metadata_props["pkg.torch.onnx.name_scopes"] = repr(["", scope, "matmul"])
        nodes.append(node)
        initializers.append(value)
    return ir.Graph([], [], nodes=nodes, initializers=initializers, opset_imports={"": 20})


def test_a_numbered_matrix_that_is_a_parameter_transposed_gets_its_name():
    """Equal ones in the order of the module; others, vectors and names that say something stay."""
    weight, other = torch.arange(6.0).reshape(2, 3), torch.ones(4, 2)
    parameters = {"a.weight": weight, "b.weight": other, "c.weight": other.clone(), "c.bias": torch.ones(4)}
    stored = {
        "val_3": other.numpy().T.copy(),
        "val_7": weight.numpy().T.copy(),
        "val_8": other.numpy().T.copy(),
        "val_9": weight.numpy(),
        "val_10": np.ones(4, np.float32),
        "view": weight.numpy().T.copy(),
    }
    graph = graph_of(stored)
    name_transposed(graph, parameters)
    assert set(graph.initializers) == {"b.weight", "a.weight", "c.weight", "val_9", "val_10", "view"}
    np.testing.assert_array_equal(graph.initializers["a.weight"].const_value.numpy(), weight.numpy().T)


def test_an_array_without_a_module_gets_that_which_uses_it():
    """Shapes, single numbers, and what is named already stay."""
    stored = {
        "permute_1": np.ones((2, 2), np.float32),
        "scale": np.ones(1, np.float32),
        "val_4": np.arange(3),
        "layer.weight": np.ones((2, 2), np.float32),
        "top": np.ones((2, 2), np.float32),
    }
    graph = graph_of(stored, {name: "stage.attn" for name in stored if name != "top"})
    name_by_module(graph)
    assert set(graph.initializers) == {"stage.attn.permute_1", "scale", "val_4", "layer.weight", "top"}
