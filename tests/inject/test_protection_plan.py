"""Protection plans and their TOML files."""

import re

import ml_dtypes
import numpy as np
import pytest

from ftonnx.errors import UsageError
from ftonnx.inject import Guard, ProtectionPlan, Target, parse_format
from ftonnx.inject.guards import bits_of

PLAN = """\
format = 1
model = "{}"
word_bits = 32
interleave = 4

[[guard]]
tensors = ["conv*.weight", "fc[[]0]"]
by = "secded"
bits = "sign+exponent"
on_detect = "stop"

[[guard]]
tensors = ["*bias"]
by = "tmr"
bits = [28, 30, 31]

[[guard]]
tensors = ["*"]
by = "range"
on_detect = "clamp"
""".format("0123456789abcdef" * 4)


def test_a_plan_is_read_as_it_is_written(tmp_path):
    """The values of a file that was written by hand; what is written is the same file."""
    file = tmp_path / "plan.toml"
    file.write_text(PLAN)
    plan = ProtectionPlan.read(file)
    assert (plan.word_bits, plan.interleave, plan.model) == (32, 4, "0123456789abcdef" * 4)
    first, second, third = plan.guards
    assert (first.tensors, first.by, first.bits, first.on_detect) == (
        ("conv*.weight", "fc[[]0]"), "secded", "sign+exponent", "stop",
    )  # fmt: skip
    assert (second.tensors, second.by, second.bits, second.on_detect) == (("*bias",), "tmr", (28, 30, 31), None)
    assert (third.by, third.bits, third.on_detect) == ("range", "all", "clamp")
    assert first.takes("fc[0]")
    assert not first.takes("bias")
    assert plan.to_toml() == PLAN
    plan.save(tmp_path / "again.toml")
    assert (tmp_path / "again.toml").read_text() == PLAN
    assert ProtectionPlan.from_dict(plan.to_dict()) == plan


def test_what_is_left_out_is_the_usual():
    """All bits, words of 64 without interleaving, for any model; zero where an error is only detected."""
    plan = ProtectionPlan.from_dict({"format": 1, "guard": [{"tensors": ["w"], "by": "parity"}]})
    assert plan == ProtectionPlan([Guard("w", "parity", "all", "zero")], word_bits=64, interleave=1, model=None)


