"""``ftonnx::FlipBits``: model-local functions of standard operators that flip bits of a few elements of a tensor.

``FlipBits(t, where, mask)`` returns the tensor ``t`` with bits flipped, exactly as ``inject.formats`` flips stored
ones: ``where`` (int64) are the elements that are hit, in C order, each once, ``mask`` their bits that flip, as ones.
``FlipRow`` does the same on a tensor of one axis. Its work grows with the number of elements that are hit: ONNX Runtime
scatters in place where it knows that the sizes before and after are one, and nobody else reads the tensor.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import FunctionProto, NodeProto, TensorProto, helper, numpy_helper

from ftonnx.errors import ModelError
from ftonnx.graphs import standard_opset
from ftonnx.inject import FixedPoint, Format

__all__ = ["DOMAIN", "as_read", "flip_function", "mask_type", "mask_values", "opset_of", "row_function"]

DOMAIN: Final = "ftonnx"

_OLDEST: Final = 11  # Clip and ScatterElements as they are used here
_AXES_ARE_INPUTS: Final = 13  # of ReduceSum
_BITWISE: Final = 18
_BIT_CAST: Final = 26

_MANTISSA: Final = 23
_SIGN: Final = 31
_LARGEST: Final = 255
"""The exponent field of a float32 that is Inf or NaN; of one that is subnormal it is 0."""

_LAST_BITS: Final = np.array([2.0 ** (max(field, 1) - 150) for field in range(_LARGEST + 1)])
"""What the last bit of a float32 is worth, by its exponent field."""


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the standard operators that a model uses.

    Raises:
        ModelError: it is older than what the functions are written in.
    """
    version = standard_opset(model)
    if version < _OLDEST:
        raise ModelError(
            f"faults in activations need operator set {_OLDEST} or newer, and the model has {version}: export it again"
        )
    return version


def mask_values(form: Format, masks: NDArray[np.uint64]) -> NDArray[Any]:
    """Return what a function takes as ``mask``: integers are flipped in their own type, floats as whole numbers."""
    if form.dtype.kind in "iu":
        return masks.astype(form.word).view(form.dtype)
    return masks.view(np.int64)


def mask_type(form: Format) -> int:
    """Return the element type of these values, one of ``TensorProto``'s."""
    dtype = form.dtype if form.dtype.kind in "iu" else np.dtype(np.int64)
    return int(helper.np_dtype_to_tensor_dtype(dtype))


def as_read(values: NDArray[Any], opset: int) -> NDArray[Any]:
    """Return a copy of values with the bits that functions read in them: without BitCast every NaN is the usual one.

    Args:
        values: float32, or integers.
        opset: version of the standard operators.
    """
    read = values.copy()
    if opset < _BIT_CAST and read.dtype.kind == "f":
        read[np.isnan(read)] = np.nan
    return read


def flip_function(form: Format, opset: int) -> FunctionProto:
    """Return ``FlipBits`` for a format, which calls ``FlipRow``.

    Args:
        form: of float32, or of integers of 8 or 16 bits.
        opset: version of the standard operators.
    """
    body = _Body(opset)
    row = body.add("Reshape", "tensor", body.constant([-1], np.int64))
    flipped = body.add(_name("FlipRow", form), row, "where", "mask", domain=DOMAIN)
    body.add("Reshape", flipped, body.add("Shape", "tensor"), output="flipped")
    return body.function(_name("FlipBits", form), "tensor")


def row_function(form: Format, opset: int) -> FunctionProto:
    """Return ``FlipRow`` for a format; arguments as ``flip_function``."""
    body = _Body(opset)
    old = body.add("Gather", "row", "where", axis=0)
    if form.dtype.kind in "iu":
        new = _flipped_integers(body, old, form)
    elif isinstance(form, FixedPoint):
        new = _flipped_fixed_point(body, old, form)
    else:
        new = _flipped_floats(body, old)
    body.add("ScatterElements", "row", "where", new, axis=0, output="flipped")
    return body.function(_name("FlipRow", form), "row")


