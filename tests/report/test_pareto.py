"""The chart of cost against accuracy, as what is drawn."""

from dataclasses import replace
from pathlib import Path

import pytest

from ftonnx.advice import Advice, Compared, FrontierPoint
from ftonnx.errors import UsageError
from ftonnx.gates import Goal
from ftonnx.report.pareto_chart import pareto_chart, save_pareto_chart
from ftonnx.stats import Estimate


def tried(name, share, mean, verdict):
    """Make a protection that a campaign ran."""
    return Compared(
        name=name,
        check_bits=round(1000 * share),
        share=share,
        predicted=None,
        accuracy=None if mean is None else Estimate(mean, mean - 0.02, mean + 0.01),
        verdict=verdict,
        patterns=10,
        seed=1,
        results=Path("r"),
    )


ADVICE = Advice(
    goal=Goal("min_accuracy", 0.9, 1e-6),
    golden=0.98,
    model="m",
    data="d",
    confidence=0.95,
    verdict="PASS",
    plan=None,
    guards=(),
    tried=(
        tried("as it is", 0.0, 0.5, "FAIL"),
        tried("clipped", 0.0, 0.95, "PASS"),
        tried("plan 1", 0.0, 0.96, "PASS"),
        tried("never run", 0.1, None, "INCONCLUSIVE"),
        tried("SECDED of all bits", 0.125, 0.97, "PASS"),
    ),
    needed="FAIL",
    frontier=(
        FrontierPoint(check_bits=0, share=0.0, accuracy=0.5),
        FrontierPoint(check_bits=9, share=0.01, accuracy=0.97),
    ),
    ranking=None,
    bits=1000,
    stored_bits=1000,
    results=Path("r"),
    seconds=1.0,
)


def rows_of(chart):
    """Return the rows of each layer, by the layer's mark."""
    found = {}
    for layer in chart.to_dict()["layer"]:
        mark = layer["mark"]["type"]
        found.setdefault(mark, []).append(layer["data"]["values"])
    return found


def test_predictions_are_a_line_and_campaigns_points_with_limits():
    """What was never run has no point; the rule is the goal."""
    found = rows_of(pareto_chart(ADVICE))
    assert [row["accuracy"] for row in found["line"][0]] == [0.5, 0.97]
    assert [row["name"] for row in found["point"][0]] == ["as it is", "clipped", "plan 1", "SECDED of all bits"]
    goal, limits = found["rule"]
    assert goal == [{"accuracy": 0.9}]
    assert limits[0]["low"] == pytest.approx(0.48)


def test_names_at_one_place_stand_side_by_side():
    """The first of the points bears them."""
    labels = [row["label"] for row in rows_of(pareto_chart(ADVICE))["text"][0]]
    assert labels == ["as it is", "clipped, plan 1", "", "SECDED of all bits"]


def test_the_axis_says_its_scale_and_only_what_is_drawn():
    """Plans that were predicted are named where there are some; where nothing costs anything, all is at the left."""
    free = replace(ADVICE, frontier=(), tried=ADVICE.tried[:2])
    domains = []
    titles = []
    for advice in (ADVICE, free):
        encodings = [layer["encoding"] for layer in pareto_chart(advice).to_dict()["layer"]]
        x = next(encoding["x"] for encoding in encodings if "x" in encoding)
        titles.append(x["title"])
        domains.append(x["scale"]["domain"])
    assert domains == [[0, 0.125], [0, 0.01]]
    share = "check bits, share of the model's bits (root scale)"
    assert titles == [[share, "dashed: cheapest plans, by prediction; across: the goal"], [share, "across: the goal"]]


def test_no_line_runs_through_a_name():
    """Each name stands on white of its own shape, above the lines and below the points."""
    layers = [layer["mark"] for layer in pareto_chart(ADVICE).to_dict()["layer"]]
    kinds = [layer["type"] for layer in layers]
    halos = [index for index, layer in enumerate(layers) if layer.get("stroke") == "white"]
    assert [kinds[index] for index in halos] == ["text", "text"]
    assert kinds.index("line") < halos[0] < halos[1] < kinds.index("point")
    assert kinds[-2:] == ["text", "text"]


@pytest.mark.parametrize(("ending", "begins"), [("svg", b"<svg"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_the_name_says_the_format(ending, begins, tmp_path):
    """PNG, SVG or PDF."""
    save_pareto_chart(ADVICE, tmp_path / f"cost.{ending}")
    assert (tmp_path / f"cost.{ending}").read_bytes().startswith(begins)


def test_another_format_is_refused(tmp_path):
    """One line says which there are."""
    with pytest.raises(UsageError, match=r"\.png, \.svg, \.pdf was expected"):
        save_pareto_chart(ADVICE, tmp_path / "cost.gif")
