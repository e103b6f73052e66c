"""Int8 models as their nodes say, on any processor.

On x86-64 without VNNI, ONNX Runtime's kernels for uint8 activations and int8 weights add up pairs of products in
16 bits, which saturate. Tests of what is written into a file ask for what the file says.
"""

from functools import cache

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

PROVIDERS = ["CPUExecutionProvider"]
CHANNELS = 64


def open_exact(model):
    """Open a model in a session that computes what its nodes say."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if saturates():
        # nodes by themselves: a dequantized weight meets a dequantized activation in floating point
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        model = in_floats(model)
    return ort.InferenceSession(model.SerializeToString(), options, providers=PROVIDERS)


def exact_run(model, feeds):
    """Return the outputs of a model as its nodes say."""
    return open_exact(model).run(None, feeds)


@cache
def saturates():
    """Whether this processor's kernels lose sums of two products above 32,767."""
    weight = np.full((16, CHANNELS, 1, 1), 127, np.int8)
    scalars = {"one": np.float32(1), "z": np.uint8(0), "w": weight, "wz": np.int8(0), "s": np.float32(127 * CHANNELS)}
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in scalars.items()]
    made = helper.make_node("QLinearConv", ["x", "one", "z", "w", "one", "wz", "s", "z"], ["y"])
    io = [helper.make_tensor_value_info(name, TensorProto.UINT8, None) for name in "xy"]
    graph = helper.make_graph([made], "g", io[:1], io[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=PROVIDERS)
    images = np.full((1, CHANNELS, 8, 8), 255, np.uint8)
    return int(session.run(None, {"x": images})[0].max()) < 255


def in_floats(model):
    """Return the model with its integer convolutions and products as floating-point ones between (de)quantization."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes = []
    for number, each in enumerate(changed.graph.node):
        rewrite = _REWRITES.get(each.op_type)
        nodes.extend([each] if rewrite is None else rewrite(each, stored, f"exact_{number}", changed))
    del changed.graph.node[:]
    changed.graph.node.extend(nodes)
    return changed


def _operands(each, stored, name, axis):
    """Return nodes that dequantize what is multiplied; ``axis`` is that of a weight's scales."""
    nodes = []
    for place, target in ((0, f"{name}.x"), (3, f"{name}.w")):
        source = list(each.input[place : place + 3])
        # old operator sets know one scale only
        by_channel = {"axis": axis} if np.ndim(stored.get(source[1], 0)) else {}
        nodes.append(helper.make_node("DequantizeLinear", source, [target], **by_channel))
    return nodes


def _quantized(source, scale, zero_point, target):
    return helper.make_node("QuantizeLinear", [source, scale, zero_point], [target])


def _bias(each, place, stored, name, model):
    """Store a bias in floating point; its scale is that of the sums."""
    scale = np.asarray(stored[each.input[1]], np.float64) * np.asarray(stored[each.input[4]], np.float64)
    values = (stored[each.input[place]].astype(np.float64) * scale).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(values, f"{name}.bias"))
    return f"{name}.bias"


def _conv(each, stored, name, model):
    bias = [_bias(each, 8, stored, name, model)] if len(each.input) > 8 else []
    made = helper.make_node("Conv", [f"{name}.x", f"{name}.w", *bias], [f"{name}.y"])
    made.attribute.extend(each.attribute)
    result = _quantized(f"{name}.y", *each.input[6:8], each.output[0])
    return [*_operands(each, stored, name, 0), made, result]


def _matmul(each, stored, name, model):
    made = helper.make_node("MatMul", [f"{name}.x", f"{name}.w"], [f"{name}.y"])
    return [*_operands(each, stored, name, 1), made, _quantized(f"{name}.y", *each.input[6:8], each.output[0])]


def _gemm(each, stored, name, model):
    options = {item.name: helper.get_attribute_value(item) for item in each.attribute}
    has_bias = len(each.input) > 6 and each.input[6]
    bias = [_bias(each, 6, stored, name, model)] if has_bias else []
    is_quantized = len(each.input) > 7
    target = f"{name}.y" if is_quantized else each.output[0]
    made = helper.make_node("Gemm", [f"{name}.x", f"{name}.w", *bias], [target], **options)
    nodes = [*_operands(each, stored, name, 0 if options.get("transB") else 1), made]
    return [*nodes, _quantized(target, *each.input[7:9], each.output[0])] if is_quantized else nodes


_REWRITES = {"QLinearConv": _conv, "QLinearMatMul": _matmul, "QGemm": _gemm}
