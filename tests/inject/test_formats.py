"""Bit flips in every number format: hand-worked values, and a naive oracle made of Python fractions."""

import math
import struct
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from onnx_zoo import flip_fixed, to_code

from ftonnx.errors import UsageError
from ftonnx.inject import FixedPoint, Packed, RawBits, parse_format

Q15_16 = parse_format("q15.16", np.dtype(np.float32))
SIGN = 1 << 31

RAW_TYPES = [
    np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64,
    np.float16, np.float32, np.float64,
    ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2,
    ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2fnuz,
]  # fmt: skip


def flipped(values, dtype, format_name, masks):
    """Flip mask i in element i and return the values."""
    array = np.asarray(values, dtype)
    form = parse_format(format_name, array.dtype)
    words = array.view(form.word).copy()
    form.flip(words, np.arange(len(array)), np.asarray(masks, np.uint64))
    return words.view(array.dtype)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (0.0, 0),
        (-0.0, 0),
        (1.0, 1 << 16),
        (-1.0, -(1 << 16)),
        (0.5 / 65536, 0),  # ties go to the even code
        (1.5 / 65536, 2),
        (2.5 / 65536, 2),
        (-0.5 / 65536, 0),
        (-1.5 / 65536, -2),
        (-2.5 / 65536, -2),
        (0.50001 / 65536, 1),
        (1e-40, 0),  # subnormal
        (32767.99609375, 0x7FFFFF00),  # the largest float32 below 2**15
        (32768.0, 2**31 - 1),  # saturates
        (1e30, 2**31 - 1),
        (math.inf, 2**31 - 1),
        (-32768.0, -(2**31)),
        (-1e30, -(2**31)),
        (-math.inf, -(2**31)),
        (math.nan, 0),
    ],
)
def test_a_float_becomes_the_nearest_q15_16_code(value, code):
    """Round to nearest even, saturate at both ends, NaN and subnormals give 0."""
    assert Q15_16.encode(np.array([value], np.float32)).tolist() == [code]


@pytest.mark.parametrize(
    ("value", "mask", "after"),
    [
        (0.0, 1, 2.0**-16),
        (0.0, SIGN, -32768.0),
        (0.5, SIGN, -32767.5),
        (1.0, 1 << 16, 0.0),
        (1.0, 1 << 30, 16385.0),
        (1.0, (1 << 16) | (1 << 17), 2.0),
        (-1.0, 1, -1.0 + 2.0**-16),  # ...FFFF0000 -> ...FFFF0001
        (-1.0, SIGN, 32767.0),
        (-0.25, 1 << 14, -0.5),  # 0xFFFFC000 loses 2**-2
        (math.nan, 1 << 16, 1.0),
        (1e-40, 2, 2.0**-15),
        (1e9, 1, 32768.0),  # 0x7FFFFFFE / 65536, rounded to float32
        (1e9, SIGN, -(2.0**-16)),  # 0xFFFFFFFF
        (-1e9, SIGN, 0.0),  # 0x80000000 -> 0
        (-32768.0, 1, -32768.0),  # -32768 + 2**-16 rounds back in float32
    ],
)
def test_a_q15_16_flip_gives_the_value_worked_by_hand(value, mask, after):
    """Sign bit, integral and fractional bits of positive, negative, saturated and special values."""
    assert flipped([value], np.float32, "auto", [mask]).tolist() == [after]


@pytest.mark.parametrize(
    ("name", "value", "mask", "after"),
    [
        ("q7.8", 1.0, 1 << 15, -127.0),
        ("q7.8", 200.0, 0, 127.99609375),
        ("q0.7", 0.5, 1 << 7, -0.5),
        ("q0.7", 0.5, 1 << 6, 0.0),
        ("q1.0", 1.0, 2, -1.0),
        ("q0.1", 0.5, 3, -1.0),
        ("q3.4", -8.0, 0x80, 0.0),
        ("q4.3", 2.0, 1, 2.125),
        ("q30.22", 0.0, 1 << 51, float(2**29)),
        ("q30.22", 0.0, 1 << 52, float(-(2**30))),
    ],
)
def test_any_qm_n_has_one_sign_bit_m_integral_and_n_fractional_bits(name, value, mask, after):
    """Widths from 2 to 53 bits."""
    assert parse_format(name, np.dtype(np.float32)).bits == 1 + sum(map(int, name[1:].split(".")))
    assert flipped([value], np.float32, name, [mask]).tolist() == [after]


