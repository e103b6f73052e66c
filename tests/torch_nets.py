"""Small torch networks for tests, and a plain way to run an exported model."""

import numpy as np
import onnxruntime as ort
import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """A residual block with the names that torchvision's ResNets use."""

    def __init__(self, c_in, c_out):
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.downsample = nn.Sequential(nn.Conv2d(c_in, c_out, 1, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x):
        """Block output."""
        return functional.relu(self.bn1(self.conv1(x)) + self.downsample(x))


class TinyResNet(nn.Module):
    """The state-dict names of a ResNet in a few hundred numbers."""

    def __init__(self, num_classes=5):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.layer1 = nn.Sequential(Block(4, 6))
        self.fc = nn.Linear(6, num_classes)

    def forward(self, x):
        """Logits."""
        x = self.layer1(functional.relu(self.bn1(self.conv1(x))))
        return self.fc(x.mean((2, 3)))


def tiny_resnet(num_classes=5, *, seed=0):
    """Return a TinyResNet in eval mode with every number random."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return lively(TinyResNet(num_classes), seed=seed)


def lively(net, *, seed=0):
    """Give a fresh network random normalization statistics and biases, as if it had been trained; eval mode."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                for name, low, high in (("weight", 0.7, 1.3), ("bias", -0.2, 0.2), ("running_var", 0.7, 1.3)):
                    getattr(layer, name).uniform_(low, high, generator=rng)
                layer.running_mean.uniform_(-0.2, 0.2, generator=rng)
            elif isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
                layer.bias.uniform_(-0.2, 0.2, generator=rng)
    return net.eval().requires_grad_(False)


def images(batch, shape, *, seed=0):
    """Return random float32 inputs."""
    return np.random.default_rng(seed).standard_normal((batch, *shape), np.float32)


def open_onnx(model):
    """Return what runs a model (file or ModelProto) in one ONNX Runtime session: inputs in, first output out."""
    content = str(model) if not hasattr(model, "SerializeToString") else model.SerializeToString()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda inputs: session.run(None, {name: inputs})[0]


def run_onnx(model, inputs):
    """Return the first output of a model (file or ModelProto) in a fresh ONNX Runtime session."""
    return open_onnx(model)(inputs)


def run_torch(net, inputs):
    """Return a network's output as an array."""
    with torch.no_grad():
        return net(torch.from_numpy(inputs)).numpy()


def assert_same(expected, got, tolerance=1e-4):
    """Compare relative to the largest expected value."""
    assert expected.shape == got.shape
    assert np.abs(expected - got).max() <= tolerance * np.abs(expected).max()