def _name(kind: str, form: Format) -> str:
    """Return the name of the function for a format.

    >>> _name("FlipBits", FixedPoint(np.dtype(np.float32), integral=15, fractional=16))
    'FlipBits_q15_16'
    """
    return f"{kind}_{form.name.replace('.', '_')}"


class _Body:
    """The nodes of a function, in the making."""

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.nodes: list[NodeProto] = []

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        name = output or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def function(self, name: str, first: str) -> FunctionProto:
        """Return a function of a tensor, ``where`` and ``mask``, that is made of the nodes."""
        imports = [helper.make_opsetid("", self.opset), helper.make_opsetid(DOMAIN, 1)]
        return helper.make_function(DOMAIN, name, [first, "where", "mask"], ["flipped"], self.nodes, imports)

    def constant(self, values: float | Sequence[float] | NDArray[Any], dtype: Any) -> str:
        """Add a constant and return its name."""
        array = np.array(values, dtype)
        return self.add("Constant", value=numpy_helper.from_array(array))

    def xor(self, code: str, mask: str, bits: int) -> str:
        """Add what flips bits of whole numbers from 0 to 2**bits - 1 (int64)."""
        if self.opset >= _BITWISE:
            return self.add("BitwiseXor", code, mask)
        # digit by digit, where there is no operator for it: two equal digits make 0
        places = self.constant([2**place for place in range(bits)], np.int64)
        two = self.constant(2, np.int64)
        column = self.constant([-1, 1], np.int64)
        digits = []
        for number in (code, mask):
            shifted = self.add("Div", self.add("Reshape", number, column), places)
            digits.append(self.add("Mod", shifted, two))
        flipped = self.add("Mod", self.add("Add", *digits), two)
        return self.row_sums(self.add("Mul", flipped, places))

    def row_sums(self, matrix: str) -> str:
        """Add what sums up rows, of which there may be none: CUDA's MatMul refuses that."""
        if self.opset < _AXES_ARE_INPUTS:
            return self.add("ReduceSum", matrix, axes=[1], keepdims=0)
        return self.add("ReduceSum", matrix, self.constant([1], np.int64), keepdims=0)


def _flipped_integers(body: _Body, old: str, form: Format) -> str:
    if body.opset >= _BITWISE:
        return body.add("BitwiseXor", old, "mask")
    # a negative number's two's complement, in more bits, ends with the same ones
    wide = TensorProto.INT64
    range_of = body.constant(2**form.bits, np.int64)
    codes = [body.add("Mod", body.add("Cast", value, to=wide), range_of) for value in (old, "mask")]
    flipped = body.xor(codes[0], codes[1], form.bits)
    if form.dtype.kind == "i":
        # the upper half of the codes are the negative numbers
        half = body.constant(2 ** (form.bits - 1), np.int64)
        flipped = body.add("Sub", body.add("Mod", body.add("Add", flipped, half), range_of), half)
    return body.add("Cast", flipped, to=helper.np_dtype_to_tensor_dtype(form.dtype))


def _flipped_fixed_point(body: _Body, old: str, form: FixedPoint) -> str:
    """Encode, flip, decode: round to nearest even, saturate, NaN is 0."""
    limit = 2.0 ** (form.bits - 1)
    is_nan = body.add("IsNaN", old)
    known = body.add("Where", is_nan, body.constant(0.0, np.float32), old)
    exact = body.add("Cast", known, to=TensorProto.DOUBLE)
    scaled = body.add("Mul", exact, body.constant(2.0**form.fractional, np.float64))
    whole = body.add("Round", scaled)
    above = body.add("Max", whole, body.constant(-limit, np.float64))
    within = body.add("Min", above, body.constant(limit - 1, np.float64))
    # as codes from 0 the order of bits is the same but for the sign's, which is turned round
    code = body.add("Cast", body.add("Add", within, body.constant(limit, np.float64)), to=TensorProto.INT64)
    flipped = body.add("Cast", body.xor(code, "mask", form.bits), to=TensorProto.DOUBLE)
    signed = body.add("Sub", flipped, body.constant(limit, np.float64))
    values = body.add("Mul", signed, body.constant(2.0**-form.fractional, np.float64))
    return body.add("Cast", values, to=TensorProto.FLOAT)


