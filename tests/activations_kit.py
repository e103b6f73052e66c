"""Oracles for faults in activations: forward passes in numpy that flip what they compute, and graphs that are cut.

Nothing here uses ftonnx. Flips are (image, tensor, element of the image's part, bit).
"""

import struct

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx_zoo import flip_fixed, model_of, random_floats

node = helper.make_node
SCALE = 2.0**-4
WEIGHT_SCALE = 2.0**-6


def flipped_float(value, bits, format):
    """Return a float32 after flips of its bits, as fixed point (M, N) or, for ``ieee``, its own."""
    if format == "ieee":
        (code,) = struct.unpack("<I", struct.pack("<f", value))
        for bit in bits:
            code ^= 1 << bit
        return struct.unpack("<f", struct.pack("<I", code))[0]
    return np.float32(float(flip_fixed(float(value), bits, *format)))


def flip(array, name, flips, format):
    """Flip, in place, what of the flips is in a tensor whose first axis counts images."""
    hit = {}
    for image, tensor, element, bit in flips:
        if tensor == name:
            hit.setdefault((image, element), []).append(bit)
    for (image, element), bits in hit.items():
        row = array[image].reshape(-1)
        if array.dtype == np.float32:
            row[element] = flipped_float(row[element], bits, format)
        else:
            code = int(row[element]) & 0xFF
            for bit in bits:
                code ^= 1 << bit
            row[element] = np.array(code, np.uint8).view(array.dtype)
    return array


def convolved(images, weights, pads, stride):
    """Return a convolution of images (batch, channels, height, width), one output pixel after the other."""
    padded = np.pad(images, ((0, 0), (0, 0), (pads, pads), (pads, pads)))
    rows = (padded.shape[2] - weights.shape[2]) // stride + 1
    columns = (padded.shape[3] - weights.shape[3]) // stride + 1
    out = np.zeros((len(images), len(weights), rows, columns), weights.dtype)
    for row in range(rows):
        for column in range(columns):
            top, left = row * stride, column * stride
            window = padded[:, :, top : top + weights.shape[2], left : left + weights.shape[3]]
            out[:, :, row, column] = np.einsum("nchw,kchw->nk", window, weights)
    return out


def small_cnn_in_numpy(model, images, flips, format):
    """Return the outputs of ``small_cnn`` with bits of its activations flipped where they are made."""
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    values = convolved(images, stored["w1"], 1, 1) + stored["b1"].reshape(1, -1, 1, 1)
    values = flip(np.maximum(values, 0), "b", flips, format)
    values = convolved(values, stored["w2"], 0, 2) + stored["b2"].reshape(1, -1, 1, 1)
    values = flip(np.maximum(values, 0), "d", flips, format)
    pooled = flip(values.mean(axis=(2, 3), dtype=np.float32, keepdims=True), "e", flips, format)
    return flip(pooled[:, :, 0, 0] @ stored["w3"].T + stored["b3"], "y", flips, format)


def integer_cnn(opset=20, activation=np.uint8):
    """Return a network in QDQ form whose scales are powers of two: Conv, Relu, Conv, all of eight bits."""
    zero = np.zeros((), activation)
    scale, weight_scale = np.float32(SCALE), np.float32(WEIGHT_SCALE)
    rng = np.random.default_rng(5)
    stored = [("s", scale), ("z", zero), ("ws", weight_scale), ("wz", np.zeros((), np.int8))]
    stored += [("w1", rng.integers(-40, 40, (16, 3, 3, 3)).astype(np.int8))]
    stored += [("w2", rng.integers(-40, 40, (5, 16, 8, 8)).astype(np.int8))]
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["xq"], name="q0"),
        node("DequantizeLinear", ["xq", "s", "z"], ["xd"], name="d0"),
        node("DequantizeLinear", ["w1", "ws", "wz"], ["w1d"], name="dw1"),
        node("Conv", ["xd", "w1d"], ["c1"], name="conv1", pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"], name="relu1"),
        node("QuantizeLinear", ["r1", "s", "z"], ["r1q"], name="q1"),
        node("DequantizeLinear", ["r1q", "s", "z"], ["r1d"], name="d1"),
        node("DequantizeLinear", ["w2", "ws", "wz"], ["w2d"], name="dw2"),
        node("Conv", ["r1d", "w2d"], ["c2"], name="conv2"),
        node("QuantizeLinear", ["c2", "s", "z"], ["c2q"], name="q2"),
        node("DequantizeLinear", ["c2q", "s", "z"], ["y"], name="d2"),
    ]
    return model_of(nodes, stored, opset=opset)


def integer_cnn_in_numpy(model, images, flips, activation=np.uint8):
    """Return the outputs of ``integer_cnn`` in whole numbers, with bits of its activations flipped."""
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    limits = np.iinfo(activation)

    def quantized(values):
        return np.clip(np.rint(values), limits.min, limits.max).astype(activation)

    codes = flip(quantized(images.astype(np.float64) / SCALE), "xq", flips, None)
    sums = convolved(codes.astype(np.int64), stored["w1"].astype(np.int64), 1, 1)
    codes = flip(quantized(np.maximum(sums, 0) * WEIGHT_SCALE), "r1q", flips, None)
    sums = convolved(codes.astype(np.int64), stored["w2"].astype(np.int64), 0, 1)
    codes = flip(quantized(sums * WEIGHT_SCALE), "c2q", flips, None)
    return (codes * SCALE).astype(np.float32)


def branching_net():
    """Return a network in which activations have several readers: a residual sum, and an output beside it."""
    return model_of(
        [
            node("Conv", ["x", "w1"], ["a"], name="conv1", pads=[1, 1, 1, 1]),
            node("Relu", ["a"], ["b"], name="relu1"),
            node("Conv", ["b", "w2"], ["c"], name="conv2", pads=[1, 1, 1, 1]),
            node("Add", ["c", "b"], ["d"], name="add"),
            node("Relu", ["d"], ["e"], name="relu2"),
            node("GlobalAveragePool", ["e"], ["p"], name="pool"),
            node("Flatten", ["p"], ["y"], name="flatten"),
        ],
        [("w1", random_floats(16, 3, 3, 3, seed=1)), ("w2", random_floats(16, 16, 3, 3, seed=2))],
    )


def run_cut(model, name, change, feeds, session):
    """Run up to a tensor, change it, run the rest; of outputs that are before the tensor nothing is asked.

    Args:
        model: the plain one.
        name: of the tensor.
        change: makes another array of the tensor's value.
        feeds: of the model.
        session: opens a session on a model.
    """
    shown = onnx.ModelProto.FromString(model.SerializeToString())
    if name not in {value.name for value in shown.graph.output}:
        shown.graph.output.append(onnx.ValueInfoProto(name=name))
    (value,) = session(shown).run([name], feeds)
    changed = change(value.copy())
    rest = onnx.ModelProto.FromString(model.SerializeToString())
    for each in rest.graph.node:
        each.output[:] = [f"{output}_uncut" if output == name else output for output in each.output]
    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    rest.graph.input.append(helper.make_tensor_value_info(name, kind, value.shape))
    return session(rest).run(None, {**feeds, name: changed})


def fixed_batch(model, images):
    """Return a copy that insists on a number of images."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    copy.graph.input[0].type.tensor_type.shape.dim[0].dim_value = images
    return copy


FLOAT = TensorProto.FLOAT
