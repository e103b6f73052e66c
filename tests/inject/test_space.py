"""Which stored tensors are targets: one table over operators, and the places where weights hide."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_zoo import model_of, random_floats, small_cnn

from ftonnx.errors import ModelError, UsageError
from ftonnx.inject import ROLES, Faults, FaultSpace, Target

node = helper.make_node


def f32(*shape):
    """Return random float32 values."""
    return random_floats(*shape)


def i8(*shape):
    """Return random int8 values."""
    return np.random.default_rng(0).integers(-128, 128, shape, np.int8)


def one(dtype=np.float32):
    """Return a scalar one."""
    return np.array(1, dtype)


def found(model, **options):
    """Return (tensor, role) of every target."""
    return [(t.tensor, t.role) for t in FaultSpace.of(model, **options).targets]


def w(*names):
    """Shorten a list of weights."""
    return [(name, "weight") for name in names]


def b(*names):
    """Shorten a list of biases."""
    return [(name, "bias") for name in names]


Q = {"xs": one(), "xz": one(np.uint8), "ys": one(), "yz": one(np.uint8), "ws": one(), "wz": np.array(0, np.int8)}

OPERATORS = {
    "Conv": ([node("Conv", ["x", "w", "b"], ["y"])], {"w": f32(4, 3, 3, 3), "b": f32(4)}, w("w") + b("b")),
    "Conv without bias": ([node("Conv", ["x", "w"], ["y"])], {"w": f32(4, 3, 3, 3)}, w("w")),
    "ConvTranspose": (
        [node("ConvTranspose", ["x", "w", "b"], ["y"])],
        {"w": f32(3, 4, 2, 2), "b": f32(4)},
        w("w") + b("b"),
    ),
    "Gemm": (
        [node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w", "b"], ["y"])],
        {"w": f32(192, 5), "b": f32(5)},
        w("w") + b("b"),
    ),
    "MatMul": ([node("MatMul", ["x", "w"], ["y"])], {"w": f32(8, 5)}, w("w")),
    "MatMul from the left": ([node("MatMul", ["w", "x"], ["y"])], {"w": f32(5, 8)}, w("w")),
    "MatMul of two activations": (
        [node("MatMul", ["x", "x"], ["a"]), node("MatMul", ["a", "w"], ["y"])],
        {"w": f32(8, 5)},
        w("w"),
    ),
    "MatMulInteger": (
        [node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]), node("MatMulInteger", ["q", "w", "z", "wz"], ["y"])],
        {"w": i8(8, 5), "wz": np.array(0, np.int8)},
        w("w"),
    ),
    "ConvInteger": (
        [node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]), node("ConvInteger", ["q", "w", "z"], ["y"])],
        {"w": i8(4, 3, 3, 3)},
        w("w"),
    ),
    "QLinearConv": (
        [
            node("QuantizeLinear", ["x", "xs", "xz"], ["q"]),
            node("QLinearConv", ["q", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["y"]),
        ],
        {**Q, "w": i8(4, 3, 3, 3), "b": np.arange(4, dtype=np.int32)},
        w("w") + b("b"),
    ),
    "QLinearMatMul": (
        [
            node("QuantizeLinear", ["x", "xs", "xz"], ["q"]),
            node("QLinearMatMul", ["q", "xs", "xz", "w", "ws", "wz", "ys", "yz"], ["y"]),
        ],
        {**Q, "w": i8(8, 5)},
        w("w"),
    ),
    "BatchNormalization": (
        [node("BatchNormalization", ["x", "g", "b", "m", "v"], ["y"])],
        {"g": f32(3), "b": f32(3), "m": f32(3), "v": abs(f32(3))},
        w("g") + b("b", "m") + w("v"),
    ),
    "LayerNormalization": (
        [node("LayerNormalization", ["x", "g", "b"], ["y"])],
        {"g": f32(8), "b": f32(8)},
        w("g") + b("b"),
    ),
    "GroupNormalization": (
        [node("GroupNormalization", ["x", "g", "b"], ["y"], num_groups=3)],
        {"g": f32(3), "b": f32(3)},
        w("g") + b("b"),
    ),
    "InstanceNormalization": (
        [node("InstanceNormalization", ["x", "g", "b"], ["y"])],
        {"g": f32(3), "b": f32(3)},
        w("g") + b("b"),
    ),
    "PRelu": ([node("PRelu", ["x", "s"], ["y"])], {"s": f32(3, 1, 1)}, w("s")),
    "LSTM": (
        [
            node("Squeeze", ["x", "a"], ["f"]),
            node("LSTM", ["f", "w", "r", "b", "", "h", "c", "p"], ["y"], hidden_size=2),
        ],
        {
            "a": np.array([0]),
            "w": f32(1, 8, 8),
            "r": f32(1, 8, 2),
            "b": f32(1, 16),
            "h": f32(1, 3, 2),
            "c": f32(1, 3, 2),
            "p": f32(1, 6),
        },
        w("w", "r") + b("b") + w("p"),
    ),
    "GRU": (
        [node("Squeeze", ["x", "a"], ["f"]), node("GRU", ["f", "w", "r", "b"], ["y"], hidden_size=2)],
        {"a": np.array([0]), "w": f32(1, 6, 8), "r": f32(1, 6, 2), "b": f32(1, 12)},
        w("w", "r") + b("b"),
    ),
    "RNN": (
        [node("Squeeze", ["x", "a"], ["f"]), node("RNN", ["f", "w", "r", "b"], ["y"], hidden_size=2)],
        {"a": np.array([0]), "w": f32(1, 2, 8), "r": f32(1, 2, 2), "b": f32(1, 4)},
        w("w", "r") + b("b"),
    ),
    "Gather as embedding": (
        [node("Cast", ["x"], ["i"], to=TensorProto.INT64), node("Gather", ["e", "i"], ["y"])],
        {"e": f32(10, 4)},
        w("e"),
    ),
    "Gather of a shape": (
        [
            node("Shape", ["x"], ["s"]),
            node("Gather", ["table", "s"], ["g"]),
            node("Gather", ["s", "i"], ["n"]),
            node("Cast", ["n"], ["nf"], to=1),
            node("MatMul", ["x", "w"], ["m"]),
            node("Mul", ["m", "nf"], ["y"]),
        ],
        {"table": np.arange(99), "i": np.array(1), "w": f32(8, 5)},
        w("w"),
    ),
    "Add after a linear operator": (
        [node("MatMul", ["x", "w"], ["m"]), node("Add", ["m", "b"], ["y"])],
        {"w": f32(8, 5), "b": f32(5)},
        w("w") + b("b"),
    ),
    "Add from the left": (
        [node("MatMul", ["x", "w"], ["m"]), node("Add", ["b", "m"], ["y"])],
        {"w": f32(8, 5), "b": f32(5)},
        w("w") + b("b"),
    ),
    "Mul and Add after Conv": (
        [node("Conv", ["x", "w"], ["c"]), node("Mul", ["c", "s"], ["m"]), node("Add", ["m", "b"], ["y"])],
        {"w": f32(4, 3, 3, 3), "s": f32(4, 1, 1), "b": f32(4, 1, 1)},
        w("w", "s") + b("b"),
    ),
    "Add through Reshape and Cast": (
        [
            node("MatMul", ["x", "w"], ["m"]),
            node("Reshape", ["m", "shape"], ["r"]),
            node("Cast", ["r"], ["c"], to=1),
            node("Cast", ["b"], ["bc"], to=1),
            node("Unsqueeze", ["bc", "axes"], ["bu"]),
            node("Add", ["c", "bu"], ["y"]),
        ],
        {"w": f32(8, 5), "shape": np.array([-1, 5]), "b": f32(5).astype(np.float16), "axes": np.array([0])},
        w("w") + b("b"),
    ),
    "Add and Mul by scalars": (
        [node("MatMul", ["x", "w"], ["m"]), node("Add", ["m", "a"], ["n"]), node("Mul", ["n", "a"], ["y"])],
        {"w": f32(8, 5), "a": one()},
        w("w"),
    ),
    "Add of two activations": (
        [node("MatMul", ["x", "w"], ["m"]), node("MatMul", ["x", "v"], ["n"]), node("Add", ["m", "n"], ["y"])],
        {"w": f32(8, 5), "v": f32(8, 5)},
        w("w", "v"),
    ),
    "Add after an activation, and to the raw input": (
        [
            node("Add", ["x", "mean"], ["a"]),
            node("MatMul", ["a", "w"], ["m"]),
            node("Relu", ["m"], ["r"]),
            node("Add", ["r", "k"], ["y"]),
        ],
        {"mean": f32(3, 1, 1), "w": f32(8, 5), "k": f32(5)},
        w("w") + b("k"),
    ),
    "thresholds, bounds, axes, pads": (
        [
            node("Pad", ["x", "pads", "fill"], ["p"]),
            node("Conv", ["p", "w"], ["c"]),
            node("Clip", ["c", "lo", "hi"], ["d"]),
            node("LessOrEqual", ["d", "t"], ["q"]),
            node("Where", ["q", "d", "zero"], ["e"]),
            node("Min", ["e", "t"], ["m"]),
            node("ReduceSum", ["m", "axes"], ["r"]),
            node("Slice", ["r", "axes", "ends", "axes"], ["l"]),
            node("Resize", ["l", "", "scales"], ["y"]),
        ],
        {
            "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
            "fill": one(),
            "w": f32(4, 3, 3, 3),
            "lo": one(),
            "hi": one(),
            "t": f32(1, 4, 1, 1),
            "zero": f32(1),
            "axes": np.array([1]),
            "ends": np.array([9]),
            "scales": f32(4),
        },
        w("w"),
    ),
    "zero-size tensors": (
        [node("Conv", ["x", "w", "e"], ["c"]), node("Concat", ["c", "e4"], ["y"], axis=1)],
        {"w": f32(4, 3, 3, 3), "e": f32(0), "e4": f32(1, 0, 6, 6)},
        w("w"),
    ),
    "weight behind DequantizeLinear": (
        [
            node("DequantizeLinear", ["w", "ws", "wz"], ["wf"], axis=0),
            node("DequantizeLinear", ["b", "bs"], ["bf"], axis=0),
            node("Conv", ["x", "wf", "bf"], ["y"]),
        ],
        {"w": i8(4, 3, 3, 3), "ws": abs(f32(4)), "wz": i8(4), "b": np.arange(4, dtype=np.int32), "bs": abs(f32(4))},
        w("w") + b("b"),
    ),
    "weight behind a chain of views": (
        [
            node("Transpose", ["w"], ["t"]),
            node("Reshape", ["t", "shape"], ["r"]),
            node("Identity", ["r"], ["i"]),
            node("Cast", ["i"], ["c"], to=1),
            node("MatMul", ["x", "c"], ["y"]),
        ],
        {"w": f32(5, 8).astype(np.float16), "shape": np.array([8, 5])},
        w("w"),
    ),
    "a shared initializer": (
        [
            node("MatMul", ["x", "w"], ["m"]),
            node("MatMul", ["m", "w"], ["n"]),
            node("Add", ["n", "b"], ["o"]),
            node("Add", ["o", "b"], ["y"]),
        ],
        {"w": f32(8, 8), "b": f32(8)},
        w("w") + b("b"),
    ),
    "one tensor as embedding and output layer": (
        [
            node("Cast", ["x"], ["i"], to=TensorProto.INT64),
            node("Gather", ["e", "i"], ["g"]),
            node("Transpose", ["e"], ["t"]),
            node("MatMul", ["g", "t"], ["y"]),
        ],
        {"e": f32(10, 4)},
        w("e"),
    ),
    "an unused initializer": ([node("MatMul", ["x", "w"], ["y"])], {"unused": f32(99), "w": f32(8, 5)}, w("w")),
}


@pytest.mark.parametrize("case", OPERATORS)
def test_weights_and_biases_of_every_operator_are_targets_and_nothing_else(case):
    """Exactly these tensors with these roles, in graph order."""
    nodes, initializers, expected = OPERATORS[case]
    model = model_of(nodes, initializers.items(), opset=21)
    assert found(model) == expected
    sizes = [initializers[name].size for name, _ in expected]
    assert [target.elements for target in FaultSpace.of(model).targets] == sizes


def test_a_target_says_what_it_is():
    """Tensor, role, node, operator, shape, type, format and bits."""
    space = FaultSpace.of(small_cnn())
    assert space.targets[0].to_dict() == {
        "tensor": "w1", "role": "weight", "node": "conv1", "op_type": "Conv", "shape": [16, 3, 3, 3],
        "dtype": "float32", "format": "q15.16", "bits": 432 * 32,
    }  # fmt: skip
    assert [(t.node, t.op_type) for t in space.targets[4:]] == [("fc", "Gemm"), ("fc", "Gemm")]


def test_n_is_the_sum_of_all_bits():
    """Elements times bits per element, over all targets."""
    space = FaultSpace.of(small_cnn())
    elements = sum(numpy_helper.to_array(t).size for t in small_cnn().graph.initializer)
    assert (space.elements, space.bits, space.to_dict()["bits"]) == (elements, 32 * elements, 32 * elements)
    assert FaultSpace.of(small_cnn(), format="q3.4").bits == 8 * elements
    assert space.formats == ("q15.16",)


def test_positions_count_bits_element_by_element_and_target_by_target():
    """Locate numbers every bit once, as three nested loops would."""
    model = model_of(
        [node("MatMul", ["x", "a"], ["m"]), node("Cast", ["q"], ["f"], to=1), node("MatMul", ["m", "f"], ["y"])],
        [("a", f32(8, 2)), ("q", i8(2, 3).astype(ml_dtypes.int4))],
        opset=21,
    )
    space = FaultSpace.of(model, format="q3.4")
    expected = [(0, e, bit) for e in range(16) for bit in range(8)] + [
        (1, e, bit) for e in range(6) for bit in range(4)
    ]
    faults = space.locate(np.arange(space.bits))
    assert list(zip(faults.target.tolist(), faults.element.tolist(), faults.bit.tolist(), strict=True)) == expected


QDQ = OPERATORS["weight behind DequantizeLinear"]
QLINEAR = OPERATORS["QLinearConv"]


def test_scales_and_zero_points_are_targets_on_request():
    """In the order in which the graph meets them, each once."""
    qdq = model_of(QDQ[0], QDQ[1].items())
    assert found(qdq, roles=["scale"]) == [("ws", "scale"), ("bs", "scale")]
    assert found(qdq, roles=["zero_point"]) == [("wz", "zero_point")]
    everything = FaultSpace.of(qdq, roles=ROLES)
    assert sorted(t.tensor for t in everything.targets) == ["b", "bs", "w", "ws", "wz"]
    qlinear = model_of(QLINEAR[0], QLINEAR[1].items())
    assert sorted(found(qlinear, roles=["scale", "zero_point"])) == [
        ("ws", "scale"), ("wz", "zero_point"), ("xs", "scale"),
        ("xz", "zero_point"), ("ys", "scale"), ("yz", "zero_point"),
    ]  # fmt: skip


def test_roles_are_chosen():
    """Weights alone, biases alone."""
    assert found(small_cnn(), roles=["weight"]) == w("w1", "w2", "w3")
    assert found(small_cnn(), roles=("bias",)) == b("b1", "b2", "b3")


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"include": ["w*"]}, ["w1", "w2", "w3"]),
        ({"include": ["w1", "b?"]}, ["w1", "b1", "b2", "b3"]),
        ({"exclude": ["*1"]}, ["w2", "b2", "w3", "b3"]),
        ({"include": ["*2", "*3"], "exclude": ["b*"]}, ["w2", "w3"]),
        ({"include": ["[wb]1"]}, ["w1", "b1"]),
        ({"include": ["W1", "w2"]}, ["w2"]),
    ],
)
def test_names_are_included_and_excluded_by_shell_patterns(options, names):
    """Case-sensitive; exclude wins."""
    assert [name for name, _ in found(small_cnn(), **options)] == names


def test_patterns_match_the_names_that_are_shown():
    """A Constant node's tensor is called like the node's output, not like the attribute inside."""
    weight = numpy_helper.from_array(f32(8, 5), "value")
    model = model_of(
        [node("Constant", [], ["layer.weight"], value=weight), node("MatMul", ["x", "layer.weight"], ["y"])]
    )
    assert found(model) == w("layer.weight")
    assert found(model, include=["layer.*"]) == w("layer.weight")
    with pytest.raises(ModelError):
        FaultSpace.of(model, exclude=["layer.*"])


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"roles": ["weights"]}, UsageError),
        ({"roles": []}, UsageError),
        ({"format": "fp32"}, UsageError),
        ({"include": ["nothing"]}, ModelError),
        ({"exclude": ["*"]}, ModelError),
        ({"roles": ["scale"]}, ModelError),
    ],
)
def test_a_choice_that_leaves_nothing_or_means_nothing_is_an_error(options, error):
    """One line that says what there is."""
    with pytest.raises(error) as caught:
        FaultSpace.of(small_cnn(), **options)
    assert "\n" not in str(caught.value)


def test_a_model_without_weights_is_refused():
    """There is no bit to flip."""
    with pytest.raises(ModelError, match="no weights or biases"):
        FaultSpace.of(model_of([node("Relu", ["x"], ["y"])]))


def _linear_classifier():
    """Return a model as converters of scikit-learn write it: all numbers are attributes."""
    classify = node(
        "LinearClassifier", ["x"], ["label", "y"], domain="ai.onnx.ml", coefficients=[0.5] * 6, intercepts=[0.0, 1.0],
        classlabels_ints=[0, 1],
    )  # fmt: skip
    model = model_of([classify], inputs={"x": ("n", 3)}, outputs={"y": ("n", 2)})
    model.opset_import.add(domain="ai.onnx.ml", version=3)
    return model


def test_a_model_without_targets_says_where_its_numbers_are():
    """In attributes they cannot flip, a tensor that no rule knows can be added."""
    with pytest.raises(ModelError) as caught:
        FaultSpace.of(_linear_classifier())
    where = "it stores 8 numbers: attribute of LinearClassifier 100.00 %; attributes of operators cannot flip"
    assert str(caught.value).endswith(where)
    positive = model_of([node("Where", ["c", "w", "x"], ["y"])], [("w", random_floats(1, 3)), ("c", np.ones(3, bool))])
    with pytest.raises(ModelError, match=r"not followed: Where 50.00 %.*`include=w=weight` would add one"):
        FaultSpace.of(positive)
    assert [target.tensor for target in FaultSpace.of(positive, include=["w=weight"]).targets] == ["w"]


@pytest.mark.parametrize("dtype", [np.complex64, ml_dtypes.float8_e8m0fnu])
def test_weights_of_a_type_without_a_format_are_a_model_error(dtype):
    """The model is at fault, not the options; the message names the tensor and the way out."""
    weight = numpy_helper.from_array(np.ones((8, 5)).astype(dtype), "odd")
    model = model_of([node("Cast", ["odd"], ["f"], to=1), node("MatMul", ["x", "f"], ["y"])], [weight], opset=24)
    with pytest.raises(ModelError, match=r"'odd'.*--exclude"):
        FaultSpace.of(model)


@pytest.mark.parametrize(
    ("dtype", "auto", "bits", "ieee"),
    [
        (np.float16, "q15.16", 32, ("ieee", 16)),
        (ml_dtypes.bfloat16, "q15.16", 32, ("ieee", 16)),
        (np.float64, "q15.16", 32, ("ieee", 64)),
        (ml_dtypes.float8_e4m3fn, "q15.16", 32, ("ieee", 8)),
        (np.int8, "int8", 8, ("int8", 8)),
        (np.uint8, "uint8", 8, ("uint8", 8)),
        (np.int16, "int16", 16, ("int16", 16)),
        (np.int32, "int32", 32, ("int32", 32)),
        (ml_dtypes.int4, "int4", 4, ("int4", 4)),
        (ml_dtypes.uint4, "uint4", 4, ("uint4", 4)),
    ],
)
def test_the_format_follows_from_the_stored_type(dtype, auto, bits, ieee):
    """Floats are fixed-point unless ieee is asked for; integers are their own bits."""
    weight = numpy_helper.from_array(np.ones((5, 3)).astype(dtype), "w")
    model = model_of(
        [node("Cast", ["w"], ["f"], to=1), node("MatMul", ["x", "f"], ["y"])], [weight],
        inputs={"x": (None, 5)}, opset=21,
    )  # fmt: skip
    (target,) = FaultSpace.of(model).targets
    assert (target.format.name, target.format.bits, target.bits) == (auto, bits, 15 * bits)
    (target,) = FaultSpace.of(model, format="ieee").targets
    assert (target.format.name, target.format.bits) == ieee


# ------------------------------------------------------------------ places where weights hide


def test_an_initializer_that_is_also_an_input_is_a_target():
    """As in files of IR version 3."""
    model = small_cnn()
    model.graph.input.append(helper.make_tensor_value_info("w2", TensorProto.FLOAT, (12, 16, 3, 3)))
    assert found(model) == found(small_cnn())


def branch(name, weight, output="o"):
    """Return a subgraph that multiplies the outer ``x`` by its own ``w``."""
    return helper.make_graph(
        [node("MatMul", ["x", "w"], [output], name=f"{name}_matmul")], name, [],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, (None, 3, 8, 5))],
        [numpy_helper.from_array(weight, "w")],
    )  # fmt: skip


def two_branches():
    """Return an If whose branches store different tensors under one name."""
    return model_of(
        [
            node("ReduceSum", ["x"], ["sum"], keepdims=0),
            node("Greater", ["sum", "zero"], ["positive"]),
            node(
                "If", ["positive"], ["o"], then_branch=branch("then", f32(8, 5)), else_branch=branch("else", -f32(8, 5))
            ),
            node("Add", ["o", "late"], ["p"]),
            node("MatMul", ["p", "last"], ["y"]),
        ],
        [("zero", np.float32(0)), ("late", f32(5)), ("last", f32(5, 2))],
        outputs={"y": (None, 3, 8, 2)},
    )


def test_branches_with_tensors_of_one_name_are_two_targets():
    """Told apart by the node they feed, in the order of the node's attributes."""
    targets = FaultSpace.of(two_branches()).targets
    assert sorted((t.tensor, t.node) for t in targets[:2]) == [("w", "else_matmul"), ("w", "then_matmul")]
    assert [(t.tensor, t.role) for t in targets[2:]] == [("late", "bias"), ("last", "weight")]


