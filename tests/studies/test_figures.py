"""The figures of a study: which there are, and that they draw what was measured."""

import io
from types import SimpleNamespace

import pytest
import vl_convert
from PIL import Image
from study_kit import ran, study, write_arrays

from ftonnx.campaign import RateResult
from ftonnx.inject import BitFlipRates
from ftonnx.report.drawing import drawn
from ftonnx.report.panels import panel_legend
from ftonnx.stats import Estimate
from ftonnx.studies import Cell, figures_of, run
from ftonnx.tasks import parse_task

TWO = {
    "models": {"net": "digits", "other": "digits"},
    "data": {"digits": "digits", "few": {"spec": "digits", "split": "val"}},
    "faults": {"rates": {"rate": [0.0, 1e-5, 1e-4]}, "single": {"faults_per_run": 1, "repeats": 4}},
    "matrix": {"protect": ["none", "actmax"], "quantize": ["none"]},
}


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """Return the result of two models on two data sets under two kinds of faults."""
    return run(study(**TWO), tmp_path_factory.mktemp("two"))


@pytest.fixture
def figures(result):
    """Return the figures by name."""
    return {figure.name: figure for figure in result.figures}


def rows_of(figure):
    """Return the rows that a figure draws."""
    return figure.chart.to_dict()["data"]["values"]


def test_there_is_a_figure_for_every_axis_with_several_values(figures):
    """Per data set and faults by model and by variant, per model by data set; accuracies of 1 have no log-odds."""
    assert set(figures) == {
        f"{place}+{faults}{suffix}"
        for faults in ("rates", "single")
        for place, suffix in (
            ("digits", ""),
            ("few", ""),
            ("digits", "+models"),
            ("few", "+models"),
            ("net", "+data"),
            ("other", "+data"),
        )
    }
    assert figures["few+rates"].title == "few, rates: variants of every model"


def test_one_model_on_one_data_set_has_one_figure_per_kind_of_faults(tmp_path):
    """With one panel, and a line per variant."""
    (figure,) = ran(tmp_path).figures
    assert figure.name == "digits+rates"
    assert {row["panel"] for row in rows_of(figure)} == {"net"}
    assert list(dict.fromkeys(row["model"] for row in rows_of(figure))) == ["as it is", "ptq", "actmax", "actmax + ptq"]


def numbers(figure, *order):
    """Return a figure's accuracies with their limits by panel, line, rate and column, the fields in some order."""
    found = {}
    for row in rows_of(figure):
        place = [row[field] for field in (*order, "rate")]
        for column in ("top1", "top1_low", "top1_high"):
            found[*place, column] = row[column]
    return found


def test_panels_and_lines_show_every_number_with_its_interval(result, figures):
    """In every arrangement; rate 0 has no place on a log axis."""
    expected = {}
    for cell, found in result.results.items():
        for rate in found.rates:
            if cell.faults == "rates" and rate.rate > 0:
                key = (cell.data, cell.model, cell.variant, rate.rate)
                expected[*key, "top1"] = rate.top1.mean
                expected[*key, "top1_low"] = rate.top1.low
                expected[*key, "top1_high"] = rate.top1.high
    by_model = {}
    by_variant = {}
    for data in ("digits", "few"):
        by_model |= {(data, *key): n for key, n in numbers(figures[f"{data}+rates"], "panel", "model").items()}
        turned = numbers(figures[f"{data}+rates+models"], "model", "panel")
        by_variant |= {(data, *key): number for key, number in turned.items()}
    by_data = {}
    for model in ("net", "other"):
        for (data, *key), number in numbers(figures[f"{model}+rates+data"], "panel", "model").items():
            by_data[data, model, *key] = number
    assert by_model == pytest.approx(expected)
    assert by_variant == by_model
    assert by_data == by_model


def test_injections_are_points_without_a_rate(result, figures):
    """One per variant and panel."""
    rows = rows_of(figures["digits+single"])
    assert {(row["panel"], row["model"]) for row in rows} == {
        (model, variant) for model in ("net", "other") for variant in ("as it is", "actmax")
    }
    values = {cell.name: found.rates[0].top1.mean for cell, found in result.results.items()}
    (row,) = [row for row in rows if (row["panel"], row["model"]) == ("net", "actmax")]
    assert row["top1"] == pytest.approx(values["net/actmax/none/digits/single"])


