"""Broken, hostile and unsuitable input: one line, the right exit code, no traceback, nothing left behind."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from campaign_kit import cli, contents, one_error_line
from onnx import TensorProto, helper
from onnx_zoo import model_of, random_floats, stored

SCORES = "y"


@pytest.fixture
def place(temporary_folder, tmp_path, monkeypatch):
    """A working folder with a small sound model and data, and a temporary folder of its own."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    onnx.save(linear(), "m.onnx")
    data()
    return tmp_path / "work"


def linear(extra=(), initializers=(), outputs=(SCORES,), **options):
    """Flatten and MatMul with 5 classes, then whatever is given."""
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], [SCORES], name="fc")]
    return model_of([*nodes, *extra], [("w", random_floats(192, 5)), *initializers], outputs=outputs, **options)


def data(name="d.npz", *, images=None, labels=(0, 1, 2, 3, 4, 0), **more):
    """Write six images with labels."""
    images = np.random.default_rng(0).standard_normal((6, 3, 8, 8)).astype(np.float32) if images is None else images
    np.savez(name, images=images, labels=np.array(labels), **more)


def external(**entries):
    """Save the model with its weights declared in another file, with these external_data entries."""
    proto = linear()
    weights = proto.graph.initializer[0]
    with open("w.bin", "wb") as file:
        file.write(weights.raw_data)
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    for key, value in ({"location": "w.bin"} | entries).items():
        weights.external_data.add(key=key, value=str(value))
    onnx.save(proto, "m.onnx")


def changed(change):
    """Save the model after ``change(proto)``."""
    proto = linear()
    change(proto)
    with open("m.onnx", "wb") as file:
        file.write(proto.SerializeToString())


def outside():
    """Put the weights where the model may not read them."""
    with open("../w.bin", "wb") as file:
        file.write(linear().graph.initializer[0].raw_data)


def symlinked_folder():
    """Put the weights behind a link to the parent folder."""
    external(location="sub/w.bin")
    outside()
    os.symlink("..", "sub")


def linked(link):
    """Make the file of weights a link to one outside."""
    external()
    outside()
    os.unlink("w.bin")
    link("../w.bin", "w.bin")


def raw(content):
    """Write these bytes instead of the model."""
    with open("m.onnx", "wb") as file:
        file.write(content)


def set_weights(change):
    """Save the model after ``change(weights)``."""

    def both(proto):
        change(proto.graph.initializer[0])

    changed(both)


def spoiled(value):
    """Save the model with one odd weight."""
    values = random_floats(192, 5)
    values[7, 3] = value
    set_weights(lambda tensor: tensor.CopyFrom(stored("w", values)))


def gigantic():
    """Fill 256 GiB with a constant."""
    shape = stored("shape", np.array([1, 2**36], np.int64))
    extra = [helper.make_node("ConstantOfShape", ["shape"], ["big"]), helper.make_node("ReduceMax", ["big"], ["m"])]
    onnx.save(linear(extra, [shape], outputs=("y", "m")), "m.onnx")


def same_name_twice(proto):
    """Add a second initializer of the same name."""
    proto.graph.initializer.append(stored("w", random_floats(192, 5, seed=9)))


