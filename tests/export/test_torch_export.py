"""Torch networks and their exported graphs, with small networks: what the file holds and what is refused."""

import re

import numpy as np
import onnx
import pytest

from ftonnx.errors import ModelError, StoreError, UsageError

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch_nets import TinyResNet, assert_same, images, lively, run_onnx, run_torch, tiny_resnet  # noqa: E402

from ftonnx.export import check_parity, export_module, with_activation, write_model  # noqa: E402
from ftonnx.models import CReLU  # noqa: E402


def _operators(proto):
    return [node.op_type for node in proto.graph.node]


def _stored(proto):
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}


@pytest.fixture(scope="module")
def exported():
    """A small network and its export."""
    net = tiny_resnet(seed=3)
    return net, export_module(net, input_shape=(3, 6, 6), metadata={"ftonnx.architecture": "tiny", "mine": "yes"})


def test_the_exported_graph_computes_what_torch_computes_for_any_batch(exported):
    """Batches of 1, 3 and 7 against torch."""
    net, proto = exported
    for batch in (1, 3, 7):
        inputs = images(batch, (3, 6, 6), seed=batch)
        assert_same(run_torch(net, inputs), run_onnx(proto, inputs))


def test_the_interface_is_the_promised_one(exported):
    """Names, shapes, opset, batch dimension; one file without external data."""
    _, proto = exported
    (source,), (sink,) = proto.graph.input, proto.graph.output
    assert (source.name, sink.name) == ("input", "logits")
    assert [dim.dim_param or dim.dim_value for dim in source.type.tensor_type.shape.dim] == ["batch", 3, 6, 6]
    assert [dim.dim_param or dim.dim_value for dim in sink.type.tensor_type.shape.dim] == ["batch", 5]
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", 20)]
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in proto.graph.initializer)


def test_batch_normalization_is_folded_into_the_convolutions(exported):
    """Three of them, and the stored weights are gamma / sqrt(variance + epsilon) times torch's."""
    net, proto = exported
    assert _operators(proto).count("Conv") == 3
    assert "BatchNormalization" not in _operators(proto)
    factor = (net.bn1.weight / torch.sqrt(net.bn1.running_var + net.bn1.eps)).view(-1, 1, 1, 1)
    np.testing.assert_allclose(_stored(proto)["conv1.weight"], (net.conv1.weight * factor).numpy(), rtol=1e-6)


@pytest.mark.parametrize("opset", [18, 20, 22])
def test_batch_normalization_is_kept_on_request(exported, opset):
    """Every parameter of torch's under torch's name with torch's bits, and the same function; the metadata says so."""
    net, folded = exported
    kept = export_module(net, input_shape=(3, 6, 6), keep_batchnorm=True, opset=opset)
    assert _operators(kept).count("BatchNormalization") == sum(isinstance(m, nn.BatchNorm2d) for m in net.modules()) > 0
    stored = _stored(kept)
    for name, value in net.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert stored[name].tobytes() == value.numpy().tobytes(), name
    inputs = images(5, (3, 6, 6), seed=5)
    assert_same(run_torch(net, inputs), run_onnx(kept, inputs))
    said = {entry.key: entry.value for entry in kept.metadata_props}
    assert said["ftonnx.batchnorm"] == "kept"
    assert {entry.key: entry.value for entry in folded.metadata_props}["ftonnx.batchnorm"] == "folded"
    assert check_parity(net, kept) < 1e-4


def test_kept_normalizations_of_equal_values_stay_apart():
    """A fresh network has many equal parameters, which the exporter would merge into one tensor."""
    net = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.Flatten()
    ).eval()
    kept = export_module(net, input_shape=(3, 2, 2), keep_batchnorm=True)
    norms = [node for node in kept.graph.node if node.op_type == "BatchNormalization"]
    assert [list(node.input[1:]) for node in norms] == [
        [f"{place}.{name}" for name in ("weight", "bias", "running_mean", "running_var")] for place in (1, 4)
    ]


