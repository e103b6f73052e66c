"""Protecting a model through the Python interface: what is refused, what comes out, and that it helps."""

import numpy as np
import onnx
import pytest
from mitigate_kit import data_of, images_of, one_activation, plain_run
from onnx import helper
from onnx_zoo import bits_of, halved, model_of, random_floats, small_cnn

from ftonnx import evaluate
from ftonnx.datasets import load_dataset
from ftonnx.errors import ModelError, UsageError
from ftonnx.export import clip_activations, find_activations, read_thresholds, with_activation
from ftonnx.inject import FaultSpace, load_model
from ftonnx.mitigate import METHODS, ClipAct, ClipActSettings, Thresholds, protect, protectable, protection
from ftonnx.models import resolve

SETTINGS = ClipActSettings(iterations=2, rates=(1e-3, 1e-2), batch_size=8)


def run(model, method="actmax", **options):
    """Protect a model in memory with eight images."""
    images = images_of(8)
    labels = plain_run(model, images)["y"].argmax(axis=1)
    loaded = load_model(model)
    return protect(loaded, data_of(images, labels), protection(method, settings=SETTINGS, **options))


class TestResult:
    """What comes out."""

    @pytest.mark.parametrize("scope", ["node", "channel"])
    @pytest.mark.parametrize("method", METHODS)
    def test_a_protected_model_says_how_and_meets_the_same_flips(self, method, scope):
        """The method is in its metadata beside what was there; the input is not touched."""
        model = small_cnn()
        onnx.helper.set_model_props(model, {"key": "value"})
        before = model.SerializeToString(deterministic=True)
        protected = run(model, method, scope=scope)
        assert model.SerializeToString(deterministic=True) == before
        onnx.checker.check_model(protected.proto, full_check=True)
        loaded = load_model(protected.proto)
        form = "clamp" if method in ("relu6", "ranger") else "zero"
        said = {"key": "value", "ftonnx.protection": method, "ftonnx.on_exceed": form}
        if method != "relu6":  # which takes no images
            said["ftonnx.tuned_on"] = f'["{protected.thresholds.search["data"]}"]'
        assert loaded.metadata == said
        assert protected.activations == ("relu1", "relu2")
        assert FaultSpace.of(loaded).fingerprint == FaultSpace.of(model).fingerprint
        held = read_thresholds(protected.proto)
        if method == "relu6":
            assert (protected.thresholds, held) == (None, {})
            return
        assert bits_of(held.values()) == bits_of(protected.thresholds.values.values())
        assert [t.shape for t in held.values()] == ([(), ()] if scope == "node" else [(1, 16, 1, 1), (1, 12, 1, 1)])
        assert protected.thresholds.model == load_model(model).sha256

    def test_given_thresholds_need_no_data_and_give_the_same_model(self):
        """Those of ClipAct per channel, say."""
        model = small_cnn()
        first = run(model, "clipact", scope="channel")
        again = protect(load_model(model), None, first.thresholds)
        assert again.proto == first.proto
        assert again.thresholds == first.thresholds

    def test_a_model_exported_with_crelu_is_protected_like_one_with_relu(self):
        """Thresholds of +Inf count as none; the protected models compute the same."""
        relu, crelu = small_cnn(), with_activation(small_cnn(), "crelu")
        first, second = run(relu), run(crelu)
        images = 4 * images_of(5, seed=1)
        assert bits_of(first.thresholds.values.values()) == bits_of(second.thresholds.values.values())
        assert bits_of(plain_run(first.proto, images).values()) == bits_of(plain_run(second.proto, images).values())
        assert len(second.proto.graph.initializer) == len(crelu.graph.initializer)

    def test_everything_about_the_search_is_recorded(self):
        """Data, images, settings, every evaluated point."""
        thresholds = run(small_cnn(), "clipact").thresholds
        data = data_of(images_of(8), plain_run(small_cnn(), images_of(8))["y"].argmax(axis=1))
        assert thresholds.search["data"] == data.fingerprint
        assert thresholds.search["samples"] == 8
        assert thresholds.search["settings"] == {
            "iterations": 2, "rates": [1e-3, 1e-2], "repeats": 1, "auc_axis": "log", "include_clean": 0.0,
            "resample": None, "batch_size": 8, "seed": 0, "on_exceed": "zero", "task": None,
            "output": None,
        }  # fmt: skip
        points = thresholds.search["evaluations"]
        assert set(points[0]) == {"activation", "iteration", "threshold", "score", "accuracy", "at_most", "clean"}
        assert [p["activation"] for p in points] == ["relu1"] * 6 + ["relu2"] * 6

    def test_relu6_clamps_the_relus_and_leaves_the_rest(self):
        """In a net with ReLU and HardSwish."""
        node = helper.make_node
        model = model_of(
            [
                node("Conv", ["x", "w1"], ["a"]), node("Relu", ["a"], ["b"], name="relu"),
                node("Conv", ["b", "w2"], ["c"]), node("HardSwish", ["c"], ["y"], name="swish"),
            ],
            [("w1", random_floats(4, 3, 3, 3)), ("w2", random_floats(4, 4, 3, 3))],
        )  # fmt: skip
        protected = protect(load_model(model), None, method="relu6")
        assert protected.activations == ("relu",)
        assert [n.op_type for n in protected.proto.graph.node] == ["Conv", "Clip", "Conv", "HardSwish"]


