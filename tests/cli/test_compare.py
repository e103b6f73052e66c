"""``ftonnx compare``: what people and programs read."""

import pytest
from campaign_kit import BASE, cli, cli_json, one_error_line

RUN = (*BASE, "--batch-size", 120, "--repeats", 3, "--rate", 1e-5, "--rate", 1e-4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Campaigns of the embedded model with two seeds, and of its first layer only."""
    place = tmp_path_factory.mktemp("compare")
    for name, options in {"a": (), "b": ("--seed", 1), "c": ("--roles", "bias")}.items():
        done = cli("inject", "digits", *RUN, *options, "--results", place / name)
        assert done.code == 0, done.err
    return place


def test_the_table_says_what_is_paired_and_what_was_shown(folder):
    """One table per model, with the area below the rates."""
    done = cli("compare", folder / "a", folder / "a", folder / "b", folder / "c")
    assert done.code == 0
    assert done.err.startswith("warning: digits: 9 fault patterns: harm that up to 34 % of patterns do")
    assert done.err.count("\n") == 1
    assert done.out.startswith("baseline digits on digits: fault-free top-1 98.06 %")
    assert "paired: the same fault patterns on the same batches" in done.out
    assert "other fault patterns (the seeds differ, 0 and 1)" in done.out
    assert "other fault patterns (the fault spaces differ, 1,790,784 and " in done.out
    assert done.out.count("95 % interval") == done.out.count("\n  area") == 3
    assert "no difference shown" in done.out
    assert "better" in done.out  # flips in biases alone do less harm


def test_the_json_is_one_object_with_the_documented_keys(folder):
    """docs/compare.md lists them."""
    found = cli_json("compare", folder / "a", folder / "b", "--question", "new-images", "--confidence", "0.9")
    assert set(found) == {"baseline", "data", "question", "confidence", "models", "warnings"}
    assert (found["question"], found["confidence"]) == ("new-images", 0.9)
    (model,) = found["models"]
    assert set(model) == {"model", "results", "golden", "pairing", "why", "rates", "auc"}
    assert set(model["rates"][0]) == {
        "rate", "baseline", "accuracy", "difference", "p_holm", "outcome", "interval",
    }  # fmt: skip
    assert set(model["rates"][0]["difference"]) == {
        "mean", "low", "high", "confidence", "p_value", "p_sign_flip", "pairs",
    }  # fmt: skip
    assert set(model["auc"]) == {"baseline", "area", "difference", "outcome"}


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["a"], "two or more", 2),
        (["a", "nope"], "holds no campaign", 4),
        (["a", "b", "--question", "x"], "use these-images", 2),
    ],
)
def test_what_cannot_be_compared_is_one_line(folder, arguments, message, code):
    """With the exit code of its kind."""
    places = [each if each.startswith("--") else folder / each for each in arguments]
    done = cli("compare", *places)
    assert done.code == code
    assert message in one_error_line(done)
