"""What people do by mistake, one situation each: the command line, the exit code, and the line that it must print.

Where the mistake cannot be told from what is meant (a model that guesses), the command runs, and the line is a warning
or a verdict; everywhere else it is the one line on stderr, and nothing is left behind.
"""

import re
import shlex
import zipfile
from typing import NamedTuple

import numpy as np
import onnx
import pytest
from campaign_kit import cli, contents, one_error_line
from onnx import helper
from onnx_zoo import model_of, random_floats
from PIL import Image

from ftonnx.datasets import load_dataset

pytestmark = pytest.mark.usefixtures("temporary_folder")

QUICK = "--strategy live --threads 1 --repeats 1 --limit 24"
DIGITS = f"inject digits --data npz:d.npz {QUICK}"
GATE = "gate digits --data npz:d.npz --threads 1 --strategy live"
NO_CHECKPOINT = (
    "this is a torch checkpoint, not an ONNX file; write an ONNX model with ftonnx export NAME --weights FILE"
)


class Mistake(NamedTuple):
    """One situation.

    Attributes:
        command: the command line, in the folder that ``place`` makes.
        code: what it exits with.
        says: part of the line that it must print.
    """

    command: str
    code: int
    says: str


RAN = {
    "labels of another order": Mistake(
        "check digits --data npz:shifted.npz --threads 1 --strategy live -q",
        0,
        "labels in another order: 98.06 % would be right in place of 0.00 %; the model answers label 0 as 9, 1 as 0",
    ),
    "pixels that nobody scaled": Mistake(
        "check digits --data npz:raw.npz --threads 1 --strategy live -q",
        0,
        "pixels from 0 to 1: 98.06 % would be right in place of 28.33 %; see --scale 1/16",
    ),
    "pixels scaled twice": Mistake(
        "check digits --data npz:d.npz --scale 1/4080 --threads 1 --strategy live -q",
        0,
        "pixels run from 0 to 0.003922 as they are fed",
    ),
    "a campaign on wrong pixels": Mistake(
        f"inject digits --data npz:raw.npz {QUICK} --rate 1e-6",
        0,
        "warning: the fault-free accuracy, 20.83 %, is near chance",
    ),
    "a gate on wrong labels": Mistake(
        "gate digits --data npz:shifted.npz --threads 1 --strategy live --max-drop 1e-8:0.1 --format ieee",
        3,
        "warning: the fault-free accuracy, 0.00 %, is near chance",
    ),
    "floats taken for fixed point": Mistake(
        f"{DIGITS} --rate 1e-6",
        0,
        "(the paper's view); a device that holds IEEE floats meets other harm: --format ieee",
    ),
    "several rates in one": Mistake(f"{DIGITS} --rate 1e-6,1e-5", 0, "1e-05"),
    "files that are no images": Mistake(
        "check two.onnx --data folder:imgs --channels gray --threads 1 --strategy live -q",
        0,
        "files or folders that are not used (1): notes.txt",
    ),
}
"""Situations in which the command runs: what it says stands on stdout or stderr."""

