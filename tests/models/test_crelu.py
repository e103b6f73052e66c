"""The clipped ReLU module against its definition."""

import copy

import numpy as np
import pytest

from ftonnx.errors import UsageError

torch = pytest.importorskip("torch")

from ftonnx.models import CReLU  # noqa: E402

TINY = float(np.finfo(np.float32).smallest_subnormal)
AFTER = float(np.nextafter(np.float32(2.5), np.float32(3)))
VALUES = [0.0, -0.0, TINY, -TINY, 1.0, -1.0, 2.5, AFTER, 1e38, np.inf, -np.inf, np.nan]


def _by_hand(value, threshold):
    return value if 0 <= value <= threshold else 0.0


@pytest.mark.parametrize("threshold", [0.0, TINY, 1.0, 2.5, np.inf])
def test_every_kind_of_value_is_kept_or_zeroed_as_defined(threshold):
    """Signed zeros, subnormals, the threshold, the float after it, infinities, NaN."""
    x = torch.tensor(VALUES, dtype=torch.float32)
    expected = [_by_hand(value, np.float32(threshold)) for value in x.tolist()]
    assert CReLU(threshold)(x).tolist() == expected


def test_a_tensor_of_thresholds_holds_one_per_channel():
    """For images and for feature vectors."""
    limits = [1.0, 2.0, 3.0]
    for shape in ((2, 3), (2, 3, 4), (2, 3, 4, 5)):
        x = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 5 - 1
        expected = np.array(
            [[[_by_hand(v, limits[c]) for v in x[b, c].reshape(-1).tolist()] for c in range(3)] for b in range(2)]
        )
        np.testing.assert_array_equal(CReLU(torch.tensor(limits))(x).reshape(2, 3, -1).numpy(), expected)


def test_the_threshold_is_a_buffer_that_starts_at_infinity():
    """It travels with the state dict, is no parameter, and does not share the caller's tensor."""
    module = CReLU()
    assert module.state_dict()["threshold"].item() == float("inf")
    assert list(module.parameters()) == []
    assert repr(module) == "CReLU(threshold=inf)"
    mine = torch.tensor([1.0, 2.0])
    other = CReLU(mine)
    mine[0] = 7
    assert other.threshold.tolist() == [1.0, 2.0]
    assert copy.deepcopy(other).threshold.tolist() == [1.0, 2.0]


def test_gradients_flow_where_values_pass():
    """One inside, zero outside."""
    x = torch.tensor([-1.0, 1.0, 3.0], requires_grad=True)
    CReLU(2.0)(x).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("threshold", [-1.0, float("nan"), torch.tensor([1.0, -2.0]), torch.ones(2, 2)])
def test_a_threshold_that_makes_no_sense_is_refused(threshold):
    """Negative, NaN, or more than one axis."""
    with pytest.raises(UsageError, match="threshold: expected a number from 0 up"):
        CReLU(threshold)