def test_a_network_without_normalization_says_so():
    """Nothing was folded, so its weights are torch's."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).eval()
    for keep in (False, True):
        model = export_module(net, input_shape=(3, 2, 2), keep_batchnorm=keep)
        assert {entry.key: entry.value for entry in model.metadata_props}["ftonnx.batchnorm"] == "none"


def test_the_metadata_says_what_the_file_is(exported):
    """What the caller said, the class count, and the versions."""
    said = {entry.key: entry.value for entry in exported[1].metadata_props}
    assert said["ftonnx.architecture"] == "tiny"
    assert said["mine"] == "yes"
    assert said["ftonnx.classes"] == "5"
    assert said["ftonnx.torch"] == torch.__version__
    assert re.fullmatch(r"\d+\.\d+.*", said["ftonnx.version"])


def test_the_file_tells_nothing_about_the_machine_that_made_it(exported):
    """No doc strings, no metadata on nodes, no path in the bytes."""
    graph = exported[1].graph
    parts = [graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer]
    assert not any(part.doc_string or part.metadata_props for part in parts)
    content = exported[1].SerializeToString()
    assert not any(word in content for word in (b"site-packages", b".py", b"/tmp", b"/home", b"/root", b"/work"))


def test_the_network_is_left_as_it_was(exported):
    """Same weights, same mode, and a second export gives the same bytes."""
    net, proto = exported
    again = tiny_resnet(seed=3)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in net.state_dict().items())
    metadata = {"ftonnx.architecture": "tiny", "mine": "yes"}
    second = export_module(net, input_shape=(3, 6, 6), metadata=metadata)
    assert second.SerializeToString(deterministic=True) == proto.SerializeToString(deterministic=True)


@pytest.mark.parametrize("opset", [18, 19, 21, onnx.defs.onnx_opset_version()])
def test_other_opsets_are_written_or_refused(opset):
    """What is written has the opset that was asked for and computes the same."""
    net = tiny_resnet()
    try:
        proto = export_module(net, input_shape=(3, 6, 6), opset=opset)
    except UsageError as error:
        assert opset > 21
        assert "ask for that" in str(error)  # noqa: PT017
        return
    assert proto.opset_import[0].version == opset
    assert_same(run_torch(net, images(2, (3, 6, 6))), run_onnx(proto, images(2, (3, 6, 6))))


class Norms(nn.Module):
    """BatchNorm where no convolution precedes it: after a ReLU on images, and twice on vectors."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4, eps=1e-2)
        self.line = nn.BatchNorm1d(4)
        self.vector = nn.BatchNorm1d(4)
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        """Logits."""
        x = self.norm(functional.relu(self.conv(x)))
        x = functional.relu(self.line(functional.relu(x.flatten(2))))
        return self.fc(functional.relu(self.vector(functional.relu(x.mean(2)))))


def test_normalization_without_a_convolution_becomes_a_scale_and_a_shift():
    """Stored once per channel, under the module's name, with the values of the textbook."""
    net = lively(Norms(), seed=1)
    proto = export_module(net, input_shape=(3, 6, 6))
    operators, stored = _operators(proto), _stored(proto)
    assert "BatchNormalization" not in operators
    assert (operators.count("Conv"), operators.count("Mul"), operators.count("Add")) == (3, 1, 1)
    for name, shape in (("norm", (4, 1, 1, 1)), ("line", (4, 1, 1)), ("vector", (4,))):
        norm = net.get_submodule(name)
        scale = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).numpy()
        shift = (norm.bias - norm.running_mean * torch.from_numpy(scale)).numpy()
        assert stored[f"{name}.scale"].shape == shape
        np.testing.assert_allclose(stored[f"{name}.scale"].reshape(-1), scale, rtol=1e-6)
        np.testing.assert_allclose(stored[f"{name}.shift"], shift, rtol=1e-5, atol=1e-7)
    floats = [name for name, tensor in stored.items() if tensor.dtype == np.float32]
    assert len(floats) == 2 + 2 + 3 * 2  # conv, fc, and two tensors for each normalization
    for batch in (1, 3):
        assert_same(run_torch(net, images(batch, (3, 6, 6))), run_onnx(proto, images(batch, (3, 6, 6))))