REFUSED = {
    "model and data swapped": Mistake(
        "inject d.npz --data npz:five.onnx",
        4,
        "d.npz: this is a NumPy archive (npz), not an ONNX file; give the model here",
    ),
    "a model as data": Mistake(
        "inject digits --data npz:five.onnx", 4, "five.onnx: expected a .npz archive, got another"
    ),
    "a checkpoint as architecture": Mistake(
        "export net.pth -o x.onnx", 4, "got a file; name that one, and give the file as --weights net.pth"
    ),
    **{
        f"a checkpoint for {command.split()[0]}": Mistake(command, 4, f"net.pth: {NO_CHECKPOINT}")
        for command in (
            "inspect net.pth",
            "inject net.pth --data npz:d.npz",
            "check net.pth --data npz:d.npz",
            "gate net.pth --data npz:d.npz --min-accuracy 1e-6:0.9",
            "protect net.pth --method actmax --data npz:d.npz -o o.onnx",
            "quantize net.pth --data npz:d.npz -o o.onnx",
            "activations net.pth --data npz:d.npz",
            "bench net.pth",
            "plan net.pth",
            "rate net.pth --fit-per-mbit 1 --exposure 1d",
        )
    },
    "weights without a network": Mistake(
        "inspect net.safetensors", 4, "a safetensors file, which holds weights and no"
    ),
    "a Keras file": Mistake("inspect net.h5", 4, "python -m tf2onnx.convert --keras FILE --output model.onnx"),
    "a TensorFlow Lite file": Mistake("inspect net.tflite", 4, "python -m tf2onnx.convert --tflite FILE --output"),
    "a SavedModel": Mistake("inspect saved", 4, "the folder of a TensorFlow SavedModel, not an ONNX file; convert it"),
    "a folder": Mistake("inspect folder.onnx", 4, "this is a folder, not an ONNX file; give the .onnx file itself"),
    "an empty file": Mistake(
        "inspect empty.onnx", 4, "empty.onnx: this is an empty file, not an ONNX file; export, copy"
    ),
    "a web page": Mistake("inspect page.onnx", 4, "a web page: the download gave an error or asked for a login"),
    "a model that is not there": Mistake(
        "inspect digit", 4, "no such file, and no model of that name; known: digits; did"
    ),
    "no batch axis": Mistake(
        f"inject flat.onnx --data npz:d.npz {QUICK}",
        4,
        "float32; export it with an axis for the batch and 3 for a sample of 'x'",
    ),
    "data without a kind": Mistake("inject digits --data d.npz", 2, "got 'd.npz'; did you mean npz:d.npz?"),
    "a folder without a kind": Mistake("inject digits --data imgs", 2, "did you mean folder:imgs or npz:imgs?"),
    "data that are not there": Mistake("inject digits --data folder:nowhere", 4, "nowhere: expected a folder with a"),
    "a split mistyped": Mistake(
        "inject digits --data npz:splits --split tset",
        2,
        "expected a file tset.npz, got test, train; did you mean test?",
    ),
    "a split of one file": Mistake(
        "inject digits --data npz:d.npz --split test", 2, "a single .npz has no split 'test'"
    ),
    "arrays of other names": Mistake(
        "inject digits --data npz:named.npz",
        4,
        "expected arrays 'images' and 'labels', got x, y; save them by these names",
    ),
    "no labels": Mistake("inject digits --data npz:one.npz", 4, "expected arrays 'images' and 'labels', got images;"),
    "labels from -1": Mistake("inject digits --data npz:negative.npz", 4, "got -1; number the classes from 0"),
    "labels beyond the outputs": Mistake(
        "check five.onnx --data npz:d.npz --threads 1 --strategy live -q",
        4,
        "the labels name 10 classes, but the model scores only 5",
    ),
    "labels that are no class numbers": Mistake(
        f"inject digits --data npz:halves.npz {QUICK}",
        2,
        "task regression needs a tolerance, the largest error that is no",
    ),
    "NaN in the images": Mistake(
        "inject digits --data npz:nan.npz", 4, "expected finite pixels, got NaN or Inf in image 3"
    ),
    "images of another size": Mistake(
        f"inject digits --data npz:wide.npz {QUICK}",
        4,
        "the data gives (6, 1, 9, 9) float32; --resize and --crop make images of another size",
    ),
    "a mean for three channels": Mistake(f"{DIGITS} --mean 0.5,0.5,0.5", 4, "expected one value, or one for each of 1"),
    "a scale of nothing": Mistake(
        f"{DIGITS} --scale 0", 2, "scale: expected a positive (normal float32) number, got 0.0"
    ),
    "class names that are not there": Mistake(f"{DIGITS} --class-names no.txt", 4, "got No such file or directory"),
    "no images": Mistake("inject digits --data npz:d.npz --limit 0", 2, "limit: expected at least 1 image, got 0"),
    "a rate in per cent": Mistake(f"{DIGITS} --rate 10", 2, "a probability per bit, so 0 to 1 was expected; got 10.0"),
    "a negative rate": Mistake(f"{DIGITS} --rate -1e-6", 2, "so 0 to 1 was expected; got -1e-06"),
    "a rate that is none": Mistake(f"{DIGITS} --rate nan", 2, "so 0 to 1 was expected; got nan"),
    "a word as rate": Mistake(f"{DIGITS} --rate 1e-6,low", 2, "--rate: a number was expected, got 'low'"),
    "several rates where one is taken": Mistake("bench digits --rate 1e-6,1e-5", 2, "got '1e-6,1e-5'"),
    "half a fault": Mistake(
        f"{DIGITS} --faults-per-run 1.5", 2, "--faults-per-run: a whole number was expected, got '1.5'"
    ),
    "two kinds of faults": Mistake(
        f"{DIGITS} --exhaustive --rate 1e-6", 2, "says what flips; got --rate and --exhaustive"
    ),
    "a goal in per cent": Mistake(
        f"{GATE} --format ieee --min-accuracy 1e-6:90",
        2,
        "strictly between 0 and 1 was expected, got 90.0; 90 % is 0.9",
    ),
    "a goal without a rate": Mistake(
        f"{GATE} --format ieee --min-accuracy 0.9", 2, "a rate was expected, as in 1e-6:0.9, or an environment"
    ),
    "a goal the wrong way round": Mistake(
        f"{GATE} --format ieee --min-accuracy 90:1e-6", 2, "a fault rate above 0 and up to 1 was expected, got 90.0"
    ),
    "a goal of NaN": Mistake(f"{GATE} --format ieee --min-accuracy 1e-6:nan", 2, "was expected, got nan"),
    "a gate without a goal": Mistake(
        f"{GATE} --format ieee", 2, "a gate needs a goal: min-accuracy, max-drop or max-sdc"
    ),
    "a gate that knows no format": Mistake(
        f"{GATE} --min-accuracy 1e-6:0.9",
        2,
        "--format is missing: digits stores floats, and the verdict depends on how the",
    ),
    "a format that there is not": Mistake(f"{DIGITS} --format fp16", 2, "use auto, ieee, or qM.N such as q15.16"),
    "a confidence in per cent": Mistake(
        f"{GATE} --format ieee --min-accuracy 1e-6:0.9 --confidence 95", 2, "such as 0.95; got 95.0"
    ),
    "a precision in per cent": Mistake(f"{DIGITS} --precision 5", 2, "between 0 and 0.5 was expected, got 5.0"),
    "a budget without a unit": Mistake(
        f"{DIGITS} --budget 10", 2, "10min, 500units, or 10min,500units was expected, got"
    ),
    "a seed below 0": Mistake(f"{DIGITS} --seed -1", 2, "--seed: a whole number from 0 to 18,446,744,073,709,551,615"),
    "no repeats": Mistake(
        "inject digits --repeats 0", 2, "--repeats: a whole number from 1 to 10,000,000 was expected, got"
    ),
    "no processes": Mistake(f"{DIGITS} --jobs 0", 2, "--jobs: auto, or a number of processes from 1 to 1024"),
    "bits that there are not": Mistake(
        f"{DIGITS} --bits 40", 2, "bit 40 does not exist: the widest element has bits 0 to 31"
    ),
    "no tensor of that name": Mistake(f"{DIGITS} --include conv9*", 4, "no tensor of digits is left"),
    "a task mistyped": Mistake(f"{DIGITS} --task clasification", 2, "did you mean classification?"),
    "an option mistyped": Mistake("inject digits --rat 1e-6", 2, "No such option: --rat"),
    "a command mistyped": Mistake("injct digits", 2, "No such command 'injct'. Did you mean 'inject'"),
    "a key mistyped": Mistake(
        "inject --config run.toml", 2, "run.toml: ratee is no option of this command; did you mean rate?"
    ),
    "data behind the model": Mistake(
        "inject digits npz:d.npz", 2, "extra argument(s) (npz:d.npz); images are given as --data SPEC"
    ),
    "no environment": Mistake(
        "rate digits", 2, "exactly one of --fit-per-mbit, --upsets-per-bit-day, --cross-section was"
    ),
    "a provider that is not there": Mistake(
        f"{DIGITS} --providers gpu", 2, "provider 'gpu' is not installed; installed:"
    ),
    "a folder that is not there": Mistake(f"{DIGITS} --report no/r.html", 2, "there is no folder no; create it first"),
    "the model as output": Mistake(
        "protect five.onnx --method relu6 -o five.onnx", 2, "five.onnx is the model itself, which is never written to"
    ),
    "one campaign to compare": Mistake("compare imgs", 2, "two or more results folders were expected, got 1"),
    "a folder without results": Mistake(
        "report imgs -o o.html", 4, "imgs holds no campaign (no campaign.json); name a"
    ),
}
"""Situations that are refused."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what people have, and what they take for it."""
    folder = tmp_path_factory.mktemp("misuse")
    images, labels = next(load_dataset("digits").batches(360))
    pixels = 16 * images

    def archive(name, stored=pixels, own=labels, scale=1 / 16):
        np.savez(folder / f"{name}.npz", images=stored, labels=own)
        (folder / f"{name}.toml").write_text(f"scale = {scale}\n")

    archive("d")
    archive("raw", scale=1)
    archive("shifted", own=(labels + 1) % 10)
    archive("negative", own=labels - 1)
    archive("halves", own=labels + 0.5)
    archive("wide", np.zeros((6, 1, 9, 9), np.float32), labels[:6])
    spoiled = pixels.copy()
    spoiled[3, 0, 2, 2] = np.nan
    archive("nan", spoiled)
    np.savez(folder / "named.npz", x=pixels, y=labels)
    np.savez(folder / "one.npz", images=pixels)
    (folder / "splits").mkdir()
    for split in ("test", "train"):
        np.savez(folder / "splits" / f"{split}.npz", images=pixels[:24], labels=labels[:24])
    for name in "ab":
        (folder / "imgs" / name).mkdir(parents=True)
        for shade in range(3):
            Image.fromarray(np.full((8, 8), 40 * shade, np.uint8)).save(folder / "imgs" / name / f"{shade}.png")
    (folder / "imgs" / "notes.txt").write_text("taken in May")
    (folder / "run.toml").write_text("ratee = 1e-6\n")
    models(folder)
    others(folder)
    done = cli("inject", "digits", "--data", f"npz:{folder / 'd.npz'}", *shlex.split(QUICK), "--results", folder / "r")
    assert done.code == 0, done.err
    return folder


