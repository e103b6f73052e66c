"""The charts: what they draw, and whether everyone can tell the series apart."""

import itertools
from dataclasses import replace

import pytest
import scipy
import vl_convert
from PIL import Image
from report_kit import at_rate, campaign, injections, vulnerable, with_top1

from ftonnx.inject import Accumulation
from ftonnx.report import (
    Activations,
    accuracy_chart,
    activation_chart,
    build,
    clipped_chart,
    fault_space_chart,
    outcome_chart,
    plot,
    vulnerability_chart,
)
from ftonnx.report.decision import Demand
from ftonnx.report.layer_charts import ranking_chart
from ftonnx.report.loss_panels import loss_panels
from ftonnx.stats import Estimate


def _rows(chart):
    """The rows of a chart's data; of a layered one, of the layer with the most rows."""
    spec = chart.to_dict()
    return max((layer["data"]["values"] for layer in [spec, *spec.get("layer", [])] if "data" in layer), key=len)


def _lightness(colour):
    """CIE L* of an sRGB colour."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    y = sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y


def _scale(chart, channel):
    found = []

    def walk(node):
        if isinstance(node, dict):
            if isinstance(node.get("encoding"), dict) and channel in node["encoding"]:
                found.append(node["encoding"][channel]["scale"]["range"])
            for inner in node.values():
                walk(inner)
        elif isinstance(node, list):
            for inner in node:
                walk(inner)

    walk(chart.to_dict())
    return found[0]


class _Layer:
    """One layer of a chart, with the rows that it draws: its own, or those of the whole chart."""

    def __init__(self, chart, spec):
        self.spec = spec
        self.rows = spec.get("data", chart.to_dict().get("data", {}))["values"]


def _outcome_colours(chart):
    """The colours of stacked bars, from the first part to the last."""
    return chart.to_dict()["layer"][0]["encoding"]["color"]["scale"]["range"]


def test_the_accuracy_chart_draws_what_was_measured():
    """Every positive rate of every model; rate 0 and injections have no place on a log axis of rates."""
    swept = campaign("swept", at_rate(0.0, 0.98), at_rate(1e-7, 0.97), at_rate(1e-6, 0.5))
    chart = accuracy_chart([swept, injections("single")])
    assert [(row["model"], row["rate"], row["top1"]) for row in _rows(chart)] == [
        ("swept", 1e-7, 0.97), ("swept", 1e-6, 0.5),
    ]  # fmt: skip
    svg = vl_convert.vegalite_to_svg(chart.to_dict())
    assert "1e-7" in svg
    assert "single" not in svg


@pytest.mark.parametrize("rates", [[1e-6], [2e-6, 3e-6], [1e-8, 1e-3]])
def test_the_log_axis_copes_with_one_rate_and_with_many_decades(rates):
    """Every chart has at least one labelled tick."""
    svg = vl_convert.vegalite_to_svg(accuracy_chart([campaign("n", *(at_rate(r, 0.5) for r in rates))]).to_dict())
    assert f"{rates[0]:.0e}".replace("e-0", "e-") in svg


def test_plotting_results_gives_the_accuracy_chart():
    """One or several."""
    one, two = campaign("a"), campaign("b")
    assert plot(one).to_dict() == accuracy_chart([one]).to_dict()
    assert plot(one, two).to_dict() == accuracy_chart([one, two]).to_dict()


def test_no_two_of_forty_models_look_alike():
    """Colour, dash and point shape together differ, and so do colour and dash, and neighbours in each of them."""
    chart = accuracy_chart([campaign(f"n{i}") for i in range(40)])
    styles = [[str(style) for style in _scale(chart, channel)] for channel in ("color", "strokeDash", "shape")]
    assert len(set(zip(*styles, strict=True))) == 40
    assert len(set(zip(*styles[:2], strict=True))) == 35
    for style in styles:
        assert all(left != right for left, right in itertools.pairwise(style))


def test_the_outcomes_differ_in_lightness():
    """On grey paper the four shares stay four, from light (harmless) to dark."""
    levels = [_lightness(colour) for colour in _outcome_colours(outcome_chart(campaign()))]
    assert levels == sorted(levels, reverse=True)
    assert min(left - right for left, right in itertools.pairwise(levels)) > 15


def test_the_outcome_chart_stacks_all_images_of_each_rate():
    """Rate 0 has its bar too."""
    chart = outcome_chart(campaign("n", at_rate(0.0, 0.98, sdc1=0.0, masked=1.0), at_rate(1e-6, 0.6)))
    totals = {}
    for row in _rows(chart):
        totals[row["rate_name"]] = totals.get(row["rate_name"], 0) + row["share"]
    assert totals == pytest.approx({"0": 1, "1e-6": 1})


def test_the_heat_map_tells_what_was_tried_from_what_was_not():
    """Tensors in graph order, the most significant bit at the left; tried cells have an outline, others are dots."""
    target = campaign().fault_space.tensors[0].to_dict()
    stored = tuple(
        target | {"tensor": name, "shape": [1], "bits": bits, "format": kind}
        for name, bits, kind in (("b.weight", 32, "q15.16"), ("a.weight", 8, "int8"))
    )
    hit = [vulnerable("b.weight", 30, 10, 7), vulnerable("b.weight", 2, 0), vulnerable("a.weight", 7, 900)]
    chart = vulnerability_chart(injections("n", *hit, tensors=stored))
    dots, tried, numbers = (_Layer(chart, layer) for layer in chart.to_dict()["layer"])
    assert tried.spec["encoding"]["y"]["sort"] == ["b.weight", "a.weight"]
    assert tried.spec["encoding"]["x"]["scale"]["domain"] == list(range(31, -1, -1))
    cells = {(row["tensor"], row["bit"]): row for row in tried.rows}
    assert [cells[key]["critical_share"] for key in cells] == pytest.approx([10 / 700, 0.0, 0.9])
    untried = {(row["tensor"], row["bit"]) for row in dots.rows}
    every = {("b.weight", bit) for bit in range(32)} | {("a.weight", bit) for bit in range(8)}
    assert untried == every - cells.keys()
    assert tried.spec["mark"]["stroke"] == "#808080"
    assert dots.spec["mark"]["type"] == "circle"
    assert [row["injections"] for row in numbers.rows] == [7, 10, 10]


def test_the_worst_tensors_come_first_with_their_intervals():
    """As the ranking has them, with the number of injections."""
    result = injections("n", vulnerable("a", 1, 100, 20), vulnerable("b", 1, 900, 30), vulnerable("c", 1, 0, 10))
    chart = ranking_chart(result)
    rows = _Layer(chart, chart.to_dict()["layer"][0]).rows
    assert [(row["tensor"], row["said"]) for row in rows] == [
        ("b", "30.0 % of 30"), ("a", "5.0 % of 20"), ("c", "0.0 % of 10"),
    ]  # fmt: skip
    exact = scipy.stats.binomtest(9, 30).proportion_ci(0.95, method="exact")
    assert (rows[0]["low"], rows[0]["high"]) == pytest.approx((exact.low, exact.high))
    assert vl_convert.vegalite_to_svg(chart.to_dict()).count(" % of ") >= 3


def test_numbers_stand_beside_the_marks():
    """Of one model's curve, of shares that have room, of layers' bits."""
    curve = accuracy_chart([campaign("n", at_rate(1e-7, 0.971), at_rate(1e-6, 0.55))])
    svg = vl_convert.vegalite_to_svg(curve.to_dict())
    assert ">97.1%<" in svg
    assert ">55.0%<" in svg
    shares = vl_convert.vegalite_to_svg(outcome_chart(campaign("n", at_rate(1e-6, 0.57, due=0.02))).to_dict())
    assert ">41%<" in shares
    assert ">2%<" not in shares
    assert ">192<" in vl_convert.vegalite_to_svg(fault_space_chart(campaign()).to_dict())


def test_small_losses_have_a_panel_per_model_and_every_loss_its_number():
    """In points from each model's own fault-free level; large ones lie on the lower edge."""
    named = [("a", campaign("a", at_rate(1e-7, 0.972), at_rate(1e-6, 0.20))), ("b", campaign("b", at_rate(1e-7, 0.98)))]
    chart = loss_panels(named, Demand())
    rows = chart.to_dict()["data"]["values"]
    assert [(row["panel"], row["is_deep"]) for row in rows] == [("a", False), ("a", True), ("b", False)]
    assert [row["change"] for row in rows] == pytest.approx([-0.8, -78.0, 0.0])
    assert (rows[0]["low"], rows[0]["high"]) == pytest.approx((-2.8, 1.2))
    svg = vl_convert.vegalite_to_svg(chart.to_dict())
    assert all(f">{number}<" in svg for number in ("\u22120.8", "\u221278", "0"))


