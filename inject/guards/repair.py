"""What guards make of the flips of one tensor: corrected, set to zero, read again, or left."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from ftonnx.inject.faults import Faults, bits_of_masks
from ftonnx.inject.guards.bank import Bank
from ftonnx.inject.guards.ranges import Range
from ftonnx.inject.space import FaultSpace

__all__ = ["Repair", "WordCounts"]

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class WordCounts:
    """What decoders did with the words that had flips; of ``range`` an element counts as a word.

    Attributes:
        corrected: words that are right again.
        detected: errors that were seen and not corrected: zeroed, clamped, or the end of the run.
        reloaded: errors that were seen, and read again from a copy without faults.
        miscorrected: words that were taken for corrected, and are wrong.
        missed: words that are wrong, of which nothing was seen.
    """

    corrected: int = 0
    detected: int = 0
    reloaded: int = 0
    miscorrected: int = 0
    missed: int = 0

    def __add__(self, other: "WordCounts") -> "WordCounts":
        """Return the sums."""
        return WordCounts(
            corrected=self.corrected + other.corrected,
            detected=self.detected + other.detected,
            reloaded=self.reloaded + other.reloaded,
            miscorrected=self.miscorrected + other.miscorrected,
            missed=self.missed + other.missed,
        )

    def to_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


class Repair:
    """The flips of one tensor on their way through its guards: first all codes, then the checks of values.

    Attributes:
        counts: what was done so far.
        stopped: whether a guard that stops has detected something.
    """

    def __init__(self, space: FaultSpace, target: int, flips: Faults) -> None:
        """Begin.

        Args:
            space: the fault space of the model.
            target: the tensor's number in it.
            flips: of the tensor.
        """
        self.counts = WordCounts()
        self.stopped = False
        self._space = space
        self._target = target
        self._element = flips.element
        self._bit = flips.bit
        self._reloaded: Numbers = np.zeros(0, np.int64)
        self._zeroed: Numbers = np.zeros(0, np.int64)
        self._ended: Numbers = np.zeros(0, np.int64)

    def decode(self, bank: Bank, beside: Sequence[Faults]) -> None:
        """Decode the words of a bank.

        Args:
            bank: the bank.
            beside: what flipped in each array that is stored besides.
        """
        is_inside = bank.guards(self._bit)
        numbers = bank.numbers(self._element[is_inside], self._bit[is_inside])
        found = bank.code.decode(bank.dealt, numbers, bank.numbers_beside(beside))
        element, bit = bank.places(found.left)
        self._element = np.concatenate((self._element[~is_inside], element))
        self._bit = np.concatenate((self._bit[~is_inside], bit))
        if len(found.detected):
            self._act(bank.guard.on_detect, bank.elements_of(found.detected))
        is_reloaded = bank.guard.on_detect == "reload"
        self.counts += WordCounts(
            corrected=found.corrected,
            detected=0 if is_reloaded else len(found.detected),
            reloaded=len(found.detected) if is_reloaded else 0,
            miscorrected=found.miscorrected,
            missed=found.missed,
        )

    def _act(self, action: str | None, elements: Numbers) -> None:
        """Remember what is to be done with the elements of detected words."""
        if action == "reload":
            self._reloaded = np.union1d(self._reloaded, elements)
        elif action == "zero":
            self._zeroed = np.union1d(self._zeroed, elements)
        else:
            self.stopped = True
            self._ended = np.union1d(self._ended, elements)

    def settle(self) -> None:
        """Set elements to zero or to what they were, once all codes are decoded; one that is read again is right."""
        if not len(self._reloaded) and not len(self._zeroed):
            return
        is_done = np.isin(self._element, np.union1d(self._zeroed, self._reloaded))
        self._element = self._element[~is_done]
        self._bit = self._bit[~is_done]
        zeroed = np.setdiff1d(self._zeroed, self._reloaded)
        if len(zeroed):
            element, bit = bits_of_masks(zeroed, self._space.codes(self._target, zeroed))
            self._element = np.concatenate((self._element, element))
            self._bit = np.concatenate((self._bit, bit))

    def check_range(self, action: str | None, limits: Range) -> None:
        """Look for values that the tensor does not have, but where a word has ended the run already.

        Args:
            action: what is done with them.
            limits: the range of its values.
        """
        elements, masks = self._masks()
        codes = self._space.codes(self._target, elements)
        faulty = codes ^ masks
        is_out = limits.leaves_out(faulty) & ~np.isin(elements, self._ended)
        found = int(is_out.sum())
        if not found:
            return
        if action == "reload":
            self.counts += WordCounts(reloaded=found)
            masks[is_out] = 0
        else:
            self.counts += WordCounts(detected=found)
        if action == "zero":
            masks[is_out] = codes[is_out]
        elif action == "clamp":
            masks[is_out] = codes[is_out] ^ limits.clamped(faulty[is_out])
        elif action == "stop":
            self.stopped = True
        self._element, self._bit = bits_of_masks(elements, masks)

    def faults(self) -> Faults:
        """Return what is left of the flips."""
        order = np.lexsort((self._bit, self._element))
        target = np.full(len(order), self._target, np.int32)
        return Faults.in_order(target, self._element[order], self._bit[order])

    def _masks(self) -> tuple[Numbers, NDArray[np.uint64]]:
        """Return the distinct elements that are wrong, ascending, and which of their bits are."""
        for _, elements, masks in self.faults().masks():
            return elements, masks
        return np.zeros(0, np.int64), np.zeros(0, np.uint64)
