"""A memory that protects a model's bits: the bits that it adds, and what of its flips reaches the model."""

import fnmatch
import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ftonnx.errors import UsageError
from ftonnx.inject.faults import Faults
from ftonnx.inject.formats import Words
from ftonnx.inject.guards.bank import Bank
from ftonnx.inject.guards.plan import RANGE, Guard, ProtectionPlan
from ftonnx.inject.guards.ranges import Range
from ftonnx.inject.guards.repair import Repair, WordCounts
from ftonnx.inject.space import FaultSpace
from ftonnx.words import near

__all__ = ["Decoded", "GuardedMemory"]


@dataclass(frozen=True, slots=True)
class Decoded:
    """What became of a pattern behind guards.

    Attributes:
        faults: what is wrong in the model, in its own fault space.
        words: what the decoders did.
        stopped: whether a guard that stops has detected something, so that the model does not run.
    """

    faults: Faults
    words: WordCounts
    stopped: bool


class GuardedMemory:
    """A model's fault space behind the guards of a plan.

    Attributes:
        plan: the plan.
        stored: the fault space of the model.
        space: the same, and behind it the check bits and copies, which flip alike.
        banks: the guarded bits, tensor by tensor for each guard.
    """

    def __init__(self, plan: ProtectionPlan, stored: FaultSpace) -> None:
        """Find the tensors that are guarded.

        Raises:
            UsageError: a guard matches no tensor, two guard the same bits, elements have no such bits, or activations
                can flip.
        """
        stored.require_stored("guards")
        self.plan = plan
        self.stored = stored
        try:
            self.banks = tuple(_banks(plan, stored))
            _refuse_shared(self.banks)
            checks = list(_ranges(plan, stored))
        except UsageError as error:
            raise plan.blamed_for(str(error)) from None
        self._guarding = [_Guarding([], []) for _ in stored.targets]
        for check in checks:
            self._guarding[check.target].checks.append(check)
        added = [array for bank in self.banks for array in bank.beside]
        owners = list(range(len(stored.targets)))
        for bank in self.banks:
            self._guarding[bank.target].banks.append((bank, len(owners)))
            owners += [bank.target] * len(bank.beside)
        self._owners = np.array(owners, np.int64)
        self.space = stored.with_memory(added, _Beside(self.banks, stored)) if added else stored

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave out what follows from plan and space."""
        return GuardedMemory, (self.plan, self.stored)

    def decode(self, drawn: Faults) -> Decoded:
        """Return what of a pattern in the memory is left in the model.

        Raises:
            UsageError: the space was made without a model, whose stored bits are needed.
            ModelError: the model's file changed or vanished.
        """
        counts = WordCounts()
        stopped = False
        # patterns are sorted by target
        starts = np.searchsorted(drawn.target, np.arange(len(self._owners) + 1)).tolist()
        left: list[Faults] = []
        for target in np.unique(self._owners[drawn.target]).tolist():
            repair = Repair(self.stored, target, _within(drawn, starts, target))
            guarding = self._guarding[target]
            for bank, first in guarding.banks:
                beside = [_within(drawn, starts, first + number) for number in range(len(bank.beside))]
                repair.decode(bank, beside)
            repair.settle()
            for check in guarding.checks:
                repair.check_range(check.guard.on_detect, check.limits)
            counts += repair.counts
            stopped |= repair.stopped
            left.append(repair.faults())
        return Decoded(_joined(left), counts, stopped)


class _Check(NamedTuple):
    """A check of a tensor's values."""

    target: int
    guard: Guard
    limits: Range


class _Guarding(NamedTuple):
    """What guards a tensor.

    Attributes:
        banks: its banks, each with the number of its first array among the targets of the guarded space.
        checks: of its values.
    """

    banks: list[tuple[Bank, int]]
    checks: list[_Check]


class _Beside:
    """The words of what banks store besides, each made at the first use; another process makes its own."""

    def __init__(self, banks: Sequence[Bank], stored: FaultSpace) -> None:
        """Take the banks, of which nothing is coded yet."""
        self._banks = banks
        self._stored = stored
        self._owners = [(bank, number) for bank in banks for number in range(len(bank.beside))]
        self._words: dict[int, list[Words]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave out what was made."""
        return _Beside, (self._banks, self._stored)

    def of(self, place: int) -> Words:
        """Return the words of an array, by its place behind the model's.

        Raises:
            ModelError: the model's file changed or vanished.
        """
        bank, number = self._owners[place]
        first = place - number
        if first not in self._words:
            self._words[first] = bank.stored_beside(self._stored.words(bank.target))
        return self._words[first][number]


def _banks(plan: ProtectionPlan, stored: FaultSpace) -> Iterator[Bank]:
    """Yield the guarded bits of each tensor behind each code.

    Raises:
        UsageError: a guard matches no tensor, or elements have no such bits.
    """
    for guard in plan.guards:
        found = _guarded(guard, stored)
        if guard.by != RANGE:
            for number in found:
                yield Bank.of(plan, guard, number, stored.targets[number])


def _ranges(plan: ProtectionPlan, stored: FaultSpace) -> Iterator[_Check]:
    """Yield the checks of values.

    Raises:
        UsageError: a tensor has two.
    """
    seen: dict[int, Guard] = {}
    for guard in plan.guards:
        if guard.by == RANGE:
            for number in _guarded(guard, stored):
                if number in seen:
                    raise UsageError(f"{stored.targets[number].tensor!r} has two ranges: one was expected")
                seen[number] = guard
                yield _Check(number, guard, Range(stored, number))


def _guarded(guard: Guard, stored: FaultSpace) -> list[int]:
    """Return the numbers of the tensors that a guard takes.

    Raises:
        UsageError: one of its patterns matches none.
    """
    names = [target.tensor for target in stored.targets]
    for pattern in guard.tensors:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
            # as a pattern has them
            known = [glob.escape(name) for name in names]
            raise UsageError(f"{pattern!r} of a guard matches no tensor that can flip{near(pattern, known)}")
    return [number for number, name in enumerate(names) if guard.takes(name)]


def _refuse_shared(banks: Sequence[Bank]) -> None:
    """Refuse two codes on the same bits.

    Raises:
        UsageError: there are.
    """
    taken: dict[int, set[int]] = {}
    for bank in banks:
        known = taken.setdefault(bank.target, set())
        shared = known & set(bank.bits)
        if shared:
            raise UsageError(
                f"bit {min(shared)} of {bank.tensor.tensor!r} is guarded twice: one code for each bit was expected"
            )
        known |= set(bank.bits)


def _within(faults: Faults, starts: Sequence[int], target: int) -> Faults:
    """Return the faults of one target, given where those of each begin."""
    here = slice(starts[target], starts[target + 1])
    return Faults.in_order(faults.target[here], faults.element[here], faults.bit[here])


def _joined(parts: Sequence[Faults]) -> Faults:
    """Return faults of several targets, the later ones behind."""
    if not parts:
        return Faults.none()
    return Faults.in_order(
        np.concatenate([part.target for part in parts]),
        np.concatenate([part.element for part in parts]),
        np.concatenate([part.bit for part in parts]),
    )
