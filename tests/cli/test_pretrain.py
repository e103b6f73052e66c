"""``ftonnx pretrain``: from images without labels to a backbone that ``finetune`` takes."""

import sys

import pytest
from campaign_kit import cli, cli_json
from training_kit import write_factory, write_squares

pytest.importorskip("torch")
pytest.importorskip("lightly")

QUICK = ("--epochs", 2, "--batch-size", 16, "--device", "cpu", "--threads", 1)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Let every test work in its own folder, with a data set and a factory."""
    monkeypatch.chdir(tmp_path)
    write_squares(tmp_path)
    write_factory(tmp_path)
    return tmp_path


def command(here, *more):
    """Return a pretraining of the small network."""
    return ("pretrain", "nets.py:pooled", "--data", f"npz:{here}", "-o", "out.pth", *QUICK, *more)


def test_a_backbone_is_pretrained_tuned_exported_and_evaluated(here):
    """Each step takes the file of the one before as it is."""
    found = cli_json(*command(here, "--method", "simsiam", "--chart", "out.png"))
    assert (found["method"], found["data"]["split"], len(found["epochs"])) == ("simsiam", "train", 2)
    assert set(found["epochs"][0]) == {"epoch", "loss", "spread", "learning_rate", "seconds"}
    assert (here / "out.png").read_bytes().startswith(b"\x89PNG")
    tuned = ("finetune", "nets.py:pooled", "--data", f"npz:{here}", "--weights", "out.pth", "-o", "tuned.pth", *QUICK)
    assert cli_json(*tuned)["classes"] == 3
    assert cli_json("export", "nets.py:pooled", "--weights", "tuned.pth", "-o", "m.onnx")["classes"] == 3
    ran = cli_json("inject", "m.onnx", "--data", f"npz:{here}", "--split", "test", "--rate", 1e-5, "--repeats", 1)
    assert ran["golden"]["top1"] >= 0


def test_the_table_names_loss_and_spread(here):
    """And stderr the files."""
    ran = cli(*command(here, "--method", "swav", "--prototypes", 8, "--local-views", 1))
    assert ran.code == 0, ran.err
    assert "spread" in ran.out
    assert "backbone: out.pth; log: out.jsonl" in ran.err


def test_an_input_size_is_that_of_the_large_views(here):
    """Whatever the stored size."""
    ran = cli(*command(here, "--method", "simsiam", "--input-size", 16))
    assert ran.code == 0, ran.err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--method", "byol"), "method: expected one of simsiam, ssql, swav, dino, got 'byol'"),
        (("--method", "simsiam", "--prototypes", 8), "prototypes: simsiam has none; leave it out"),
        (("--method", "simsiam", "--epochs", 0), "epochs must be 1 or more, got 0"),
        (("--method", "simsiam", "--chart", "x.gif"), "a name that ends in .png, .svg, .pdf was expected"),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_work(here, more, said):
    """Exit code 2, and nothing is left behind."""
    ended = cli(*command(here, *more))
    assert ended.code == 2
    assert said in ended.err
    assert not list(here.glob("out*"))


def test_a_device_that_is_not_there_is_named(here):
    """Exit code 4."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    ended = cli(*command(here, "--method", "simsiam", "--device", "cuda"))
    assert ended.code == 4
    assert "a CUDA device was expected, got none" in ended.err


def test_lightly_is_asked_for_where_it_is_missing(here, monkeypatch):
    """With what to install."""
    import ftonnx.training

    monkeypatch.delitem(ftonnx.training.__dict__, "pretrain", raising=False)
    monkeypatch.setitem(sys.modules, "lightly", None)
    ended = cli(*command(here, "--method", "simsiam"))
    assert ended.code == 2
    assert "pip install 'ftonnx[ssl]'" in ended.err


def test_a_collapse_is_said(here):
    """Where the features of all images are as good as equal."""
    (here / "flat.py").write_text(
        "import torch\nfrom nets import Pooled\n\n\ndef flat(num_classes=3):\n    net = Pooled(num_classes)\n"
        "    torch.nn.init.zeros_(net.conv.weight)\n    return net\n"
    )
    run = ("pretrain", "flat.py:flat", "--data", f"npz:{here}", "-o", "out.pth", "--method", "simsiam", *QUICK)
    ended = cli(*run, "--epochs", 1, "--learning-rate", 1e-12)
    assert ended.code == 0, ended.err
    assert "training has collapsed; try a lower --learning-rate" in ended.err
