"""Parts of small graphs for quantization, and how far an int8 model is from its FP32 one."""

import numpy as np
from exact_kernels import open_exact
from onnx import TensorProto, helper, numpy_helper
from onnx_zoo import random_floats

node = helper.make_node


def conv(source, target, weight, *rest, **options):
    """Return a 3 x 3 Conv that keeps the size, named after its output."""
    return node("Conv", [source, weight, *rest], [target], name=f"conv_{target}", pads=[1, 1, 1, 1], **options)


def head(source, channels=8):
    """Return nodes and initializers from ``(batch, channels, h, w)`` to ``y``, ``(batch, 5)``."""
    nodes = [
        node("GlobalAveragePool", [source], ["pooled"], name="pool"),
        node("Flatten", ["pooled"], ["flat"], name="flatten"),
        node("Gemm", ["flat", "fc.w", "fc.b"], ["y"], name="fc", transB=1),
    ]
    return nodes, [("fc.w", random_floats(5, channels, seed=91)), ("fc.b", random_floats(5, seed=92))]


def branch(nodes, output, initializers=()):
    """Return a subgraph without inputs and with one output."""
    value = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in initializers]
    return helper.make_graph(nodes, f"branch_{output}", [], [value], stored)


def initializers_as_inputs(model, opset, ir_version=3):
    """Return the model as old exporters wrote it, every stored tensor an input too; it is changed."""
    model.opset_import[0].version = opset
    model.ir_version = ir_version
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    return model


def run_all(model, feeds):
    """Return every output of a model by name, as its nodes say."""
    session = open_exact(model)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def disagreement(model, quantized_model, shown):
    """Return the largest difference of any output, as a share of its largest value."""
    wanted = run_all(model, {"x": shown})
    got = run_all(quantized_model, {"x": shown})
    assert wanted.keys() == got.keys()
    return max(float(np.abs(got[name] - wanted[name]).max() / np.abs(wanted[name]).max()) for name in wanted)
