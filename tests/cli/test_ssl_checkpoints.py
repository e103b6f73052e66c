"""Checkpoints of self-supervised networks in the layouts that their projects publish, through ``ftonnx export``."""

import argparse
import re

import numpy as np
import onnxruntime as ort
import pytest
from campaign_kit import cli_json

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from ftonnx.models import build  # noqa: E402

CLASSES = 5
SIDE = 32


@pytest.fixture(scope="module")
def trained():
    """A ResNet-18 whose batch statistics are not those of a fresh one."""
    net = build("resnet18", classes=CLASSES, seed=4)
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.copy_(0.1 * torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(1 + 0.2 * torch.rand(module.num_features, generator=generator))
    return net


def backbone(net, prefix):
    """Return a network's state dict without its classifier, behind a prefix."""
    return {prefix + name: tensor for name, tensor in net.state_dict().items() if not name.startswith("fc.")}


def head(net, prefix):
    """Return the classifier alone."""
    return {f"{prefix}{name}": tensor for name, tensor in net.fc.state_dict().items()}


def swav(net):
    """Backbone with projection and prototypes, and the linear head of its evaluation."""
    extra = {f"module.projection_head.{n}.weight": torch.rand(2, 2) for n in (0, 1, 3)}
    extra["module.prototypes.weight"] = torch.rand(3000, 2)
    return [backbone(net, "module.") | extra, {"state_dict": head(net, "module.linear."), "epoch": 100}]


def dino(net):
    """The full file, with everything that training needs, and the linear head."""
    teacher = backbone(net, "module.backbone.") | {"module.head.last_layer.weight_g": torch.ones(4, 1)}
    student = {name: tensor + 1 for name, tensor in teacher.items()}
    full = {"student": student, "teacher": teacher, "optimizer": {}, "epoch": 800, "args": argparse.Namespace(lr=0.03)}
    return [full | {"dino_loss": {"center": torch.zeros(1, 4)}}, {"state_dict": head(net, "module.linear.")}]


def simsiam(net):
    """The file of its linear evaluation: the whole network."""
    state = backbone(net, "module.") | head(net, "module.fc.")
    return [{"epoch": 90, "arch": "resnet18", "state_dict": state, "best_acc1": 68.3, "optimizer": {"state": {}}}]


def ssql(net):
    """Quantized modules: batch normalizations inside convolutions, observers, weights kept twice."""
    stored = {}
    for name, tensor in net.state_dict().items():
        name = re.sub(r"(^|\.)bn(\d)\.", r"\1conv\2.bn_function.", name)
        name = name.replace("downsample.0.", "downsample.").replace("downsample.1.", "downsample.bn_function.")
        stored[f"model.{name}"] = tensor
        if name.endswith("conv1.weight"):
            stored[f"model.{name.removesuffix('.weight')}.weight_quantizer.weight"] = tensor
            stored[f"model.{name.removesuffix('.weight')}.act_quantizer.observer.min_val"] = torch.zeros(())
    stored["model.layer1.0.output_quantizer.observer.max_val"] = torch.ones(())
    return [{"state_dict": stored, "epoch": 3}]


@pytest.mark.slow
@pytest.mark.parametrize("layout", [swav, dino, simsiam, ssql])
def test_the_onnx_file_computes_what_the_network_does(tmp_path, trained, layout):
    """Whatever the layout."""
    files = []
    for number, content in enumerate(layout(trained)):
        path = tmp_path / f"{number}.pth.tar"
        torch.save(content, path)
        files += ["--weights", path]
    output = tmp_path / "m.onnx"
    shape = f"3,{SIDE},{SIDE}"
    cli_json("export", "resnet18", *files, "--classes", CLASSES, "--input-shape", shape, "-o", output)
    images = np.random.default_rng(0).normal(size=(4, 3, SIDE, SIDE)).astype(np.float32)
    session = ort.InferenceSession(output)
    found = session.run(None, {session.get_inputs()[0].name: images})[0]
    with torch.no_grad():
        expected = trained(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