def test_the_intervals_of_small_losses_are_shown_whole():
    """From 40 % to 99 % at one rate; where every loss is large, there is nothing to zoom to, and no figure."""
    wide = with_top1(at_rate(1e-7, 0.97), Estimate(0.97, 0.40, 0.99))
    chart = loss_panels([("a", campaign("a", wide, at_rate(1e-6, 0.3)))], Demand()).to_dict()
    (domain,) = {tuple(layer["encoding"]["y"]["scale"]["domain"]) for layer in _curves(chart)}
    assert domain == pytest.approx((-58.0, 1.0))
    assert [row["is_deep"] for row in chart["data"]["values"]] == [False, True]
    lost = [campaign(name, at_rate(1e-7, 0.92), at_rate(1e-6, 0.1)) for name in "ab"]
    assert loss_panels([("a", lost[0]), ("b", lost[1])], Demand()) is None
    assert "losses" not in [figure.name for section in build(lost).sections for figure in section.figures]
    none = campaign("c", at_rate(0.0, 0.98))
    assert loss_panels([("c", none)], Demand()) is None


def _curves(chart):
    """The layers of a panel whose vertical axis has a scale of its own."""
    return [layer for layer in chart["spec"]["layer"] if layer["encoding"].get("y", {}).get("scale")]


