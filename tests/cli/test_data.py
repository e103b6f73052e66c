"""``ftonnx data``, and class names on the command line."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from campaign_kit import cli, cli_json
from images_kit import random_images, save_by_class, save_image
from onnx_zoo import model_of
from published_kit import write_lists, write_scenes

from ftonnx import load_dataset
from ftonnx.campaign import evaluate
from ftonnx.datasets import Preprocess
from ftonnx.report import repeat_command

pytestmark = pytest.mark.usefixtures("temporary_folder")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Let every test work in its own folder, below a short path."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(text):
    """Return the table's rows, split at spaces."""
    lines = text.splitlines()
    (head,) = [number for number, line in enumerate(lines) if line.startswith("class ") and line.endswith("images")]
    return [line.split() for line in lines[head + 1 :]]


def test_classes_are_shown_with_their_names_and_the_rule(here):
    """Folders 2 and 10 of a few, and a file that is no image."""
    for number in (0, 1, 2, 10):
        save_image(here / "d" / str(number) / "a.png", number)
    save_image(here / "d" / "10" / "b.png", 4)
    (here / "d" / "10" / "notes [1].txt").touch()
    shown = cli("data", "folder:d")
    assert rows(shown.out)[2:4] == [["2", "2", "1"], ["3", "-", "0"]]
    assert rows(shown.out)[10] == ["10", "10", "2"]
    assert "class numbers: the number that the folder is (not as text, where 10 comes before 2)\n" in shown.out
    assert "not used (1): 10/notes [1].txt\n" in shown.out
    assert "folders are numbered from 0 to 10 with gaps" in shown.err
    found = cli_json("data", "folder:d")
    assert found["class_names"] == ["0", "1", "2", *[None] * 7, "10"]
    assert found["class_rule"] == "the number that the folder is (not as text, where 10 comes before 2)"
    assert found["unused_files"] == ["10/notes [1].txt"]
    assert len(found["warnings"]) == 1
    assert "unreadable" not in found


def test_data_without_names_shows_numbers_only():
    """Nobody names the digits."""
    shown = cli("data", "digits")
    assert rows(shown.out)[0][0] == "0"
    assert "class numbers" not in shown.out
    found = cli_json("data", "digits")
    assert (found["class_names"], found["class_rule"], found["unused_files"]) == (None, None, [])


def test_fifty_classes_are_shown_and_all_are_in_json(here):
    """A thousand would fill the screen."""
    for number in range(53):
        save_image(here / "d" / f"c{number:02}" / "a.png", number)
    shown = cli("data", "folder:d")
    lines = rows(shown.out)
    assert (len(lines), lines[49]) == (51, ["49", "c49", "1"])
    assert lines[50] == ["...", "and", "3", "more", "classes;", "--json", "lists", "all"]
    assert len(cli_json("data", "folder:d")["class_names"]) == 53


def test_every_image_is_read_where_that_is_asked_for(here):
    """Those that fail are listed, and the exit code is that of broken data."""
    for number in range(4):
        save_image(here / "d" / "ab"[number % 2] / f"{number}.png", number)
    assert cli("data", "folder:d", "--read").code == 0
    assert cli_json("data", "folder:d", "--read")["unreadable"] == []
    for name in ("b/1.png", "a/2.png"):
        (here / "d" / name).write_bytes(b"no image")
    assert cli("data", "folder:d").code == 0
    done = cli("data", "folder:d", "--read")
    assert done.code == 4
    assert "cannot be read: d/b/1.png: expected an image, got UnidentifiedImageError" in done.out
    assert "cannot be read: d/a/2.png: expected an image" in done.out
    assert done.err == "error: d: expected 4 images that can be read, got 2 that cannot; repair or remove them\n"
    done = cli("data", "folder:d", "--read", "--json")
    assert done.code == 4
    assert len(json.loads(done.out)["unreadable"]) == 2


