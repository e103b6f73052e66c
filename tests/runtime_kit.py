"""Networks of every kind that sessions with faults must run: stand-alone norms, halves, branches, packed, quantized."""

import logging

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx_zoo import halved, model_of, random_floats, small_cnn
from quant_kit import calibration

from ftonnx.inject import FaultSpace, load_model
from ftonnx.runtime.layout.cache import LayoutCache
from ftonnx.runtime.strategies import KINDS
from ftonnx.sessions import SessionOptions

node = helper.make_node


def open_strategy(kind, model, space=None, source=None):
    """Open one strategy directly, by its class or its name."""
    if isinstance(kind, str):
        (kind,) = (each for each in KINDS if each.name == kind)
    loaded = load_model(model)
    return kind(loaded, space or FaultSpace.of(loaded), SessionOptions(threads=1), source or LayoutCache(None))


def norm_net():
    """Return a network whose BatchNormalization nodes stand alone, before and after non-linear nodes."""
    channels = 16
    parameters = []
    for i in (1, 2):
        for j, name in enumerate("gbmv"):
            values = random_floats(channels, seed=10 * i + j)
            parameters.append((f"{name}{i}", np.abs(values) + np.float32(0.3) if name in "gv" else values))
    return model_of(
        [
            node("Conv", ["x", "w0"], ["c0"], pads=[1, 1, 1, 1]),
            node("Relu", ["c0"], ["r0"]),
            node("BatchNormalization", ["r0", "g1", "b1", "m1", "v1"], ["n1"], name="norm1"),
            node("Relu", ["n1"], ["r1"]),
            node("Conv", ["r1", "w1"], ["c1"], pads=[1, 1, 1, 1]),
            node("Relu", ["c1"], ["r2"]),
            node("BatchNormalization", ["r2", "g2", "b2", "m2", "v2"], ["n2"], name="norm2", epsilon=1e-3),
            node("GlobalAveragePool", ["n2"], ["p"]),
            node("Flatten", ["p"], ["f"]),
            node("MatMul", ["f", "w2"], ["m"]),
            node("Add", ["m", "bias"], ["y"]),
        ],
        [
            ("w0", random_floats(channels, 3, 3, 3, seed=1)),
            *parameters,
            ("w1", random_floats(channels, channels, 3, 3, seed=2)),
            ("w2", random_floats(channels, 5, seed=3)),
            ("bias", random_floats(5, seed=4)),
        ],
    )


def half_net():
    """Return the small CNN in fp16 from input to output."""
    return halved(small_cnn())


def bfloat16_net():
    """Return a MatMul whose weight is stored as bfloat16 and converted on the way."""
    weight = helper.make_tensor("w", TensorProto.BFLOAT16, [8, 5], random_floats(8, 5).ravel())
    return model_of([node("Cast", ["w"], ["f"], to=1), node("MatMul", ["x", "f"], ["y"])], [weight])


def constant_net():
    """Return the small CNN with its weights in Constant nodes instead of initializers."""
    model = small_cnn()
    for tensor in reversed(model.graph.initializer):
        model.graph.node.insert(0, node("Constant", [], [tensor.name], value=tensor))
    del model.graph.initializer[:]
    return model


def old_net():
    """Return the small CNN as a file of IR version 3, with its initializers listed as inputs."""
    model = small_cnn()
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, tensor.dims))
    model.ir_version = 3
    model.opset_import[0].version = 9
    return model


def branch_net():
    """Return an If on the sign of the input's sum; each branch has its own weights and bias."""

    def branch(name, seed):
        return helper.make_graph(
            [node("MatMul", ["x", f"{name}_w"], ["m"]), node("Add", ["m", f"{name}_b"], [f"{name}_o"])],
            name, [], [helper.make_tensor_value_info(f"{name}_o", TensorProto.FLOAT, (None, 3, 8, 5))],
            [
                numpy_helper.from_array(random_floats(8, 5, seed=seed), f"{name}_w"),
                numpy_helper.from_array(random_floats(5, seed=seed + 1), f"{name}_b"),
            ],
        )  # fmt: skip

    return model_of(
        [
            node("ReduceSum", ["x"], ["sum"], keepdims=0),
            node("Greater", ["sum", "zero"], ["positive"]),
            node("If", ["positive"], ["y"], then_branch=branch("then", 1), else_branch=branch("else", 3)),
        ],
        [("zero", np.float32(0))],
        outputs={"y": (None, 3, 8, 5)},
    )


def branched_cnn():
    """Return an If whose branches are small CNNs with weights of their own; the first one's are named as usual."""
    graphs = []
    for seed, ending in ((0, ""), (9, "_else")):
        graph = small_cnn(seed=seed).graph
        for tensor in graph.initializer:
            tensor.name += ending
        for each in graph.node:
            each.input[:] = [name + ending if name[0] in "wb" and name != "b" else name for name in each.input]
            if ending:
                each.input[:] = [name if name == "x" or name.endswith(ending) else f"{name}_2" for name in each.input]
                each.output[:] = [f"{name}_2" for name in each.output]
        outputs = [helper.make_tensor_value_info(graph.node[-1].output[0], TensorProto.FLOAT, (None, 5))]
        graphs.append(helper.make_graph(graph.node, f"branch{ending}", [], outputs, graph.initializer))
    then, other = graphs
    nodes = [
        node("ReduceMax", ["x"], ["most"], keepdims=0),
        node("Greater", ["most", "zero"], ["positive"]),
        node("If", ["positive"], ["z"], then_branch=then, else_branch=other),
        node("Identity", ["z"], ["y"]),
    ]
    return model_of(nodes, [("zero", np.float32(0))], outputs={"y": (None, 5)})


def function_cnn():
    """Return the small CNN as a function that holds its weights in Constants."""
    cnn = constant_net()
    imports = [helper.make_opsetid("", 20)]
    whole = helper.make_function("local", "Net", ["x"], ["y"], cnn.graph.node, imports)
    call = node("Net", ["x"], ["y"], domain="local")
    return model_of([call], functions=[whole], domains=["local"], outputs={"y": (None, 5)})


def int4_net():
    """Return a MatMul whose weight is packed int4 behind DequantizeLinear."""
    weight = numpy_helper.from_array(np.arange(-8, 7).reshape(5, 3).astype("int4"), "w")
    return model_of(
        [node("DequantizeLinear", ["w", "s"], ["f"]), node("MatMul", ["x", "f"], ["y"])],
        [weight, ("s", np.float32(0.25))],
        inputs={"x": (None, 5)}, opset=21,
    )  # fmt: skip


def quantized_net(folder, form):
    """Quantize the small CNN statically with ONNX Runtime's own tool."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    data = calibration({"x": random_floats(4, 3, 8, 8, seed=i, scale=1)} for i in range(3))
    onnx.save(small_cnn(), folder / "float.onnx")
    before = logging.getLogger().level
    quantize_static(
        folder / "float.onnx", folder / "int8.onnx", data, quant_format=QuantFormat[form],
        per_channel=True, weight_type=QuantType.QInt8, activation_type=QuantType.QUInt8,
    )  # fmt: skip
    logging.getLogger().setLevel(before)
    model = onnx.load(folder / "int8.onnx")
    assert any(t.data_type == TensorProto.INT8 for t in model.graph.initializer)
    return model