def _flipped_floats(body: _Body, old: str) -> str:
    """Flip the bits of float32."""
    if body.opset >= _BIT_CAST:
        code = body.add("BitCast", old, to=TensorProto.INT32)
        mask = body.add("Cast", "mask", to=TensorProto.INT32)
        return body.add("BitCast", body.add("BitwiseXor", code, mask), to=TensorProto.FLOAT)
    return _value_of(body, body.xor(_code_of(body, old), "mask", _SIGN + 1))


def _code_of(body: _Body, old: str) -> str:
    """Add what reads the bits of float32 as whole numbers, by arithmetic; every NaN reads as the quiet one."""
    zero = body.constant(0.0, np.float64)
    exact = body.add("Cast", old, to=TensorProto.DOUBLE)
    # a negative zero is told by its reciprocal
    reciprocal = body.add("Div", body.constant(1.0, np.float64), exact)
    is_negative = body.add("Or", body.add("Less", exact, zero), body.add("Less", reciprocal, zero))
    finite = body.add("Min", body.add("Abs", exact), body.constant(2.0**128, np.float64))
    size = body.add("Where", body.add("IsNaN", old), body.constant(1.5 * 2.0**128, np.float64), finite)
    field = _exponent_of(body, size)
    last = body.add("Gather", body.constant(_LAST_BITS, np.float64), field)
    # a leading one counts as part of the exponent field below it
    below = [max(number, 1) - 1 for number in range(_LARGEST + 1)]
    leading = body.add("Gather", body.constant([2.0**_MANTISSA * number for number in below], np.float64), field)
    code = body.add("Add", body.add("Div", size, last), leading)
    sign = body.add("Mul", body.add("Cast", is_negative, to=TensorProto.DOUBLE), body.constant(2.0**_SIGN, np.float64))
    return body.add("Cast", body.add("Add", code, sign), to=TensorProto.INT64)


def _exponent_of(body: _Body, size: str) -> str:
    """Add what finds the exponent fields of positive numbers: how many powers of two they reach, from the least."""
    powers = body.constant([2.0**power for power in range(-126, 129)], np.float64)
    column = body.add("Reshape", size, body.constant([-1, 1], np.int64))
    reached = body.add("Cast", body.add("Not", body.add("Less", column, powers)), to=TensorProto.DOUBLE)
    return body.add("Cast", body.row_sums(reached), to=TensorProto.INT64)


def _value_of(body: _Body, code: str) -> str:
    """Add what makes float32 of their bits."""
    size = body.add("Mod", code, body.constant(2**_SIGN, np.int64))
    negative = body.add("Cast", body.add("Div", code, body.constant(2**_SIGN, np.int64)), to=TensorProto.DOUBLE)
    field = body.add("Div", size, body.constant(2**_MANTISSA, np.int64))
    fraction = body.add("Cast", body.add("Mod", size, body.constant(2**_MANTISSA, np.int64)), to=TensorProto.DOUBLE)
    leading = [2.0**_MANTISSA * (number > 0) for number in range(_LARGEST + 1)]
    digits = body.add("Add", fraction, body.add("Gather", body.constant(leading, np.float64), field))
    last = body.add("Gather", body.constant(_LAST_BITS, np.float64), field)
    positive = body.add("Mul", digits, last)
    is_nan = body.add("Less", body.constant(_LARGEST * 2**_MANTISSA, np.int64), size)
    known = body.add("Where", is_nan, body.constant(np.nan, np.float64), positive)
    # 1 - 2 s, since -0.0 is a value too
    double = body.add("Mul", negative, body.constant(2.0, np.float64))
    signed = body.add("Mul", known, body.add("Sub", body.constant(1.0, np.float64), double))
    return body.add("Cast", signed, to=TensorProto.FLOAT)
