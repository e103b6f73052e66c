"""Whether a model can be protected, and which of its activations."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from ftonnx.errors import ModelError
from ftonnx.export import Activation, find_activations, read_thresholds
from ftonnx.inject import FaultSpace, OnnxModel
from ftonnx.mitigate.protections.base import METADATA_KEY

__all__ = ["protectable"]

_QUANTIZED: Final = {
    "QuantizeLinear",
    "DequantizeLinear",
    "QLinearConv",
    "ConvInteger",
    "MatMulInteger",
    "QLinearMatMul",
}


def protectable(model: OnnxModel) -> Sequence[Activation]:
    """Return the activations that can be clipped.

    Raises:
        ModelError: there are none, they are clipped already, or the model is quantized.
    """
    for node in model.proto.graph.node:
        if node.op_type in _QUANTIZED:
            raise ModelError(f"{model.name} is quantized; protect its FP32 model, then quantize that one")
    space = FaultSpace.of(model)
    types = {target.format.dtype.name for target in space.targets}
    other = sorted(types - {"float32"})
    if other:
        found = ", ".join(other)
        raise ModelError(f"{model.name} has {found} weights, float32 was expected; protect that one")
    if METADATA_KEY in model.metadata or _is_clipped(model):
        method = model.metadata.get(METADATA_KEY, "clipping")
        raise ModelError(f"{model.name} is protected by {method} already; start from the unprotected model")
    activations = find_activations(model.proto)
    if not activations:
        raise ModelError(
            f"{model.name} has no activation to clip: Relu, Clip from 0, CReLU, or GELU, SiLU, HardSwish, LeakyRelu"
        )
    return activations


def _is_clipped(model: OnnxModel) -> bool:
    """Say whether a threshold is finite; those of +Inf, as a model is exported with, let everything pass."""
    for threshold in read_thresholds(model.proto).values():
        finite = threshold < np.inf
        if finite.any():
            return True
    return False
