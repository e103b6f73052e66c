"""What every protection keeps to; a new leaf inherits it by one line.

class TestMyProtection(ProtectionContract):
    protection = MyProtection()
"""

import dataclasses
import json

import onnx
import pytest
from mitigate_kit import data_of, images_of, plain_run
from onnx_zoo import small_cnn

from ftonnx.errors import ModelError
from ftonnx.inject import FaultSpace, load_model
from ftonnx.mitigate import METHODS, protect, protection_from_dict
from ftonnx.mitigate.protections import PROTECTIONS


class ProtectionContract:
    """Tests of one protection, on a small network with two ReLUs."""

    protection = None

    def run(self, model):
        """Protect a model with eight images that it labels itself."""
        images = images_of(8)
        labels = plain_run(model, images)["y"].argmax(axis=1)
        return protect(model, data_of(images, labels), self.protection)

    def test_the_registry_finds_it_by_its_name(self):
        """The command line and JSON know nothing but the name."""
        assert PROTECTIONS[self.protection.name] is type(self.protection)
        assert self.protection.name in METHODS

    def test_json_gives_back_an_equal_value(self):
        """Through text, where a tuple becomes a list."""
        text = json.dumps(self.protection.to_dict())
        assert protection_from_dict(json.loads(text)) == self.protection

    def test_it_is_a_value_that_shows_its_options(self):
        """Frozen, and its repr names every field."""
        assert dataclasses.is_dataclass(self.protection)
        for option in dataclasses.fields(self.protection):
            assert f"{option.name}=" in repr(self.protection)
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(self.protection, option.name, None)

    def test_the_input_is_not_touched_and_the_result_is_marked(self):
        """A transform gives a new model, valid, with its method among the metadata."""
        model = small_cnn()
        before = model.SerializeToString(deterministic=True)
        protected = self.run(model)
        assert model.SerializeToString(deterministic=True) == before
        onnx.checker.check_model(protected.proto)
        assert protected.method == self.protection.name
        assert protected.activations == ("relu1", "relu2")

    def test_the_protected_model_meets_the_same_flips(self):
        """Thresholds never flip, and stored tensors stay bit for bit."""
        model = small_cnn()
        protected = self.run(model).proto
        assert FaultSpace.of(protected).fingerprint == FaultSpace.of(model).fingerprint
        stored = {tensor.name: tensor for tensor in protected.graph.initializer}
        assert all(stored[tensor.name] == tensor for tensor in model.graph.initializer)

    def test_two_runs_give_the_same_model(self):
        """Nothing is random but by the seed."""
        assert self.run(small_cnn()).proto == self.run(small_cnn()).proto

    def test_a_protected_model_is_not_protected_again(self):
        """By whatever method."""
        protected = self.run(small_cnn()).proto
        with pytest.raises(ModelError, match=f"is protected by {self.protection.name} already"):
            protect(load_model(protected), None, self.protection)

    def test_the_result_says_what_it_is(self):
        """In one short line, not the whole graph."""
        text = repr(self.run(small_cnn()))
        assert text.startswith(f"Protected({self.protection.name}, 2 activations clipped")
        assert len(text) < 200
