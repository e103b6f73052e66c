"""Small hand-built ONNX models, and a second, naive implementation of bit flips to compare with.

Nothing here uses ftonnx: numbers are taken apart with ``struct``, integers and fractions.
"""

import struct
from fractions import Fraction

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

_STRUCT = {TensorProto.FLOAT: "<f", TensorProto.FLOAT16: "<e", TensorProto.DOUBLE: "<d"}
_WIDTH = {
    TensorProto.FLOAT: 32, TensorProto.FLOAT16: 16, TensorProto.BFLOAT16: 16, TensorProto.DOUBLE: 64,
    TensorProto.INT8: 8, TensorProto.UINT8: 8, TensorProto.INT32: 32, TensorProto.INT4: 4, TensorProto.UINT4: 4,
}  # fmt: skip


def to_code(value, integral, fractional):
    """Return the signed qM.N code of a Python float: nearest, ties to even, saturating, NaN is 0."""
    limit = 2 ** (integral + fractional)
    if value != value:
        return 0
    if value in (float("inf"), float("-inf")):
        return limit - 1 if value > 0 else -limit
    return min(max(round(Fraction(value) * 2**fractional), -limit), limit - 1)


def flip_fixed(value, bits, integral, fractional):
    """Return, as an exact fraction, what ``value`` becomes when bits of its qM.N code flip."""
    width = 1 + integral + fractional
    code = to_code(value, integral, fractional) % 2**width
    for bit in bits:
        code ^= 1 << bit
    signed = code - 2**width if code >= 2 ** (width - 1) else code
    return Fraction(signed, 2**fractional)


def flip_bytes(raw, data_type, element, bit, fixed=None):
    """Return ``raw`` with one bit of one element flipped; ``fixed`` is (M, N), or None for the own bits."""
    if fixed is not None and data_type in _STRUCT:
        layout, size = _STRUCT[data_type], struct.calcsize(_STRUCT[data_type])
        (value,) = struct.unpack_from(layout, raw, element * size)
        changed = bytearray(raw)
        struct.pack_into(layout, changed, element * size, float(flip_fixed(value, [bit], *fixed)))
        return bytes(changed)
    number = int.from_bytes(raw, "little") ^ (1 << (element * _WIDTH[data_type] + bit))
    return number.to_bytes(len(raw), "little")


def find_tensors(graph, name):
    """Return every tensor called ``name`` in a graph or function and its subgraphs: initializers, Constants."""
    found = [tensor for tensor in getattr(graph, "initializer", ()) if tensor.name == name]
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value" and node.output[0] == name:
                found.append(attribute.t)
            if attribute.type == onnx.AttributeProto.GRAPH:
                found += find_tensors(attribute.g, name)
    return found


