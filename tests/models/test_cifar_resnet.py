"""The residual blocks for CIFAR-10, against numpy."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ftonnx.models.cifar_resnet import CifarBlock, CifarResNet  # noqa: E402


def _silent(block):
    """The block with convolutions of zeros: what is left is the shortcut."""
    for convolution in (block.conv1, block.conv2):
        torch.nn.init.zeros_(convolution.weight)
    return block.eval()


@pytest.mark.parametrize(("c_out", "stride"), [(4, 1), (8, 2)])
def test_the_shortcut_takes_every_second_pixel_and_pads_channels_on_both_sides(c_out, stride):
    """Without the convolutions, the output is the rectified input, thinned and padded with zeros."""
    pixels = np.random.default_rng(0).standard_normal((2, 4, 6, 6), np.float32)
    with torch.no_grad():
        got = _silent(CifarBlock(4, c_out, stride))(torch.from_numpy(pixels)).numpy()
    expected = np.zeros((2, c_out, 6 // stride, 6 // stride), np.float32)
    margin = (c_out - 4) // 2
    expected[:, margin : margin + 4] = np.maximum(pixels[:, :, ::stride, ::stride], 0)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("depth", [20, 32, 44])
def test_the_depth_counts_the_layers_with_weights(depth):
    """Convolutions and the classifier."""
    layers = [m for m in CifarResNet(depth).modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(layers) == depth
