"""Quantization-aware training: the file computes what was trained."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from training_kit import Stopped, stop_after, without_times, write_squares

from ftonnx.datasets import load_dataset
from ftonnx.errors import DataError, ModelError, UsageError
from ftonnx.quant import Int8Writer, QuantSettings
from ftonnx.quant.images import ImageStream
from ftonnx.training import TrainingLog, TrainingSettings

torch = pytest.importorskip("torch")

import os  # noqa: E402

from exact_kernels import exact_run  # noqa: E402
from onnx_zoo import model_of, ort_run, random_floats  # noqa: E402

from ftonnx.export import export_module, with_activation  # noqa: E402
from ftonnx.models import build  # noqa: E402
from ftonnx.training.graph_net import GraphNet  # noqa: E402
from ftonnx.training.qat import QatSettings, train_quantized  # noqa: E402

SHARED = Path(os.environ.get("FTONNX_SHARED", Path(__file__).parents[3] / "shared")) / "data" / "cifar10"
QUICK = {"batch_size": 16, "learning_rate": 1e-3, "flips": False, "device": "cpu", "threads": 1, "epochs": 3}
X = random_floats(16, 3, 8, 8, seed=9)
node = onnx.helper.make_node


@pytest.fixture
def proto(here):
    """A network that is not trained."""
    return export_module(build("nets.py:small", classes=3, seed=4), input_shape=(3, 8, 8))


def ran(proto, images):
    """Return the only output of a model in ONNX Runtime."""
    return ort_run(proto, {proto.graph.input[0].name: images})[0]


def as_written(proto, images):
    """Return the only output of an int8 file as its nodes say."""
    return exact_run(proto, {proto.graph.input[0].name: images})[0]


def settings(quant=None, **training):
    """Return quick settings."""
    return QatSettings(
        training=TrainingSettings(**{**QUICK, **training}), quant=quant or QuantSettings(), calibration_images=32
    )


def grown(proto, images, quant=None):
    """Return the torch network of a model, the writer, the ranges and the int8 file."""
    writer = Int8Writer(proto, quant or QuantSettings())
    ranges = writer.calibrated(ImageStream(iter([images]), writer.plain, 1))
    written = writer.written(ranges)
    return GraphNet(writer, ranges, written).eval(), writer, ranges, written


def logits(net, images):
    """Return what the torch network makes of images."""
    with torch.no_grad():
        return net(torch.from_numpy(images)).numpy()


def graph(*nodes, stored=(), classes=4):
    """Return a network that ends in a Gemm after some nodes from x to h."""
    size = ran(model_of([*nodes, node("Flatten", ["h"], ["y"])], list(stored)), X).shape[1]
    weights = random_floats(classes, size, seed=7, scale=0.2)
    end = [node("Flatten", ["h"], ["f"]), node("Gemm", ["f", "w", "b"], ["y"], transB=1)]
    return model_of([*nodes, *end], [*stored, ("w", weights), ("b", random_floats(classes, seed=8))])


W = random_floats(6, 3, 3, 3, seed=1, scale=0.3)
B = random_floats(6, seed=2)
CONV = node("Conv", ["x", "c", "d"], ["a"], pads=[1, 1, 1, 1])
GRAPHS = {
    "stride and dilation": graph(
        node("Conv", ["x", "c", "d"], ["h"], strides=[2, 1], dilations=[1, 2], pads=[0, 1, 1, 2]),
        stored=[("c", W), ("d", B)],
    ),
    "groups, no bias": graph(
        node("Conv", ["x", "c"], ["h"], group=3), stored=[("c", random_floats(6, 1, 3, 3, seed=1, scale=0.3))]
    ),
    "relu": graph(CONV, node("Relu", ["a"], ["h"]), stored=[("c", W), ("d", B)]),
    "relu6": graph(
        CONV,
        node("Clip", ["a", "lo", "hi"], ["h"]),
        stored=[("c", W), ("d", B), ("lo", np.float32(0)), ("hi", np.float32(6))],
    ),
    "max pool": graph(
        CONV,
        node("MaxPool", ["a"], ["h"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        stored=[("c", W), ("d", B)],
    ),
    "average pool": graph(
        CONV, node("AveragePool", ["a"], ["h"], kernel_shape=[2, 2], strides=[2, 2]), stored=[("c", W), ("d", B)]
    ),
    "global pool": graph(CONV, node("GlobalAveragePool", ["a"], ["h"]), stored=[("c", W), ("d", B)]),
    "residual": graph(
        CONV,
        node("Relu", ["a"], ["r"]),
        node("Conv", ["r", "e"], ["g"], pads=[1, 1, 1, 1]),
        node("Add", ["g", "r"], ["s"]),
        node("Relu", ["s"], ["h"]),
        stored=[("c", W), ("d", B), ("e", random_floats(6, 6, 3, 3, seed=3, scale=0.2))],
    ),
    "concat": graph(CONV, node("Concat", ["a", "x"], ["h"], axis=1), stored=[("c", W), ("d", B)]),
    "slice and pad": graph(
        CONV,
        node("Slice", ["a", "s", "e", "axes", "steps"], ["p"]),
        node("Pad", ["p", "pads"], ["h"]),
        stored=[
            ("c", W), ("d", B), ("s", np.int64([0, 0])), ("e", np.int64([8, 8])), ("axes", np.int64([2, 3])),
            ("steps", np.int64([2, 2])), ("pads", np.int64([0, 1, 0, 0, 0, 1, 0, 0])),
        ],
    ),
    "transposed convolution": graph(
        CONV,
        node("ConvTranspose", ["a", "u", "v"], ["t"], strides=[2, 2]),
        node("Concat", ["t", "t"], ["h"], axis=1),
        stored=[
            ("c", W), ("d", B), ("u", random_floats(6, 4, 2, 2, seed=3, scale=0.3)), ("v", random_floats(4, seed=4)),
        ],
    ),
    "nearest resize": graph(
        CONV,
        node("Resize", ["a", "", "k"], ["h"], coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        stored=[("c", W), ("d", B), ("k", np.float32([1, 1, 2, 2]))],
    ),
    "linear resize": graph(
        CONV, node("Resize", ["a", "", "k"], ["h"], mode="linear"),
        stored=[("c", W), ("d", B), ("k", np.float32([1, 1, 2, 2]))],
    ),
    "transpose and matmul": graph(
        CONV,
        node("Transpose", ["a"], ["t"], perm=[0, 2, 3, 1]),
        node("MatMul", ["t", "m"], ["h"]),
        stored=[("c", W), ("d", B), ("m", random_floats(6, 5, seed=5))],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", GRAPHS)
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("activation_type", ["uint8", "int8"])
def test_the_torch_network_computes_as_the_int8_file(case, per_channel, activation_type):
    """Every operator, to a few steps of rounding; and without quantization, as the float model."""
    quant = QuantSettings(per_channel=per_channel, activation_type=activation_type)
    net, _, _, written = grown(GRAPHS[case], X, quant)
    got = logits(net, X)
    expected = as_written(written.proto, X)
    plain = ran(GRAPHS[case], X)
    spread = np.ptp(plain)
    assert abs(got - expected).max() < 0.03 * spread
    assert abs(got - plain).max() < 0.15 * spread
    weights = ("Conv", "ConvTranspose", "Gemm", "MatMul")
    assert len(net._quantizers) == len([n for n in GRAPHS[case].graph.node if n.op_type in weights])


def test_an_operator_that_is_not_trained_is_named_with_its_node():
    """Before any work."""
    proto = graph(CONV, node("Erf", ["a"], ["h"], name="odd"), stored=[("c", W), ("d", B)])
    with pytest.raises(ModelError, match=r"node 'odd' \(Erf\): .* are trained, this operator is not; quantize without"):
        grown(proto, X)


def test_crelus_stay_and_clip_where_their_codes_do():
    """Thresholds decide their ranges, whatever is observed."""
    proto = with_activation(graph(CONV, node("Relu", ["a"], ["h"]), stored=[("c", W), ("d", B)]), "crelu")
    for tensor in proto.graph.initializer:
        if tensor.dims == [] and np.isinf(numpy_helper.to_array(tensor)):
            tensor.CopyFrom(numpy_helper.from_array(np.float32(0.8), tensor.name))
    net, writer, ranges, written = grown(proto, X)
    assert any(each.op_type == "QLinearCReLU" for each in written.proto.graph.node)
    expected = as_written(written.proto, X)
    assert abs(logits(net, X) - expected).max() < 0.03 * np.ptp(expected)
    net.train()
    net(torch.from_numpy(100 * X))
    changed = writer.written(net.ranges(ranges))
    assert [each.threshold for each in changed.clipped] == [each.threshold for each in written.clipped]
    assert [each.scale for each in changed.clipped] == [each.scale for each in written.clipped]


def test_the_file_holds_the_weights_that_were_trained(data, proto):
    """Dequantized, they are the torch network's rounded weights, also where a scale lags behind the largest one."""
    net, writer, ranges, _ = grown(proto, next(data[0].batches(48))[0])
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1.3)
    net.eval()
    written = writer.written(
        net.ranges(ranges), plain=net.written_back(writer.plain), weight_scales=net.weight_scales()
    )
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in written.proto.graph.initializer}
    for name, number in net._quantizers.items():
        scale = stored[f"{name}_scale"]
        codes = stored[f"{name}_quantized"].astype(np.float32)
        shape = [1] * codes.ndim
        if scale.ndim:
            shape[net._axes[name]] = -1
        own = net._weights[number](net._learnt[net._parameter_numbers[name]]).detach().numpy()
        np.testing.assert_allclose(codes * scale.reshape(shape), own, rtol=1e-6, atol=1e-7)
        assert codes.min() >= -127
    images = next(data[1].batches(48))[0]
    agreement = (as_written(written.proto, images).argmax(1) == logits(net, images).argmax(1)).mean()
    assert agreement > 0.95


