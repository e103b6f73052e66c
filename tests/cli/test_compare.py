"""``ftonnx compare``: what people and programs read."""

import pytest
from campaign_kit import BASE, cli, cli_json, one_error_line

import ftonnx

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
    warning, following = done.err.splitlines()
    assert warning.startswith("warning: digits: 9 fault patterns: harm that up to 34 % of patterns do")
    assert following.startswith("next: ftonnx report ")
    assert done.out.startswith("baseline digits (a) #1 on digits: fault-free top-1 98.06 %")
    headings = [line.split(": ")[0] for line in done.out.splitlines() if "paired: " in line]
    assert headings == ["digits (a) #2", "digits (b)", "digits (c)"]
    rows = [
        line.split("  ")[0] for line in done.out.splitlines() if line.startswith("digits (") and "paired" not in line
    ]
    assert rows == ["digits (a) #1", *headings]
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


def test_several_models_have_one_table_first_and_on_request_in_files(folder, tmp_path):
    """A row per model, told apart by its folder, with a sign for each verdict; Markdown and LaTeX have both tables."""
    markdown, latex = tmp_path / "t.md", tmp_path / "t.tex"
    names = [folder / name for name in ("a", "b", "c")]
    done = cli("compare", *names, "--markdown", markdown, "--latex", latex)
    assert done.code == 0, done.err
    assert f"tables: {markdown}" in done.err
    models = ftonnx.compare(names).models
    lines = done.out.splitlines()
    start = lines.index("top-1 on digits")
    assert lines[start + 1].split() == ["model", "fault-free", "1e-05", "0.0001"]
    found = {line.split("  ")[0]: line.split()[2:] for line in lines[start + 2 : start + 5]}
    signs = {"better": ["^"], "worse": ["v"], "no difference shown": []}
    for name, model in zip(("digits (b)", "digits (c)"), models, strict=True):
        cells = [word for rate in model.rates for word in (f"{100 * rate.accuracy:.2f}", *signs[rate.outcome])]
        assert found[name] == [f"{100 * model.golden:.2f}", *cells]
    text = markdown.read_text()
    assert "| model | fault-free | 1e-05 | 0.0001 |" in text
    assert "| model | 1e-05 | 0.0001 | area |" in text
    difference = models[1].rates[0].difference
    shown = f"{100 * difference.mean:+.2f} ({100 * difference.low:+.2f} to {100 * difference.high:+.2f})"
    assert f"| digits \\(c\\) | {shown}".replace("+", r"\+") in text.replace("+", r"\+")
    assert latex.read_text().count(r"\begin{tabular}") == 2
    assert "digits (c) & " in latex.read_text()


def test_a_file_that_cannot_be_written_is_found_out_first(folder, tmp_path):
    """One line, and nothing is printed."""
    done = cli("compare", folder / "a", folder / "b", "--markdown", tmp_path / "no" / "t.md")
    assert (done.code, done.out) == (2, "")
    assert "there is no folder" in one_error_line(done)


def test_injections_are_compared_by_their_flips(tmp_path):
    """No rate that depends on a model's size."""
    for name, seed in (("a", 0), ("b", 1)):
        options = ("--faults-per-run", 1, "--repeats", 20, "--limit", 60, "--seed", seed)
        assert cli("inject", "digits", "--data", "digits", *options, "--results", tmp_path / name).code == 0
    done = cli("compare", tmp_path / "a", tmp_path / "b")
    assert done.code == 0
    assert "  faults  baseline" in done.out
    assert "\none flip" in done.out
    assert "e-07" not in done.out
    assert cli_json("compare", tmp_path / "a", tmp_path / "b")["faults"] == "one flip"


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
