"""Every architecture by name: torch against ONNX Runtime with random weights, and real ones where they are there."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from ftonnx.datasets import load_dataset
from ftonnx.models import architectures, build, input_shape, preprocessing

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")
pytest.importorskip("onnxscript")

from torch_nets import assert_same, images, lively, open_onnx, run_onnx, run_torch  # noqa: E402

from ftonnx.export import export_module, with_activation  # noqa: E402

SHARED = Path(os.environ.get("FTONNX_SHARED", Path(__file__).parents[3] / "shared")) / "data" / "cifar10"

SIZE = {"resnet18": 64, "resnet34": 64, "resnet50": 64, "densenet161": 64, "inception_v3": 96, "vgg13_bn": 224}
"""Pixels: as few as the architecture takes."""
RELUS = {"resnet50": 49, "resnet18-cifar": 17, "vgg13_bn": 12, "densenet161": 161, "inception_v3": 94, "digits": 7}
"""Counted in the papers and sources: 1 + 16 * 3 in a ResNet-50; one behind each of Inception's 94 convolutions."""
QUICK = ("digits", "resnet20-cifar", "resnet18-cifar")
SMALLER_ELSEWHERE = ("swin_unet",)
"""340 MB take minutes; a reduced one is exported in the tests of the network."""
OF_ANOTHER_STEM = ("densenet161-cifar", "inception_v3-cifar")
"""A minute each; all behind the first layers is what the networks without ``-cifar`` have, which are exported here."""


@pytest.mark.parametrize(
    "arch",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in architectures()
        if name not in (*SMALLER_ELSEWHERE, *OF_ANOTHER_STEM)
    ],
)
def test_every_architecture_gives_torchs_outputs_for_any_batch(arch):
    """Random weights and normalization statistics, batches of 1 and 3, and no BatchNormalization is left."""
    shape = (3, SIZE[arch], SIZE[arch]) if arch in SIZE else input_shape(arch)
    net = lively(build(arch, classes=10))
    proto = export_module(net, input_shape=shape)
    kinds = [node.op_type for node in proto.graph.node]
    assert "BatchNormalization" not in kinds
    assert kinds.count("Relu") == RELUS.get(arch, kinds.count("Relu"))
    assert kinds.count("Conv") == (160 + 82 if arch.startswith("densenet161") else kinds.count("Conv"))
    run = open_onnx(proto)
    for batch in (1, 3):
        inputs = images(batch, shape, seed=batch)
        expected = run_torch(net, inputs)
        assert_same(expected, run(inputs))
    assert np.ptp(expected, axis=0).max() > 1e-3 * np.abs(expected).max()  # the images matter


def test_other_models_of_torchvision_work_by_their_names():
    """With classes of their own."""
    net = lively(build("squeezenet1_1", classes=4))
    proto = export_module(net, input_shape=(3, 64, 64))
    assert_same(run_torch(net, images(3, (3, 64, 64))), run_onnx(proto, images(3, (3, 64, 64))))


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "top1"), [(20, 0.9173), (44, 0.9374)])
def test_the_trained_cifar_networks_are_as_accurate_as_measured_in_torch_and_in_the_file(depth, top1):
    """Real checkpoints, loaded strictly, on 846 real images; one also with every ReLU replaced by CReLU."""
    checkpoint = SHARED / f"resnet{depth}.pth"
    if not checkpoint.is_file():
        pytest.skip(f"needs {checkpoint} (FTONNX_SHARED says where shared/ is)")
    arch = f"resnet{depth}-cifar"
    how = {"ftonnx.preprocess": json.dumps(preprocessing(arch))}
    data = load_dataset(f"npz:{SHARED / 'test.npz'}", model_metadata=how)
    net = build(arch, weights=checkpoint)
    proto = export_module(net, input_shape=(3, 32, 32), metadata=how)
    runs = {
        "torch": lambda x: run_torch(net, x),
        "file": open_onnx(proto),
    }
    if depth == 20:
        runs["crelu"] = open_onnx(with_activation(proto, "crelu"))
    pixels, labels = next(data.batches(len(data)))
    for name, run in runs.items():
        assert round(float((run(pixels).argmax(1) == labels).mean()), 4) == top1, name
