"""Files that ONNX Runtime's optimizer wrote: campaigns run them, edits of activations refuse them."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx_zoo import bits_of, model_of, naively_flipped, ort_run, random_floats, small_cnn
from runtime_kit import norm_net

from ftonnx.errors import ModelError
from ftonnx.export import find_activations
from ftonnx.graphs import require_unoptimized
from ftonnx.inject import Faults, FaultSpace
from ftonnx.mitigate import protect, quantize
from ftonnx.models import resolve
from ftonnx.quant import quantize as quantize_proto
from ftonnx.runtime import FaultySession

node = onnx.helper.make_node
X = random_floats(3, 3, 8, 8, seed=9)


def optimized(model, level):
    """Return what ONNX Runtime saves of a model."""
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    options.log_severity_level = 4
    options.optimized_model_filepath = "optimized.onnx"
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load("optimized.onnx")


def dense():
    """Return a network of two dense layers with an activation between them."""
    return model_of(
        [
            node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w1", "b1"], ["g"]), node("Relu", ["g"], ["r"]),
            node("MatMul", ["r", "w2"], ["y"]),
        ],
        [("w1", random_floats(192, 16)), ("b1", random_floats(16)), ("w2", random_floats(16, 5))],
    )  # fmt: skip


FUSED = {
    "fused convolutions": (small_cnn, "ORT_ENABLE_EXTENDED", "FusedConv"),
    "fused dense layers": (dense, "ORT_ENABLE_EXTENDED", "FusedGemm"),
    "blocked layout": (small_cnn, "ORT_ENABLE_ALL", "Conv of com.microsoft.nchwc"),
    "some of it only": (lambda: onnx.load(resolve("digits")), "ORT_ENABLE_EXTENDED", "FusedConv"),
    "blocked layout with norms": (norm_net, "ORT_ENABLE_ALL", "Conv of com.microsoft.nchwc"),
}


@pytest.fixture(params=FUSED.values(), ids=FUSED)
def fused(request, tmp_path, monkeypatch):
    """Return an optimized model, and the operator that tells."""
    monkeypatch.chdir(tmp_path)
    make, level, named = request.param
    return optimized(make(), level), named


def test_edits_of_activations_say_what_the_file_is(fused):
    """Also where some activations are left beside those that were fused: the others would stay as they are."""
    model, named = fused
    images = [np.zeros((2, 3, 8, 8), np.float32)]
    ways = (
        lambda: require_unoptimized(model), lambda: find_activations(model), lambda: protect(model, method="relu6"),
        lambda: quantize(model, images), lambda: quantize_proto(model, images),
    )  # fmt: skip
    for way in ways:
        with pytest.raises(ModelError, match="optimized by ONNX Runtime") as caught:
            way()
        assert named in str(caught.value)
        assert "give the model from before" in str(caught.value)


@pytest.mark.parametrize("strategy", ["live", "rebuild"])
@pytest.mark.parametrize("name", [name for name in FUSED if name != "some of it only"])
def test_campaigns_run_them_as_they_are(tmp_path, monkeypatch, name, strategy):
    """One flip in every target, compared with a plain session on a flipped file."""
    monkeypatch.chdir(tmp_path)
    make, level, _ = FUSED[name]
    model = optimized(make(), level)
    space = FaultSpace.of(model, format="ieee")
    session = FaultySession(model, space, strategy=strategy)
    packed = strategy == "rebuild"
    assert bits_of(session.golden(X)) == bits_of(ort_run(model, {"x": X}, prepack=packed))
    for index, target in enumerate(space.targets):
        flipped = naively_flipped(model, [(target.tensor, 0, 30)], fixed=None)
        faulty = session.run(X, Faults([index], [0], [30]))
        assert bits_of(faulty) == bits_of(ort_run(flipped, {"x": X}, prepack=packed))


@pytest.mark.parametrize("level", ["ORT_DISABLE_ALL", "ORT_ENABLE_BASIC"])
def test_a_saved_file_without_fused_nodes_is_no_matter(tmp_path, monkeypatch, level):
    """The standard's operators are left."""
    monkeypatch.chdir(tmp_path)
    model = optimized(small_cnn(), level)
    require_unoptimized(model)
    assert len(find_activations(model)) == 2