class Clipped(nn.Module):
    """CReLU with one threshold per channel, with equal scalars, one of them used twice, and on vectors."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.channels = CReLU(torch.tensor([0.1, 0.2, 0.3, 0.4]))
        self.twice = CReLU(0.5)
        self.other = CReLU(0.5)
        self.vector = CReLU(torch.tensor([0.05, 0.1, 0.02, 0.3]))
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        """Logits."""
        x = self.channels(self.conv1(x))
        x = self.other(self.conv2(self.twice(self.conv2(self.twice(x)))))
        return self.fc(self.vector(x.mean((2, 3))))


@pytest.fixture(scope="module")
def clipped():
    """A network with CReLU modules, and its export."""
    torch.manual_seed(2)  # else the weights are those that the tests before have left
    net = lively(Clipped(), seed=2)
    return net, export_module(net, input_shape=(3, 6, 6))


def test_crelu_modules_become_crelu_nodes_with_a_threshold_of_their_own(clipped):
    """Equal thresholds are not merged, names tell the module, and the model defines the operator once."""
    _, proto = clipped
    nodes = [node for node in proto.graph.node if (node.domain, node.op_type) == ("ftonnx", "CReLU")]
    stored = _stored(proto)
    expected = {
        "channels.threshold": 4,
        "twice.threshold": 1,
        "twice.threshold_1": 1,
        "other.threshold": 1,
        "vector.threshold": 4,
    }
    assert {node.input[1]: stored[node.input[1]].size for node in nodes} == expected
    assert [(function.domain, function.name) for function in proto.functions] == [("ftonnx", "CReLU")]
    assert ("ftonnx", 1) in [(entry.domain, entry.version) for entry in proto.opset_import]
    onnx.checker.check_model(proto, full_check=True)


def test_crelu_nodes_compute_what_the_modules_compute(clipped):
    """And clip something on the way."""
    net, proto = clipped
    inputs = images(3, (3, 6, 6), seed=4)
    assert_same(run_torch(net, inputs), run_onnx(proto, inputs))
    for module in net.modules():
        if isinstance(module, CReLU):
            module.threshold.fill_(np.inf)
    assert np.abs(run_torch(net, inputs) - run_onnx(proto, inputs)).max() > 1e-2
    for name, tensor in _stored(proto).items():
        assert "threshold" not in name or np.isfinite(tensor).all()


def test_functional_activations_are_replaced_too():
    """The network has no ReLU module; its graph has two Relu nodes, then two CReLU nodes, and the same outputs."""
    net = tiny_resnet()
    assert not any(isinstance(module, nn.ReLU) for module in net.modules())
    proto = export_module(net, input_shape=(3, 6, 6))
    swapped = with_activation(proto, "crelu")
    assert (_operators(proto).count("Relu"), _operators(swapped).count("Relu")) == (2, 0)
    assert _operators(swapped).count("CReLU") == 2
    assert check_parity(net, swapped) <= 1e-4


def test_segmentation_logits_are_exported_too():
    """Outputs (batch, classes, height, width)."""
    net = lively(nn.Sequential(nn.Conv2d(3, 7, 3, padding=1), nn.ReLU(), nn.Conv2d(7, 4, 1)))
    proto = export_module(net, input_shape=(3, 6, 5))
    assert {entry.key: entry.value for entry in proto.metadata_props}["ftonnx.classes"] == "4"
    assert_same(run_torch(net, images(3, (3, 6, 5))), run_onnx(proto, images(3, (3, 6, 5))))


def _module(function):
    """A network with a few weights whose forward is ``function(layer, x)``."""

    class Made(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(12, 3)

        def forward(self, x):
            return function(self.layer, x)

    return Made().eval()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda f, x: f(x.flatten(1)) if x.sum() > 0 else -f(x.flatten(1)), "torch cannot export the network"),
        (lambda f, x: f(x.reshape(2, 12)), "a free batch size was expected"),
        (lambda f, x: (f(x.flatten(1)), x), "one tensor of logits was expected.*got tuple"),
        (lambda f, x: f(x.flatten(1)).argmax(1), "logits .* were expected, got int64"),
        (lambda f, x: f(x.flatten()[:12]), r"logits .* were expected, got float32 \(3,\)"),
        (lambda f, x: f(x), "the network fails on input .*check the input shape"),
        (lambda f, x: 1 / 0, "the network fails on input .*ZeroDivisionError"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line(function, message, capfd):
    """Decisions on values, a fixed batch, other outputs, a wrong shape; torch's own reports are held back."""
    with pytest.raises(ModelError, match=message) as caught:
        export_module(_module(function), input_shape=(3, 2, 2))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"opset": 17}, "opset: expected 18 to"),
        ({"opset": 999}, "opset: expected 18 to"),
        ({"input_name": ""}, "input name"),
        ({"input_name": "logits"}, "input name"),
    ],
)
def test_options_out_of_range_are_usage_errors(options, message):
    """Before torch is asked."""
    with pytest.raises(UsageError, match=message):
        export_module(tiny_resnet(), input_shape=(3, 6, 6), **options)


