"""Classifiers with a loop, which a flip in its stored trip count, or nothing at all, makes endless."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ftonnx.datasets import as_dataset

CLASSES = 4
FOREVER = 2**62


def images(count=8, seed=0):
    """Return images of four numbers, and the places of the largest as labels."""
    made = np.random.default_rng(seed).normal(size=(count, CLASSES)).astype(np.float32)
    return made, made.argmax(1)


def dataset(count=8):
    """Return these as a data set."""
    return as_dataset([images(count)], name="numbers")


def loop_model(trips=1, *, has_nodes=True):
    """Return a classifier whose scores go through a loop ``trips`` times; a loop without nodes cannot be ended."""
    scores = ["n", CLASSES]
    value = helper.make_tensor_value_info
    inputs = [
        value("i", TensorProto.INT64, []),
        value("go", TensorProto.BOOL, []),
        value("s", TensorProto.FLOAT, scores),
    ]
    nodes = []
    outputs = inputs[1:]
    if has_nodes:
        nodes = [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("MatMul", ["s", "eye"], ["next"])]
        outputs = [value("on", TensorProto.BOOL, []), value("next", TensorProto.FLOAT, scores)]
    body = helper.make_graph(nodes, "body", inputs, outputs)
    stored = {
        "w": np.eye(CLASSES, dtype=np.float32),
        "eye": np.eye(CLASSES, dtype=np.float32),
        "trips": np.array(trips, np.int64),
        "true": np.array(True),
    }
    loop = helper.make_node("Loop", ["trips", "true", "h"], ["y"], body=body)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), loop],
        "loop",
        [value("x", TensorProto.FLOAT, scores)],
        [value("y", TensorProto.FLOAT, scores)],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model