def test_flips_in_a_branch_reach_the_right_branch():
    """The tensors handed out are those of the model, in the order of the targets."""
    model = two_branches()
    space = FaultSpace.of(model)
    for target, tensor in zip(space.targets, space.tensors(model), strict=True):
        branches = {"then_matmul": f32(8, 5), "else_matmul": -f32(8, 5)}
        expected = branches.get(target.node, {"late": f32(5), "last": f32(5, 2)}.get(target.tensor))
        assert np.array_equal(numpy_helper.to_array(tensor), expected)


def test_weights_inside_a_loop_body_and_from_outside_are_targets():
    """A body uses its own tensors and those of the graph around it."""
    body = helper.make_graph(
        [
            node("MatMul", ["h", "own"], ["m"]),
            node("MatMul", ["m", "outer"], ["h2"]),
            node("Identity", ["c"], ["c2"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, ()),
            helper.make_tensor_value_info("c", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("h", TensorProto.FLOAT, (None, 3, 8, 8)),
        ],
        [
            helper.make_tensor_value_info("c2", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("h2", TensorProto.FLOAT, (None, 3, 8, 8)),
        ],
        [numpy_helper.from_array(f32(8, 8), "own")],
    )
    model = model_of(
        [node("Loop", ["trips", "", "x"], ["y"], body=body)],
        [("trips", np.array(3)), ("outer", f32(8, 8))],
        outputs={"y": (None, 3, 8, 8)},
    )
    assert found(model) == w("own", "outer")


def local(name, inputs, nodes, output="out", **kwargs):
    """Return a model-local function of domain ``local``."""
    return helper.make_function(
        "local", name, inputs, [output], nodes, [helper.make_opsetid("", 20), helper.make_opsetid("local", 1)], **kwargs
    )


def test_arguments_of_a_function_are_traced_into_its_body():
    """A weight passed through two functions is one target; it feeds the node inside."""
    inner = local(
        "Dense", ["a", "k", "c"], [node("MatMul", ["a", "k"], ["m"], name="inside"), node("Add", ["m", "c"], ["out"])]
    )
    outer = local("Block", ["a", "k", "c"], [node("Dense", ["a", "k", "c"], ["out"], domain="local")])
    model = model_of(
        [node("Block", ["x", "w", "b"], ["y"], domain="local")],
        [("w", f32(8, 5)), ("b", f32(5))],
        functions=[inner, outer], domains=["local"], outputs={"y": (None, 3, 8, 5)},
    )  # fmt: skip
    assert found(model) == w("w") + b("b")
    assert FaultSpace.of(model).targets[0].node == "inside"


def test_a_function_called_twice_stores_its_own_constants_once():
    """Arguments are targets per call, constants of the body exist once in the file."""
    weight = numpy_helper.from_array(f32(8, 8), "v")
    function = local(
        "Layer",
        ["a", "k"],
        [
            node("Constant", [], ["own"], value=weight),
            node("MatMul", ["a", "own"], ["m"]),
            node("MatMul", ["m", "k"], ["out"]),
        ],
    )
    model = model_of(
        [node("Layer", ["x", "k1"], ["h"], domain="local"), node("Layer", ["h", "k2"], ["y"], domain="local")],
        [("k1", f32(8, 8)), ("k2", f32(8, 8))],
        functions=[function], domains=["local"], outputs={"y": (None, 3, 8, 8)},
    )  # fmt: skip
    assert found(model) == w("own", "k1", "k2")
    assert FaultSpace.of(model).elements == 3 * 64


def test_optional_arguments_of_a_function_may_be_left_out():
    """An empty or missing argument is no tensor."""
    function = local("Dense", ["a", "k", "c"], [node("Gemm", ["a", "k", "c"], ["out"])])
    for arguments in (["f", "w", ""], ["f", "w"]):
        model = model_of(
            [node("Flatten", ["x"], ["f"]), node("Dense", arguments, ["y"], domain="local")],
            [("w", f32(192, 5))],
            functions=[function], domains=["local"], outputs={"y": (None, 5)},
        )  # fmt: skip
        assert found(model) == w("w")


def test_two_overloads_of_a_function_are_two_functions():
    """The overload is part of a function's name since IR version 10."""
    first = local("Layer", ["a", "k"], [node("MatMul", ["a", "k"], ["out"])], overload="one")
    second = local("Layer", ["a", "k"], [node("Where", ["k", "a", "a"], ["out"])], overload="two")
    calls = [
        node("Layer", ["x", "w"], ["h"], domain="local", overload="one"),
        node("Layer", ["h", "t"], ["y"], domain="local", overload="two"),
    ]
    model = model_of(
        calls, [("w", f32(8, 8)), ("t", np.ones(8, np.bool_))],
        functions=[first, second], domains=["local"], outputs={"y": (None, 3, 8, 8)},
    )  # fmt: skip
    assert found(model) == w("w")


def test_the_threshold_of_a_clipped_activation_is_no_target():
    """A CReLU-like function: its body compares with the argument and multiplies nothing."""
    body = [
        node("Constant", [], ["zero"], value=numpy_helper.from_array(np.float32(0))),
        node("Relu", ["a"], ["r"]),
        node("LessOrEqual", ["r", "t"], ["ok"]),
        node("Where", ["ok", "r", "zero"], ["out"]),
    ]
    crelu = helper.make_function("ftonnx", "CReLU", ["a", "t"], ["out"], body, [helper.make_opsetid("", 20)])
    model = model_of(
        [node("Conv", ["x", "w", "b"], ["c"]), node("CReLU", ["c", "T"], ["y"], domain="ftonnx")],
        [("w", f32(4, 3, 3, 3)), ("b", f32(4)), ("T", f32(1, 4, 1, 1))],
        functions=[crelu], domains=["ftonnx"], outputs={"y": (None, 4, 6, 6)},
    )  # fmt: skip
    assert found(model, roles=ROLES) == w("w") + b("b")


def test_external_and_embedded_data_give_the_same_space(tmp_path):
    """Where the bytes lie makes no difference."""
    onnx.save(small_cnn(), tmp_path / "m.onnx", save_as_external_data=True, location="d", size_threshold=0)
    space = FaultSpace.of(tmp_path / "m.onnx")
    assert space == FaultSpace.of(small_cnn())
    assert space.fingerprint == FaultSpace.of(small_cnn()).fingerprint


def test_the_fingerprint_tells_spaces_apart():
    """By format, roles and shapes; not by the values stored."""
    first = FaultSpace.of(small_cnn())
    assert first.fingerprint == FaultSpace.of(small_cnn(seed=5)).fingerprint
    others = [FaultSpace.of(small_cnn(), format="ieee"), FaultSpace.of(small_cnn(), roles=["weight"])]
    assert len({space.fingerprint for space in (first, *others)}) == 3


def test_a_space_of_another_model_is_refused():
    """Rather than flipping whatever lies at the same place."""
    space = FaultSpace.of(small_cnn())
    other = model_of([node("MatMul", ["x", "w"], ["y"])], [("w", f32(8, 5))])
    with pytest.raises(UsageError, match="another model"):
        space.tensors(other)
    renamed = small_cnn()
    renamed.graph.initializer[2].name = renamed.graph.node[2].input[1] = "other"
    with pytest.raises(UsageError, match="another model"):
        space.tensors(renamed)


def test_targets_and_spaces_are_values():
    """Equal content, equal object; frozen."""
    assert FaultSpace.of(small_cnn()).targets == FaultSpace.of(small_cnn()).targets
    target = FaultSpace.of(small_cnn()).targets[0]
    assert isinstance(target, Target)
    with pytest.raises(AttributeError):
        target.role = "bias"
    assert len(FaultSpace.of(small_cnn()).locate(np.array([], np.int64))) == len(Faults.none()) == 0


def test_chosen_bits_are_numbered_alone_and_keep_their_true_numbers():
    """Only these bits count, in ascending order element after element; other tensors follow on."""
    model = model_of(QDQ[0], QDQ[1].items())
    space = FaultSpace.of(model, format="ieee", bits=[31, 3, 3, 7])
    widths = [len([bit for bit in (3, 7, 31) if bit < target.format.bits]) for target in space.targets]
    assert [target.bits for target in space.targets] == [
        target.elements * width for target, width in zip(space.targets, widths, strict=True)
    ]
    assert space.bits == sum(target.bits for target in space.targets)
    found = space.locate(np.arange(space.bits))
    expected = [
        (index, element, bit)
        for index, target in enumerate(space.targets)
        for element in range(target.elements)
        for bit in (3, 7, 31)
        if bit < target.format.bits
    ]
    assert list(zip(found.target.tolist(), found.element.tolist(), found.bit.tolist(), strict=True)) == expected


def test_tensors_without_a_chosen_bit_are_no_targets():
    """Bit 20 is in float32 but not in int8; a bit that no tensor has is refused."""
    model = model_of(QDQ[0], QDQ[1].items())
    names = {target.tensor for target in FaultSpace.of(model, bits=[20]).targets}
    assert names == {target.tensor for target in FaultSpace.of(model).targets if target.format.bits > 20}
    assert len(names) < len(FaultSpace.of(model).targets)
    with pytest.raises(UsageError, match="bit 32 does not exist: the widest element has bits 0 to 31"):
        FaultSpace.of(model, bits=[3, 32])


def test_chosen_bits_change_the_fingerprint_and_all_bits_do_not():
    """A space without a choice is the one of earlier versions."""
    model = small_cnn()
    whole = FaultSpace.of(model)
    assert "flippable" not in whole.targets[0].to_dict()
    assert FaultSpace.of(model, bits=[]).fingerprint == whole.fingerprint
    assert FaultSpace.of(model, bits=[1]).fingerprint != whole.fingerprint
    assert FaultSpace.of(model, bits=[1]).targets[0].to_dict()["flippable"] == [1]
    assert FaultSpace.of(model, bits=[1]).only([whole.targets[0].tensor]).bits == whole.targets[0].elements
