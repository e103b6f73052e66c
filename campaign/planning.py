"""How many injections a statistical fault-injection campaign needs.

Leveugle, Calvez, Maistri and Vanhauwaert (DATE 2009) for a proportion from single faults drawn without
replacement; Ruospo et al. (DATE 2023) for the same per layer and per layer and bit.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

from ftonnx.campaign.intervals import normal_quantile
from ftonnx.errors import UsageError
from ftonnx.inject import FaultSpace

__all__ = ["LayerPlan", "Plan", "margin_of", "plan_injections", "sample_size", "zero_failure_size"]

_HALF: Final = 0.5
_ROUNDING: Final = 1e-12  # a whole number of injections is not rounded up for an error in its last bit


def sample_size(
    population: float, margin: float, confidence: float = 0.99, p: float = _HALF, *, t: float | None = None
) -> int:
    """Return how many of ``population`` faults must be drawn to know a proportion to within ``margin``.

    n = N / (1 + e^2 (N - 1) / (t^2 p (1 - p))), rounded up (Leveugle et al. 2009, equation 1).

    Args:
        population: N, the number of possible faults; may be infinite.
        margin: e, half the width of the interval, in (0, 1).
        confidence: of the interval; t is the two-sided normal cut-off.
        p: expected proportion; 0.5 needs the most.
        t: cut-off in place of the confidence's; the field often rounds 2.576 to 2.58.

    Raises:
        UsageError: a number is out of range.

    >>> sample_size(1_000_000, 0.05, 0.95), sample_size(math.inf, 0.05, 0.95), sample_size(math.inf, 0.01, 0.99)
    (384, 385, 16588)
    >>> sample_size(17_174_144, 0.01, t=2.58)  # ResNet-20, both stuck-at values of every bit
    16625
    """
    return math.ceil(_exact_size(population, margin, confidence, p, t) * (1 - _ROUNDING))


def _exact_size(population: float, margin: float, confidence: float, p: float, t: float | None) -> float:
    if not (0 < margin < 1 and 0 < p < 1 and population >= 1):
        raise UsageError(
            "a population of 1 or more, a margin and a proportion between 0 and 1 were expected; "
            f"got {population}, {margin}, {p}"
        )
    if t is not None and not t > 0:
        raise UsageError(f"a cut-off above 0 was expected, got {t}")
    cut = normal_quantile(confidence) if t is None else t
    unlimited = cut**2 * p * (1 - p) / margin**2
    return unlimited if math.isinf(population) else population / (1 + (population - 1) / unlimited)


def margin_of(n: float, population: float, confidence: float = 0.99, p: float = _HALF) -> float:
    """Return the margin that ``n`` injections give: t sqrt(p (1 - p) / n (N - n) / (N - 1)).

    >>> round(margin_of(9604, math.inf, 0.95), 6)
    0.01
    """
    if not 0 < n <= population:
        raise UsageError(f"from 1 to {population:g} injections were expected, got {n}")
    left = 1.0 if math.isinf(population) else (population - n) / max(population - 1, 1)
    return normal_quantile(confidence) * math.sqrt(p * (1 - p) / n * left)


def zero_failure_size(limit: float, confidence: float = 0.95) -> int:
    """Return how many injections without one failure show that the failure probability is below ``limit``.

    n = ln(1 - confidence) / ln(1 - limit), rounded up.

    >>> [zero_failure_size(limit) for limit in (0.1, 0.01, 0.001)]
    [29, 299, 2995]
    """
    if not (0 < limit < 1 and 0 < confidence < 1):
        raise UsageError(f"a limit and a confidence between 0 and 1 were expected, got {limit} and {confidence}")
    return math.ceil(math.log1p(-confidence) / math.log1p(-limit))


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPlan:
    """The injections that one layer, a stored tensor, needs.

    Attributes:
        tensor: its name.
        bits: possible faults in it.
        injections: to know the layer's proportion to within the margin.
        injections_per_bit: to know the same for each of its bit positions, summed.
    """

    tensor: str
    bits: int
    injections: int
    injections_per_bit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The injections that a model needs, by how finely the question is asked.

    Attributes:
        bits: possible faults (N).
        network_wise: one proportion for the whole network.
        layers: per layer.
    """

    bits: int
    network_wise: int
    layers: tuple[LayerPlan, ...]

    @property
    def layer_wise(self) -> int:
        """One proportion per layer: injections in all."""
        return sum(layer.injections for layer in self.layers)

    @property
    def data_unaware(self) -> int:
        """One proportion per layer and bit position, nothing being known about any: injections in all."""
        return sum(layer.injections_per_bit for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "bits": self.bits,
            "network_wise": self.network_wise,
            "layer_wise": self.layer_wise,
            "data_unaware": self.data_unaware,
            "layers": [asdict(layer) for layer in self.layers],
        }


def plan_injections(
    space: FaultSpace, margin: float, confidence: float = 0.99, *, p: float = _HALF, t: float | None = None
) -> Plan:
    """Return the injections that a fault space needs network-wise, layer-wise and per layer and bit.

    Args:
        space: the fault space; its targets are the layers.
        margin: half the width of each interval.
        confidence: of each interval.
        p: expected proportion.
        t: cut-off in place of the confidence's.

    Raises:
        UsageError: a number is out of range.
    """

    def size(population: int) -> int:
        return sample_size(population, margin, confidence, p, t=t)

    layers = tuple(
        LayerPlan(
            tensor=target.tensor,
            bits=target.bits,
            injections=size(target.bits),
            injections_per_bit=size(target.elements) * len(target.bit_numbers),
        )
        for target in space.targets
        if target.elements
    )
    return Plan(bits=space.bits, network_wise=size(space.bits), layers=layers)
