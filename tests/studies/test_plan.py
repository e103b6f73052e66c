"""What a study would do, and what it would not."""

import numpy as np
import pytest
from campaign_kit import contents
from study_kit import SMALL, ran, study

from ftonnx.campaign import Campaign, CampaignResult, Settings
from ftonnx.campaign.inputs import open_model
from ftonnx.models import resolve
from ftonnx.studies import forecast, pace, plan, run
from ftonnx.studies.campaigns import CellCampaign


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


def test_times_are_measured_where_a_model_is_there(tmp_path):
    """On the given model for all that is made from it; then on the files themselves, for what is not done."""
    before = plan(study(), tmp_path / "s", measure=60)
    assert not (tmp_path / "s").exists()
    campaigns = [step for step in before.steps if step.kind == "campaign"]
    assert {step.measured_on for step in campaigns} == {"net/given"}
    assert len({step.seconds for step in campaigns}) == 1
    assert before.seconds == pytest.approx(4 * campaigns[0].seconds)
    assert [step.name for step in before.left_out] == ["net/ptq@digits", "net/actmax@digits", "net/actmax+ptq@digits"]
    ran(tmp_path / "s")
    done = plan(study(), tmp_path / "s", measure=60)
    assert (done.seconds, done.left_out) == (0, ())
    more = plan(study(faults={"more": {"rate": [1e-5, 1e-4]}}), tmp_path / "s", measure=60)
    campaigns = [step for step in more.steps if step.kind == "campaign"]
    assert [step.measured_on for step in campaigns] == [step.source for step in campaigns]
    assert more.to_dict()["left_out"] == []


def test_times_are_those_of_the_units_that_are_left(tmp_path, monkeypatch):
    """Each as long as a forecast of ftonnx inject says, here half a second."""
    monkeypatch.setattr(Campaign, "forecast", lambda campaign: {"seconds": campaign.units / 2})
    monkeypatch.setattr(pace, "_SECONDS", 0.0)  # every unit is told of

    def stop_soon(told):
        if told.done >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(study(), tmp_path, progress=stop_soon)
    found = {step.name: step for step in plan(study(), tmp_path, measure=60).steps}
    begun = found["net/none/none/digits/rates"]
    assert begun.recorded > 0
    assert begun.seconds == (8 - begun.recorded) / 2
    assert found["net/none/ptq/digits/rates"].seconds == 4


def test_measuring_ends_when_the_time_is_over(tmp_path, monkeypatch):
    """No further campaign is opened, and what nobody knows is left out of the total; by default nothing is timed."""
    opened = []
    monkeypatch.setattr(CellCampaign, "opened", lambda campaign, shop: opened.append(campaign))
    found = plan(study(), tmp_path, measure=1e-9)
    assert opened == []
    assert found.seconds == 0
    assert len(found.left_out) == 3 + 4
    assert plan(study(), tmp_path).seconds == 0
    assert opened == []


def test_campaigns_that_differ_in_images_are_timed_for_themselves(tmp_path, monkeypatch):
    """An injection's units take more images than a pattern's at a rate."""
    times = iter([1.0, 10.0])
    monkeypatch.setattr(forecast, "_UNITS", 1)
    monkeypatch.setattr(Campaign, "forecast", lambda campaign: {"seconds": campaign.units * next(times)})
    faults = {"r": {"rate": 1e-5}, "q": {"rate": 1e-4}, "s": {"faults_per_run": 1, "repeats": 4}}
    values = study(faults=faults, study={"limit": None}, matrix={"protect": ["none"], "quantize": ["none"]})
    found = {step.name: step for step in plan(values, tmp_path, measure=60).steps if step.kind == "campaign"}
    assert {name[-1]: step.seconds / step.units for name, step in found.items()} == {"r": 1.0, "q": 1.0, "s": 10.0}


def test_sizes_are_in_the_plan(tmp_path):
    """Bits that can flip, and bytes of files, where they are there."""
    space = Settings(format="q15.16").fault_space(open_model("digits"))
    before = {step.name: step for step in plan(study(), tmp_path).steps}
    assert before["net/given"].bytes == resolve("digits").stat().st_size
    assert before["net/none/none/digits/rates"].bits == space.bits
    assert before["net/none/ptq/digits/rates"].bits is None
    ran(tmp_path)
    after = {step.name: step for step in plan(study(), tmp_path).steps}
    for step in after.values():
        if step.kind == "model":
            assert step.bytes == step.path.stat().st_size
        else:
            assert step.bits == CampaignResult.open(step.path).fault_space.bits


def test_a_campaign_that_cannot_be_opened_fails_in_the_plan(tmp_path):
    """Measuring finds images of another size than the model takes."""
    images = tmp_path / "images.npz"
    np.savez(images, images=np.zeros((4, 1, 9, 9), np.uint8), labels=np.arange(4))
    values = study(data={"mine": f"npz:{images}"}, matrix={"protect": ["none"], "quantize": ["none"]})
    (campaign,) = [step for step in plan(values, tmp_path, measure=60).steps if step.kind == "campaign"]
    assert campaign.state == "fails"
    assert "9" in campaign.reason
