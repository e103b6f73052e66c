"""From what strata cost to what each tensor's bits cost, the most harmful first."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from ftonnx.advice.harms import Harm
from ftonnx.advice.ways import TensorHarm
from ftonnx.inject import FaultSpace

__all__ = ["tensor_harms"]

_LEAST: Final = 1e-6  # below that, harms are alike


def tensor_harms(space: FaultSpace, harms: Sequence[Harm], zeroed: Mapping[str, float]) -> tuple[TensorHarm, ...]:
    """Return what flips in each tensor cost.

    Tensors of one format have their bits in one order, by what all of them measured together, so that guards can share
    a choice of bits. Bits that do about the same harm are in the order of their weight.

    Args:
        space: the fault space.
        harms: of all strata.
        zeroed: by tensor, accuracy lost where one element becomes zero; 0 where it is not known.
    """
    by_bit = {(harm.tensor, bit): harm.mean for harm in harms for bit in harm.bits}
    orders = _orders(space, harms)
    found = []
    for target in space.targets:
        order = orders[_kind(target.format.name, target.bit_numbers)]
        harm = TensorHarm(
            tensor=target.tensor,
            elements=target.elements,
            bits=order,
            flips=np.array([by_bit[target.tensor, bit] for bit in order]),
            zeroed=zeroed.get(target.tensor, 0.0),
        )
        found.append(harm)
    return tuple(found)


_Kind = tuple[str, tuple[int, ...]]


def _kind(name: str, bits: Sequence[int]) -> _Kind:
    """Return what tensors have in common whose bits mean the same."""
    return name, tuple(bits)


def _orders(space: FaultSpace, harms: Sequence[Harm]) -> dict[_Kind, tuple[int, ...]]:
    """Return the bits of each format, the most harmful first."""
    kinds = {target.tensor: _kind(target.format.name, target.bit_numbers) for target in space.targets}
    lost: dict[_Kind, dict[int, float]] = {kind: dict.fromkeys(kind[1], 0.0) for kind in kinds.values()}
    for harm in harms:
        for bit in harm.bits:
            # weighted by the number of such bits, which is the same for all bits of an element
            lost[kinds[harm.tensor]][bit] += harm.mean * harm.size / len(harm.bits)
    sizes = dict.fromkeys(lost, 0)
    for target in space.targets:
        sizes[kinds[target.tensor]] += target.elements
    return {
        kind: tuple(sorted(found, key=lambda bit: (-_octave(found[bit] / sizes[kind]), -bit)))
        for kind, found in lost.items()
    }


def _octave(harm: float) -> int:
    """Return a harm's power of two; within one, measurements do not tell bits apart.

    >>> _octave(0.3), _octave(0.26), _octave(0.1), _octave(0.0)
    (-2, -2, -4, -20)
    """
    return math.floor(math.log2(max(harm, _LEAST)))
