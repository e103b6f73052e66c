"""JSON and TOML from strangers: values, or a ValueError, whatever the text."""

import json
import random

import pytest

from ftonnx.words import parsed_json, parsed_toml

DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    ("read", "content"),
    [
        (parsed_json, DEEP),
        (parsed_json, "[" * 100_000),
        (parsed_json, "[" * 200 + "]" * 200),
        (parsed_toml, f"x = {'[' * 200 + ']' * 200}"),
        (parsed_json, '{"a": 1' + "0" * 400 + "}"),
        (parsed_json, "9" * 5000),
        (parsed_json, r'["\ud800"]'),
        (parsed_json, r'{"\udfff": 1}'),
        (parsed_json, b"\xff"),
        (parsed_json, ""),
        (parsed_toml, f"x = {DEEP}"),
        (parsed_toml, "x = 1" + "0" * 400),
        (parsed_toml, "x = " + "9" * 5000),
        (parsed_toml, "x = 1\nx = 2"),
        (parsed_toml, r'x = "\ud800"'),
    ],
)
def test_what_only_parsers_take_is_a_value_error(read, content):
    """With a line that says what it is."""
    with pytest.raises(ValueError, match=r"."):
        read(content)


def test_what_people_write_is_read():
    """As by Python itself; numbers up to 2^64."""
    values = {"a": [1, -2.5, None, True, "ü", {"b": [2**64, -(2**64)]}], "": 0}
    assert parsed_json(json.dumps(values)) == values
    assert parsed_toml('a = [1, -2.5, "ü"]\n[b]\nc = 18446744073709551616') == {"a": [1, -2.5, "ü"], "b": {"c": 2**64}}


def test_mutated_texts_are_read_or_refused():
    """Two thousand of each, with a seed."""
    rng = random.Random(0)
    for read, text in (
        (parsed_json, json.dumps({"rates": [1e-7, "x"], "n": {"m": [1] * 5}})),
        (parsed_toml, "[a]\nb = [1, 'c']"),
    ):
        for _ in range(2000):
            place = rng.randrange(len(text))
            piece = rng.choice(['"', "[", "{", "1e999", "\x00", "\\u", "=", "\n", "9" * 50, ""])
            try:
                read(text[:place] + piece + text[place + rng.randrange(3) :])
            except ValueError:
                continue