MODELS = {
    "missing file": lambda: os.unlink("m.onnx"),
    "folder": lambda: (os.unlink("m.onnx"), os.mkdir("m.onnx")),
    "empty file": lambda: raw(b""),
    "random bytes": lambda: raw(np.random.default_rng(1).bytes(5000)),
    "cut short": lambda: raw(linear().SerializeToString()[:-2000]),
    "text": lambda: raw(b"#!/bin/sh\necho hello\n"),
    "data in the parent folder": lambda: (outside(), external(location="../w.bin")),
    "data through a detour": lambda: (outside(), external(location="junk/../../w.bin")),
    "data at an absolute path": lambda: external(location=os.path.abspath("w.bin")),
    "data is a device": lambda: external(location="/dev/zero"),
    "data in a linked folder": symlinked_folder,
    "data is a symbolic link": lambda: linked(os.symlink),
    "data is a hard link": lambda: linked(os.link),
    "data missing": lambda: (external(), os.unlink("w.bin")),
    "data length 2^50": lambda: external(length=2**50),
    "data length negative": lambda: external(length=-4),
    "data offset past the end": lambda: external(offset=10**6),
    "data offset no number": lambda: external(offset="x"),
    "unknown key of external data": lambda: external(compression="zip"),
    "weight is NaN": lambda: spoiled(np.nan),
    "weight is infinite": lambda: spoiled(-np.inf),
    "too few bytes": lambda: set_weights(lambda tensor: setattr(tensor, "raw_data", tensor.raw_data[:-4])),
    "too many bytes": lambda: set_weights(lambda tensor: setattr(tensor, "raw_data", tensor.raw_data + b"1234")),
    "huge sizes": lambda: set_weights(lambda tensor: tensor.dims.__setitem__(0, 2**62)),
    "overflowing sizes": lambda: set_weights(lambda tensor: tensor.dims.extend([2**62, 2**62])),
    "negative size": lambda: set_weights(lambda tensor: tensor.dims.__setitem__(0, -192)),
    "unknown element type": lambda: set_weights(lambda tensor: setattr(tensor, "data_type", 99)),
    "no operator set": lambda: changed(lambda proto: proto.ClearField("opset_import")),
    "operator set 999": lambda: changed(lambda proto: setattr(proto.opset_import[0], "version", 999)),
    "IR version 99": lambda: changed(lambda proto: setattr(proto, "ir_version", 99)),
    "unknown operator": lambda: changed(lambda proto: setattr(proto.graph.node[0], "op_type", "Flattened")),
    "unknown domain": lambda: changed(lambda proto: setattr(proto.graph.node[0], "domain", "com.example")),
    "custom operator": lambda: onnx.save(
        linear([helper.make_node("Odd", ["y"], ["z"], domain="com.example")], domains=("com.example",)), "m.onnx"
    ),
    "one name twice": lambda: changed(same_name_twice),
    "256 GiB constant": gigantic,
    "no graph": lambda: raw(helper.make_model(helper.make_graph([], "g", [], [])).SerializeToString()),
    "no targets": lambda: onnx.save(
        model_of([helper.make_node("GlobalAveragePool", ["x"], ["p"]), helper.make_node("Flatten", ["p"], ["y"])]),
        "m.onnx",
    ),
    "two inputs": lambda: onnx.save(
        linear(
            [helper.make_node("Add", ["y", "z"], ["s"])],
            inputs={"x": ("n", 3, 8, 8), "z": ("n", 5)}, outputs=("s",),
        ),
        "m.onnx",
    ),
    "output of another rank": lambda: onnx.save(
        linear(
            [
                helper.make_node("Unsqueeze", ["y", "axis"], ["u"]),
                helper.make_node("Concat", ["u", "u"], ["z"], axis=2),
            ],
            [("axis", np.array([2]))],
            outputs=("z",),
        ),
        "m.onnx",
    ),
    "output is a class number": lambda: onnx.save(
        linear([helper.make_node("ArgMax", ["y"], ["z"], axis=1, keepdims=0)], outputs=("z",)), "m.onnx"
    ),
    "output is one sum": lambda: onnx.save(
        linear([helper.make_node("ReduceSum", ["y"], ["z"], keepdims=1)], outputs=("z",)), "m.onnx"
    ),
    "images of another shape": lambda: onnx.save(
        model_of(
            [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])],
            [("w", random_floats(12, 5))], inputs={"x": ("n", 3, 2, 2)},
        ),
        "m.onnx",
    ),
    "free sizes that do not fit": lambda: onnx.save(
        model_of(
            [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])],
            [("w", random_floats(12, 5))], inputs={"x": ("n", "c", "h", "w")},
        ),
        "m.onnx",
    ),
    "integer input": lambda: changed(
        lambda proto: setattr(proto.graph.input[0].type.tensor_type, "elem_type", TensorProto.INT64)
    ),
}  # fmt: skip

LOADER = "def load():\n    {}\n"


def loader(code):
    """Write a loader of the user's own."""
    with open("own.py", "w") as file:
        file.write("import numpy as np\n" + LOADER.format(code))


def spoiled_images(value):
    """Write data with one odd pixel."""
    images = np.zeros((6, 3, 8, 8), np.float32)
    images[4, 2, 1, 0] = value
    data(images=images)


