"""Fault spaces without models, and of tensors that are stored."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ftonnx.inject import FaultSpace, Target, load_model, parse_format
from ftonnx.inject.stored_words import StoredWords


def space_of(*tensors):
    """Make a fault space of (elements, element type) without any model behind it."""
    targets = tuple(
        Target(
            tensor=f"t{i}",
            role="weight",
            node="n",
            op_type="Conv",
            shape=(elements,),
            format=parse_format("auto", np.dtype(dtype)),
        )
        for i, (elements, dtype) in enumerate(tensors)
    )
    return FaultSpace(targets, tuple(range(len(targets))))


def space_storing(*arrays, format="auto"):
    """Make a fault space of arrays that a model stores under the names m0.weight, m1.weight ..."""
    tensors = [numpy_helper.from_array(array, f"m{i}.weight") for i, array in enumerate(arrays)]
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [], initializer=tensors)
    graph.output.append(helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1]))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    targets = tuple(
        Target(
            tensor=tensor.name,
            role="weight",
            node="n",
            op_type="Conv",
            shape=array.shape,
            format=parse_format(format, array.dtype),
        )
        for tensor, array in zip(tensors, arrays, strict=True)
    )
    return FaultSpace(targets, tuple(range(len(targets))), _stored=StoredWords(load_model(model)))