def models(folder):
    """Save a model of five classes, one of two, and one without an axis for the batch."""
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
    for name, classes in (("five", 5), ("two", 2)):
        model = model_of(nodes, [("w", random_floats(64, classes))], inputs={"x": ("batch", 1, 8, 8)})
        onnx.save(model, folder / f"{name}.onnx")
    flat = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    onnx.save(model_of(flat, [("w", random_floats(64, 10))], inputs={"x": (64,)}), folder / "flat.onnx")


def others(folder):
    """Write what is given in place of a model."""
    with zipfile.ZipFile(folder / "net.pth", "w") as checkpoint:
        checkpoint.writestr("net/data.pkl", b"\x80\x02}q\x00.")
        checkpoint.writestr("net/version", "3")
    (folder / "net.safetensors").write_bytes((8).to_bytes(8, "little") + b'{"a":{}}')
    (folder / "net.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    (folder / "net.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(100))
    (folder / "page.onnx").write_text("<!DOCTYPE html><html>")
    (folder / "empty.onnx").touch()
    (folder / "folder.onnx").mkdir()
    (folder / "saved").mkdir()
    (folder / "saved" / "saved_model.pb").write_bytes(b"x")


def test_there_are_more_than_forty():
    """As many as people asked for, each once."""
    commands = [mistake.command for mistake in (*RAN.values(), *REFUSED.values())]
    assert len(set(commands)) == len(commands) > 40


