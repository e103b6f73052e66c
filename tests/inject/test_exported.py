"""Networks as torch's exporters write them: every parameter can flip, and a flip is torch's own."""

import io
import warnings

import numpy as np
import onnx
import pytest
import torch
from onnx_zoo import naively_flipped, ort_run
from torch import nn

from ftonnx.inject import FaultSpace


class Recurrent(nn.Module):
    """A recurrent layer and a linear one on its last output."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.head = nn.Linear(6 * (2 if layer.bidirectional else 1), 3)

    def forward(self, x):
        """Map (batch, time, 8) to (batch, 3)."""
        return self.head(self.layer(x)[0][:, -1])


class Blocks(nn.Module):
    """LayerNorm and GroupNorm, a class token, places, and a scale per channel behind an activation."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv1d(5, 8, 1)
        self.group = nn.GroupNorm(2, 8)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.places = nn.Parameter(torch.randn(1, 9, 8))
        self.layer = nn.LayerNorm(8)
        self.scale = nn.Parameter(torch.randn(8))
        self.head = nn.Linear(8, 3)
        for norm in (self.group, self.layer):
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)

    def forward(self, x):
        """Map (batch, 5, 8) to (batch, 3)."""
        x = torch.relu(self.group(self.stem(x)))
        x = torch.cat((self.token.expand(len(x), -1, -1), x.transpose(1, 2)), 1) + self.places
        return self.head((torch.tanh(self.layer(x)) * self.scale).mean(1))


NETS = {
    "LSTM": (lambda: Recurrent(nn.LSTM(8, 6, batch_first=True)), (2, 5, 8), 0),
    "two-way LSTM of two layers": (
        lambda: Recurrent(nn.LSTM(8, 6, 2, batch_first=True, bidirectional=True)), (2, 5, 8), 0,
    ),
    "GRU": (lambda: Recurrent(nn.GRU(8, 6, batch_first=True)), (2, 5, 8), 0),
    # the exporters write a GroupNorm as an InstanceNormalization with ones and zeros, which are stored too
    "blocks": (Blocks, (1, 5, 8), 4),
}  # fmt: skip


def exported(net, x, *, dynamo):
    """Return an ONNX model; opset 11 lacks LayerNormalization, so the older exporter decomposes it."""
    file = io.BytesIO()
    options = {} if dynamo else {"opset_version": 11}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.onnx.export(net, (x,), None if dynamo else file, dynamo=dynamo, input_names=["x"], **options)
    return made.model_proto if dynamo else onnx.ModelProto.FromString(file.getvalue())


@pytest.mark.parametrize("dynamo", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", NETS)
def test_every_parameter_of_an_exported_network_can_flip(case, dynamo):
    """As many elements as torch counts, and each tensor matters."""
    make, shape, more = NETS[case]
    torch.manual_seed(0)
    net = make().eval()
    x = torch.randn(shape)
    model = exported(net, x, dynamo=dynamo)
    space = FaultSpace.of(model)
    assert space.elements == sum(parameter.numel() for parameter in net.parameters()) + more
    feeds = {"x": x.numpy()}
    (golden,) = ort_run(model, feeds)
    np.testing.assert_allclose(golden, net(x).detach().numpy(), atol=1e-5)
    for target in space.targets:
        flips = [(target.tensor, element, 19) for element in range(target.elements)]
        (found,) = ort_run(naively_flipped(model, flips), feeds)
        assert not np.array_equal(found, golden), target.tensor
