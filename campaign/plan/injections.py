"""How many injections a model needs, network-wise, per layer, and per layer and bit (Ruospo et al., DATE 2023)."""

from dataclasses import asdict, dataclass
from typing import Any, Final

from ftonnx.inject import FaultSpace
from ftonnx.stats.sample_size import sample_size

__all__ = ["LayerPlan", "Plan", "plan_injections"]

_HALF: Final = 0.5


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
