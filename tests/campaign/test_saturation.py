"""Numbers from kernels that saturate in 16 bits: said wherever they are shown, and kept with the results."""

import pytest
from campaign_kit import cli, cli_json, edit_header

import ftonnx
from ftonnx.campaign import CampaignResult
from ftonnx.datasets import load_dataset
from ftonnx.gates.goals import Goal
from ftonnx.runtime import FaultySession
from ftonnx.sessions import saturation

pytestmark = pytest.mark.usefixtures("temporary_folder")

RUN = ("--data", "digits", "--limit", "60", "--strategy", "live", "--threads", "1", "--repeats", "2", "--rate", "1e-5")
SAYS = "operators saturate in 16 bits on this kind of processor"
OPERATORS = 9  # eight convolutions and the classifier


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The embedded model in int8, with both kinds of activations."""
    folder = tmp_path_factory.mktemp("int8")
    for kind in ("uint8", "int8"):
        done = cli("quantize", "digits", "--data", "digits", "--activation-type", kind, "-o", folder / f"{kind}.onnx")
        assert done.code == 0
    return folder


def has_vnni(monkeypatch, answer):
    """Have this processor be of one kind or the other."""
    monkeypatch.setattr(saturation, "kernels_saturate", lambda: not answer)


def test_every_command_that_shows_numbers_says_it(files, tmp_path, monkeypatch):
    """On stderr, in JSON and in the verdict; not of a model with int8 activations."""
    has_vnni(monkeypatch, False)
    monkeypatch.chdir(tmp_path)
    done = cli("inject", files / "uint8.onnx", *RUN, "--results", "a")
    assert done.code == 0
    found = cli_json("inject", files / "uint8.onnx", *RUN, "--results", "a")
    again = ("quantize", "digits", "--data", "digits", "-o", "q.onnx")
    gate = ("gate", files / "uint8.onnx", "--data", "digits", "--min-accuracy", "1e-9:0.5", "--budget", "2units")
    said = [
        done.err,
        *found["run"]["warnings"],
        cli("inject", files / "uint8.onnx", *RUN, "--dry-run").err,
        cli(*again).err,
        cli(*gate).out,
    ]
    assert sum(SAYS in text for text in said) == 5
    assert SAYS not in cli("inject", files / "int8.onnx", *RUN).err


def test_results_tell_what_ran_them(files, tmp_path, monkeypatch):
    """On a processor that is exact they still say that theirs was not."""
    has_vnni(monkeypatch, False)
    settings = {"strategy": "live", "threads": 1, "repeats": 2, "results": tmp_path / "r"}
    result = ftonnx.evaluate(files / "uint8.onnx", load_dataset("digits", limit=60), rates=[1e-5], **settings)
    assert result.engine.saturating == OPERATORS
    has_vnni(monkeypatch, True)
    again = CampaignResult.open(tmp_path / "r")
    assert [text for text in again.warnings if SAYS in text] == [again.engine.caution]


def test_folders_of_before_say_nothing(files, tmp_path, monkeypatch):
    """Nobody knows what theirs was."""
    has_vnni(monkeypatch, False)
    settings = {"strategy": "live", "threads": 1, "repeats": 2, "results": tmp_path / "r"}
    ftonnx.evaluate(files / "uint8.onnx", load_dataset("digits", limit=60), rates=[1e-5], **settings)
    edit_header(tmp_path / "r", lambda header: header["engine"].pop("saturating"))
    assert CampaignResult.open(tmp_path / "r").engine.caution is None


@pytest.mark.parametrize("answer", [True, False])
def test_a_verdict_says_it(files, monkeypatch, answer):
    """Beside what cannot flip; not where kernels are exact."""
    has_vnni(monkeypatch, answer)
    data = load_dataset("digits", limit=60)
    verdict = ftonnx.gate(files / "uint8.onnx", data, [Goal("min_accuracy", 0.5, 1e-9)], budget="2units")
    assert any(SAYS in text for text in verdict.warnings) != answer


def test_a_session_on_shared_weights_knows_it_too(files, tmp_path, monkeypatch):
    """Without looking at the model again."""
    has_vnni(monkeypatch, False)
    with_weights = FaultySession(files / "uint8.onnx", strategy="live")
    with_weights.share(tmp_path)
    has_vnni(monkeypatch, True)
    assert FaultySession.from_shared(tmp_path, files / "uint8.onnx").saturating == OPERATORS
