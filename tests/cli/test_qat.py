"""``ftonnx qat``: from a float model to an int8 file that has been trained."""

import pytest
from campaign_kit import cli, cli_json
from training_kit import write_factory, write_squares

pytest.importorskip("torch")

QUICK = ("--batch-size", 16, "--no-flips", "--device", "cpu", "--threads", 1, "--calibration-images", 32)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Let every test work in its own folder, with a data set and an exported network."""
    monkeypatch.chdir(tmp_path)
    write_squares(tmp_path)
    write_factory(tmp_path)
    exported = cli("export", "nets.py:small", "--classes", 3, "--input-shape", "3,8,8", "-o", "m.onnx")
    assert exported.code == 0, exported.err
    return tmp_path


def test_a_model_is_trained_as_its_int8_file(here):
    """What the file does is what is printed, and inject takes it."""
    run = ("qat", "m.onnx", "--data", f"npz:{here}", "-o", "q.onnx", *QUICK, "--epochs", 8, "--learning-rate", 0.02)
    found = cli_json(*run, "--chart", "q.svg")
    assert found["is_trained"]
    assert found["accuracy"]["int8"] > 0.9
    assert (here / "q.svg").read_text().startswith("<svg")
    val = cli_json("inject", "q.onnx", "--data", f"npz:{here}", "--split", "val", "--rate", 0, "--repeats", 1)
    assert val["golden"]["top1"] == pytest.approx(found["accuracy"]["int8"])


def test_without_a_better_epoch_it_says_so(here):
    """The file is that of quantizing without training."""
    ran = cli("qat", "m.onnx", "--data", f"npz:{here}", "-o", "q.onnx", *QUICK, "--epochs", 0)
    assert ran.code == 0
    assert "top-1 on " in ran.out
    assert "in floating point" in ran.out
    assert "no epoch was better than quantizing without training" in ran.err


def test_a_quantized_model_is_refused(here):
    """In one line, and nothing is left."""
    cli("qat", "m.onnx", "--data", f"npz:{here}", "-o", "q.onnx", *QUICK, "--epochs", 0)
    ran = cli("qat", "q.onnx", "--data", f"npz:{here}", "-o", "r.onnx", *QUICK)
    assert ran.code == 4
    assert "quantized already" in ran.err
    assert not list(here.glob("r.*"))


def test_the_defaults_are_the_librarys():
    """Each is written down once."""
    from ftonnx.cli.commands.qat import _QatOptions
    from ftonnx.cli.qat_options import Int8Options
    from ftonnx.training import QatSettings

    assert Int8Options().settings(_QatOptions().settings()) == QatSettings()
