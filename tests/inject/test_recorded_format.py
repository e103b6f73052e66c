"""How a device holds floats, as a model says it: under ftonnx.format in its metadata, which --format auto takes."""

import re

import onnx
import pytest
from campaign_kit import BASE, DIGITS, cli, cli_json, one_error_line
from onnx import helper, numpy_helper
from onnx_zoo import random_floats

from ftonnx import FaultSpace, gate
from ftonnx.errors import ModelError
from ftonnx.inject import format_note

pytestmark = pytest.mark.usefixtures("temporary_folder")

GOAL = ("--min-accuracy", "1e-8:0.9", "--batch-size", 120)


def said(path, text, source=DIGITS):
    """Save a model that says a format, and return its path."""
    model = onnx.load(source)
    model.metadata_props.add(key="ftonnx.format", value=text)
    onnx.save(model, path)
    return path


def formats(space):
    """Return the formats that occur."""
    return {target.format.name for target in space.targets}


def test_auto_is_what_the_model_says_and_an_option_comes_first(tmp_path):
    """Without a word of the model it is the paper's."""
    path = said(tmp_path / "m.onnx", "ieee")
    assert formats(FaultSpace.of(path)) == {"ieee"}
    assert formats(FaultSpace.of(path, format="q7.8")) == {"q7.8"}
    assert formats(FaultSpace.of(DIGITS)) == {"q15.16"}


def test_every_command_takes_it(tmp_path):
    """The fault space of a campaign is that of the file's format."""
    path = said(tmp_path / "m.onnx", "q7.8")
    assert {target["format"] for target in cli_json("inspect", path)["targets"]} == {"q7.8"}
    found = cli_json("inject", path, *BASE, "--rate", 1e-5, "--repeats", 1, "--limit", 20, "-q")
    assert found["fault_space"]["formats"] == ["q7.8"]


@pytest.mark.parametrize("text", ["fp16", "auto", "", "q60.60"])
def test_a_format_that_there_is_not_is_the_models_error(tmp_path, text):
    """With the key, for the library and on a line."""
    path = said(tmp_path / "m.onnx", text)
    with pytest.raises(ModelError, match=r"metadata ftonnx\.format: "):
        FaultSpace.of(path)
    done = cli("inspect", path)
    assert done.code == 4
    assert "metadata ftonnx.format: " in one_error_line(done)


def test_what_edits_a_model_keeps_it(tmp_path):
    """Clipping and quantization; the models say the same afterwards."""
    path = said(tmp_path / "m.onnx", "ieee")
    clipped, small = tmp_path / "c.onnx", tmp_path / "q.onnx"
    assert cli("protect", path, "--method", "relu6", "-o", clipped).code == 0
    assert cli("quantize", clipped, "--data", "digits", "--limit", 32, "-o", small, "-q").code == 0
    for file in (clipped, small):
        assert ("ftonnx.format", "ieee") in [(each.key, each.value) for each in onnx.load(file).metadata_props]


def test_a_gate_asks_for_it_where_nobody_has_said_it():
    """On one line, with the choices; auto is no answer."""
    for more in ((), ("--format", "auto")):
        done = cli("gate", "digits", *BASE, *GOAL, *more)
        assert done.code == 2
        line = one_error_line(done)
        assert "--format is missing: digits stores floats" in line
        assert "ieee, q15.16 (fixed point, as in the paper), or another qM.N" in line


def test_a_gate_takes_an_option_a_file_and_the_model(tmp_path):
    """Each says enough, and the verdict says which it was."""
    (tmp_path / "gate.toml").write_text('format = "q15.16"\n')
    asked = (
        ("digits", "--format", "ieee"),
        ("digits", "--config", tmp_path / "gate.toml"),
        (said(tmp_path / "m.onnx", "ieee"),),
    )
    notes = []
    for model, *more in asked:
        done = cli("gate", model, *BASE, *GOAL, *more)
        assert done.code == 0, done.err
        notes += re.findall(r"^floats are flipped as .*$", done.out, re.MULTILINE)
    assert [note.split()[4] for note in notes] == ["the", "Q15.16", "the"]


def test_a_gate_on_integers_asks_nothing(tmp_path):
    """int8 and int32 are their own bits."""
    small = tmp_path / "q.onnx"
    assert cli("quantize", "digits", "--data", "digits", "--limit", 64, "-o", small, "-q").code == 0
    done = cli("gate", small, *BASE, *GOAL)
    assert done.code == 0, done.err
    assert "floats are flipped" not in done.out


def test_a_gate_in_python_asks_nothing():
    """It takes what evaluate takes."""
    verdict = gate("digits", "digits", ["min-accuracy 1e-8:0.9"], threads=1, strategy="live", batch_size=120)
    assert verdict.verdict == "PASS"


def test_runs_on_floats_say_how_they_are_flipped_and_json_does_not(tmp_path):
    """inject, its forecast, inspect and plan; of integers nothing is said."""
    run = ("inject", "digits", *BASE, "--rate", 1e-6, "--repeats", 1, "--limit", 20)
    for command in (run, (*run, "--dry-run"), ("inspect", "digits"), ("plan", "digits")):
        out = cli(*command).out
        assert out.count("floats are flipped as Q15.16 fixed point (the paper's view)") == 1
        assert "floats are flipped" not in cli(*command, "--json").out
    assert "floats are flipped as the IEEE numbers" in cli("inspect", "digits", "--format", "ieee").out
    integers = model_of_integers()
    onnx.save(integers, tmp_path / "i.onnx")
    assert "floats are flipped" not in cli("inspect", tmp_path / "i.onnx").out


def model_of_integers():
    """Return a model that stores an int8 weight and nothing else that can flip."""
    weight = numpy_helper.from_array((100 * random_floats(4, 3)).astype("int8"), "w")
    scale = numpy_helper.from_array(random_floats(1)[0] ** 2, "s")
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["f"]),
        helper.make_node("MatMul", ["x", "f"], ["y"]),
    ]
    given = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ("n", 4))]
    made = [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ("n", 3))]
    graph = helper.make_graph(nodes, "integers", given, made, [weight, scale])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_the_note_names_the_format_and_the_other_one():
    """The paper's, another fixed point, and IEEE."""
    assert "(the paper's view)" in format_note(("q15.16",))
    assert "(the paper's view)" not in format_note(("q7.8", "int32"))
    assert "`format=ieee`" in format_note(("q7.8",))
    assert format_note(("ieee", "int8")) == "floats are flipped as the IEEE numbers that they are"
    assert format_note(("int8", "int32")) is None


def test_a_study_says_it_once(tmp_path, monkeypatch):
    """As a key of its file; tables and charts are not looked at here."""
    monkeypatch.setattr("ftonnx.cli.commands.study._saved", lambda result, folder: "saved")
    study = (
        '[study]\nname = "s"\nrepeats = 1\nlimit = 20\n[models]\nm = "digits"\n[data]\nd = "digits"\n'
        "[faults]\nr = {rate = [1e-5]}\nf = {rate = [1e-6]}\n"
    )
    (tmp_path / "s.toml").write_text(study)
    done = cli("study", tmp_path / "s.toml", "-o", tmp_path / "out")
    assert done.code == 0, done.err
    assert done.out.count("floats are flipped as Q15.16") == 1
    assert "format=ieee" in done.out
