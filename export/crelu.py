"""The clipped activations as model-local ONNX functions.

A function's body is standard ONNX, so every conforming runtime executes it without a plug-in, and
every tool still sees one node with its threshold as an input.
"""

from typing import Final

import onnx
from onnx import FunctionProto, helper

from ftonnx.errors import ModelError

__all__ = ["CLIP_ABOVE", "CRELU", "DOMAIN", "add_crelu_function"]

DOMAIN: Final = "ftonnx"
CRELU: Final = "CReLU"
"""``X if 0 <= X <= T else 0``; NaN gives 0, and so does +Inf above a finite threshold (paper, equation 4)."""
CLIP_ABOVE: Final = "ClipAbove"
"""``X if X <= T else 0``, for activations that are negative by design; NaN gives 0."""

_VERSION: Final = 1
_OLDEST_OPSET: Final = 12  # LessOrEqual


def add_crelu_function(proto: onnx.ModelProto) -> None:
    """Add, in place, the functions that the nodes of ``proto`` call, where they are not there yet.

    Raises:
        ModelError: the model's operator set is too old for the functions' bodies.
    """
    called = sorted({node.op_type for node in proto.graph.node if node.domain == DOMAIN} & _BODIES.keys())
    present = {function.name for function in proto.functions if function.domain == DOMAIN}
    opsets = {entry.domain: entry.version for entry in proto.opset_import}
    opset = opsets.get("", opsets.get("ai.onnx", 0))
    if called and opset < _OLDEST_OPSET:
        raise ModelError(f"opset {_OLDEST_OPSET} or newer was expected, got {opset}; use onnx.version_converter first")
    proto.functions.extend(_function(name, opset) for name in called if name not in present)
    if called and DOMAIN not in opsets:
        proto.opset_import.append(helper.make_opsetid(DOMAIN, _VERSION))
    proto.ir_version = max(proto.ir_version, _FUNCTIONS_SINCE_IR) if called else proto.ir_version


def _function(name: str, opset: int) -> FunctionProto:
    """Return a function for a model of the given opset; both must import the same one."""
    nodes, meaning = _BODIES[name]
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_function(DOMAIN, name, ["X", "T"], ["Y"], nodes, opsets, doc_string=meaning)


_FUNCTIONS_SINCE_IR: Final = 8

# CReLU: multiplying with the mask is faster in ONNX Runtime than Where (1.3 against 1.5 times a ReLU's model).
# NaN * 0 and Inf * 0 are NaN, which is not above 0: ThresholdedRelu turns it into 0, as it does negatives.
_BODIES: Final = {
    CRELU: (
        [
            helper.make_node("LessOrEqual", ["X", "T"], ["below"]),
            helper.make_node("Cast", ["below"], ["mask"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Mul", ["X", "mask"], ["kept"]),
            helper.make_node("ThresholdedRelu", ["kept"], ["Y"], alpha=0.0),
        ],
        "X if 0 <= X <= T else 0",
    ),
    CLIP_ABOVE: (
        [
            helper.make_node("LessOrEqual", ["X", "T"], ["below"]),
            helper.make_node("Constant", [], ["zero"], value=helper.make_tensor("", onnx.TensorProto.FLOAT, [], [0.0])),
            helper.make_node("Where", ["below", "X", "zero"], ["Y"]),
        ],
        "X if X <= T else 0",
    ),
}