def test_training_makes_the_int8_file_better(here, data, proto):
    """A network that knows nothing learns as an int8 file; what the log says is what the file does."""
    found = train_quantized(proto, *data, "q.onnx", settings=settings(epochs=8, learning_rate=0.02))
    assert found.is_trained
    assert found.log.best.val_accuracy > 0.9 > found.start.accuracy
    images, labels = next(data[1].batches(48))
    accuracy = (as_written(onnx.load("q.onnx"), images).argmax(1) == labels).mean()
    assert accuracy == pytest.approx(found.log.best.val_accuracy, abs=0.05)
    assert TrainingLog.read("q.jsonl") == found.log
    assert sorted(path.name for path in here.glob("q*")) == ["q.jsonl", "q.onnx"]


def test_steps_are_in_float32_unless_something_else_is_asked_for(data, proto, monkeypatch):
    """Also on devices where other trainings are in mixed precision."""
    monkeypatch.setattr("ftonnx.training.autocast._BY_DEVICE", {"cpu": "bfloat16"})
    found = [
        without_times(train_quantized(proto, *data, "q.onnx", settings=settings(epochs=1, autocast=autocast)).log)
        for autocast in ("auto", "none", "bfloat16")
    ]
    assert found[0] == found[1] != found[2]


@pytest.mark.slow
def test_where_no_epoch_is_better_the_static_file_is_written(data, proto):
    """A rate that destroys."""
    found = train_quantized(proto, *data, "q.onnx", settings=settings(epochs=1, learning_rate=5.0))
    static = train_quantized(proto, *data, "s.onnx", settings=settings(epochs=0))
    if not found.is_trained:
        assert Path("q.onnx").read_bytes() == Path("s.onnx").read_bytes()
    assert not static.is_trained