@pytest.mark.parametrize("chart", [accuracy_chart([campaign()]), loss_panels([("n", campaign())], Demand())])
def test_a_chart_shows_itself_in_a_notebook_without_a_script(chart):
    """As a picture, also after it was changed, where altair's own way asks a server."""
    for shown in (chart, chart.properties(title="mine")):
        bundle = shown._repr_mimebundle_()
        assert bundle.keys() == {"image/svg+xml"}
        assert bundle["image/svg+xml"].startswith("<svg")
    assert ">mine<" in bundle["image/svg+xml"]


@pytest.mark.slow
def test_more_cells_than_altair_embeds_by_itself_are_all_drawn():
    """A ResNet-101 has more than 6,000."""
    hit = [vulnerable(f"t{i}", bit, i) for i in range(200) for bit in range(32)]
    chart = vulnerability_chart(injections("n", *hit))
    assert len(_Layer(chart, chart.to_dict()["layer"][1]).rows) == 6400


def test_a_layer_is_named_after_its_largest_tensor():
    """Weight and bias of one node share a bar."""
    target = campaign().fault_space.tensors[0].to_dict()
    targets = tuple(
        target | {"tensor": tensor, "role": role, "shape": [size], "bits": 32 * size, "node": node}
        for tensor, role, size, node in (
            ("c.bias", "bias", 2, "conv"), ("c.weight", "weight", 20, "conv"), ("f.weight", "weight", 1, "gemm"),
        )
    )  # fmt: skip
    rows = _rows(fault_space_chart(campaign(tensors=targets)))
    assert [(row["layer"], row["tensor"]) for row in rows] == [
        ("c.weight", "c.bias"), ("c.weight", "c.weight"), ("f.weight", "f.weight"),
    ]  # fmt: skip


