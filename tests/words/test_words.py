"""Words that several rooms use."""

import json
import math

import pytest

from ftonnx.errors import UsageError
from ftonnx.words import did_you_mean, duration_text, is_number, json_values, near, number, parse_duration


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
