"""What each code leaves over of the harm in a tensor, and what it costs: the ways among which the search chooses.

Closed forms of the same events that ``inject --protection`` simulates: words of data bits with their check bits, all of
which flip independently.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.advice.search import Way
from ftonnx.inject.guards import CODES

__all__ = ["Device", "TensorHarm", "touched", "way_of", "ways_of"]

_UNSEEN: Final = 0.45
"""Of words with three flips or more, so many are miscorrected or missed by SECDED: .56 of three, .33 of many."""
_WRONG: Final = 3.6
"""Data bits that are wrong in such a word, mean: three, and one that was taken for the error, but for check bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What memory and runtime of the device allow.

    Attributes:
        rate: flips per bit between two loads of the parameters.
        word_bits: data bits of a code word, 32 or 64.
        reloads: whether what a code detects is loaded anew from storage; else it is set to zero.
        codes: which may be used, of the guards' ``CODES``.
    """

    rate: float
    word_bits: int
    reloads: bool
    codes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorHarm:
    """What flips in one tensor cost.

    Attributes:
        tensor: its name.
        elements: stored in it.
        bits: numbers of each element's bits that can flip, the most harmful first.
        flips: accuracy lost by a flip of each of these bits, (bits,).
        zeroed: accuracy lost where one element becomes zero.
    """

    tensor: str
    elements: int
    bits: tuple[int, ...]
    flips: NDArray[np.float64]
    zeroed: float

    def unguarded(self, bits: Collection[int], rate: float) -> float:
        """Return the accuracy lost per run by flips of all bits but these."""
        harms = zip(self.bits, self.flips.tolist(), strict=True)
        return rate * self.elements * float(sum(harm for bit, harm in harms if bit not in bits))

    def detected(self, guarded: int, device: Device) -> float:
        """Return what a word costs in which errors are found that cannot be corrected.

        Args:
            guarded: bits of each element in it.
            device: what is done with it.
        """
        if device.reloads:
            return 0.0
        return min(1.0, touched(device.word_bits, guarded, self.elements) * self.zeroed)


def touched(word_bits: int, guarded: int, elements: int) -> float:
    """Return how many elements a code word has bits of, on average: words begin anywhere in one.

    Args:
        word_bits: data bits of a word.
        guarded: bits of each element that are in words.
        elements: of the tensor.

    >>> touched(64, 9, 1000), touched(64, 9, 4)
    (8.0, 4)
    """
    return min(1 + (word_bits - 1) / guarded, elements)


_Left = Callable[[TensorHarm, int, Device], float]
"""Accuracy lost per run in the first so many bits of each element, under a code."""


def _under_parity(harm: TensorHarm, guarded: int, device: Device) -> float:
    size = device.word_bits + 1
    odd = (1 - (1 - 2 * device.rate) ** size) / 2
    none = (1 - device.rate) ** size
    even = max(0.0, 1 - odd - none)
    silent = min(1.0, 2 * float(harm.flips[:guarded].mean()))
    return _words(harm, guarded, device) * (odd * harm.detected(guarded, device) + even * silent)


def _under_secded(harm: TensorHarm, guarded: int, device: Device) -> float:
    size = device.word_bits + CODES["secded"].check_width(device.word_bits)
    one = size * device.rate * (1 - device.rate) ** (size - 1)
    two = (size - 1) / 2 * device.rate / (1 - device.rate) * one
    none = (1 - device.rate) ** size
    more = max(0.0, 1 - none - one - two)
    detected = two + (1 - _UNSEEN) * more
    silent = min(1.0, _WRONG * float(harm.flips[:guarded].mean()))
    lost = detected * harm.detected(guarded, device) + _UNSEEN * more * silent
    return _words(harm, guarded, device) * lost


def _under_tmr(harm: TensorHarm, guarded: int, device: Device) -> float:
    outvoted = 3 * device.rate**2 - 2 * device.rate**3
    return float(harm.elements * outvoted * harm.flips[:guarded].sum())


def _under_duplication(harm: TensorHarm, guarded: int, device: Device) -> float:
    differs = 2 * device.rate * (1 - device.rate)
    word = 1 - (1 - differs) ** device.word_bits
    both = device.rate**2
    silent = harm.elements * both * float(harm.flips[:guarded].sum())
    return _words(harm, guarded, device) * word * harm.detected(guarded, device) + silent


_LEFT: Final[dict[str, _Left]] = {
    "parity": _under_parity,
    "secded": _under_secded,
    "tmr": _under_tmr,
    "duplication": _under_duplication,
}


def check_bits(by: str, data: int, word_bits: int) -> int:
    """Return the check bits of some data bits.

    >>> check_bits("secded", 130, 64), check_bits("parity", 130, 64), check_bits("tmr", 130, 64)
    (24, 3, 260)
    """
    code = CODES[by]
    if code.copies:
        return code.copies * data
    return -(-data // word_bits) * code.check_width(word_bits)


def _words(harm: TensorHarm, guarded: int, device: Device) -> int:
    return -(-harm.elements * guarded // device.word_bits)


def way_of(harm: TensorHarm, by: str, guarded: int, device: Device) -> Way:
    """Return one way to guard a tensor.

    Args:
        harm: of its flips.
        by: the code; empty for none.
        guarded: how many of the most harmful bits of each element it guards, 0 for none.
        device: what there is to guard with.
    """
    open_loss = harm.unguarded(harm.bits[:guarded], device.rate)
    if not by:
        return Way(tensor=harm.tensor, loss=open_loss)
    return Way(
        tensor=harm.tensor,
        by=by,
        bits=tuple(sorted(harm.bits[:guarded])),
        cost=check_bits(by, harm.elements * guarded, device.word_bits),
        loss=open_loss + _LEFT[by](harm, guarded, device),
    )


def ways_of(harm: TensorHarm, sets: Iterable[int], device: Device) -> list[Way]:
    """Return the ways to guard a tensor that no other one beats in both cost and loss, none first.

    Args:
        harm: of its flips.
        sets: how many of the most harmful bits may be guarded together.
        device: what there is to guard with.
    """
    found = [way_of(harm, by, guarded, device) for guarded in sets for by in device.codes]
    found.sort(key=lambda way: (way.cost, way.loss))
    best = [way_of(harm, "", 0, device)]
    for way in found:
        if way.loss < best[-1].loss:
            best.append(way)
    return best
