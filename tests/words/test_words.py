"""Words that several rooms use."""

import json
import math

import pytest

from ftonnx.errors import UsageError
from ftonnx.words import (
    bit_positions,
    did_you_mean,
    duration_text,
    is_number,
    json_values,
    near,
    number,
    parse_duration,
    whole_number,
    whole_of,
)

LONG = "9" * 5000


def start(text):
    """Return what a test is called by."""
    return ascii(text[:12])


def test_json_values_can_be_read_by_a_strict_reader():
    """Nested ones too, and what JSON has a number for stays that number."""
    found = json_values({"a": [(math.inf, -math.inf), {"b": math.nan}], "c": 0.1, "d": True, "e": None, "f": "x"})
    assert json.loads(json.dumps(found, allow_nan=False)) == {
        "a": [["Infinity", "-Infinity"], {"b": "NaN"}],
        "c": 0.1,
        "d": True,
        "e": None,
        "f": "x",
    }


def test_a_name_that_resembles_nothing_gets_no_offer():
    """Else messages would mislead."""
    assert near("zzz", ["train", "test"]) == did_you_mean([]) == ""
    assert near("trian", ["train", "test"]) == "; did you mean train?"


@pytest.mark.parametrize("value", [0, 1, -1.5, 10**400])
def test_finite_numbers_are_numbers(value):
    """However large."""
    assert is_number(value)


@pytest.mark.parametrize("value", [True, "1", None, math.inf, math.nan, [1]])
def test_other_values_of_toml_are_no_numbers(value):
    """TOML has texts, truth values, and infinities."""
    assert not is_number(value)


@pytest.mark.parametrize("hours", [0.01, 1.5, 24, 800, 8760, 87600])
def test_a_duration_reads_back_to_two_digits(hours):
    """Where its unit is one that can be written."""
    text = duration_text(hours)
    short = text.replace("minutes", "min").replace("seconds", "s").replace("weeks", "w").replace("1 year", "1 years")
    assert parse_duration(short) == pytest.approx(hours, rel=0.05)


def test_what_is_no_duration_is_refused():
    """With examples of some."""
    with pytest.raises(UsageError, match="a length of time such as 90min"):
        parse_duration("3 parsecs")


def test_numbers_too_large_or_small_for_all_digits_are_short():
    """A mean of a billion needs no digit behind the point, and no nine before it."""
    assert [number(value, digits=3) for value in (0.0, 12.0, 1234.5, 2.5e9 + 0.5)] == ["0", "12", "1,234", "2.5e+09"]


@pytest.mark.parametrize("text", ["9" * 19, LONG, "\u0661", "\u00b2", "-1", "+1", " 1", "1_0", "0x1", ""], ids=start)
def test_only_up_to_eighteen_plain_digits_are_a_whole_number(text):
    """All of them fit an int64, and Python itself refuses to read 5,000 digits."""
    assert whole_of(text) is None
    assert whole_of("9" * 18) == 10**18 - 1


@pytest.mark.parametrize("text", [LONG, f"0-{LONG}", f"{LONG}-1", "64", "\u0663"], ids=start)
def test_bits_are_numbers_of_a_word(text):
    """Whatever else they are written as is refused in one line."""
    with pytest.raises(UsageError, match="positions from 0 to 63 such as"):
        bit_positions(text)


@pytest.mark.parametrize("value", [10**400, 10**5000], ids=["400", "5000"])
def test_a_number_that_python_cannot_show_is_refused_too(value):
    """It shows none of more than 4,300 digits."""
    with pytest.raises(UsageError, match="`threads`: a whole number from 1 to 1,024 was expected, got "):
        whole_number("threads", value, 1, 1024)