@pytest.mark.parametrize(
    ("dtype", "value", "bit", "after"),
    [
        (np.float32, 1.0, 31, -1.0),
        (np.float32, 1.0, 30, math.inf),
        (np.float32, 0.5, 30, 2.0**127),
        (np.float32, 1.0, 23, 0.5),
        (np.float32, 1.0, 22, 1.5),
        (np.float32, 1.0, 0, 1.0 + 2.0**-23),
        (np.float32, 0.0, 0, 2.0**-149),
        (np.float16, 1.0, 15, -1.0),
        (np.float16, 0.5, 14, 32768.0),
        (np.float16, 1.0, 9, 1.5),
        (np.float16, 0.0, 0, 2.0**-24),
        (np.float64, 1.0, 63, -1.0),
        (np.float64, 1.0, 51, 1.5),
        (ml_dtypes.bfloat16, 1.0, 15, -1.0),
        (ml_dtypes.bfloat16, 0.5, 14, 2.0**127),
        (ml_dtypes.bfloat16, 1.0, 6, 1.5),
        (ml_dtypes.float8_e4m3fn, 1.0, 7, -1.0),
        (ml_dtypes.float8_e4m3fn, 1.0, 6, 256.0),  # the largest exponent still holds numbers
        (ml_dtypes.float8_e4m3fn, 1.0, 2, 1.5),
        (ml_dtypes.float8_e5m2, 1.0, 7, -1.0),
        (ml_dtypes.float8_e5m2, 1.0, 6, math.inf),
        (ml_dtypes.float8_e5m2, 1.0, 1, 1.5),
        (ml_dtypes.float8_e4m3fnuz, 0.0, 7, math.nan),
        (ml_dtypes.float8_e5m2fnuz, 0.0, 7, math.nan),
    ],
)
def test_an_ieee_flip_hits_sign_exponent_or_mantissa(dtype, value, bit, after):
    """Hand-worked flips in every float type."""
    (result,) = flipped([value], dtype, "ieee", [1 << bit]).astype(np.float64).tolist()
    assert result == after or (math.isnan(result) and math.isnan(after))


@pytest.mark.parametrize(
    ("dtype", "value", "bit", "after"),
    [
        (np.int8, -128, 7, 0),
        (np.int8, 127, 7, -1),
        (np.int8, 0, 7, -128),
        (np.int8, -1, 0, -2),
        (np.uint8, 0, 7, 128),
        (np.uint8, 255, 0, 254),
        (np.int16, 0, 15, -32768),
        (np.int16, -32768, 15, 0),
        (np.int32, 0, 31, -(2**31)),
        (np.int32, -1, 30, -1 - 2**30),
        (np.int64, 0, 63, -(2**63)),
        (np.uint64, 0, 63, 2**63),
    ],
)
def test_an_integer_flip_is_twos_complement(dtype, value, bit, after):
    """Sign and magnitude bits; the format of an integer is its type, whatever was asked for."""
    assert parse_format("q15.16", np.dtype(dtype)).name == np.dtype(dtype).name
    assert flipped([value], dtype, "auto", [1 << bit]).tolist() == [after]


@pytest.mark.parametrize(
    ("dtype", "stored", "element", "mask", "after", "reads"),
    [
        (ml_dtypes.int4, [0x21], 0, 0b1000, [0x29], -7),
        (ml_dtypes.int4, [0x21], 1, 0b1000, [0xA1], -6),
        (ml_dtypes.int4, [0x08], 0, 0b1000, [0x00], 0),
        (ml_dtypes.int4, [0x21, 0x03], 2, 0b1111, [0x21, 0x0C], -4),  # the last of three
        (ml_dtypes.uint4, [0x21], 0, 0b1000, [0x29], 9),
        (ml_dtypes.uint4, [0x21], 1, 0b1000, [0xA1], 10),
        (ml_dtypes.uint4, [0x21, 0x03], 2, 0b0001, [0x21, 0x02], 2),
    ],
)
def test_a_packed_flip_hits_only_its_half_of_the_byte(dtype, stored, element, mask, after, reads):
    """Even elements are the low half; int4 reads as -8 to 7, uint4 as 0 to 15."""
    form, words = parse_format("auto", np.dtype(dtype)), np.array(stored, np.uint8)
    undo = form.flip(words, np.array([element]), np.array([mask], np.uint64))
    assert (form.bits, words.tolist()) == (4, after)
    assert form.read(words, np.array([element])).tolist() == [reads]
    undo()
    assert words.tolist() == stored