DATA = {
    "missing file": ("npz:none.npz", lambda: None),
    "not an archive": ("npz:m.onnx", lambda: None),
    "cut archive": ("npz:d.npz", lambda: os.truncate("d.npz", 900)),
    "pickled images": ("npz:d.npz", lambda: np.savez("d.npz", images=np.array([{}, []], object), labels=[0, 1])),
    "no labels": ("npz:d.npz", lambda: np.savez("d.npz", images=np.zeros((6, 3, 8, 8), np.float32))),
    "fewer labels": ("npz:d.npz", lambda: data(labels=(0, 1))),
    "NaN image": ("npz:d.npz", lambda: spoiled_images(np.nan)),
    "infinite image": ("npz:d.npz", lambda: spoiled_images(np.inf)),
    "label outside the classes": ("npz:d.npz", lambda: data(labels=(0, 1, 2, 3, 4, 5))),
    "negative label": ("npz:d.npz", lambda: data(labels=(0, 1, 2, 3, 4, -1))),
    "more classes than the model": ("npz:d.npz", lambda: data(classes=np.array(6))),
    "other channels": ("npz:d.npz", lambda: data(images=np.zeros((6, 1, 8, 8), np.float32))),
    "flat images": ("npz:d.npz", lambda: data(images=np.zeros((6, 192), np.float32))),
    "no images": ("npz:d.npz", lambda: data(images=np.zeros((0, 3, 8, 8), np.float32), labels=np.zeros(0, int))),
    "missing folder": ("folder:none", lambda: None),
    "empty folder": ("folder:e", lambda: os.mkdir("e")),
    "broken image file": ("folder:e", lambda: (os.makedirs("e/a"), open("e/a/1.png", "w").close())),
    "missing loader": ("none.py:load", lambda: None),
    "loader that fails": ("own.py:load", lambda: loader("raise ValueError('first\\nsecond')")),
    "loader that exits": ("own.py:load", lambda: loader("raise SystemExit(7)")),
    "loader that exits with a text": ("own.py:load", lambda: loader("raise SystemExit('no data today')")),
    "loader that raises no Exception": ("own.py:load", lambda: loader("raise type('Odd', (BaseException,), {})")),
    "loader with a syntax error": ("own.py:load", lambda: loader("return (")),
    "loader without batches": ("own.py:load", lambda: loader("return []")),
    "loader of NaN": ("own.py:load", lambda: loader("return [(np.full((2, 3, 8, 8), np.nan), np.arange(2))]")),
    "loader that shuffles": (
        "own.py:load",
        lambda: loader("yield np.random.default_rng().standard_normal((2, 3, 8, 8)), np.arange(2)"),
    ),
}


def refused(place, capfd, *arguments, code=4):
    """Run ``ftonnx inject`` and check everything that is promised about a refusal; return the line."""
    before = contents(place)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in before.items()}
    finished = cli("inject", *arguments, "--rate", "1e-3", "--repeats", "2", "--results", "r")
    assert finished.code == code, finished
    line = one_error_line(finished)
    assert capfd.readouterr() == ("", ""), "ONNX Runtime printed something of its own"
    after = contents(place)
    assert {name: hashlib.sha256(content).hexdigest() for name, content in after.items()} == hashes
    assert not (place / "r").exists()
    assert os.listdir(place.parent / "tmp") == []
    return line


@pytest.mark.parametrize("case", MODELS)
def test_an_unusable_model_is_refused(place, capfd, case):
    """Every row of the table of hostile models, and models that are no classifiers of these images."""
    MODELS[case]()
    line = refused(place, capfd, "m.onnx", "--data", "npz:d.npz")
    assert len(line) < 700
    assert cli("inspect", "m.onnx").code in (0, 4)


@pytest.mark.parametrize("case", DATA)
def test_unusable_data_is_refused(place, capfd, case):
    """Broken archives, wrong labels, other shapes, and user code that misbehaves."""
    spec, spoil = DATA[case]
    spoil()
    refused(place, capfd, "m.onnx", "--data", spec)


def test_the_sound_model_and_data_of_these_tests_are_accepted(place):
    """Otherwise the refusals above would prove nothing."""
    assert (
        cli("inject", "m.onnx", "--data", "npz:d.npz", "--rate", "1e-3", "--repeats", "2", "--results", "r").code == 0
    )
    assert sorted(contents(place / "r")) == [".lock", "campaign.json", "units.sqlite"]
    assert os.listdir(place.parent / "tmp") == []


def test_sound_external_data_is_accepted(place):
    """A plain file beside the model."""
    external(offset=0, length=192 * 5 * 4)
    assert cli("inject", "m.onnx", "--data", "npz:d.npz", "--rate", "1e-3", "--repeats", "2").code == 0


def test_an_initializer_that_is_also_an_input_is_accepted(place):
    """Old files list their weights as inputs; that is no second input."""
    changed(lambda proto: proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, (192, 5))))
    assert cli("inject", "m.onnx", "--data", "npz:d.npz", "--rate", "1e-3", "--repeats", "2").code == 0