def test_no_two_plans_have_the_same_text():
    """Plans that differ in one thing each: what is done, the fourth of many names, the model, the order of guards."""
    plans = [
        ProtectionPlan([Guard("*", "parity")]),
        ProtectionPlan([Guard("*", "parity", on_detect="reload")]),
        ProtectionPlan([Guard("*", "parity", on_detect="stop")]),
        ProtectionPlan([Guard("*", "parity")], word_bits=32),
        ProtectionPlan([Guard("*", "parity")], interleave=2),
        ProtectionPlan([Guard("*", "parity")], model="ab" * 32),
        ProtectionPlan([Guard(["a", "b", "c", "d"], "tmr")]),
        ProtectionPlan([Guard(["a", "b", "c", "e"], "tmr")]),
        ProtectionPlan([Guard("a, b", "tmr")]),
        ProtectionPlan([Guard(["a", "b"], "tmr")]),
    ]
    assert len({plan.text for plan in plans}) == len(plans)
    assert "what is detected: reload" in plans[1].text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format = 1", "format = 2", "format = 1 was expected, got 2"),
        ("format = 1", "format = true", "format = 1 was expected, got True"),
        ("format = 1\n", "", "format = 1 was expected, got None"),
        ("format = 1", "fromat = 1", "fromat is not known; a plan has format, .*; did you mean format?"),
        ("interleave = 4", "interleave = 0", "interleave: a whole number from 1 to 1,024 was expected, got 0"),
        ("interleave = 4", 'interleave = "4"', "interleave: a whole number from 1 to 1,024 was expected, got '4'"),
        ("word_bits = 32", "word_bits = 48", "word_bits: 32 or 64 was expected, got 48"),
        ("word_bits = 32", "word_bits = true", "word_bits: 32 or 64 was expected, got True"),
        ('model = "01', 'model = "', "model: the SHA-256 of a model's file, 64 digits, was expected"),
        ('by = "secded"', 'by = "sedced"', "guard 1: by: parity, .* was expected, got 'sedced'; did you mean secded?"),
        ('by = "secded"', 'by = ["secded"]', "guard 1: by: parity, .* was expected, got"),
        ('by = "secded"\n', "", "guard 1: by is missing"),
        ('"stop"', '"clamp"', "guard 1: on_detect: zero, reload, stop was expected of secded, got 'clamp'"),
        ('"clamp"', '"clmap"', "guard 3: on_detect: .* was expected of range, got 'clmap'; did you mean clamp?"),
        ("bits = [28, 30, 31]", 'on_detect = "zero"', "guard 2: tmr corrects whatever it sees: no on_detect"),
        ("bits = [28, 30, 31]", "bits = [64]", "guard 2: bits: .* numbers from 0 to 63 were expected, got"),
        ("bits = [28, 30, 31]", "bits = []", "guard 2: bits: .* were expected, got"),
        ("bits = [28, 30, 31]", "bits = 64", "guard 2: bits: .* were expected, got 64"),
        ("bits = [28, 30, 31]", 'bits = "high"', "guard 2: bits: all, sign, .* were expected, got 'high'"),
        ("bits = [28, 30, 31]", 'bits = "3-x"', "guard 2: positions from 0 to 63 .* were expected, got '3-x'"),
        ('on_detect = "clamp"', 'bits = "sign"', "guard 3: a range is one of whole values: no choice of bits"),
        ('["*bias"]', "[]", "guard 2: tensors: patterns of names were expected"),
        ('["*bias"]', "[3]", "guard 2: tensors: a text was expected, got 3"),
        ('tensors = ["*bias"]\n', "", "guard 2: tensors is missing"),
        (
            'by = "tmr"',
            'by = "tmr"\ntensor = "w"',
            "guard 2: tensor is not known; a guard has .*; did you mean tensors?",
        ),
        ("[[guard]]", "[guard]", "a protection plan in TOML was expected"),
        ("word_bits = 32", "word_bits =", "a protection plan in TOML was expected"),
        (PLAN[PLAN.index("\n[[") :], "guard = 3", "tables were expected, got '3'"),
        (PLAN[PLAN.index("\n[[") :], "guard = [3]", "guard 1: a table was expected, got '3'"),
        (PLAN[PLAN.index("\n[[") :], "", "at least one guard was expected, got none"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(tmp_path, old, new, message):
    """With the file's name, and no parameter between backquotes."""
    assert old in PLAN
    file = tmp_path / "plan.toml"
    file.write_text(PLAN.replace(old, new, 1))
    with pytest.raises(UsageError, match=message) as raised:
        ProtectionPlan.read(file)
    text = str(raised.value)
    assert text.startswith(f"{file}: ")
    assert "\n" not in text
    assert "`" not in text


def test_a_plan_in_python_takes_guards():
    """A single one is none, nor is a name."""
    for guards in (Guard("w", "tmr"), "tmr", ["tmr"]):
        with pytest.raises(UsageError, match=r"`guards`: .* was expected, got"):
            ProtectionPlan(guards)


@pytest.mark.parametrize("made", ["missing", "folder", "binary"])
def test_a_file_that_is_none_is_said_so(tmp_path, made):
    """It is missing, a folder, or no text."""
    path = tmp_path / made
    if made == "folder":
        path.mkdir()
    elif made == "binary":
        path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=re.escape(f"{path}: a protection plan in TOML was expected")):
        ProtectionPlan.read(path)


@pytest.mark.parametrize(
    ("form", "dtype", "sign", "exponent"),
    [
        ("ieee", np.float32, 31, range(23, 31)),
        ("ieee", np.float16, 15, range(10, 15)),
        ("ieee", np.float64, 63, range(52, 63)),
        ("ieee", ml_dtypes.bfloat16, 15, range(7, 15)),
        ("ieee", ml_dtypes.float8_e4m3fn, 7, range(3, 7)),
        ("ieee", ml_dtypes.float8_e5m2, 7, range(2, 7)),
        ("q15.16", np.float32, 31, range(16, 31)),
        ("q3.4", np.float32, 7, range(4, 7)),
    ],
)
def test_sign_and_exponent_are_by_the_format(form, dtype, sign, exponent):
    """By the layouts of IEEE 754 and of the narrow formats; fixed point has integral bits in the exponent's place."""
    target = Target(
        tensor="w", role="weight", node="n", op_type="Conv", shape=(2,), format=parse_format(form, np.dtype(dtype))
    )
    assert bits_of("sign", target) == (sign,)
    assert bits_of("exponent", target) == tuple(exponent)
    assert bits_of("sign+exponent", target) == (*exponent, sign)
    assert bits_of("all", target) == tuple(range(sign + 1))