def test_both_halves_of_a_byte_flip_together_and_come_back():
    """Two elements that share a byte are two flips of the same word, undone in one go."""
    words = np.array([0x21, 0x43], np.uint8)
    undo = Packed(np.dtype(ml_dtypes.int4)).flip(words, np.arange(4), np.array([1, 2, 4, 8], np.uint64))
    assert words.tolist() == [0x00, 0xC7]
    undo()
    assert words.tolist() == [0x21, 0x43]


FLOAT32 = st.floats(width=32)
MASK32 = st.integers(0, 2**32 - 1)


@given(st.lists(st.tuples(FLOAT32, MASK32), min_size=1, max_size=20))
def test_q15_16_flips_agree_with_exact_fractions(pairs):
    """Any float32, any mask: round half even, saturate, two's complement, nearest float32."""
    values = np.array([value for value, _ in pairs], np.float32)
    expected = [
        struct.pack("<f", flip_fixed(float(v), [b for b in range(32) if m >> b & 1], 15, 16))
        for v, (_, m) in zip(values, pairs, strict=True)
    ]
    result = flipped(values, np.float32, "q15.16", [m for _, m in pairs])
    assert [r.tobytes() for r in result] == expected


@given(st.floats(), st.integers(0, 52), st.integers(0, 52), st.integers(0, 2**53 - 1))
def test_every_qm_n_agrees_with_exact_fractions_in_float64(value, integral, fractional, mask):
    """Any width up to 53 bits, where a float64 still holds every code exactly."""
    width = 1 + integral + fractional
    if not 2 <= width <= 53:
        return
    mask &= 2**width - 1
    form = FixedPoint(np.dtype(np.float64), integral=integral, fractional=fractional)
    array = np.array([value])
    assert form.encode(array).tolist() == [to_code(value, integral, fractional)]
    form.flip(array.view(np.uint64), np.array([0]), np.array([mask], np.uint64))
    assert Fraction(array[0]) == flip_fixed(value, [b for b in range(width) if mask >> b & 1], integral, fractional)


NEAR_TIES = st.builds(
    lambda short, shift, step: (short << shift) + step,
    st.integers(-512, 511),
    st.integers(0, 22),
    st.integers(-1, 1),
)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2])
@example(code=(257 << 22) + 1)  # a float32 in between would turn these two into ties
@example(code=(17 << 20) + 1)
@given(code=NEAR_TIES | st.integers(-(2**31), 2**31 - 1))
def test_a_code_decodes_to_the_nearest_value_of_a_narrow_type(dtype, code):
    """Rounded once, ties to even: found by looking at every value the type has."""
    form = FixedPoint(np.dtype(dtype), integral=15, fractional=16)
    patterns = np.arange(2 ** (8 * np.dtype(dtype).itemsize), dtype=form.word)
    with np.errstate(invalid="ignore"):  # the type has signalling NaNs
        values = patterns.view(dtype).astype(np.float64)
    exact = code / 65536
    finite = np.isfinite(values)
    if abs(exact) > values[finite].max():
        return
    distance = np.where(finite, np.abs(values - exact), np.inf)
    nearest = patterns[distance == distance.min()]
    (result,) = form.decode(np.array([code])).view(form.word).tolist()
    assert result in nearest
    assert len(nearest) == 1 or exact == 0 or result % 2 == 0


@pytest.mark.parametrize("dtype", RAW_TYPES, ids=lambda t: np.dtype(t).name)
@given(data=st.data())
def test_flipping_raw_bits_twice_is_the_identity(dtype, data):
    """Flip after flip gives the first bytes, and a flip is the XOR of its mask."""
    form = RawBits(np.dtype(dtype))
    words = np.array(data.draw(st.lists(st.integers(0, 2**form.bits - 1), min_size=1, max_size=8)), form.word)
    elements = np.array(data.draw(st.permutations(range(len(words)))))[: data.draw(st.integers(1, len(words)))]
    masks = np.array([data.draw(st.integers(1, 2**form.bits - 1)) for _ in elements], np.uint64)
    before = words.tolist()
    form.flip(words, elements, masks)
    for element, mask in zip(elements.tolist(), masks.tolist(), strict=True):
        assert int(words[element]) == before[element] ^ mask
    form.flip(words, elements, masks)
    assert words.tolist() == before


