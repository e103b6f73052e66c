"""Which inputs of which operators hold stored weights, biases, scales and zero points.

Operator names are unique across the domains ``ai.onnx``, ``com.microsoft`` and
``com.microsoft.nchwc``, so the tables do not repeat the domain.
"""

from typing import Final

from onnx import NodeProto

__all__ = [
    "ACTIVATION", "BIAS_OR_SCALE", "COMPUTES_ALL", "COMPUTES_FIRST", "INTEGER_ARITHMETIC", "JOINED", "LINEAR",
    "LOOKUPS", "MOVES", "PREPARES", "RECURRENT", "ROLE_OF_INPUT", "SHAPES", "THRESHOLDS", "VIEWS", "has_weights",
    "roles_of",
]  # fmt: skip

ACTIVATION: Final = "activation"
"""The role of computed tensors."""

_W, _B, _S, _Z = "weight", "bias", "scale", "zero_point"

ROLE_OF_INPUT: Final[dict[str, dict[int, str]]] = {
    # linear operators
    "Conv": {1: _W, 2: _B},
    "ConvTranspose": {1: _W, 2: _B},
    "DeformConv": {1: _W, 3: _B},
    "Gemm": {0: _W, 1: _W, 2: _B},
    "MatMul": {0: _W, 1: _W},
    "Einsum": {0: _W, 1: _W},
    "Gather": {0: _W},
    # integer and quantized operators
    "ConvInteger": {1: _W, 2: _Z, 3: _Z},
    "MatMulInteger": {0: _W, 1: _W, 2: _Z, 3: _Z},
    "QLinearConv": {3: _W, 8: _B, 1: _S, 2: _Z, 4: _S, 5: _Z, 6: _S, 7: _Z},
    "QLinearMatMul": {0: _W, 3: _W, 1: _S, 2: _Z, 4: _S, 5: _Z, 6: _S, 7: _Z},
    "QuantizeLinear": {1: _S, 2: _Z},
    "DequantizeLinear": {1: _S, 2: _Z},
    # normalization; a folded mean acts like a bias, a folded variance like a weight
    "BatchNormalization": {1: _W, 2: _B, 3: _B, 4: _W},
    "InstanceNormalization": {1: _W, 2: _B},
    "LayerNormalization": {1: _W, 2: _B},
    "GroupNormalization": {1: _W, 2: _B},
    "RMSNormalization": {1: _W},
    "PRelu": {1: _W},
    # recurrent: W, R, B and the LSTM's peepholes; initial states are inputs, not weights
    "RNN": {1: _W, 2: _W, 3: _B},
    "GRU": {1: _W, 2: _W, 3: _B},
    "LSTM": {1: _W, 2: _W, 3: _B, 7: _W},
    # com.microsoft: what ONNX Runtime's optimizer and quantizer write into files
    "FusedConv": {1: _W, 2: _B},
    "FusedGemm": {1: _W, 2: _B},
    "FusedMatMul": {0: _W, 1: _W},
    "NhwcConv": {1: _W, 2: _B},
    "BiasGelu": {1: _B},
    "FastGelu": {1: _B},
    "SkipLayerNormalization": {2: _W, 3: _B, 4: _B},
    "SimplifiedLayerNormalization": {1: _W},
    "SkipSimplifiedLayerNormalization": {2: _W, 3: _B},
    "EmbedLayerNormalization": {2: _W, 3: _W, 4: _W, 5: _W, 6: _B},
    "Attention": {1: _W, 2: _B},
    "QAttention": {1: _W, 2: _B, 3: _S, 4: _S, 6: _Z, 7: _Z},
    "QGemm": {3: _W, 6: _B, 1: _S, 2: _Z, 4: _S, 5: _Z, 7: _S, 8: _Z},
    "QLinearAdd": {0: _B, 3: _B, 1: _S, 2: _Z, 4: _S, 5: _Z, 6: _S, 7: _Z},
    "QLinearMul": {0: _W, 3: _W, 1: _S, 2: _Z, 4: _S, 5: _Z, 6: _S, 7: _Z},
    "MatMulIntegerToFloat": {1: _W, 2: _S, 3: _S, 4: _Z, 5: _Z, 6: _B},
    "DynamicQuantizeMatMul": {1: _W, 2: _S, 3: _Z, 4: _B},
    "DynamicQuantizeLSTM": {1: _W, 2: _W, 3: _B, 7: _W, 8: _S, 9: _Z, 10: _S, 11: _Z},
    "MatMulNBits": {1: _W, 2: _S, 3: _Z, 5: _B},
}