def quantized():
    """Return a model with a quantized input."""
    node = helper.make_node
    return model_of(
        [
            node("QuantizeLinear", ["x", "s"], ["q"]), node("DequantizeLinear", ["q", "s"], ["d"]),
            node("Conv", ["d", "w"], ["c"]), node("Relu", ["c"], ["y"]),
        ],
        [("s", np.float32(0.1)), ("w", random_floats(4, 3, 3, 3))],
    )  # fmt: skip


class TestRefused:
    """Models and requests that make no sense, each with the way to go on."""

    @pytest.mark.parametrize(
        ("model", "message"),
        [
            (quantized(), "is quantized; protect its FP32 model, then quantize that one"),
            (halved(small_cnn()), "has float16 weights, float32 was expected"),
            (
                clip_activations(small_cnn(), {"relu2": np.float32(3)})[0],
                "is protected by clipping already; start from",
            ),
            (protect(load_model(small_cnn()), None, method="relu6").proto, "is protected by relu6 already; start from"),
            (
                model_of([helper.make_node("Conv", ["x", "w"], ["y"])], [("w", random_floats(4, 3, 3, 3))]),
                "has no activation to clip: Relu, Clip from 0, CReLU, or GELU, SiLU, HardSwish, LeakyRelu",
            ),
        ],
        ids=["int8", "fp16", "clipped", "relu6", "linear"],
    )
    def test_an_unsuitable_model_is_refused(self, model, message):
        """Before anything is run."""
        with pytest.raises(ModelError, match=message):
            protectable(load_model(model))
        for method in METHODS:
            with pytest.raises(ModelError, match=message):
                protect(load_model(model), None, method=method)

    def test_relu6_needs_a_relu(self):
        """On a model with GELU only, it says what to use."""
        with pytest.raises(ModelError, match="has no Relu that relu6 could clamp; use actmax or clipact"):
            protect(load_model(one_activation("gelu")), None, method="relu6")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"method": "clip"}, "'clip' is not known: use relu6, actmax, ranger, clipact"),
            ({"method": "relu6", "scope": "layer"}, "'layer' is not known: use node, channel"),
            ({"method": "actmax", "scope": "layer"}, "'layer' is not known: use node, channel"),
            ({"method": "actmax"}, "actmax needs images: give `data`, or earlier `thresholds`"),
            ({"method": "clipact"}, "clipact needs images"),
        ],
    )
    def test_a_request_that_makes_no_sense_is_refused(self, options, message):
        """Unknown names, no data."""
        with pytest.raises(UsageError, match=message):
            protect(load_model(small_cnn()), None, protection(**options))

    def test_thresholds_of_another_model_are_refused(self):
        """By the hash of the model, and by its activations where somebody changed that."""
        thresholds = run(small_cnn(seed=1)).thresholds
        with pytest.raises(ModelError, match="the thresholds were found for the model with SHA-256"):
            protect(load_model(small_cnn(seed=2)), None, thresholds)
        own = load_model(small_cnn())
        for values, message in (({"other": np.float32(1)}, "no activation 'other'"), ({}, "holds no thresholds")):
            forged = Thresholds(method="actmax", scope="node", model=own.sha256, values=values)
            with pytest.raises(ModelError, match=message):
                protect(own, None, forged)


@pytest.mark.slow
def test_clipping_helps_the_embedded_digits():
    """At 1e-5 and 3e-5 flips per bit, ActMax and ClipAct lose far less accuracy; thresholds come from other images."""
    model = load_model(resolve("digits"))
    val, test = (load_dataset("digits", split=split, model_metadata=model.metadata) for split in ("val", "test"))
    settings = ClipActSettings(iterations=2, rates=(3e-6, 1e-5, 3e-5), repeats=2, seed=1)
    variants = {
        "none": model.proto,
        "actmax": protect(model, val, method="actmax").proto,
        "clipact": protect(model, val, ClipAct(settings=settings)).proto,
    }
    found = {
        name: evaluate(proto, test, rates=(1e-5, 3e-5), repeats=20, seed=3, strategy="live")
        for name, proto in variants.items()
    }
    low, high = ({name: result.rates[i].top1.mean for name, result in found.items()} for i in (0, 1))
    for name in ("actmax", "clipact"):
        assert low[name] > low["none"] + 0.08, (low, high)
        assert high[name] > high["none"] + 0.2, (low, high)
        assert found[name].golden["top1"] > 0.95
    assert found["actmax"].golden["top1"] == pytest.approx(found["none"].golden["top1"], abs=0.01)
    assert len(find_activations(variants["actmax"])) == 7