def test_an_interrupted_training_goes_on_to_the_same_file(data, proto):
    """Ranges, scales and the optimizer are where they were."""
    stop = stop_after(201)
    train_quantized(proto, *data, "whole.onnx", settings=settings())
    with pytest.raises(Stopped):
        train_quantized(proto, *data, "part.onnx", settings=settings(), progress=stop)
    assert len(TrainingLog.read("part.jsonl").epochs) == 2
    train_quantized(proto, *data, "part.onnx", settings=settings())
    assert Path("part.onnx").read_bytes() == Path("whole.onnx").read_bytes()
    with pytest.raises(Stopped):
        train_quantized(proto, *data, "part.onnx", settings=settings(), progress=stop)
    with pytest.raises(ModelError, match=r"part\.onnx\.training: expected this training's"):
        train_quantized(proto, *data, "part.onnx", settings=settings(QuantSettings(per_channel=False)))


def test_settings_and_data_that_make_no_sense(here, data, proto):
    """One line each."""
    with pytest.raises(UsageError, match="linear_probe: all weights are trained here"):
        settings(linear_probe=True)
    with pytest.raises(UsageError, match="quant_format: qdq was expected, got 'qoperator'"):
        settings(QuantSettings(quant_format="qoperator"))
    with pytest.raises(UsageError, match="calibration_images must be 1 or more"):
        QatSettings(calibration_images=0)
    with pytest.raises(UsageError, match="frozen_epochs must be 0 or more"):
        QatSettings(frozen_epochs=-1)
    np.savez("one.npz", images=np.zeros((4, 3, 8, 8), np.uint8), labels=np.zeros(4, np.int64), classes=3)
    with pytest.raises(DataError, match="images of two classes or more were expected, got one"):
        train_quantized(proto, load_dataset("npz:one.npz"), data[1], "q.onnx", settings=settings())
    with pytest.raises(UsageError, match=r"q\.jsonl: this is the name of the log"):
        train_quantized(proto, *data, "q.jsonl", settings=settings())
    (here / "two").mkdir()
    two = load_dataset(write_squares(here / "two", classes=2))
    with pytest.raises(DataError, match="expected 3 classes, as the training images have, got 2"):
        train_quantized(proto, data[0], two, "q.onnx", settings=settings())


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the trained CIFAR networks are not here (FTONNX_SHARED)")
@pytest.mark.parametrize("per_channel", [True, False])
def test_resnet20_on_cifar10(tmp_path, monkeypatch, per_channel):
    """Not worse than static quantization; labels agree between torch and the file."""
    monkeypatch.chdir(tmp_path)
    proto = export_module(build("resnet20-cifar", weights=SHARED / "resnet20.pth"), input_shape=(3, 32, 32))
    metadata = {"ftonnx.preprocess": '{"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}'}
    train, test = (
        load_dataset(f"npz:{SHARED}", split=split, limit=limit, model_metadata=metadata)
        for split, limit in (("train", 256), ("test", 846))
    )
    quant = QuantSettings(per_channel=per_channel)
    found = train_quantized(
        proto,
        train,
        test,
        "q.onnx",
        settings=QatSettings(training=TrainingSettings(epochs=1, learning_rate=1e-4, threads=1), quant=quant),
    )
    images, labels = next(test.batches(len(test)))
    answers = as_written(found.proto, images).argmax(1)
    accuracy = (answers == labels).mean()
    best = max(found.start.accuracy, found.log.best.val_accuracy)
    assert accuracy == pytest.approx(best, abs=0.005)
    assert accuracy > 0.9
