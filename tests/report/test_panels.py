"""Charts of activations in small multiples, from made-up distributions."""

import pytest
import vl_convert

from ftonnx.errors import DataError
from ftonnx.report import Activations
from ftonnx.report.activation_panels import above_panels, histogram_grid, quartile_panels
from ftonnx.report.activations import Histogram
from ftonnx.report.log_odds_chart import LogOddsRow, log_odds_chart
from ftonnx.words import parsed_json

NUMBERS = {
    "count": 10.0, "not_finite": 0.0, "minimum": 0.0, "quartile1": 0.1, "median": 0.5, "quartile3": 1.0,
    "maximum": 9.0, "mean": 0.7, "sparsity": 0.5,
}  # fmt: skip


def measured(above=(0.0, 0.01), layers=2):
    """Return distributions without faults and at one rate."""
    rows = []
    for rate, share in zip((0.0, 1e-6), above, strict=True):
        for layer in range(layers):
            rows.append({"activation": f"relu{layer}", "rate": rate, "above": share} | NUMBERS)
    return Activations("net", tuple(rows))


def rows_of(chart):
    """Return the rows that a chart with panels draws."""
    return chart.to_dict()["data"]["values"]


def test_quartiles_are_those_without_faults():
    """A panel per model; layers are numbered in the order of the graph."""
    chart = quartile_panels({"a": measured(), "b": measured(layers=3)})
    rows = rows_of(chart)
    assert {row["rate"] for row in rows} == {0.0}
    assert [(row["panel"], row["layer"]) for row in rows] == [("a", 1), ("a", 2), ("b", 1), ("b", 2), ("b", 3)]
    vl_convert.vegalite_to_svg(chart.to_dict())


def test_shares_of_zero_lie_on_a_line_below_all_others():
    """A decade below the smallest decade, with 0 as its label."""
    chart = above_panels({"a": measured(), "b": measured(above=(3e-5, 0.2))})
    rows = rows_of(chart)
    shown = {(row["model"], row["panel"]): (row["shown"], row["is_zero"]) for row in rows}
    assert shown == {
        ("a", "without faults"): (1e-6, True),
        ("a", "rate 1e-6"): (0.01, False),
        ("b", "without faults"): (3e-5, False),
        ("b", "rate 1e-6"): (0.2, False),
    }
    svg = vl_convert.vegalite_to_svg(chart.to_dict())
    assert ">0<" in svg
    assert ">0.001%<" in svg
    assert ">rate 1e-6<" in svg


def test_shares_that_are_all_zero_are_drawn():
    """A threshold that nothing passes."""
    vl_convert.vegalite_to_svg(above_panels({"a": measured(above=(0.0, 0.0))}).to_dict())


def test_histograms_are_shares_and_empty_bins_have_no_bar():
    """A row per rate and a column per activation, each with its own range."""
    found = [
        Histogram("relu0", 0.0, (0.0, 1.0, 2.0, 3.0), (90, 0, 10)),
        Histogram("relu0", 3e-5, (0.0, 1e4, 2e4, 3e4), (999, 1, 0)),
        Histogram("relu1", 3e-5, (0.0, 1.0, 2.0, 3.0), (0, 0, 0)),
    ]
    chart = histogram_grid(found)
    spec = chart.to_dict()
    assert [(row["rate_name"], row["start"], row["share"]) for row in rows_of(chart)] == [
        ("without faults", 0.0, 0.9),
        ("without faults", 2.0, 0.1),
        ("rate 3e-5", 0.0, 0.999),
        ("rate 3e-5", 1e4, 0.001),
    ]
    assert spec["resolve"]["scale"]["x"] == "independent"
    svg = vl_convert.vegalite_to_svg(spec)
    assert ">without faults<" in svg


def test_points_of_log_odds_have_a_colour_per_variant_and_a_shape_per_model():
    """And a line where there is a regression."""
    rows = [LogOddsRow(model, variant, 0.7, 1.0, 0.9, 1.1) for variant in ("as it is", "ptq") for model in "ab"]
    with_line = log_odds_chart(rows, (1.0, 0.3), "accuracy").to_dict()
    without = log_odds_chart(rows, None, "accuracy").to_dict()
    assert len(with_line["layer"]) == len(without["layer"]) + 1
    svg = vl_convert.vegalite_to_svg(with_line)
    assert all(f">{name}<" in svg for name in ("as it is", "ptq", "a", "b"))


@pytest.mark.parametrize(
    "changes",
    [
        {"edges": [0.0, 1.0]},
        {"edges": [0.0, "NaN", 2.0]},
        {"histogram": ["many", 1]},
        {"histogram": None},
    ],
)
def test_histograms_that_are_none_are_refused(changes, tmp_path):
    """With the command that writes such files."""
    entry = {"activation": "relu", "rate": 0.0, "above": None, "edges": [0.0, 1.0, 2.0], "histogram": [3, 4]} | NUMBERS
    content = {"model": "net", "activations": [entry | changes]}
    with pytest.raises((ValueError, TypeError, KeyError)):
        Activations.of(content)
    (tmp_path / "a.json").write_text(str(content).replace("'", '"').replace("None", "null"))
    assert parsed_json((tmp_path / "a.json").read_bytes()) == content
    with pytest.raises(DataError, match=r"run ftonnx activations MODEL --data SPEC --json"):
        Activations.load(tmp_path / "a.json")


def test_histograms_are_read_back():
    """To the same numbers."""
    entry = {"activation": "relu", "rate": 1e-6, "above": None, "edges": [0.0, 1.0, 2.0], "histogram": [3, 4]} | NUMBERS
    found = Activations.of({"model": "net", "activations": [entry]})
    assert found.histograms == (Histogram("relu", 1e-6, (0.0, 1.0, 2.0), (3, 4)),)
