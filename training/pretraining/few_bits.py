"""A network in floating point, run as if its weights and activations had a few bits (the quantizers of SSQL)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["Bits", "FewBits", "round_activation", "round_weight"]

_MOST_BITS: Final = 8
_LEAST: Final = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class Bits:
    """Bits per value: of weights, and of what goes into a layer."""

    weights: int
    activations: int


def round_weight(weight: Tensor, bits: int) -> Tensor:
    """Round a weight ``(channels, ...)`` to symmetric codes with a scale per output channel.

    The scale is max / ((2^b - 1) / 2), codes go from -2^(b-1) to 2^(b-1) - 1; gradients pass inside that range.
    """
    largest = weight.detach().abs().flatten(1).amax(1).clamp(min=_LEAST)
    half = 2 ** (bits - 1)
    scale = largest / ((2**bits - 1) / 2)
    zero = torch.zeros_like(scale, dtype=torch.int32)
    rounded: Tensor = torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -half, half - 1)
    return rounded


def round_activation(values: Tensor, bits: int, low: Tensor, high: Tensor) -> Tensor:
    """Round values to affine codes of a range that holds 0; gradients pass inside it.

    In float32, also where they come from a step in mixed precision: a zero point of 255 times a scale needs more than
    float16 has.
    """
    values, low, high = values.float(), low.float(), high.float()
    most = 2**bits - 1
    low = low.clamp(max=0)
    scale = ((high.clamp(min=0) - low) / most).clamp(min=_LEAST)
    zero_point = torch.round(-low / scale).clamp(0, most).to(torch.int32)
    rounded: Tensor = torch.fake_quantize_per_tensor_affine(values, scale, zero_point, 0, most)
    return rounded


class FewBits:
    """An encoder with its projection, run with weights, and what goes into layers, rounded to a few bits.

    What goes into additions, and what comes out of the projection, is not rounded. Modules and state dicts stay as they
    are.
    """

    def __init__(self, encoder: nn.Module, projection: nn.Module) -> None:
        """Find the layers.

        Args:
            encoder: its first layer has 8 bits, weights and images.
            projection: its weights have 8 bits.
        """
        self._network = nn.Sequential(encoder, projection)
        self._layers = {name: each for name, each in self._network.named_modules() if _has_weight(each)}
        self._first = next(iter(self._layers))
        self._ranges: dict[str, tuple[Tensor, Tensor]] = {}

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measure what goes into layers in this block: the ranges that are rounded by afterwards."""
        self._ranges = {}
        with self._hooked(self._measure):
            yield

    def rounded(self, view: Tensor, bits: Bits) -> Tensor:
        """Return the projection of a view, computed with a few bits; running statistics do not follow it."""
        weights = {f"{name}.weight": self._weight(name, bits) for name in self._layers}

        def round_input(name: str, values: Tensor) -> Tensor:
            own = _MOST_BITS if name == self._first else bits.activations
            return round_activation(values, own, *self._ranges[name])

        with self._hooked(round_input), _unmoved(self._network):
            projected: Tensor = torch.func.functional_call(self._network, weights, (view,))
        return projected

    def _weight(self, name: str, bits: Bits) -> Tensor:
        is_careful = name == self._first or name.startswith("1.")
        weight: Tensor = self._layers[name].weight
        return round_weight(weight, _MOST_BITS if is_careful else bits.weights)

    def _measure(self, name: str, values: Tensor) -> None:
        low, high = values.detach().aminmax()
        if name in self._ranges:
            before = self._ranges[name]
            low, high = torch.minimum(low, before[0]), torch.maximum(high, before[1])
        self._ranges[name] = (low, high)

    @contextmanager
    def _hooked(self, hook: Callable[[str, Tensor], Tensor | None]) -> Iterator[None]:
        """Call ``hook(name, input)`` before each layer runs; what it returns is taken instead."""

        def before(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], Tensor | None]:
            return lambda layer, inputs: hook(name, inputs[0])

        handles = [layer.register_forward_pre_hook(before(name)) for name, layer in self._layers.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _has_weight(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d | nn.Linear)


@contextmanager
def _unmoved(network: nn.Module) -> Iterator[None]:
    """Keep running statistics as they are inside the block, whatever passes through."""
    normalizations = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    before = [module.momentum for module in normalizations]
    for module in normalizations:
        module.momentum = 0.0
    try:
        yield
    finally:
        for module, momentum in zip(normalizations, before, strict=True):
            module.momentum = momentum