@pytest.mark.parametrize("mistake", RAN.values(), ids=RAN)
def test_what_may_be_meant_runs_and_says_so(mistake, place, monkeypatch):
    """On stdout or stderr, as a line of its own."""
    monkeypatch.chdir(place)
    done = cli(*shlex.split(mistake.command))
    assert done.code == mistake.code, done.err
    assert any(mistake.says in line for line in (*done.out.splitlines(), *done.err.splitlines()))


@pytest.mark.parametrize("mistake", REFUSED.values(), ids=REFUSED)
def test_a_mistake_is_one_line_in_the_words_of_the_command_line(mistake, place, monkeypatch):
    """With the exit code of its kind, without a word of Python, and with nothing left behind."""
    monkeypatch.chdir(place)
    before = contents(place)
    done = cli(*shlex.split(mistake.command))
    assert done.code == mistake.code, done.err
    line = one_error_line(done)
    assert mistake.says in line
    assert "`" not in line
    assert not re.search(r"\b[A-Z]\w+(Error|Exception)\b|\bNone\b|Traceback", line)
    assert contents(place) == before


def test_results_of_another_model_are_refused(place, monkeypatch):
    """What is recorded stays as it is."""
    monkeypatch.chdir(place)
    before = contents(place)
    done = cli("inject", "five.onnx", "--data", "npz:d.npz", "--limit", 24, "--rate", 1e-6, "--results", "r")
    assert done.code == 4
    assert "model" in one_error_line(done)
    assert contents(place) == before
