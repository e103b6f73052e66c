"""Small models of many forms, to be mutated: each with the shape of its input."""

import numpy as np
import onnx
import quant_kit
import weights_kit
from onnx import TensorProto, helper, numpy_helper
from onnx_zoo import (
    halved,
    model_of,
    random_floats,
    small_cnn,
    stored,
    with_four_bit_weights,
    with_half_weights,
)

_node = helper.make_node
_value = helper.make_tensor_value_info
_FLOAT = TensorProto.FLOAT


def small_models():
    """Return models by name."""
    cnn = small_cnn()
    found = {
        "cnn": cnn,
        "half": halved(cnn),
        "half weights": with_half_weights(cnn),
        "int4": with_four_bit_weights(cnn),
        "crelu": quant_kit.clipped(cnn, [1.0, 2.0]),
        "qdq": with_qdq(),
        "bodies": with_bodies(),
        "loop": with_loop(),
        "plain values": with_values_of_every_kind(),
    }
    for name, make in weights_kit.MODELS.items():
        found[name] = make().model
    return found


def with_bodies():
    """Return a model with a local function, a subgraph, a Constant, metadata and names of sizes."""
    opset = helper.make_opsetid("", 20)
    weight = helper.make_tensor("v", _FLOAT, [3, 3], random_floats(9))
    dense = helper.make_function("local", "Dense", ["a", "k"], ["o"], [_node("MatMul", ["a", "k"], ["o"])], [opset])
    branch = helper.make_graph(
        [_node("Constant", [], ["v"], value=weight), _node("MatMul", ["h", "v"], ["b"])], "branch", [],
        [_value("b", _FLOAT, (None, 3))],
    )  # fmt: skip
    model = model_of(
        [
            _node("Dense", ["x", "w"], ["h"], domain="local"),
            _node("ReduceSum", ["h"], ["s"], keepdims=0),
            _node("Cast", ["s"], ["c"], to=TensorProto.BOOL),
            _node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
        ],
        [("w", random_floats(3, 3))],
        functions=[dense], domains=["local"], inputs={"x": ("n", 3)}, outputs={"y": ("n", 3)},
    )  # fmt: skip
    names = '["cat", "dog", "bird"]'
    helper.set_model_props(model, {"names": names, "ftonnx.preprocess": '{"scale": 0.5}', "author": "someone"})
    return model


def with_loop():
    """Return a model with a Loop of three rounds."""
    body = helper.make_graph(
        [_node("Identity", ["c"], ["c2"]), _node("MatMul", ["a", "w"], ["a2"])], "body",
        [_value("i", TensorProto.INT64, ()), _value("c", TensorProto.BOOL, ()), _value("a", _FLOAT, (None, 3))],
        [_value("c2", TensorProto.BOOL, ()), _value("a2", _FLOAT, (None, 3))],
    )  # fmt: skip
    return model_of(
        [_node("Loop", ["rounds", "go", "x"], ["y"], body=body)],
        [("rounds", np.array(3)), ("go", np.array(True)), ("w", random_floats(3, 3))],
        inputs={"x": ("n", 3)}, outputs={"y": ("n", 3)},
    )  # fmt: skip


def with_qdq():
    """Return a quantized model: int8 weights and activations behind QuantizeLinear and DequantizeLinear."""
    codes = np.random.default_rng(1).integers(-100, 100, (3, 5), np.int8)
    nodes = [
        _node("QuantizeLinear", ["x", "xs", "xz"], ["q"]),
        _node("DequantizeLinear", ["q", "xs", "xz"], ["d"]),
        _node("DequantizeLinear", ["w", "ws", "wz"], ["k"], axis=1),
        _node("MatMul", ["d", "k"], ["m"]),
        _node("Add", ["m", "b"], ["y"]),
    ]
    held = [
        ("xs", np.float32(0.05)), ("xz", np.int8(3)), ("w", codes), ("ws", np.full(5, 0.01, np.float32)),
        ("wz", np.zeros(5, np.int8)), ("b", random_floats(5)),
    ]  # fmt: skip
    return model_of(nodes, held, inputs={"x": ("n", 3)}, outputs={"y": ("n", 5)})


def with_values_of_every_kind():
    """Return a model whose tensors are stored in every field that there is, one of them sparse."""
    weight = numpy_helper.from_array(random_floats(3, 3), "w")
    listed = helper.make_tensor("b", _FLOAT, [3], [0.5, -1.0, 2.0])
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("sparse", _FLOAT, [2], [1.0, 2.0]),
        helper.make_tensor("at", TensorProto.INT64, [2], [0, 4]),
        [3, 3],
    )
    model = model_of(
        [
            _node("MatMul", ["x", "w"], ["m"]),
            _node("Add", ["m", "b"], ["a"]),
            _node("Constant", [], ["f"], value_floats=[1.0, 2.0, 3.0]),
            _node("Constant", [], ["one"], value_float=1.5),
            _node("Mul", ["a", "f"], ["p"]),
            _node("Mul", ["p", "one"], ["r"]),
            _node("MatMul", ["r", "sparse"], ["y"]),
        ],
        [weight, listed, stored("unused", np.arange(4, dtype=np.float64))],
        inputs={"x": ("n", 3)}, outputs={"y": ("n", 3)},
    )  # fmt: skip
    model.graph.sparse_initializer.append(sparse)
    return model


def data_for(model, count=4):
    """Return arrays by the names of the inputs, and labels, for an archive."""
    arrays = {"labels": np.arange(count) % 3}
    for value in model.graph.input:
        kind = value.type.tensor_type
        shape = [size.dim_value or 2 for size in kind.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        arrays[value.name] = random_floats(count, *shape[1:], scale=2).astype(dtype)
    return arrays


def save_with_external_data(model, folder):
    """Write a model whose tensors lie in a file beside it."""
    onnx.save(model, folder / "m.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
