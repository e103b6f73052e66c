"""ActMax against a plain pass over all activations, and thresholds in a file."""

import json

import numpy as np
import onnx
import pytest
from mitigate_kit import (
    KINDS,
    activation_nodes,
    data_of,
    exposed,
    images_of,
    one_activation,
    peaks,
    plain_run,
    residual_net,
)
from onnx import helper
from onnx_zoo import bits_of, model_of, random_floats, small_cnn

from ftonnx.errors import DataError, ModelError, UsageError
from ftonnx.export import find_activations
from ftonnx.inject import load_model
from ftonnx.mitigate import Thresholds, largest_values

ODD = np.array([0.1, 1 / 3, 0, 1e-45, 1.17549435e-38, 3.4028235e38, 6, 16777217], np.float32)


def actmax(model, images, *, scope="node", batch_size=4):
    """Return the largest values of all activations of a model in memory."""
    data = data_of(images, np.zeros(len(images), int))
    return largest_values(load_model(model), data, find_activations(model), scope=scope, batch_size=batch_size)


class TestActMax:
    """The largest value that each activation takes."""

    @pytest.mark.parametrize("scope", ["node", "channel", "neuron", "hybrid"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_the_values_are_those_of_a_plain_pass_over_everything_at_once(self, kind, scope):
        """All observed tensors of all images in numpy: max over all axes, or over all but the channels'."""
        model, images = residual_net(kind), images_of(10)
        activations = find_activations(model)
        observed = plain_run(exposed(model, [a.observed for a in activations]), images)
        got = actmax(model, images, scope=scope)
        assert list(got) == ["act1", "act2", "act3"]
        for activation in activations:
            own = scope if scope != "hybrid" else "neuron" if activation is activations[-1] else "node"
            axes = {"channel": (0, 2, 3), "neuron": (0,), "node": None}[own]
            expected = np.maximum(observed[activation.observed].max(axis=axes, keepdims=own != "node"), 0)
            assert got[activation.name].shape == expected.shape
            assert got[activation.name].dtype == np.float32
            np.testing.assert_allclose(got[activation.name], expected, rtol=2e-6, atol=1e-5)

    @pytest.mark.parametrize("batch_size", [1, 3, 10, 64])
    def test_the_batch_size_does_not_matter(self, batch_size):
        """A last batch that is shorter counts like the others."""
        images = images_of(10)
        whole, parts = actmax(residual_net("relu"), images), actmax(residual_net("relu"), images, batch_size=batch_size)
        for name, value in whole.items():
            np.testing.assert_allclose(parts[name], value, rtol=1e-6)

    def test_a_model_that_insists_on_a_batch_size_gets_it(self):
        """The last batch is filled up, which adds no new value."""
        free, fixed = residual_net("relu"), residual_net("relu")
        for value in (*fixed.graph.input, *fixed.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 4
        expected, got = (actmax(model, images_of(10)) for model in (free, fixed))
        for name, value in expected.items():
            np.testing.assert_allclose(got[name], value, rtol=1e-6)

    def test_a_channel_that_never_fires_has_the_threshold_zero(self):
        """Its activation does fire in another channel."""
        model = one_activation("relu")
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2
        model.graph.initializer[0].CopyFrom(
            onnx.numpy_helper.from_array(np.eye(2, dtype=np.float32)[:, :, None, None], "w")
        )
        images = np.abs(images_of(3, (2, 4, 4)))
        images[:, 1] *= -1
        assert actmax(model, images, scope="channel")["act"][0, 1] == 0
        assert actmax(model, images, scope="channel")["act"][0, 0] == images.max()

    def test_an_activation_that_never_fires_is_refused_by_name(self):
        """T would be 0."""
        with pytest.raises(ModelError, match=r"'act' never fires on these 3 images.*give more or other data"):
            actmax(one_activation("relu"), -np.abs(images_of(3, (1, 4, 4))))

    @pytest.mark.parametrize("op", ["Log", "Reciprocal"])
    def test_a_model_that_gives_nan_or_inf_without_faults_is_refused(self, op):
        """Log of a negative value is NaN, one divided by zero Inf; no threshold can come of it."""
        steps, _ = activation_nodes("relu", "l", "y", "act")
        model = model_of(
            [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node(op, ["c"], ["l"]), *steps],
            [("w", np.ones((1, 1, 1, 1), np.float32))],
            inputs={"x": ("batch", 1, 4, 4)},
        )
        images = images_of(3, (1, 4, 4))
        images[0, 0, 0, 0] = 0
        with pytest.raises(ModelError, match="'act' takes NaN or Inf on this data without any fault"):
            actmax(model, images)

    def test_an_unknown_scope_is_refused(self):
        """The known ones are named."""
        with pytest.raises(UsageError, match="'layer' is not known: use node, channel"):
            actmax(small_cnn(), images_of(1), scope="layer")

    def test_memory_does_not_grow_with_the_data(self):
        """Peaks for 4 and for 64 batches of a stream that is made as it is read."""
        model = load_model(small_cnn())
        options = {"scope": "node", "batch_size": 16}
        few, many = peaks(lambda data: largest_values(model, data, find_activations(model.proto), **options), 4, 64)
        assert many < 1.3 * few


def thresholds_for(model, **values):
    """Return thresholds of a model."""
    return Thresholds(
        method="actmax", scope="node", model=load_model(model).sha256, values=values, search={"data": "0f", "n": [1.5]}
    )


class TestFile:
    """Writing thresholds and reading them back."""

    def test_every_float32_comes_back_bit_for_bit(self, tmp_path):
        """Scalars and channels, subnormals and the largest number."""
        values = {f"a{i}": np.asarray(value) for i, value in enumerate(ODD)}
        values["channels"] = np.abs(random_floats(1, 1000, 1, 1, seed=3))
        before = thresholds_for(small_cnn(), **values)
        before.save(tmp_path / "t.json")
        after = Thresholds.load(tmp_path / "t.json")
        assert list(after.values) == list(values)
        assert bits_of(after.values.values()) == bits_of(values.values())
        assert (after.method, after.scope, after.model, after.search) == (
            before.method, before.scope, before.model, before.search,
        )  # fmt: skip
        after.save(tmp_path / "again.json")
        assert (tmp_path / "again.json").read_bytes() == (tmp_path / "t.json").read_bytes()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["again.json", "t.json"]

    def test_the_thresholds_of_another_model_are_refused(self):
        """Both hashes are shown."""
        thresholds = thresholds_for(small_cnn(seed=1))
        thresholds.require_for(load_model(small_cnn(seed=1)))
        with pytest.raises(ModelError, match=r"found for the model with SHA-256 \w{16}….*run the method again"):
            thresholds.require_for(load_model(small_cnn(seed=2)))

    @pytest.mark.parametrize(
        "change",
        [
            lambda c: "", lambda c: "{", lambda c: "[]", lambda c: "null", lambda c: "[" * 100_000, lambda c: "3",
            lambda c: c | {"schema_version": 2}, lambda c: {k: v for k, v in c.items() if k != "schema_version"},
            lambda c: c | {"thresholds": [1]}, lambda c: c | {"thresholds": {"a": 3}},
            lambda c: c | {"thresholds": {"a": {"shape": [], "values": []}}},
            lambda c: c | {"thresholds": {"a": {"shape": [2], "values": [1]}}},
            lambda c: c | {"thresholds": {"a": {"shape": [-1], "values": [1]}}},
            lambda c: c | {"thresholds": {"a": {"shape": [1, 0, 1, 1], "values": []}}},
            lambda c: c | {"thresholds": {"a": {"shape": [3, 2], "values": [1] * 6}}},
            lambda c: c | {"thresholds": {"a": {"shape": [], "values": [-1]}}},
            lambda c: c | {"thresholds": {"a": {"shape": [], "values": [1e39]}}},
            lambda c: c | {"thresholds": {"a": {"shape": [], "values": [10**400]}}},
            lambda c: c | {"thresholds": {"a": {"shape": [], "values": ["NaN"]}}},
            lambda c: c | {"thresholds": {"a": {"shape": [], "values": [float("nan")]}}},
            lambda c: c | {"search": "none"}, lambda c: {k: v for k, v in c.items() if k != "search"},
            lambda c: {k: v for k, v in c.items() if k != "model"},
        ],
    )  # fmt: skip
    def test_garbage_is_refused(self, tmp_path, change):
        """Cut short, other JSON, another version, wrong shapes, negative and infinite thresholds."""
        changed = change(thresholds_for(small_cnn(), a=np.float32(1)).to_dict())
        (tmp_path / "t.json").write_text(changed if isinstance(changed, str) else json.dumps(changed))
        with pytest.raises(DataError, match="is not a thresholds file of ftonnx protect"):
            Thresholds.load(tmp_path / "t.json")

    @pytest.mark.parametrize("name", ["missing.json", "."])
    def test_a_file_that_cannot_be_read_is_refused(self, tmp_path, name):
        """Missing, or a folder."""
        with pytest.raises(DataError, match="a thresholds file was expected, but it cannot be read"):
            Thresholds.load(tmp_path / name)

    def test_bytes_that_are_no_text_are_refused(self, tmp_path):
        """Such as a model given in place of its thresholds."""
        (tmp_path / "t.json").write_bytes(b"\x80\xff\x00")
        with pytest.raises(DataError, match="is not a thresholds file"):
            Thresholds.load(tmp_path / "t.json")

    def test_a_place_that_cannot_be_written_is_refused(self, tmp_path):
        """The folder is missing."""
        with pytest.raises(UsageError, match="there is no folder"):
            thresholds_for(small_cnn()).save(tmp_path / "none" / "t.json")
