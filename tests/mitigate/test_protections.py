"""The protections as values: all of them keep to one contract, and the registry refuses what it does not know."""

import json
from dataclasses import replace

import pytest
from protection_kit import ProtectionContract

from ftonnx.errors import StoreError, UsageError
from ftonnx.mitigate import (
    ActMax,
    ClipAct,
    ClipActSettings,
    Ranger,
    ReLU6,
    protect,
    protection,
    protection_from_dict,
)
from ftonnx.mitigate.protections import PROTECTIONS

SETTINGS = ClipActSettings(iterations=2, rates=(1e-3, 1e-2), batch_size=8)


class TestReLU6(ProtectionContract):
    """Without options."""

    protection = ReLU6()


class TestActMax(ProtectionContract):
    """One threshold per activation."""

    protection = ActMax(batch_size=8)


class TestActMaxPerChannel(ProtectionContract):
    """One threshold per channel."""

    protection = ActMax(scope="channel", batch_size=8)


class TestReLU6AsZero(ProtectionContract):
    """What exceeds 6 becomes 0."""

    protection = ReLU6("zero")


class TestActMaxAsClamp(ProtectionContract):
    """What exceeds a threshold becomes the threshold."""

    protection = ActMax(batch_size=8, on_exceed="clamp")


class TestRanger(ProtectionContract):
    """The same by its own name."""

    protection = Ranger(batch_size=8)


class TestRangerPerNeuron(ProtectionContract):
    """Minima behind the activations."""

    protection = Ranger("neuron", batch_size=8)


class TestClipAct(ProtectionContract):
    """A short search."""

    protection = ClipAct(settings=SETTINGS)


class TestClipActAsClamp(ProtectionContract):
    """The search tries clamps."""

    protection = ClipAct(settings=replace(SETTINGS, on_exceed="clamp"))


def test_every_protection_has_a_contract_test():
    """A class that inherits it stands in this file."""
    tested = {each.protection.name for each in ProtectionContract.__subclasses__()}
    assert tested == set(PROTECTIONS)


def test_a_name_takes_what_it_knows_of_the_shared_options():
    """ReLU6 neither scope nor settings, ActMax the batch size; all of them a form, by default their own."""
    assert protection("relu6", scope="channel") == ReLU6()
    assert protection("actmax", scope="channel", settings=SETTINGS) == ActMax("channel", batch_size=8)
    assert protection("clipact", settings=SETTINGS) == ClipAct("node", SETTINGS)
    assert protection("relu6", on_exceed="zero") == ReLU6("zero")
    assert protection("actmax", on_exceed="clamp") == ActMax(on_exceed="clamp")
    assert protection("ranger", scope="hybrid") == Ranger("hybrid", on_exceed="clamp")
    assert protection("ranger", on_exceed="zero") == Ranger(on_exceed="zero")
    clamped = replace(SETTINGS, on_exceed="clamp")
    assert protection("clipact", settings=SETTINGS, on_exceed="clamp") == ClipAct("node", clamped)
    assert protection("clipact", settings=clamped) == ClipAct("node", clamped)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "method 'None' is not known: use relu6, actmax, ranger, clipact"),
        ({"method": "actmax", "scope": "layer"}, "scope 'layer' is not known"),
        ({"method": "relu6", "on_exceed": "cut"}, "on_exceed 'cut' is not known: use zero, clamp"),
        ({"method": "relu6", "scope": "node"}, "relu6 does not take these options"),
        ({"method": "clipact", "settings": {"rates": [1e-5]}}, "an area needs two or more rates"),
    ],
)
def test_json_that_makes_no_sense_is_refused(values, message):
    """With a line that says why."""
    with pytest.raises(UsageError, match=message):
        protection_from_dict(values)


class TestInputs:
    """What stands for a model and for data."""

    def test_a_name_a_spec_and_batches_are_enough(self, tmp_path):
        """The split is val, since test images are for testing."""
        by_spec = protect("digits", "digits", ActMax())
        assert by_spec.thresholds.search["samples"] == 360
        by_spec.save(tmp_path / "clipped.onnx")
        assert (tmp_path / "clipped.onnx").read_bytes() == by_spec.proto.SerializeToString()


def test_a_search_goes_on_in_its_folder_and_refuses_another(tmp_path):
    """The library keeps every measurement, as the command does."""
    lines = tmp_path / "search" / "search.jsonl"
    few = ClipActSettings(iterations=1, rates=(1e-5, 1e-4), batch_size=60)
    first = protect("digits", "digits", ClipAct(settings=few), results=tmp_path / "search")
    kept = lines.read_text()
    assert {"model", "data", "scope", "rates", "versions"} <= json.loads(kept.splitlines()[0])["identity"].keys()
    again = protect("digits", "digits", ClipAct(settings=few), results=tmp_path / "search")
    assert again.proto == first.proto
    assert lines.read_text() == kept
    with pytest.raises(StoreError, match="belongs to another search"):
        protect("digits", "digits", ClipAct("channel", few), results=tmp_path / "search")