def naively_flipped(model, flips, fixed=(15, 16)):
    """Return a copy of ``model`` with the (tensor, element, bit) flips made one at a time in raw bytes."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for name, element, bit in flips:
        (tensor,) = [found for body in (copy.graph, *copy.functions) for found in find_tensors(body, name)]
        if not tensor.HasField("raw_data"):
            fresh = numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name)
            tensor.CopyFrom(fresh)
        tensor.raw_data = flip_bytes(tensor.raw_data, tensor.data_type, element, bit, fixed)
    return copy


def stored(name, array):
    """Return ``array`` as an initializer."""
    return numpy_helper.from_array(np.asarray(array), name)


def random_floats(*shape, seed=0, scale=0.5):
    """Return reproducible float32 values."""
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def model_of(nodes, initializers=(), *, inputs=None, outputs=("y",), opset=20, functions=(), domains=(), element=None):
    """Build a model from nodes and initializers; one float input ``x`` (batch, 3, 8, 8) by default."""
    element = element or TensorProto.FLOAT
    outputs = outputs if isinstance(outputs, dict) else dict.fromkeys(outputs)
    inputs = inputs or {"x": ("batch", 3, 8, 8)}
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(n, element, shape) for n, shape in inputs.items()],
        [helper.make_tensor_value_info(n, element, outputs[n]) for n in outputs],
        [t if isinstance(t, TensorProto) else stored(*t) for t in initializers],
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10, functions=list(functions))
    if any(not output.type.tensor_type.HasField("shape") for output in graph.output):
        inferred = onnx.shape_inference.infer_shapes(model).graph.output
        for output, known in zip(model.graph.output, inferred, strict=True):
            if known.type.tensor_type.HasField("shape"):
                output.CopyFrom(known)
            else:  # the checker wants a shape; one free axis is the least it accepts
                output.type.tensor_type.shape.dim.add()
    return model


def small_cnn(*, seed=0):
    """Return Conv, Relu, Conv, Relu, pool, Gemm with random weights: (batch, 3, 8, 8) to (batch, 5)."""
    node = helper.make_node
    return model_of(
        [
            node("Conv", ["x", "w1", "b1"], ["a"], name="conv1", pads=[1, 1, 1, 1]),
            node("Relu", ["a"], ["b"], name="relu1"),
            node("Conv", ["b", "w2", "b2"], ["c"], name="conv2", strides=[2, 2]),
            node("Relu", ["c"], ["d"], name="relu2"),
            node("GlobalAveragePool", ["d"], ["e"], name="pool"),
            node("Flatten", ["e"], ["f"], name="flatten"),
            node("Gemm", ["f", "w3", "b3"], ["y"], name="fc", transB=1),
        ],
        [
            ("w1", random_floats(16, 3, 3, 3, seed=seed + 1)),
            ("b1", random_floats(16, seed=seed + 2)),
            ("w2", random_floats(12, 16, 3, 3, seed=seed + 3)),
            ("b2", random_floats(12, seed=seed + 4)),
            ("w3", random_floats(5, 12, seed=seed + 5)),
            ("b3", random_floats(5, seed=seed + 6)),
        ],
    )


def halved(model):
    """Return a float16 copy of a model whose tensors are all floats."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        tensor.CopyFrom(stored(tensor.name, numpy_helper.to_array(tensor).astype(np.float16)))
    for value in (*copy.graph.input, *copy.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    return copy


def with_half_weights(model):
    """Return a copy of a model of floats whose tensors are stored as float16, each behind a Cast to float32."""
    copy = halved(model)
    casts = []
    for tensor in copy.graph.initializer:
        casts.append(helper.make_node("Cast", [tensor.name], [f"{tensor.name}_wide"], to=TensorProto.FLOAT))
    stored_names = {tensor.name for tensor in copy.graph.initializer}
    for node in copy.graph.node:
        for index, name in enumerate(node.input):
            if name in stored_names:
                node.input[index] = f"{name}_wide"
    for cast in reversed(casts):
        copy.graph.node.insert(0, cast)
    for value in (*copy.graph.input, *copy.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    return copy


def with_four_bit_weights(model):
    """Return a copy of a model of floats whose matrices are stored as int4, each behind a DequantizeLinear."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.opset_import[0].version = 21
    for tensor in list(copy.graph.initializer):
        values = numpy_helper.to_array(tensor)
        if values.ndim < 2:
            continue
        codes = np.clip(np.rint(values * 8), -8, 7).astype("int4")
        wide = f"{tensor.name}_wide"
        for node in copy.graph.node:
            node.input[:] = [wide if name == tensor.name else name for name in node.input]
        scale = f"{tensor.name}_scale"
        copy.graph.node.insert(0, helper.make_node("DequantizeLinear", [tensor.name, scale], [wide]))
        tensor.CopyFrom(stored(tensor.name, codes))
        copy.graph.initializer.append(stored(scale, np.float32(1 / 8)))
    return copy


def ort_run(model, feeds, *, prepack=True, threads=None):
    """Run a model (ModelProto) through a fresh ONNX Runtime session with all graph optimizations."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    if not prepack:
        options.add_session_config_entry("session.disable_prepacking", "1")
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def bits_of(arrays):
    """Return shapes, types and raw bytes of arrays, so that == compares every bit."""
    return [(array.shape, array.dtype, array.tobytes()) for array in arrays]