_PER_PART: Final = (_W, _S, _Z)


def roles_of(node: NodeProto) -> dict[int, str]:
    """Return which inputs of a node hold stored parameters, and as what.

    >>> from onnx import helper
    >>> roles_of(helper.make_node("QLinearConcat", ["s", "z", "a", "as", "az"], ["y"]))
    {0: 'scale', 1: 'zero_point', 2: 'weight', 3: 'scale', 4: 'zero_point'}
    """
    if node.op_type != "QLinearConcat":
        return ROLE_OF_INPUT.get(node.op_type, {})
    roles = {0: _S, 1: _Z}
    for slot in range(2, len(node.input)):
        roles[slot] = _PER_PART[(slot - 2) % len(_PER_PART)]
    return roles


def has_weights(op_type: str) -> bool:
    """Say whether an operator computes with a weight of its own; a Gather only looks one up."""
    return op_type != "Gather" and _W in ROLE_OF_INPUT.get(op_type, {}).values()


LINEAR: Final = frozenset(
    {
        "Conv", "ConvTranspose", "DeformConv", "Gemm", "MatMul", "ConvInteger", "MatMulInteger",
        "QLinearConv", "QLinearMatMul", "FusedConv", "FusedGemm", "FusedMatMul", "NhwcConv", "QGemm",
        "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "MatMulNBits", "Einsum",
    }
)  # fmt: skip
"""An Add or Mul by a stored tensor behind one of these is its bias or per-channel weight."""

RECURRENT: Final = frozenset({"RNN", "GRU", "LSTM"})
"""Operators whose other stored inputs are initial states."""

BIAS_OR_SCALE: Final = {"Add": _B, "Sub": _B, "Sum": _B, "Mul": _W, "Div": _W}
"""What a stored operand is to these operators where another one is computed from the model's input."""

INTEGER_ARITHMETIC: Final = frozenset({"QLinearAdd", "QLinearMul"})
"""The same on codes: behind each operand come its scale and zero point."""

JOINED: Final = {"Concat": _W}
"""What a stored part is to these operators where another one is computed, as a class token is."""

VIEWS: Final = frozenset(
    {
        "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Cast", "CastLike",
        "QuantizeLinear", "DequantizeLinear",
    }
)  # fmt: skip
"""Operators that hand on a stored tensor: only its shape, order or type changes. They also hand on
the result of a linear operator to its bias."""

MOVES: Final = frozenset(
    {
        "Slice", "Split", "Expand", "Tile", "Pad", "DepthToSpace", "SpaceToDepth", "ReverseSequence", "Trilu",
        "SplitToSequence", "SequenceAt", "ConcatFromSequence",
    }
)  # fmt: skip
"""Operators that hand on part of a stored tensor, or its elements several times or among others."""

LOOKUPS: Final = frozenset({"Gather", "GatherElements", "GatherND"})
"""Operators that do so where their indices are constant; else they look up what the model's input asks for."""

COMPUTES_FIRST: Final = frozenset(
    {
        "Abs", "Clip", "Exp", "Log", "LpNormalization", "Neg", "Pow", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceMax",
        "ReduceMean", "ReduceMin", "ReduceSum", "ReduceSumSquare", "Resize", "Round", "Sigmoid", "Softmax", "Softplus",
        "Sqrt", "Tanh",
    }
)  # fmt: skip
"""Operators that make a constant of the values of their first input, where it is one."""

COMPUTES_ALL: Final = frozenset(
    {"Add", "Sub", "Sum", "Mul", "Div", "Concat", "Einsum", "Gemm", "MatMul", "SequenceConstruct"}
)
"""Operators that make a constant of the values of all their inputs, where they are constants."""

PREPARES: Final = frozenset({"Add", "Sub", "Sum", "Mul", "Div", "Concat", "Clip", "Resize", "Upsample"})
"""Operators behind which, as behind views and moves, a graph input is still the raw input, which is being prepared."""

SHAPES: Final = frozenset({"Shape", "Size"})
"""Operators whose outputs are constants, whatever is computed."""

THRESHOLDS: Final = frozenset(
    {"Clip", "Min", "Max", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal", "ThresholdedRelu"}
)
"""Operators whose stored operands are bounds."""
