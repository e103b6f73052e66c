"""Names of stored tensors, and adding one."""

import numpy as np
import onnx_ir as ir
import pytest

from ftonnx.export.initializers import module_prefix, new_initializer


def traced(scopes):
    """A node as torch's exporter marks it."""
    return ir.node("Relu", [None], metadata_props={"pkg.torch.onnx.name_scopes": repr(scopes)})


@pytest.mark.parametrize(
    ("scopes", "prefix"),
    [
        (["", "layer1", "layer1.0", "layer1.0.relu", "relu_1"], "layer1.0.relu."),
        (["", "relu"], ""),
        (["relu"], ""),
        ([], ""),
    ],
)
def test_the_prefix_is_the_innermost_module(scopes, prefix):
    """The last scope is the operation; at the top there is no module."""
    assert module_prefix(traced(scopes)) == prefix


def test_a_node_that_nobody_traced_has_no_prefix():
    """Its metadata says nothing."""
    assert module_prefix(ir.node("Relu", [None])) == ""


def test_a_name_that_is_taken_gets_a_number():
    """Each value is its own, float32, and in the graph."""
    graph = ir.Graph([], [], nodes=[], opset_imports={"": 20})
    values = [new_initializer(graph, "scale", np.arange(3) + start) for start in range(3)]
    assert [value.name for value in values] == ["scale", "scale_1", "scale_2"]
    assert list(graph.initializers) == ["scale", "scale_1", "scale_2"]
    for start, value in enumerate(values):
        array = value.const_value.numpy()
        assert array.dtype == np.float32
        assert array.tolist() == [start, start + 1, start + 2]