def test_fault_free_levels_are_those_of_the_campaigns(result, figures):
    """A horizontal line for every variant of every panel, though the rows repeat it."""
    clean = {(cell.model, cell.variant): found.clean for cell, found in result.results.items() if cell.data == "few"}
    drawn = {(row["panel"], row["model"]): row["fault_free_top1"] for row in rows_of(figures["few+rates"])}
    assert drawn == pytest.approx(clean)


def test_every_figure_can_be_drawn(tmp_path):
    """And none is an empty picture."""
    result = ran(tmp_path, activations={}, matrix={"protect": ["actmax"], "quantize": ["none"]})
    assert len(result.figures) == 4
    for figure in result.figures:
        with Image.open(io.BytesIO(drawn(figure.chart, "png"))) as picture:
            assert len(picture.convert("RGB").getcolors(2**24)) > 20


def test_names_of_panels_and_lines_are_in_the_picture(figures):
    """As text of the SVG."""
    svg = vl_convert.vegalite_to_svg(figures["digits+rates"].chart.to_dict())
    for name in ("net", "other", "as it is", "actmax", "top-1 accuracy", "1e-5"):
        assert f">{name}<" in svg


def test_long_names_get_fewer_columns_in_the_legend():
    """Names that would not fit beside each other stand below each other."""
    assert panel_legend(["a", "b"], 2).columns > 2
    assert panel_legend(["a", "b" * 64], 2).columns == 1


def made_up(task, values):
    """Return what figures read of a campaign at one rate."""
    rate = RateResult(
        rate=1e-5,
        units=4,
        faults_mean=2.0,
        fractions=dict.fromkeys(task.fractions, Estimate(values, values - 0.1, values + 0.1)),
    )
    return SimpleNamespace(task=task, faults=BitFlipRates(1e-5), rates=[rate], clean=values)


def test_accuracies_of_different_kinds_are_in_different_figures():
    """A study may hold a classifier and a network for maps under one name."""
    kinds = {"photos": parse_task("classification"), "maps": parse_task("segmentation:classes=3")}
    results = {}
    for data, task in kinds.items():
        for protect in ("none", "relu6"):
            results[Cell("net", protect, "none", data, "rates")] = made_up(task, 0.5)
    study_like = SimpleNamespace(reference=None, activations=None)
    found = figures_of(SimpleNamespace(results=results, study=study_like, activations={}))
    names = {task.headline for task in kinds.values()}
    assert len(names) == 2
    assert {figure.name for figure in found if figure.name.startswith("net+")} == {
        f"net+rates+data+{headline}" for headline in names
    }
    for figure in found:
        vl_convert.vegalite_to_svg(figure.chart.to_dict())


def test_campaigns_without_faults_have_no_curve(tmp_path):
    """Rate 0 alone has no place on a log axis."""
    result = ran(tmp_path, faults={"none": {"rate": 0.0}}, matrix={"protect": ["none"], "quantize": ["none"]})
    assert result.failures == ()
    assert result.figures == ()


def test_the_reference_is_the_horizontal_axis_of_log_odds(tmp_path):
    """Images at random, on which accuracies are neither 0 nor 1."""
    data = {name: f"npz:{write_arrays(tmp_path / name, images)}" for name, images in (("a.npz", 60), ("b.npz", 90))}
    tables = {"models": TWO["models"], "data": data, "matrix": {"protect": ["none", "relu6"], "quantize": ["none"]}}
    result = ran(tmp_path / "s", **tables, study={"limit": 90}, log_odds={"reference": "b.npz"})
    figure = next(each for each in result.figures if each.name == "log-odds@relu6")
    clean = {cell.model: found.clean for cell, found in result.results.items() if cell.data == "b.npz"}
    drawn = {row["model"]: row["accuracy"] for row in rows_of(figure)}
    assert drawn == pytest.approx(clean)
    assert "on b.npz" in str(figure.chart.to_dict()["layer"])
    assert figure.caption.endswith("Data sets: a.npz, b.npz.")
