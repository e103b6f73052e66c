"""Models for quantization, a stand-in for the CReLU function, and ONNX's equations in plain numpy."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnx_zoo import model_of, ort_run, random_floats

from ftonnx.datasets import load_dataset

node = helper.make_node


def crelu_function(opset=20):
    """Return ``ftonnx::CReLU(X, T)``, written from its definition: X if 0 <= X <= T else 0, NaN gives 0."""
    body = [
        node("Constant", [], ["zero"], value=helper.make_tensor("z", TensorProto.FLOAT, [], [0.0])),
        node("GreaterOrEqual", ["X", "zero"], ["above"]),
        node("LessOrEqual", ["X", "T"], ["below"]),
        node("And", ["above", "below"], ["inside"]),
        node("Where", ["inside", "X", "zero"], ["Y"]),
    ]
    return helper.make_function("ftonnx", "CReLU", ["X", "T"], ["Y"], body, [helper.make_opsetid("", opset)])


def clip_above_function(opset=20):
    """Return ``ftonnx::ClipAbove(X, T)``: X if X <= T else 0."""
    body = [
        node("Constant", [], ["zero"], value=helper.make_tensor("z", TensorProto.FLOAT, [], [0.0])),
        node("LessOrEqual", ["X", "T"], ["below"]),
        node("Where", ["below", "X", "zero"], ["Y"]),
    ]
    return helper.make_function("ftonnx", "ClipAbove", ["X", "T"], ["Y"], body, [helper.make_opsetid("", opset)])


def clipped(model, thresholds):
    """Return a copy whose Relus are CReLUs with the given thresholds, in graph order."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    relus = [n for n in copy.graph.node if n.op_type == "Relu"]
    for index, (relu, threshold) in enumerate(zip(relus, thresholds, strict=True)):
        relu.domain, relu.op_type = "ftonnx", "CReLU"
        relu.input.append(f"T{index}")
        copy.graph.initializer.append(numpy_helper.from_array(np.asarray(threshold, np.float32), f"T{index}"))
    copy.functions.append(crelu_function(copy.opset_import[0].version))
    copy.opset_import.add(domain="ftonnx", version=1)
    onnx.checker.check_model(copy)
    return copy


def residual_cnn(*, seed=0):
    """Return a net with a residual Add, three Relus and a Gemm: (batch, 3, 8, 8) to (batch, 5)."""
    return model_of(
        [
            node("Conv", ["x", "w1", "b1"], ["a"], name="conv1", pads=[1, 1, 1, 1]),
            node("Relu", ["a"], ["r1"], name="relu1"),
            node("Conv", ["r1", "w2", "b2"], ["c"], name="conv2", pads=[1, 1, 1, 1]),
            node("Relu", ["c"], ["r2"], name="relu2"),
            node("Conv", ["r2", "w3", "b3"], ["d"], name="conv3", pads=[1, 1, 1, 1]),
            node("Add", ["d", "r1"], ["s"], name="add"),
            node("Relu", ["s"], ["r3"], name="relu3"),
            node("GlobalAveragePool", ["r3"], ["p"], name="pool"),
            node("Flatten", ["p"], ["f"], name="flatten"),
            node("Gemm", ["f", "w4", "b4"], ["y"], name="fc", transB=1),
        ],
        [
            ("w1", random_floats(16, 3, 3, 3, seed=seed + 1)),
            ("b1", random_floats(16, seed=seed + 2)),
            ("w2", random_floats(16, 16, 3, 3, seed=seed + 3, scale=0.1)),
            ("b2", random_floats(16, seed=seed + 4)),
            ("w3", random_floats(16, 16, 3, 3, seed=seed + 5, scale=0.1)),
            ("b3", random_floats(16, seed=seed + 6)),
            ("w4", random_floats(5, 16, seed=seed + 7)),
            ("b4", random_floats(5, seed=seed + 8)),
        ],
    )


def images(count, *, seed=0, shape=(3, 8, 8), scale=1.0):
    """Return normally distributed images."""
    return random_floats(count, *shape, seed=100 + seed, scale=scale)


def batches(count, size, **options):
    """Return a list of different batches."""
    return [images(size, seed=index, **options) for index in range(count)]


def tensors(model):
    """Return every initializer as an array, by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def operators(model):
    """Return how often each operator occurs."""
    return Counter(n.op_type for n in model.graph.node)


def optimized_operators(model, folder):
    """Return how often each operator occurs in what ONNX Runtime executes."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return operators(onnx.load(folder / "optimized.onnx"))


def inside(model, names, feeds):
    """Return tensors inside a model, without any graph optimization."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    known = {output.name for output in copy.graph.output}
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, feeds), strict=True))


def quantized(values, scale, zero_point, dtype):
    """Return saturate(round(x / S) + Z), rounding half to even."""
    limits = np.iinfo(dtype)
    steps = np.rint(values.astype(np.float64) / float(scale)) + int(zero_point)
    return np.clip(steps, limits.min, limits.max).astype(dtype)


def dequantized(codes, scale, zero_point):
    """Return (q - Z) S."""
    return ((codes.astype(np.int64) - int(zero_point)) * float(scale)).astype(np.float32)


def calibration(feeds):
    """Return what hands batches, as input values by name, to ONNX Runtime's own quantizer."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.feeds = iter(feeds)

        def get_next(self):
            return next(self.feeds, None)

    return Reader()


def digits_accuracy(model, split="test"):
    """Return the top-1 accuracy of a model, or of a model file, on a split of the digits."""
    proto = model if isinstance(model, onnx.ModelProto) else onnx.load(model)
    images, labels = next(load_dataset("digits", split=split).batches(2000))
    return (ort_run(proto, {"input": images})[0].argmax(1) == labels).mean()
