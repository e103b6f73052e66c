"""Models with inputs and outputs of many forms."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper

from small_models.base import BATCH, IMAGES, Kind, cnn, cnn_nodes, floats, ints, model_of, value

__all__ = ["KINDS"]

node = helper.make_node

_PIXELS: Final = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8), np.uint8)
_CLASSES: Final = ["ant", "bee", "cat", "dog", "eel"]


def _around(
    before: Sequence[onnx.NodeProto] = (),
    after: Sequence[onnx.NodeProto] = (),
    *,
    inputs: Sequence[onnx.ValueInfoProto] = (),
    outputs: Sequence[onnx.ValueInfoProto] = (),
    domains: Sequence[str] = (),
    **stored: np.ndarray,
) -> onnx.ModelProto:
    """Return the CNN with nodes before its input ``x`` and after its output ``y``."""
    model = cnn()
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    return model_of(
        [*before, *cnn_nodes(), *after],
        tensors | stored,
        inputs=inputs or list(model.graph.input),
        outputs=outputs or list(model.graph.output),
        domains=domains,
    )


def _two_inputs(_: Path) -> onnx.ModelProto:
    nodes = [node("Concat", ["left", "right"], ["x"], axis=3)]
    return _around(nodes, inputs=[value("left", (BATCH, 3, 8, 4)), value("right", (BATCH, 3, 8, 4))])


def _constant_input(_: Path) -> onnx.ModelProto:
    nodes = [node("Mul", ["image", "gain"], ["x"])]
    return _around(nodes, inputs=[value("image", (BATCH, 3, 8, 8)), value("gain", ())])


def _channels_last(_: Path) -> onnx.ModelProto:
    nodes = [node("Transpose", ["image"], ["x"], perm=[0, 3, 1, 2])]
    return _around(nodes, inputs=[value("image", (BATCH, 8, 8, 3))])


def _bytes(_: Path) -> onnx.ModelProto:
    nodes = [
        node("Cast", ["image"], ["wide"], to=TensorProto.FLOAT),
        node("Div", ["wide", "most"], ["x"]),
    ]
    return _around(nodes, inputs=[value("image", (BATCH, 3, 8, 8), TensorProto.UINT8)], most=np.float32(255))


def _fixed_batch(_: Path) -> onnx.ModelProto:
    return _around(inputs=[value("x", (2, 3, 8, 8))], outputs=[value("y", (2, 5))])


def _baked_batch(_: Path) -> onnx.ModelProto:
    """Return a model that declares a free batch size, and says 2 in a Reshape."""
    nodes = [node("Reshape", ["image", "shape"], ["x"])]
    return _around(nodes, inputs=[value("image", (BATCH, 192))], shape=ints(2, 3, 8, 8))


def _score(_: Path) -> onnx.ModelProto:
    nodes = [node("MatMul", ["y", "one"], ["logit"]), node("Sigmoid", ["logit"], ["score"])]
    return _around((), nodes, outputs=[value("score", (BATCH, 1))], one=floats(5, 1, seed=7))


def _class_numbers(_: Path) -> onnx.ModelProto:
    """Return the class of the smallest distance: classes whose numbers are near each other, so that few flips show."""
    nodes = [
        node("Neg", ["y"], ["nearness"]),
        node("ArgMax", ["nearness"], ["class"], axis=1, keepdims=0),
    ]
    return _around((), nodes, outputs=[value("class", (BATCH,), TensorProto.INT64)])


def _features_too(_: Path) -> onnx.ModelProto:
    return _around(outputs=[value("f", (BATCH, 16)), value("y", (BATCH, 5))])


def _further_axes(_: Path) -> onnx.ModelProto:
    nodes = [node("Unsqueeze", ["y", "axes"], ["map"])]
    return _around((), nodes, outputs=[value("map", (BATCH, 5, 1, 1))], axes=ints(2, 3))


def _maps(_: Path) -> onnx.ModelProto:
    """Return a list of maps from class names to scores, as converters of scikit-learn write them."""
    nodes = [node("ZipMap", ["y"], ["map"], domain="ai.onnx.ml", classlabels_strings=_CLASSES)]
    kind = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    declared = helper.make_value_info("map", helper.make_sequence_type_proto(kind))
    return _around((), nodes, outputs=[declared], domains=["ai.onnx.ml"])


def _random(_: Path) -> onnx.ModelProto:
    nodes = [node("RandomNormalLike", ["image"], ["noise"], name="noise"), node("Add", ["image", "noise"], ["x"])]
    return _around(nodes, inputs=[value("image", (BATCH, 3, 8, 8))])


_HALVES: Final = {
    "left": np.ascontiguousarray(IMAGES[..., :4]),
    "right": np.ascontiguousarray(IMAGES[..., 4:]),
}

KINDS: Final = (
    Kind(name="several inputs", make=_two_inputs, data=_HALVES),
    Kind(
        name="an input that is fed a constant",
        make=_constant_input,
        data={"image": IMAGES},
        constants={"gain": np.array(0.5, np.float32)},
    ),
    Kind(name="channels last (NHWC)", make=_channels_last, data=np.ascontiguousarray(IMAGES.transpose(0, 2, 3, 1))),
    Kind(name="bytes (uint8), scaled in the graph", make=_bytes, data=_PIXELS),
    Kind(name="fixed batch size", make=_fixed_batch),
    Kind(name="batch size written into a Reshape", make=_baked_batch, data=IMAGES.reshape(2, 192)),
    Kind(name="output: one score, (batch, 1)", make=_score),
    Kind(name="output: class numbers (ArgMax)", make=_class_numbers),
    Kind(name="output: scores with further axes, (batch, classes, 1, 1)", make=_further_axes),
    Kind(name="several outputs", make=_features_too),
    Kind(name="output: list of maps (ZipMap)", make=_maps),
    Kind(name="random numbers that reach an output", make=_random),
)
"""By the form of what goes in and comes out."""