def linear_model(classes=5):
    """Return a network of 8 x 8 images with some classes, all of which it gives to random images."""
    weights = np.random.default_rng(2).normal(size=(192, classes)).astype(np.float32)
    weights -= weights.mean(axis=0)  # else the brightness would decide
    nodes = [
        onnx.helper.make_node("Flatten", ["x"], ["flat"]),
        onnx.helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    return model_of(nodes, [("w", weights)])


@pytest.fixture
def labelled(here):
    """Images in folders ``ant``, ``bee``, ... that a network gets right if ``ant`` is its class 4, and so on."""
    proto = linear_model()
    images = random_images((60, 3, 8, 8), seed=3)
    fed = images.astype(np.float32) * np.float32(1 / 255)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    own = session.run(None, {"x": fed})[0].argmax(1)
    names = ["eel", "dog", "cat", "bee", "ant"]
    save_by_class(here / "d", images, own, names)
    onnx.save(proto, "m.onnx")
    onnx.helper.set_model_props(proto, {"names": str(dict(enumerate(names)))})
    onnx.save(proto, "named.onnx")
    (here / "names.txt").write_text("\n".join(names))


def test_a_model_that_names_its_classes_is_right_everywhere(labelled):
    """Without the names, the same images are near chance."""
    run = ("--data", "folder:d", "--rate", 0, "--repeats", 2, "--threads", 1)
    assert cli_json("inject", "named.onnx", *run)["golden"]["top1"] == 1
    assert cli_json("inject", "m.onnx", *run)["golden"]["top1"] < 0.5
    assert cli_json("inject", "m.onnx", *run, "--class-names", "names.txt")["golden"]["top1"] == 1
    opened = load_dataset("folder:d")
    assert evaluate("named.onnx", opened, rates=[0], repeats=2, threads=1).clean == 1
    assert (
        "class numbers: folders by the model's metadata (names)" in cli("data", "folder:d", "--model", "named.onnx").out
    )


def test_a_campaign_is_repeated_with_its_class_names(labelled, here):
    """The command names the file as it is found from anywhere."""
    data = load_dataset("folder:d", class_names="names.txt")
    command = repeat_command(evaluate("m.onnx", data, rates=[0], repeats=2, threads=1))
    assert f"--class-names {here}/names.txt" in command


def test_a_list_without_splits_is_taken_whole_for_tuning(labelled, here):
    """No split is asked of it; of one that has splits, that for tuning is taken."""
    files = sorted((here / "d").glob("*/*.png"))
    lines = [
        f"{file.relative_to(here)},{file.parent.name},{('train', 'val')[number % 2]}"
        for number, file in enumerate(files)
    ]
    (here / "splits.csv").write_text("\n".join(["file,label,split", *lines]))
    (here / "plain.csv").write_text("\n".join(line.rpartition(",")[0] for line in lines))
    command = ("quantize", "m.onnx", "-o", "q.onnx", "--force")
    whole = cli_json(*command, "--data", "csv:plain.csv")
    assert (whole["data"]["split"], whole["data"]["samples"]) == (None, 60)
    part = cli_json(*command, "--data", "csv:splits.csv")
    assert (part["data"]["split"], part["data"]["samples"]) == ("train", 30)


def test_lists_of_splits_that_lie_elsewhere(here):
    """The training split is calibrated on; the command to repeat a campaign names the lists."""
    written = write_scenes(here / "scenes", "eurosat")
    write_lists(here / "lists", "eurosat", written, train=range(8), test=[8, 9, 10, 11])
    onnx.save(linear_model(classes=10), "m.onnx")
    data = ("--data", "eurosat:scenes", "--splits", "lists", "--resize", 8, "--crop", 8)
    shown = cli("data", "eurosat:scenes", *data[2:]).out
    assert "eurosat, split test: 4 images of shape (3, 8, 8)" in shown
    quantized = cli_json("quantize", "m.onnx", "-o", "q.onnx", *data)
    assert (quantized["data"]["split"], quantized["data"]["samples"]) == ("train", 8)
    opened = load_dataset("eurosat:scenes", splits="lists", preprocess=Preprocess(resize=8, crop=8))
    command = repeat_command(evaluate("m.onnx", opened, rates=[0], repeats=2, threads=1))
    assert f"--splits {here}/lists" in command


def test_arrays_by_name_are_shown_by_name(tmp_path, monkeypatch):
    """Their shapes too, on the terminal and in JSON."""
    monkeypatch.chdir(tmp_path)
    np.savez("two.npz", x=np.zeros((4, 8), np.float32), tokens=np.zeros((4, 3), np.int64), labels=np.arange(4) % 2)
    assert "4 images of shape x (8,), tokens (3,)" in cli("data", "npz:two.npz").out
    assert cli_json("data", "npz:two.npz")["shape"] == {"x": [8], "tokens": [3]}


def test_data_of_another_task_have_no_classes(tmp_path, monkeypatch):
    """Numbers of a regression."""
    monkeypatch.chdir(tmp_path)
    np.savez("r.npz", images=np.zeros((4, 8), np.float32), labels=np.linspace(0, 1, 4))
    found = cli_json("data", "npz:r.npz")
    assert (found["classes"], found["counts"]) == (None, [])
    assert "labels: float64 of shape (), from 0 to 1\n" in cli("data", "npz:r.npz").out
