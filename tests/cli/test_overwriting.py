"""Nothing that is there is written over, unless --force was given."""

import inspect

import pytest
from campaign_kit import BASE, cli, contents, one_error_line

from ftonnx.cli.lazy import SUMMARIES, LazyGroup
from ftonnx.cli.overwriting import WRITTEN

INJECT = ("inject", *BASE, "--limit", "16", "--rate", "1e-5", "--repeats", "2")
READ = {
    "activations", "calibration_cache", "class_names", "config", "environment", "fault_list", "folder",
    "folders", "model", "protection", "results", "save_config", "splits", "thresholds", "weights",
}  # fmt: skip
"""Parameters that name what is read, or a folder or file in which work goes on."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with the results of a small campaign."""
    monkeypatch.chdir(tmp_path)
    assert cli(*INJECT, "--results", "r").code == 0
    return tmp_path


@pytest.mark.parametrize(
    ("command", "target"),
    [
        ((*INJECT, "--results", "r", "--report", "x"), "x"),
        ((*INJECT, "--save-config", "x"), "x"),
        (("report", "r", "-o", "x"), "x"),
        (("report", "r"), "report.html"),
        (("report", "r", "-o", "."), "report.html"),
        (("report", "r", "-o", "y.html", "--charts", "full"), "full"),
        (("report", "r", "-o", "y.html", "--tables", "full"), "full"),
        (("compare", "r", "r", "--markdown", "x"), "x"),
        (("compare", "r", "r", "--latex", "x"), "x"),
        (("faults", "r", "--repeat", "0", "--batch", "0", "--save-model", "x"), "x"),
        (("protect", "digits", "--method", "relu6", "-o", "x"), "x"),
        (("protect", "digits", "--method", "actmax", "--data", "digits", "-o", "y", "--save-thresholds", "x"), "x"),
        (("quantize", "digits", "--data", "digits", "-o", "x"), "x"),
        (("quantize", "digits", "--data", "digits", "-o", "y", "--report", "x"), "x"),
        (("export", "digits", "-o", "x"), "x"),
        (("gate", "digits", "--data", "digits", "--max-sdc", "1e-6:0.5", "--junit", "x"), "x"),
        (("gate", "digits", "--data", "digits", "--max-sdc", "1e-6:0.5", "--markdown", "x"), "x"),
        (("advise", "digits", "--data", "digits", "--goal", "1e-6:0.5", "-o", "x"), "x"),
        (("advise", "digits", "--data", "digits", "--goal", "1e-6:0.5", "--chart", "x"), "x"),
        (("finetune", "resnet18", "--data", "digits", "-o", "x"), "x"),
        (("pretrain", "resnet18", "--method", "simsiam", "--data", "digits", "-o", "x"), "x"),
        (("qat", "digits", "--data", "digits", "-o", "x"), "x"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_is_there_is_refused_before_any_work(folder, command, target):
    """One line with the way on, exit code 2, and nothing is changed."""
    for name in ("x", "report.html"):
        (folder / name).write_text("mine")
    (folder / "full").mkdir()
    for ending in ("png", "csv"):
        (folder / "full" / f"mine.{ending}").write_text("mine")
    before = contents(folder)
    refused = cli(*command)
    assert refused.code == 2
    said = f"error: {target} is there already: give --force to write over it, or choose another name"
    assert one_error_line(refused) == said
    assert contents(folder) == before


def test_force_writes_over_it(folder):
    """As every command did before."""
    (folder / "x.onnx").write_text("mine")
    assert cli("protect", "digits", "--method", "relu6", "-o", "x.onnx", "--force").code == 0
    assert (folder / "x.onnx").stat().st_size > 1000


def test_empty_files_devices_and_empty_folders_hold_nothing(folder):
    """As a script makes them with mktemp."""
    (folder / "x.onnx").touch()
    (folder / "tables").mkdir()
    (folder / "tables" / "notes.txt").write_text("of something else")
    assert cli("protect", "digits", "--method", "relu6", "-o", "x.onnx").code == 0
    assert cli("report", "r", "-o", "y.html", "--tables", "tables").code == 0
    assert cli("rate", "--upset-rate", "1e-9", "--scrub", "1h", "--save-config", "/dev/null").code in (0, 2)


def test_an_interrupted_training_goes_on(folder):
    """Its output may be of a training that was written over before."""
    (folder / "x.pth").write_text("mine")
    (folder / "x.pth.training").write_text("a state")
    refused = cli("finetune", "resnet18", "--data", "digits", "-o", "x.pth")
    assert "--force" not in refused.err


GATE = ("gate", "m.onnx", "--data", "npz:d.npz", "--max-sdc", "env:0.5", "--environment", "e.toml")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("inject", "m.onnx", "--data", "npz:d.npz", "--save-config", "m.onnx"), "m.onnx is the model"),
        (("inject", "m.onnx", "--data", "npz:d.npz", "--report", "d.npz"), "d.npz is the data"),
        ((*INJECT, "--protection", "e.toml", "--save-config", "link.toml"), "link.toml is the protection"),
        ((*INJECT, "--feed", "size=d.npz", "--save-config", "d.npz"), "d.npz is the feed"),
        (("inspect", "m.onnx", "--save-config", "m.onnx"), "m.onnx is the model"),
        (("advise", "m.onnx", "--data", "npz:d.npz", "--goal", "1e-6:.9", "-o", "m.onnx"), "m.onnx is the model"),
        (
            ("advise", "digits", "--data", "digits", "--also", "m.onnx", "--goal", "1e-6:.9", "--chart", "m.onnx"),
            "m.onnx is a model",
        ),
        ((*GATE, "--junit", "m.onnx"), "m.onnx is the model"),
        ((*GATE, "--markdown", "e.toml"), "e.toml is the environment"),
        ((*GATE, "--markdown", "link.toml"), "link.toml is the environment"),
        ((*GATE, "--class-names", "e.toml", "--junit", "e.toml"), "e.toml is the"),
        (
            ("finetune", "resnet18", "--weights", "m.onnx", "--data", "digits", "-o", "m.onnx"),
            "m.onnx is the checkpoint",
        ),
        (("protect", "m.onnx", "--method", "relu6", "-o", "m.onnx"), "m.onnx is the model"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
@pytest.mark.parametrize("force", [(), ("--force",)], ids=["", "forced"])
def test_what_is_read_is_never_written_to(tmp_path, monkeypatch, command, said, force):
    """Whatever is forced: the only model there is was lost for a page about it."""
    monkeypatch.chdir(tmp_path)
    for name in ("m.onnx", "d.npz", "e.toml"):
        (tmp_path / name).write_text("mine")
    (tmp_path / "link.toml").symlink_to("e.toml")
    before = contents(tmp_path)
    refused = cli(*command, *force)
    assert refused.code == 2
    assert said in one_error_line(refused)
    assert refused.err.endswith("itself, which is never written to; choose another name\n")
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "command",
    [
        ("advise", "digits", "--data", "digits", "--goal", "1e-6:.9", "-o", "x.svg", "--chart", "x.svg"),
        ("advise", "digits", "--data", "digits", "--goal", "1e-6:.9", "-o", "x.toml", "--save-config", "./x.toml"),
        ("gate", "digits", "--data", "digits", "--max-sdc", "1e-6:0.5", "--junit", "x", "--markdown", "x", "--force"),
    ],
    ids=" ".join,
)
def test_two_files_have_two_names(tmp_path, monkeypatch, command):
    """Else the second one would take the first one's place."""
    monkeypatch.chdir(tmp_path)
    assert "would be written twice" in one_error_line(cli(*command))
    assert contents(tmp_path) == {}


def test_options_may_be_written_back_into_their_file(tmp_path):
    """With --force, as they were read before."""
    file = tmp_path / "options.toml"
    file.write_text("upsets_per_bit_day = 1e-9\nscrub = '1h'\n")
    assert "give --force" in cli("rate", "--config", file, "--save-config", file).err
    assert cli("rate", "--config", file, "--save-config", file, "--force").code == 0


@pytest.mark.parametrize("command", SUMMARIES)
def test_every_path_is_known_to_be_read_or_written(command):
    """A new option that names a file stands in one of the lists."""
    known = LazyGroup(name="ftonnx").commands[command]
    annotations = inspect.signature(known.callback).parameters
    files = {option.name for option in known.params if "Path" in str(annotations[option.name].annotation)}
    goes_on = {"output"} if command in ("merge", "study") else set()
    assert files - set(WRITTEN.get(command, ())) - READ - goes_on == set()
