"""The clipped activations as model-local ONNX functions.

A function's body is standard ONNX, so every conforming runtime executes it without a plug-in, and
every tool still sees one node with its threshold as an input.
"""

from typing import Final

import onnx
from onnx import FunctionProto, helper

from ftonnx.errors import ModelError
from ftonnx.graphs import standard_opset

__all__ = ["CLIP_ABOVE", "CRELU", "DOMAIN", "add_crelu_function"]

DOMAIN: Final = "ftonnx"
CRELU: Final = "CReLU"
"""``X if 0 <= X <= T else 0``; NaN gives 0, and so does +Inf above a finite threshold (paper, equation 4)."""
CLIP_ABOVE: Final = "ClipAbove"
"""``X if X <= T else 0``, for activations that are negative by design; NaN gives 0."""

_VERSION: Final = 1
# LessOrEqual
_OLDEST_OPSET: Final = 12


def add_crelu_function(proto: onnx.ModelProto) -> None:
    """Add, in place, the functions that the nodes of ``proto`` call, where they are not there yet.

    Raises:
        ModelError: the model's operator set is too old for the functions' bodies.
    """
    called = _called(proto)
    if not called:
        return
    opset = standard_opset(proto)
    if opset < _OLDEST_OPSET:
        expected = f"opset {_OLDEST_OPSET} or newer was expected"
        raise ModelError(f"{expected}, got {opset}; use onnx.version_converter first")
    present = _present(proto)
    # a model that was clipped before has some of them
    for name in called:
        if name not in present:
            function = _function(name, opset)
            proto.functions.append(function)
    imported = {entry.domain for entry in proto.opset_import}
    if DOMAIN not in imported:
        own = helper.make_opsetid(DOMAIN, _VERSION)
        proto.opset_import.append(own)
    # older versions of the format know no functions
    proto.ir_version = max(proto.ir_version, _FUNCTIONS_SINCE_IR)


def _called(proto: onnx.ModelProto) -> list[str]:
    """Names of the functions that the nodes call, in the order of the alphabet."""
    names = set()
    for node in proto.graph.node:
        if node.domain == DOMAIN and node.op_type in _BODIES:
            names.add(node.op_type)
    return sorted(names)


def _present(proto: onnx.ModelProto) -> set[str]:
    """Names of the functions that the model defines."""
    names = set()
    for function in proto.functions:
        if function.domain == DOMAIN:
            names.add(function.name)
    return names


def _function(name: str, opset: int) -> FunctionProto:
    """Return a function for a model of the given opset; both must import the same one."""
    standard = helper.make_opsetid("", opset)
    return helper.make_function(
        DOMAIN,
        name,
        inputs=["X", "T"],
        outputs=["Y"],
        nodes=_BODIES[name],
        opset_imports=[standard],
        doc_string=_MEANINGS[name],
    )


_FUNCTIONS_SINCE_IR: Final = 8

# CReLU: multiplying with the mask is faster in ONNX Runtime than Where (1.3 against 1.5 times a ReLU's model).
# NaN * 0 and Inf * 0 are NaN, which is not above 0: ThresholdedRelu turns it into 0, as it does negatives.
_BODIES: Final = {
    CRELU: [
        helper.make_node("LessOrEqual", ["X", "T"], ["below"]),
        helper.make_node("Cast", ["below"], ["mask"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["X", "mask"], ["kept"]),
        helper.make_node("ThresholdedRelu", ["kept"], ["Y"], alpha=0.0),
    ],
    CLIP_ABOVE: [
        helper.make_node("LessOrEqual", ["X", "T"], ["below"]),
        helper.make_node("Constant", [], ["zero"], value=helper.make_tensor("", onnx.TensorProto.FLOAT, [], [0.0])),
        helper.make_node("Where", ["below", "X", "zero"], ["Y"]),
    ],
}
_MEANINGS: Final = {
    CRELU: "X if 0 <= X <= T else 0",
    CLIP_ABOVE: "X if X <= T else 0",
}
