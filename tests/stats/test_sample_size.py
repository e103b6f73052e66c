"""Sample sizes against the published tables."""

import math

import pytest

from ftonnx.campaign.plan.injections import plan_injections
from ftonnx.errors import UsageError
from ftonnx.inject import FaultSpace
from ftonnx.models import resolve
from ftonnx.stats.sample_size import sample_size, zero_failure_size

RESNET20_LAYERS = (432, *[2304] * 6, 4608, *[9216] * 5, 18432, *[36864] * 5, 650)
"""Weights per layer of CIFAR ResNet-20, without shortcuts; the last one with its 10 biases."""


@pytest.mark.parametrize(
    ("population", "known"),
    [
        (1_000, (278, 906, 944, 944, 1_000)),
        (10_000, (370, 4_900, 6_240, 6_247, 9_941)),
        (1_000_000, (385, 9_513, 16_319, 16_369, 623_912)),
        (817_825_024, (385, 9_604, 16_590, 16_641, 1_655_586)),
        (math.inf, (385, 9_604, 16_590, 16_641, 1_658_944)),
    ],
)
def test_leveugles_sample_sizes_are_reproduced(population, known):
    """For margins .05 (t 1.96), .01 (1.96, 2.576, 2.58) and .001 (2.576)."""
    settings = ((0.05, 1.96), (0.01, 1.96), (0.01, 2.576), (0.01, 2.58), (0.001, 2.576))
    assert tuple(sample_size(population, margin, t=t) for margin, t in settings) == known


def test_resnet20s_published_plan_is_reproduced():
    """Ruospo et al. 2023: 16,625 network-wise, 307,650 layer-wise, 4,885,760 per layer and bit; within .03 %."""
    faults = [2 * 32 * weights for weights in RESNET20_LAYERS]
    assert sum(faults) == 17_174_144
    assert sample_size(sum(faults), 0.01, t=2.58) == 16_625
    assert sum(sample_size(n, 0.01, t=2.58) for n in faults) == pytest.approx(307_650, rel=3e-4)
    assert sum(32 * sample_size(n // 32, 0.01, t=2.58) for n in faults) == pytest.approx(4_885_760, rel=3e-4)


@pytest.mark.parametrize(
    ("limit", "confidence", "known"),
    [(0.1, 0.95, 29), (0.01, 0.95, 299), (0.001, 0.95, 2995), (0.01, 0.99, 459), (0.001, 0.99, 4603)],
)
def test_zero_failure_sizes_are_reproduced(limit, confidence, known):
    """N = ln(1 - C) / ln(R), rounded up."""
    assert zero_failure_size(limit, confidence) == known
    assert (1 - limit) ** known <= 1 - confidence < (1 - limit) ** (known - 1)


def test_a_models_plan_counts_every_tensor_and_bit():
    """On the embedded model: sums over its tensors, each bit position of each tensor its own population."""
    space = FaultSpace.of(resolve("digits"))
    found = plan_injections(space, 0.05, 0.95)
    assert (found.bits, found.network_wise) == (space.bits, sample_size(space.bits, 0.05, 0.95))
    assert [layer.tensor for layer in found.layers] == [target.tensor for target in space.targets]
    assert found.layer_wise == sum(sample_size(target.bits, 0.05, 0.95) for target in space.targets)
    assert found.data_unaware == sum(
        sample_size(target.elements, 0.05, 0.95) for target in space.targets for _ in range(32)
    )
    assert found.to_dict()["layers"][0] == {
        "tensor": "conv.weight", "bits": 4608, "injections": 355, "injections_per_bit": 3360,
    }  # fmt: skip


def test_a_plan_for_some_bits_counts_only_these():
    """Two bits of 32."""
    space = FaultSpace.of(resolve("digits"), bits=(30, 31))
    found, whole = plan_injections(space, 0.05), plan_injections(FaultSpace.of(resolve("digits")), 0.05)
    assert found.bits * 16 == whole.bits
    assert found.data_unaware * 16 == whole.data_unaware


@pytest.mark.parametrize(
    "call",
    [
        lambda: sample_size(0, 0.01), lambda: sample_size(10, 0), lambda: sample_size(10, 0.1, p=1.0),
        lambda: sample_size(10, 0.1, 1.0), lambda: sample_size(10, 0.1, t=0),
        lambda: zero_failure_size(0), lambda: zero_failure_size(0.1, 1),
        lambda: sample_size(math.nan, 0.1),
    ],
)  # fmt: skip
def test_impossible_plans_are_refused(call):
    """With what was expected."""
    with pytest.raises(UsageError, match="expected"):
        call()
