"""The quantizers of SSQL, against its formulas in numpy."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from ftonnx.training.pretraining.few_bits import Bits, FewBits, round_activation, round_weight  # noqa: E402


def values(*shape, seed=0):
    """Return numbers around 0."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bits", range(2, 9))
def test_weights_have_symmetric_codes_per_channel(bits):
    """Scale max / ((2^b - 1) / 2), codes -2^(b-1) to 2^(b-1) - 1, halves to even."""
    weight = values(4, 3, 3, 3)
    own = weight.numpy().astype(np.float32)
    scale = np.abs(own).max((1, 2, 3), keepdims=True) / np.float32((2**bits - 1) / 2)
    codes = np.clip(np.rint(own / scale), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    found = round_weight(weight, bits).numpy()
    # the largest lies half between two codes
    is_largest = np.abs(own) == np.abs(own).max((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(found[~is_largest], (codes * scale)[~is_largest], rtol=1e-5, atol=1e-6)
    assert np.all(np.abs(found - own) <= 0.51 * scale)
    assert np.all((found / scale).round() <= 2 ** (bits - 1) - 1)


def test_two_bits_by_hand():
    """The largest weight is a step and a half: its code saturates at 1."""
    rounded = round_weight(torch.tensor([[1.5, 0.4, -1.5, 0.6]]), 2)
    assert rounded.tolist() == [[1.0, 0.0, -2.0, 1.0]]


@pytest.mark.parametrize("bits", range(4, 9))
@pytest.mark.parametrize(("low", "high"), [(0.0, 3.0), (-1.2, 2.5), (0.5, 2.0)])
def test_activations_have_affine_codes(bits, low, high):
    """A range that holds 0, so that 0 stays 0."""
    given = torch.linspace(low - 0.3, high + 0.3, 301)
    most = 2**bits - 1
    least = min(low, 0.0)
    scale = np.float32((high - least) / most)
    zero_point = np.rint(np.float32(-least) / scale)
    codes = np.clip(np.rint(given.numpy() / scale) + zero_point, 0, most)
    rounded = round_activation(given, bits, torch.tensor(low), torch.tensor(high))
    # a value on the edge between two codes may fall to either, by the last bit of the quotient
    off = np.abs(rounded.numpy() - (codes - zero_point) * scale) > 1e-5
    assert off.mean() < 0.02
    assert float(round_activation(torch.zeros(1), bits, torch.tensor(low), torch.tensor(high))) == 0


def test_gradients_pass_inside_the_range():
    """Straight through; what saturates learns nothing."""
    weight = torch.tensor([[1.5, 0.4, -1.5]], requires_grad=True)
    round_weight(weight, 2).sum().backward()
    assert weight.grad.tolist() == [[0.0, 1.0, 1.0]]
    given = torch.tensor([-5.0, 0.3, 5.0], requires_grad=True)
    round_activation(given, 4, torch.tensor(-1.0), torch.tensor(1.0)).sum().backward()
    assert given.grad.tolist() == [0, 1, 0]


class Residual(nn.Module):
    """Two convolutions and an addition."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 1, bias=False)
        self.added = []

    def forward(self, images):
        """Keep what is added."""
        shortcut = torch.relu(self.bn(self.first(images)))
        self.added.append(shortcut.detach())
        return (shortcut + self.second(shortcut)).mean((2, 3))


@pytest.fixture
def network():
    """An encoder and a projection."""
    torch.manual_seed(1)
    return Residual().train(), nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).train()


def inputs_of(layer, run):
    """Return what goes into a layer while something runs."""
    found = []
    handle = layer.register_forward_hook(lambda module, inputs, output: found.append((inputs[0], module.weight)))
    run()
    handle.remove()
    return found[-1]


def test_what_goes_into_layers_is_rounded_and_into_additions_not(network):
    """And the first layer and the projection have 8 bits, whatever is drawn."""
    encoder, projection = network
    few = FewBits(encoder, projection)
    images = values(16, 3, 5, 5)
    with few.measured():
        projection(encoder(images))
    bits = Bits(weights=2, activations=4)

    def run():
        return few.rounded(images, bits)

    levels = {}
    for name, layer in (("first", encoder.first), ("second", encoder.second), ("projection", projection[2])):
        given, weight = inputs_of(layer, run)
        levels[name] = (len(given.unique()), max(len(row.unique()) for row in weight))
    assert 16 < levels["first"][0] <= 256
    assert levels["second"][0] <= 16
    assert levels["second"][1] <= 4
    assert levels["projection"][0] <= 16
    assert encoder.added[-1].unique().numel() > 100
    weights = inputs_of(projection[0], run)[1]
    torch.testing.assert_close(weights, round_weight(projection[0].weight, 8))
    torch.testing.assert_close(inputs_of(encoder.first, run)[1], round_weight(encoder.first.weight, 8))


def test_nothing_of_the_network_is_changed(network):
    """Names, their order, weights, running statistics, hooks; gradients reach the weights themselves."""
    encoder, projection = network
    few = FewBits(encoder, projection)
    images = values(16, 3, 5, 5)
    with few.measured():
        projection(encoder(images))
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items() if "num_batches" not in name}
    few.rounded(images, Bits(weights=2, activations=4)).sum().backward()
    after = {name: tensor for name, tensor in encoder.state_dict().items() if "num_batches" not in name}
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert encoder.bn.momentum == 0.1
    assert encoder.second.weight.grad is not None
    assert not encoder.first._forward_pre_hooks


def test_with_many_bits_nothing_is_rounded_away(network, monkeypatch):
    """The projection is that of the network itself."""
    monkeypatch.setattr("ftonnx.training.pretraining.few_bits._MOST_BITS", 20)
    encoder, projection = network
    few = FewBits(encoder, projection)
    images = values(16, 3, 5, 5)
    with few.measured():
        expected = projection(encoder(images))
    found = few.rounded(images, Bits(weights=20, activations=20))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_activations_in_half_precision_are_rounded_in_float32():
    """As CUDA's kernel insists on, and so that a code times a scale is what it is in float32."""
    given = torch.linspace(-1.2, 2.5, 301).half()
    low, high = given.aminmax()
    rounded = round_activation(given, 8, low, high)
    assert rounded.dtype == torch.float32
    assert torch.equal(rounded, round_activation(given.float(), 8, low.float(), high.float()))