@pytest.mark.parametrize("dtype", [ml_dtypes.int4, ml_dtypes.uint4])
@given(data=st.data())
def test_flipping_packed_halves_twice_is_the_identity(dtype, data):
    """Any bytes, any distinct elements; untouched elements keep their bits."""
    words = np.array(data.draw(st.lists(st.integers(0, 255), min_size=1, max_size=6)), np.uint8)
    count = 2 * len(words) - data.draw(st.integers(0, 1))
    elements = np.array(data.draw(st.lists(st.integers(0, count - 1), min_size=1, unique=True)))
    masks = np.array([data.draw(st.integers(1, 15)) for _ in elements], np.uint64)
    number = int.from_bytes(words.tobytes(), "little")
    for element, mask in zip(elements.tolist(), masks.tolist(), strict=True):
        number ^= mask << (4 * element)
    before = words.tobytes()
    form = Packed(np.dtype(dtype))
    form.flip(words, elements, masks)
    assert int.from_bytes(words.tobytes(), "little") == number
    form.flip(words, elements, masks)
    assert words.tobytes() == before


@pytest.mark.parametrize("format_name", ["q15.16", "q7.8", "q3.4", "ieee"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2])
@given(data=st.data())
def test_undo_restores_every_bit_and_a_flip_touches_only_its_element(dtype, format_name, data):
    """Whatever the stored bits are, NaN payloads and signed zeros included."""
    form = parse_format(format_name, np.dtype(dtype))
    width = 8 * np.dtype(dtype).itemsize
    words = np.array(data.draw(st.lists(st.integers(0, 2**width - 1), min_size=2, max_size=8)), form.word)
    elements = np.array(data.draw(st.lists(st.integers(0, len(words) - 1), min_size=1, unique=True)))
    masks = np.array([data.draw(st.integers(1, 2**form.bits - 1)) for _ in elements], np.uint64)
    before = words.copy()
    undo = form.flip(words, elements, masks)
    untouched = np.setdiff1d(np.arange(len(words)), elements)
    assert words[untouched].tolist() == before[untouched].tolist()
    undo()
    assert words.tobytes() == before.tobytes()


@given(st.floats(min_value=-32767.0, max_value=32767.0))
def test_q15_16_keeps_values_in_range_to_half_a_step(value):
    """|decode(encode(x)) - x| <= 2**-17."""
    form = FixedPoint(np.dtype(np.float64), integral=15, fractional=16)
    restored = form.decode(form.encode(np.array([value])))[0]
    assert abs(Fraction(restored) - Fraction(value)) <= Fraction(1, 2**17)


def test_a_large_float64_saturates_without_a_warning():
    """1e308 times 2**16 is Inf on the way; the code is the largest one."""
    assert flipped([1e308, -1e308], np.float64, "auto", [1, 1]).tolist() == [
        32768 - 2 * 2.0**-16,
        -32768 + 2.0**-16,
    ]


@pytest.mark.parametrize(
    "name", ["", "q", "q15", "q15.", "q.16", "fp32", "Q15.16", "q-1.4", "q0.0", "q30.23", "q99.99", "q15.16 "]
)
def test_an_unknown_format_is_a_usage_error(name):
    """The message names the format and says what is possible, on one line."""
    with pytest.raises(UsageError) as caught:
        parse_format(name, np.dtype(np.float32))
    assert repr(name) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [np.bool_, np.complex64, np.dtype("O"), ml_dtypes.float4_e2m1fn, ml_dtypes.int2])
def test_a_type_without_a_bit_format_is_refused(dtype):
    """Rather than flipped in some wrong way."""
    with pytest.raises(UsageError, match="no known bit format"):
        parse_format("auto", np.dtype(dtype))


def test_formats_compare_by_value_and_show_themselves():
    """Equal type and parameters are equal formats."""
    assert parse_format("auto", np.dtype(np.float32)) == Q15_16
    assert parse_format("q7.8", np.dtype(np.float32)) != Q15_16
    assert "integral=15" in repr(Q15_16)
