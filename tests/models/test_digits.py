"""The embedded model and the script that made it, torch against ONNX Runtime."""

import json
from collections import Counter

import numpy as np
import onnx
import pytest
from models_kit import logits, split

from ftonnx.datasets import load_dataset
from ftonnx.models import resolve


@pytest.fixture(scope="module")
def model():
    """The committed ModelProto."""
    return onnx.load(resolve("digits"))


def test_the_committed_model_classifies_the_testsplit():
    """At least 97 percent of the 360 test images are right in ONNX Runtime."""
    images, labels = split("test")
    assert (logits(resolve("digits"), images).argmax(1) == labels).mean() >= 0.97


def test_the_committed_model_is_small_valid_and_self_contained(model):
    """Under 1 MB, checked, opset 20, no external data."""
    assert resolve("digits").stat().st_size < 1_000_000
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20)]
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in model.graph.initializer)


def test_the_committed_model_has_the_promised_interface(model):
    """Input and output names, shapes and a dynamic batch."""
    (source,), (sink,) = model.graph.input, model.graph.output
    assert (source.name, sink.name) == ("input", "logits")
    dims = source.type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in dims] == ["batch", 1, 8, 8]
    for batch in (1, 5):
        assert logits(resolve("digits"), np.zeros((batch, 1, 8, 8), np.float32)).shape == (batch, 10)


def test_the_committed_model_is_a_residual_network(model):
    """Convolutions with BatchNorm folded in, ReLU, additions, pooling and one Gemm."""
    kinds = Counter(node.op_type for node in model.graph.node)
    assert (kinds["Conv"], kinds["Relu"], kinds["Add"], kinds["MaxPool"], kinds["Gemm"]) == (9, 7, 3, 1, 1)
    assert kinds["BatchNormalization"] == 0


def test_the_metadata_describes_the_model(model):
    """Architecture, classes, torch version, and a preprocessing that the digits accept."""
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert set(said) == {"ftonnx.architecture", "ftonnx.classes", "ftonnx.preprocess", "ftonnx.torch"}
    assert (said["ftonnx.architecture"], said["ftonnx.classes"]) == ("digits", "10")
    assert json.loads(said["ftonnx.preprocess"]) == {"scale": 0.0625}
    with_model = load_dataset("digits", model_metadata=said)
    assert with_model.fingerprint == load_dataset("digits").fingerprint


def test_the_committed_model_tells_nothing_about_the_machine_that_made_it(model):
    """No doc strings, no metadata on nodes, no path in the bytes."""
    parts = [
        model.graph,
        *model.graph.node,
        *model.graph.input,
        *model.graph.value_info,
        *model.graph.initializer,
    ]
    assert not any(part.doc_string or part.metadata_props for part in parts)
    content = resolve("digits").read_bytes()
    assert not any(word in content for word in (b"site-packages", b".py", b"/tmp", b"/home", b"/root", b"/work"))


def test_the_architecture_takes_any_number_of_classes():
    """The factory sizes the classifier and stays within the promised number of parameters."""
    torch = pytest.importorskip("torch")
    from ftonnx.models.digits import digits

    net = digits(num_classes=7).eval()
    assert net(torch.zeros(3, 1, 8, 8)).shape == (3, 7)
    assert 40_000 <= sum(parameter.numel() for parameter in digits().parameters()) <= 80_000