def test_a_network_in_training_mode_is_refused():
    """Its BatchNorm would be exported with batch statistics."""
    with pytest.raises(UsageError, match="eval"):
        export_module(TinyResNet(), input_shape=(3, 6, 6))


def test_a_network_of_more_than_two_gibibytes_is_refused():
    """Protobuf's limit."""
    with torch.device("meta"):
        net = nn.Sequential(nn.Flatten(), nn.Linear(12, 1 << 26)).eval()
    with pytest.raises(ModelError, match="one ONNX file holds 2 GiB"):
        export_module(net, input_shape=(3, 2, 2))


def test_parity_is_the_largest_relative_difference(exported):
    """A network and its own export differ by rounding only."""
    net, proto = exported
    assert 0 <= check_parity(net, proto) < 1e-5


@pytest.mark.parametrize("weight", ["conv1.weight", "fc.bias"])
def test_a_graph_that_computes_something_else_is_refused(exported, weight):
    """One changed number is enough."""
    net, proto = exported
    other = onnx.ModelProto()
    other.CopyFrom(proto)
    (tensor,) = (each for each in other.graph.initializer if each.name == weight)
    array = onnx.numpy_helper.to_array(tensor).copy()
    array.reshape(-1)[0] += 0.1
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, weight))
    with pytest.raises(ModelError, match=r"differs by .* on .*; nothing was written"):
        check_parity(net, other)


def test_outputs_that_overflow_alike_are_equal_and_others_are_not():
    """Infinities and NaN must stand at the same places."""
    net = _module(lambda f, x: torch.exp(f(x.flatten(1))))
    with torch.no_grad():
        net.layer.weight.fill_(1.0)
    assert check_parity(net, export_module(net, input_shape=(3, 2, 2))) <= 1e-4
    random = _module(lambda f, x: f(x.flatten(1)) + torch.rand_like(x).mean((1, 2, 3))[:, None])
    with pytest.raises(ModelError, match="differs by"):
        check_parity(random, export_module(random, input_shape=(3, 2, 2)))


def test_a_model_is_written_whole_or_not_at_all(exported, tmp_path, monkeypatch):
    """Beside the target first; a failure in between leaves the old file and nothing else."""
    target = tmp_path / "m.onnx"
    assert write_model(exported[1], target) == target.stat().st_size
    before = target.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StoreError, match=r"m\.onnx cannot be written: No space left"):
        write_model(exported[1], target)
    assert target.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_a_target_that_cannot_be_written_is_a_usage_error(exported, tmp_path):
    """A folder, or a folder that is not there."""
    with pytest.raises(UsageError, match="Is a directory; add the name of a file"):
        write_model(exported[1], tmp_path)
    with pytest.raises(UsageError, match="there is no folder"):
        write_model(exported[1], tmp_path / "none" / "m.onnx")
