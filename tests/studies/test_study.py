"""The cells of a study."""

import itertools

import pytest
from study_kit import study

from ftonnx.errors import UsageError
from ftonnx.studies import Cell

WHOLE = {"protect": ["none", "relu6", "actmax", "clipact", "ranger"], "quantize": ["none", "ptq", "qat"]}
TWO = {
    "models": {"a": "digits", "b": "digits"},
    "data": {"x": "digits", "y": "digits"},
    "faults": {"r": {"rate": 1e-5}, "s": {"faults_per_run": 1}},
}


def names(**tables):
    """Return the names of a study's cells."""
    return [cell.name for cell in study(**tables).cells]


def test_the_matrix_is_every_combination_grouped_by_table():
    """Variant by variant within model, data and faults."""
    expected = [
        f"{model}/{protect}/{quantize}/{data}/{faults}"
        for model, data, faults, protect, quantize in itertools.product(
            "ab", "xy", "rs", WHOLE["protect"], WHOLE["quantize"]
        )
    ]
    assert names(**TWO, matrix=WHOLE) == expected


def test_models_data_and_faults_of_the_matrix_can_be_named():
    """In the order that they are named; a double counts once."""
    matrix = {"models": ["b"], "data": ["y", "x", "y"], "faults": ["s"], "protect": ["none"], "quantize": ["none"]}
    assert names(**TWO, matrix=matrix) == ["b/none/none/y/s", "b/none/none/x/s"]


@pytest.mark.parametrize(
    ("exclude", "is_out"),
    [
        ([{"protect": "relu6"}], lambda cell: cell.protect == "relu6"),
        ([{"protect": ["relu6", "act*"], "data": "x"}], lambda c: c.protect in ("relu6", "actmax") and c.data == "x"),
        (
            [{"model": "a", "quantize": "qat"}, {"faults": "s", "protect": "r*"}],
            lambda c: (
                (c.model == "a" and c.quantize == "qat") or (c.faults == "s" and c.protect in ("relu6", "ranger"))
            ),
        ),
    ],
)
def test_what_fits_an_exclusion_is_left_out(exclude, is_out):
    """All keys of a table have to fit; one table is enough."""
    whole = study(**TWO, matrix=WHOLE).cells
    left = study(**TWO, matrix=WHOLE, exclude=exclude).cells
    assert left == tuple(cell for cell in whole if not is_out(cell))
    assert len(left) < len(whole)


def test_cells_are_chosen_by_patterns_of_their_names():
    """Shell style, in the study's order, whatever the order of the patterns."""
    whole = study(**TWO, matrix=WHOLE)
    chosen = whole.chosen(["*/qat/*", "a/actmax/none/x/r"])
    assert chosen == tuple(
        cell for cell in whole.cells if cell.quantize == "qat" or cell == Cell("a", "actmax", "none", "x", "r")
    )
    assert whole.chosen([]) == whole.cells


def test_a_pattern_that_fits_nothing_is_refused():
    """With a cell that it could have meant."""
    with pytest.raises(UsageError, match=r"`only=net/actmx/none/digits/rates` fits no cell.*did you mean net/actmax/"):
        study().chosen(["net/none/*", "net/actmx/none/digits/rates"])


def test_named_weights_make_a_model_each():
    """Under the entry's name and theirs; the matrix names entries, exclusions name models."""
    models = {
        "net": {"architecture": "digits", "weights": {"swav": "a.pth", "dino": ["b.pth", "c.pth"]}},
        "plain": "digits",
    }
    found = study(models=models, matrix={"models": ["net"], "protect": ["none"], "quantize": ["none"]})
    assert [cell.model for cell in found.cells] == ["net-swav", "net-dino"]
    assert found.models["net-dino"].weights == ("b.pth", "c.pth")


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"net": {"architecture": "digits", "weights": {}}}, "models.net.weights: checkpoints were expected, got none"),
        ({"net": {"architecture": "digits", "weights": {"a/b": "a.pth"}}}, "models.net.weights: a name of at most 64"),
        (
            {"net-a": "digits", "net": {"architecture": "digits", "weights": {"a": "a.pth"}}},
            "models.net: another model is called net-a already",
        ),
    ],
)
def test_weights_that_name_no_model_of_their_own_are_refused(models, message):
    """With the entry."""
    with pytest.raises(UsageError, match=message):
        study(models=models)
