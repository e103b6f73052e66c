"""What ``ftonnx inject --results DIR`` leaves out is as recorded, where it names neither model nor data."""

import json

import numpy as np
import pytest
from campaign_kit import BASE, cli, cli_json, one_error_line

import ftonnx

ODD = (
    "inject", "digits", *BASE, "--limit", "32", "--rate", "1e-5", "--repeats", "2", "--seed", "7",
    "--images-per-pattern", "4", "--include", "block*", "--include", "head*", "--mean", "0.1", "--roles", "weight",
)  # fmt: skip


def result(*arguments):
    """Return what a campaign found, without the name of its folder."""
    found = cli_json(*arguments)
    del found["run"]["results"]
    return json.dumps(found)


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """A folder to work in, with a campaign of many odd settings in ``r``."""
    monkeypatch.chdir(tmp_path)
    assert cli(*ODD, "--results", "r").code == 0
    return tmp_path


def test_a_campaign_goes_on_without_being_told_what_it_is(begun):
    """The same bytes as with everything said; what is taken over stands on stderr."""
    assert result("inject", "--results", "r") == result(*ODD, "--results", "r")
    said = cli("inject", "--results", "r").err
    assert "as recorded: " in said
    assert "--data digits --limit 32" in said
    assert "--include 'block*' --include 'head*'" in said


def test_what_is_given_wins(begun):
    """More repeats and another rate; a seed that is not the recorded one is refused as ever."""
    grown = result("inject", "--results", "r", "--repeats", "3", "--rate", "1e-4")
    assert grown == result(*ODD, "--repeats", "3", "--rate", "1e-4", "--results", "whole")
    refused = one_error_line_of_last(cli("inject", "--results", "r", "--seed", "1"))
    assert refused.endswith("recorded with seed 7, asked for seed 1: give --seed 7, or another --results")


@pytest.mark.parametrize(
    ("recorded", "more", "whole"),
    [
        (
            "--burst-rate 1e-5 --burst-sizes 3 --burst-along words",
            "--burst-rate 1e-4",
            "--burst-rate 1e-5,1e-4 --burst-sizes 3 --burst-along words",
        ),
        ("--value-rate 1e-5 --value 0.5", "--value-rate 1e-4", "--value-rate 1e-5,1e-4 --value 0.5"),
        ("--stuck-rate 1e-5 --stuck-at 1", "--stuck-rate 1e-4", "--stuck-rate 1e-5,1e-4 --stuck-at 1"),
        ("--rate-1to0 1e-5 --rate-0to1 1e-6", "--rate-1to0 1e-4", "--rate-1to0 1e-5,1e-4 --rate-0to1 1e-6,0"),
    ],
)
def test_more_levels_are_of_the_recorded_kind_of_faults(tmp_path, monkeypatch, recorded, more, whole):
    """What belongs to all of them need not be said again."""
    monkeypatch.chdir(tmp_path)
    base = ("inject", "digits", *BASE, "--limit", "16", "--repeats", "2")
    assert cli(*base, *recorded.split(), "--results", "r").code == 0
    grown = result("inject", "--results", "r", *more.split())
    assert grown == result(*base, *whole.split(), "--results", "whole")


def one_error_line_of_last(finished):
    """Return the error, which may follow notes."""
    assert finished.code == 4
    return finished.err.splitlines()[-1]


def test_with_a_model_or_data_everything_is_said(begun):
    """The defaults are the usual ones then, so that nothing is taken over unseen."""
    assert "asked for seed 0" in one_error_line(cli("inject", "digits", "--results", "r"))
    assert "asked for seed 0" in one_error_line(cli("inject", "--data", "digits", "--results", "r"))


def test_a_campaign_of_a_python_program_has_to_be_told(tmp_path):
    """Its data have no name."""
    data = [(np.zeros((4, 1, 8, 8), np.float32), np.arange(4))]
    ftonnx.evaluate("digits", data, rates=[1e-5], repeats=2, strategy="live", results=tmp_path / "r")
    line = one_error_line(cli("inject", "--results", tmp_path / "r"))
    assert line.endswith("was recorded on a model or data of a Python program: give MODEL and --data")


def test_a_campaign_with_an_early_end_keeps_it(begun):
    """Precision and question are taken over, too."""
    early = ("inject", *BASE, "--limit", "32", "--rate", "1e-5", "--budget", "12units", "--results", "early")
    whole = result(*early)
    assert result("inject", "--results", "early") == whole


def test_a_folder_without_a_campaign_begins_with_the_embedded_model(tmp_path):
    """As before."""
    few = ("--limit", "16", "--rate", "1e-5", "--repeats", "2")
    assert cli_json("inject", *few, "--results", tmp_path / "new")["model"]["name"] == "digits"
