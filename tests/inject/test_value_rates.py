"""Elements with other values, read back from the file that has the flips."""

import math
import re

import ml_dtypes
import numpy as np
import pytest
from inject_kit import space_storing
from onnx import numpy_helper
from onnx_zoo import small_cnn
from scipy import stats

from ftonnx.errors import UsageError
from ftonnx.inject import FaultSpace, Guard, GuardedMemory, ProtectionPlan, ValueRates, faulty_model


def values_after(format, value):
    """Return every weight of a small network before and after all elements were hit."""
    model = small_cnn()
    space = FaultSpace.of(model, format=format)
    faults = ValueRates(1.0, value).draw(space, np.random.default_rng(3))
    found = faulty_model(model, space, faults)
    arrays = [[numpy_helper.to_array(each) for each in space.tensors(which)] for which in (model, found)]
    return [np.concatenate([array.ravel() for array in which]) for which in arrays]


@pytest.mark.parametrize(
    ("format", "value", "expected"),
    [
        ("ieee", "zero", 0.0),
        ("ieee", "0.1", float(np.float32(0.1))),
        ("ieee", "-2", -2.0),
        ("ieee", "1e39", math.inf),
        ("q15.16", "zero", 0.0),
        ("q15.16", "0.1", round(0.1 * 2**16) / 2**16),
        ("q3.4", "-100", -8.0),
    ],
)
def test_every_element_becomes_the_number_as_its_format_holds_it(format, value, expected):
    """To the nearest one that the format has; fixed point saturates."""
    before, after = values_after(format, value)
    kept = before == after  # those that hold the code of the number already keep what they are
    assert (after[~kept] == expected).all()
    assert not kept.all()
    step = 0 if format == "ieee" else 2.0 ** -int(format.split(".")[1])
    assert (np.abs(after[kept] - expected) <= step / 2).all()


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        (np.int8, -200, -128),
        (np.int8, 2.5, 2),
        (np.uint8, -1, 0),
        (ml_dtypes.int4, 9, 7),
        (ml_dtypes.uint4, 9, 9),
        (np.int64, 1e30, 2**63 - 1),
    ],
)
def test_integers_become_the_nearest_stored_integer(dtype, value, expected):
    """Ties go to the even one, and what is out of range saturates."""
    space = space_storing(np.array([1, 3, 5], dtype))
    faults = ValueRates(1.0, value).draw(space, np.random.default_rng(0))
    width = space.targets[0].format.bits
    codes = space.codes(0, np.arange(3)).tolist()
    for element, bit in zip(faults.element.tolist(), faults.bit.tolist(), strict=True):
        codes[element] ^= 1 << bit
    assert codes == [expected % 2**width] * 3


@pytest.mark.parametrize(
    ("value", "formats", "held"),
    [
        ("1e9", ["int8", "ieee", "q15.16", "secded"], {"int8": 127, "q15.16": 32767.99998}),
        ("-200", ["int4", "uint8", "q7.8"], {"int4": -8, "uint8": 0, "q7.8": -128}),
        ("0.5", ["int8"], {"int8": 0}),
        ("1e-6", ["q15.16"], {"q15.16": 0}),
        ("0.1", ["ieee", "q15.16"], {}),
        ("random", ["int8"], {}),
    ],
)
def test_numbers_that_a_format_does_not_hold_are_told(value, formats, held):
    """With what is stored, by each format; what rounding takes off is not told."""
    said = ValueRates(1e-4, value).caution(formats)
    assert re.findall(r"in (\S+) they become (-?[\d.]*\d)", said or "") == [(name, f"{held[name]}") for name in held]


def test_check_bits_saturate_in_their_own_width():
    """Parity has one bit, in a type of eight: 2 becomes 1."""
    memory = GuardedMemory(ProtectionPlan([Guard("*", "parity")]), FaultSpace.of(small_cnn(), format="ieee"))
    check = len(memory.stored.targets)
    faults = ValueRates(1.0, 2).draw(memory.space, np.random.default_rng(0))
    elements = np.arange(memory.space.targets[check].elements)
    stored = memory.space.codes(check, elements)
    flipped = set(faults.element[faults.target == check].tolist())
    assert [int(code) ^ (element in flipped) for element, code in enumerate(stored)] == [1] * len(elements)


def test_random_bits_are_uniform_whatever_was_stored():
    """Every code as often, of an element that is hit."""
    space = space_storing(np.array([5], ml_dtypes.int4))
    seen = []
    for repeat in range(1600):
        faults = ValueRates(1.0, "random").unit_pattern(space, 1, level=1.0, repeat=repeat, batch=0)
        seen.append(5 ^ sum(1 << bit for bit in faults.bit.tolist()))
    assert stats.chisquare(np.bincount(seen, minlength=16)).pvalue > 1e-3


def test_random_bits_fill_the_widest_words():
    """All 64 of them are drawn."""
    space = space_storing(np.zeros(200, np.float64), format="ieee")
    faults = ValueRates(1.0, "random").draw(space, np.random.default_rng(8))
    hits = np.bincount(faults.bit, minlength=64)
    assert stats.chi2.sf(float(((hits - 100) ** 2).sum() / 50), 64) > 1e-3


def test_the_rate_is_per_element():
    """Their number is binomial, and they are uniform over tensors of any width."""
    space = space_storing(np.zeros(30, np.int8), np.zeros(70, np.float32), format="ieee")
    hits = np.zeros(100, int)
    for repeat in range(500):
        faults = ValueRates(0.1, -1).unit_pattern(space, 2, level=0.1, repeat=repeat, batch=0)
        space.check(faults)
        hits[np.unique(faults.target * 30 + faults.element)] += 1
    statistic = float(((hits - 50) ** 2).sum() / (500 * 0.1 * 0.9))
    assert 1e-3 < stats.chi2.sf(statistic, 100) < 1 - 1e-3
    assert ValueRates(0.1, -1).expected_faults(space, 0.1) == pytest.approx(10)


@pytest.mark.parametrize("value", ["nan", "inf", "one", "", True, None])
def test_other_values_are_refused(value):
    """A finite number, zero or random."""
    with pytest.raises(UsageError, match="zero, random or a finite number was expected"):
        ValueRates(0.1, value)


def test_a_choice_of_bits_is_refused():
    """A value has all of them."""
    with pytest.raises(UsageError, match="no choice of bits was expected"):
        ValueRates(0.1, "zero").levels(FaultSpace.of("digits", bits=(3,)))
