"""What a study would do, and what it would not."""

import pytest
from campaign_kit import contents
from study_kit import SMALL, ran, study

from ftonnx.studies import pace, plan, run


def states(found, kind):
    """Return {name: state} of the steps of one kind."""
    return {step.name: step.state for step in found.steps if step.kind == kind}


def test_the_plan_of_an_empty_folder_knows_the_units(tmp_path):
    """As many as are recorded afterwards; nothing is made before."""
    before = plan(study(), tmp_path / "s")
    assert not (tmp_path / "s").exists()
    assert set(states(before, "campaign").values()) == {"to do"}
    assert states(before, "model") == {
        "net/given": "given",
        "net/ptq@digits": "to do",
        "net/actmax@digits": "to do",
        "net/actmax+ptq@digits": "to do",
    }
    ran(tmp_path / "s")
    kept = contents(tmp_path / "s").keys()
    after = plan(study(), tmp_path / "s")
    assert contents(tmp_path / "s").keys() == kept
    campaigns = [step for step in after.steps if step.kind == "campaign"]
    assert {step.state for step in campaigns} == {"done"}
    planned = {step.name: step.units for step in before.steps if step.kind == "campaign"}
    assert {step.name: step.recorded for step in campaigns} == planned
    assert set(states(after, "model").values()) == {"given", "done"}
    assert [step.path for step in before.steps] == [step.path for step in after.steps]


def test_the_plan_is_a_tree_without_doubles(tmp_path):
    """Every step stands behind what it is made from, once."""
    found = plan(study(faults={"a": {"rate": 1e-5}, "b": {"rate": 1e-4}}), tmp_path)
    seen = []

    def walk(name):
        for step in found.after(name):
            seen.append(step)
            walk(step.name)

    walk(None)
    assert sorted(step.name for step in seen) == sorted(step.name for step in found.steps)
    assert len(found.steps) == 4 + 8
    assert {step.source for step in found.after("net/actmax@digits")} == {"net/actmax@digits"}


def test_units_that_follow_from_a_model_are_not_guessed(tmp_path):
    """Of every bit of a model that is not made yet nobody knows how many there are; made, it is said."""
    values = study(faults={"layers": {"per_layer": 1}}, matrix={"protect": ["none"], "quantize": ["none", "ptq"]})
    before = {step.name: step.units for step in plan(values, tmp_path).steps}
    assert before["net/none/none/digits/layers"] > 1
    assert before["net/none/ptq/digits/layers"] is None
    assert run(values, tmp_path).failures == ()
    for step in plan(values, tmp_path).steps:
        assert step.kind == "model" or step.units == step.recorded > 1


def test_a_begun_campaign_is_told_from_a_done_one(tmp_path, monkeypatch):
    """By the units that are recorded."""
    monkeypatch.setattr(pace, "_SECONDS", 0.0)  # every unit is told of

    def stop_soon(told):
        if told.done >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(study(), tmp_path, progress=stop_soon)
    found = {step.name: step for step in plan(study(), tmp_path).steps}
    begun = found["net/none/none/digits/rates"]
    assert begun.state == "begun"
    assert 0 < begun.recorded < begun.units == 8


def test_what_fails_is_in_the_plan(tmp_path):
    """With the reason, for the model and all that is made from it."""
    found = plan(study(models={"gone": "gone.onnx"}), tmp_path)
    assert {step.state for step in found.steps} == {"fails"}
    assert all("gone.onnx" in step.reason for step in found.steps)
    missing = plan(study(data={"digits": "npz:missing.npz"}), tmp_path)
    assert states(missing, "model")["net/given"] == "given"
    assert set(states(missing, "campaign").values()) == {"fails"}


def test_only_some_cells_are_planned(tmp_path):
    """With the models that they need."""
    found = plan(study(), tmp_path, only=["*/none/ptq/*"])
    assert [step.name for step in found.steps] == ["net/given", "net/ptq@digits", "net/none/ptq/digits/rates"]
    assert found.to_dict()["study"] == SMALL["study"]["name"]