def _activations(**changes):
    numbers = {
        "count": 10.0, "not_finite": 0.0, "minimum": 0.0, "quartile1": 0.1, "median": 0.5, "quartile3": 1.0,
        "maximum": 9.0, "mean": 0.7, "sparsity": 0.5, "above": 0.01,
    }  # fmt: skip
    rows = tuple({"activation": "relu", "rate": rate} | numbers | changes for rate in (0.0, 1e-6))
    return Activations("net", rows)


def test_activations_without_a_finite_value_or_threshold_are_drawn_empty():
    """All values of a layer may be NaN at a high rate; an unprotected model has no threshold."""
    empty = dict.fromkeys(("minimum", "quartile1", "median", "quartile3", "maximum", "mean", "above"))
    for measured in (_activations(), _activations(**empty), _activations(maximum=30000.0, minimum=-5.0)):
        vl_convert.vegalite_to_svg(activation_chart(measured).to_dict())
    assert [row["above"] for row in _rows(clipped_chart(_activations()))] == [0.01, 0.01]
    names = [figure.name for section in build([campaign()], activations=[_activations(**empty)]).sections
             for figure in section.figures]  # fmt: skip
    assert "activations" in names
    assert "clipped" not in names


@pytest.mark.slow
def test_every_chart_is_written_as_png_svg_and_pdf(tmp_path):
    """With a white ground and something on it; names of files are safe whatever the models are called."""
    made = build([campaign("../../<b>"), injections("сеть")], activations=[_activations()])
    files = made.save_charts(tmp_path / "charts")
    assert {file.parent for file in files} == {tmp_path / "charts"}
    assert {file.stem for file in files} == {
        "accuracy", "outcomes", "injections", "vulnerability", "ranking", "activations", "clipped", "fault-space-1-b",
    }  # fmt: skip
    for file in files:
        content = file.read_bytes()
        assert content.startswith({"png": b"\x89PNG", "svg": b"<svg", "pdf": b"%PDF"}[file.suffix[1:]])
        if file.suffix == ".png":
            picture = Image.open(file)
            assert picture.info["dpi"] == pytest.approx((200, 200), abs=0.1)
            picture = picture.convert("RGB")
            assert picture.getpixel((0, 0)) == (255, 255, 255)
            assert len(picture.getcolors(1 << 24)) > 20
        if file.suffix == ".svg" and file.stem == "accuracy":
            assert ">Top-1 accuracy against the bit-fault rate<" in content.decode()


def over_time(name, hours_of):
    """A result of histories, with the hours at each rate."""
    rates = [replace(at_rate(rate, 0.9), hours=hours) for rate, hours in hours_of.items()]
    faults = Accumulation(list(hours_of.values()), 1e-6)
    return campaign(name, *rates, faults=faults)


def _axis(chart):
    """The horizontal axis of a chart's last layer: its title, and the texts at its ticks."""
    spec = chart.to_dict()
    x = next(layer["encoding"]["x"] for layer in reversed(spec["layer"]) if "x" in layer.get("encoding", {}))
    return x["title"], x["axis"].get("labelExpr")


def test_histories_are_drawn_over_time_and_beside_rates_over_those():
    """Ticks are the times, at the rates to which upsets have come by then; two upset rates have no common times."""
    first = over_time("first", {1e-7: 1.0, 1e-6: 24.0})
    title, labels = _axis(accuracy_chart([first]))
    assert title == "time since the memory was loaded"
    assert labels == '["1h", "1d"][indexof([1e-07, 1e-06], datum.value)]'
    assert "time since the memory was loaded" in str(loss_panels([("first", first)], Demand(loss=0.05)).to_dict())
    for other in (campaign("other"), over_time("other", {1e-7: 2.0, 1e-6: 48.0})):
        assert _axis(accuracy_chart([first, other])) == ("bit-fault rate (flips per bit)", None)
    figures = [figure for section in build([first]).sections for figure in section.figures]
    assert next(figure.caption for figure in figures if figure.name == "accuracy").startswith(
        "Top-1 accuracy against time (logarithmic)"
    )