@pytest.mark.parametrize("kind", [TensorProto.STRING, TensorProto.BFLOAT16], ids=["strings", "bfloat16"])
def test_outputs_that_numpy_cannot_hold_as_numbers_are_refused(place, capfd, kind):
    """Class names instead of scores, or a type that ONNX Runtime cannot hand over."""
    proto = linear([helper.make_node("Cast", ["y"], ["z"], to=kind)], outputs=("z",))
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("z", kind, ("n", 5)))
    onnx.save(proto, "m.onnx")
    refused(place, capfd, "m.onnx", "--data", "npz:d.npz")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--rate", "2"), "2.0"),
        (("--rate", "-0.1"), "-0.1"),
        (("--rate", "nan"), "nan"),
        (("--rate", "much"), "--rate"),
        (("--repeats", "0"), "repeats"),
        (("--batch-size", "0"), "--batch-size: a whole number from 1 to 1,000,000"),
        (("--batch-size", "-1"), "--batch-size: a whole number from 1 to 1,000,000"),
        (("--limit", "0"), "limit"),
        (("--seed", "-1"), "seed"),
        (("--threads", "0"), "threads"),
        (("--format", "q40.40"), "q40.40"),
        (("--format", "bits"), "bits"),
        (("--roles", "weight,wait"), "wait"),
        (("--roles", ""), "none"),
        (("--strategy", "quick"), "quick"),
        (("--providers", "tpu"), "tpu"),
        (("--providers", ""), "provider"),
        (("--split", "dev"), "split"),
        (("--split", "../x"), "split"),
        (("--scale", "big"), "--scale"),
        (("--std", "0"), "std"),
        (("--std", "1,2,3,4,5,6,x"), "--std"),
        (("--crop", "0"), "crop"),
        (("--channels", "cmyk"), "channels"),
        (("--data", "nonsense"), "nonsense"),
        (("--results", "m.onnx"), "--results"),
        (("--nonsense",), "--nonsense"),
        (("extra",), "extra"),
    ],
    ids=" ".join,
)
def test_a_wrong_option_exits_with_2_and_is_named(place, capfd, options, named):
    """Usage errors name the option or the value."""
    settings = {"--data": "npz:d.npz"} | ({options[0]: options[1]} if len(options) > 1 else {})
    more = [word for pair in settings.items() for word in pair] + (list(options) if len(options) == 1 else [])
    before = contents(place)
    finished = cli("inject", "m.onnx", *(["--rate", "1e-3"] if options[0] != "--rate" else []), *more)
    assert finished.code == 2, finished
    assert named in one_error_line(finished)
    assert capfd.readouterr() == ("", "")
    assert contents(place) == before
    assert os.listdir(place.parent / "tmp") == []


def test_a_model_of_ones_own_needs_data(place, capfd):
    """Only the embedded model has data of its own."""
    assert "--data SPEC is missing" in refused(place, capfd, "m.onnx", code=2)


@pytest.mark.parametrize("command", [(), ("inspect",), ("faults",), ("faults", "r"), ("data",), ("injekt",)])
def test_missing_arguments_and_unknown_commands_exit_with_2(place, command):
    """At most one line of complaint, never a traceback."""
    finished = cli(*command)
    assert finished.code == 2
    assert len(finished.err.splitlines()) == bool(command)


@pytest.mark.parametrize("command", ["inspect m.onnx", "data npz:d.npz", "inject m.onnx --data npz:d.npz --rate 0"])
def test_output_to_a_full_disk_is_one_line(place, command):
    """As in ``ftonnx inspect MODEL > /full/disk``."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ftonnx", "-q", *command.split()], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 4
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


def test_ctrl_c_before_the_campaign_has_begun_is_one_line_too(place, capfd):
    """While the data is still being read there is nothing to keep; exit 130."""
    loader("raise KeyboardInterrupt")
    assert refused(place, capfd, "m.onnx", "--data", "own.py:load", code=130) == "error: interrupted"


def test_a_stranger_cannot_write_to_the_terminal_through_names(place):
    """Escape sequences in a file's names are shown as text or left out, never passed on."""
    proto = linear()
    proto.graph.initializer[0].name = proto.graph.node[1].input[1] = "w\x1b[31mred\x1b]0;title\x07"
    onnx.save(proto, "m.onnx")
    finished = cli("inspect", "m.onnx")
    assert "\x1b" not in finished.out
    missing = cli("inspect", "none\x1b[31m.onnx")
    assert missing.code == 4
    assert "\x1b" not in missing.err
