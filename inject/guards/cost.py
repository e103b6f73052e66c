"""What a protection plan costs in memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from ftonnx.inject.guards.memory import GuardedMemory
from ftonnx.inject.guards.plan import Guard, ProtectionPlan
from ftonnx.inject.space import FaultSpace
from ftonnx.words import share_digits

__all__ = ["GuardCost", "PlanCost", "cost_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardCost:
    """What a guard costs.

    Attributes:
        guard: the guard.
        tensors: names of what it guards.
        guarded_bits: bits of the model that it guards; of ``range`` all of the tensors'.
        check_bits: bits that it stores besides.
        share: of these in all bits that the model's tensors store.
    """

    guard: Guard
    tensors: tuple[str, ...]
    guarded_bits: int
    check_bits: int
    share: float

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return self.guard.to_dict() | {
            "tensors": list(self.tensors),
            "guarded_bits": self.guarded_bits,
            "check_bits": self.check_bits,
            "share": share_digits(self.share),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCost:
    """What a plan costs.

    Attributes:
        guards: what each guard does, in the plan's order.
        stored_bits: bits of the tensors that can flip, those that were not chosen included.
    """

    guards: tuple[GuardCost, ...]
    stored_bits: int

    @classmethod
    def of(cls, memory: GuardedMemory) -> Self:
        """Return what the plan of a memory costs."""
        stored = sum(target.elements * target.format.bits for target in memory.stored.targets)
        return cls(guards=tuple(_costs(memory, stored)), stored_bits=stored)

    @property
    def check_bits(self) -> int:
        """Bits that are stored besides."""
        return sum(each.check_bits for each in self.guards)

    @property
    def share(self) -> float:
        """Of these in the bits of the tensors."""
        return self.check_bits / self.stored_bits

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "stored_bits": self.stored_bits,
            "check_bits": self.check_bits,
            "share": share_digits(self.share),
            "guards": [each.to_dict() for each in self.guards],
        }


def cost_of(plan: ProtectionPlan, space: FaultSpace) -> PlanCost:
    """Return what a plan costs on a model.

    Args:
        plan: the plan.
        space: the fault space of the model.

    Raises:
        UsageError: as ``GuardedMemory``.
    """
    return PlanCost.of(GuardedMemory(plan, space))


def _costs(memory: GuardedMemory, stored: int) -> Iterator[GuardCost]:
    for guard in memory.plan.guards:
        tensors = [target for target in memory.stored.targets if guard.takes(target.tensor)]
        banks = [bank for bank in memory.banks if bank.guard is guard]
        guarded = sum(bank.guarded_bits for bank in banks)
        if not banks:
            guarded = sum(target.elements * target.format.bits for target in tensors)
        checks = sum(bank.check_bits for bank in banks)
        yield GuardCost(
            guard=guard,
            tensors=tuple(target.tensor for target in tensors),
            guarded_bits=guarded,
            check_bits=checks,
            share=checks / stored,
        )
