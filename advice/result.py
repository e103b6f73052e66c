"""What the advisor found, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ftonnx.gates import GateVerdict, Goal
from ftonnx.gates.verdict import Verdict
from ftonnx.inject.guards import PlanCost, ProtectionPlan
from ftonnx.stats import Estimate, spans
from ftonnx.words import nine_digits, percent, share_digits, some_of

__all__ = ["Advice", "AdvisedGuard", "Compared", "FrontierPoint", "HarmRanking"]

_OUTCOMES: Final[Mapping[Verdict, str]] = {
    "PASS": "meets",
    "FAIL": "misses",
    "INCONCLUSIVE": "is not shown to meet",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvisedGuard:
    """One guard of the advised plan, and what it buys.

    Attributes:
        by: ``parity``, ``secded``, ``tmr``, ``duplication`` or ``range``.
        bits: numbers of the guarded bits of each element, ascending; all of them where there are none.
        tensors: names of what it guards.
        check_bits: bits that it stores besides.
        share: of these in all bits of the model's tensors.
        without: accuracy to expect where the plan lacks this guard.
    """

    by: str
    bits: tuple[int, ...]
    tensors: tuple[str, ...]
    check_bits: int
    share: float
    without: float

    def __str__(self) -> str:
        return f"{self.by}, {self.bits_text} of {some_of(self.tensors)}: without it {percent(self.without)}"

    @property
    def bits_text(self) -> str:
        """Which bits, in words.

        >>> guard = AdvisedGuard(by="parity", bits=(29, 30, 31), tensors=("w",), check_bits=9, share=0.1, without=0.8)
        >>> guard.bits_text, str(guard)
        ('bits 29 to 31', 'parity, bits 29 to 31 of w: without it 80.00 %')
        """
        return f"bits {spans([str(bit) for bit in self.bits])}" if self.bits else "all bits"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "by": self.by,
            "bits": list(self.bits),
            "tensors": list(self.tensors),
            "check_bits": self.check_bits,
            "share": share_digits(self.share),
            "without": nine_digits(self.without),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontierPoint:
    """A plan that no other one beats in both check bits and accuracy to expect.

    Attributes:
        check_bits: of it.
        share: of these in all bits of the model's tensors.
        accuracy: to expect.
    """

    check_bits: int
    share: float
    accuracy: float

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "check_bits": self.check_bits,
            "share": share_digits(self.share),
            "accuracy": nine_digits(self.accuracy),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A protection that was tried by a campaign.

    Attributes:
        name: of it.
        check_bits: bits that it stores besides.
        share: of these in all bits of the model's tensors.
        predicted: accuracy to expect; None where there is no prediction.
        accuracy: what the campaign found, with limits that hold with the gate's confidence each; None of no run.
        verdict: whether it meets the goal.
        patterns: fault patterns that took.
        seed: of them.
        results: the campaign's folder.
    """

    name: str
    check_bits: int
    share: float
    predicted: float | None
    accuracy: Estimate | None
    verdict: Verdict
    patterns: int
    seed: int
    results: Path

    @classmethod
    def of(
        cls, name: str, found: GateVerdict, *, cost: PlanCost | None, predicted: float | None, seed: int
    ) -> "Compared":
        """Take what a gate found."""
        (goal,) = found.goals
        return cls(
            name=name,
            check_bits=0 if cost is None else cost.check_bits,
            share=0.0 if cost is None else cost.share,
            predicted=predicted,
            accuracy=goal.estimate,
            verdict=found.verdict,
            patterns=goal.patterns,
            seed=seed,
            results=found.results,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values, but for the folder."""
        return {
            "name": self.name,
            "check_bits": self.check_bits,
            "share": share_digits(self.share),
            "predicted": nine_digits(self.predicted),
            "accuracy": None if self.accuracy is None else self.accuracy.to_dict(),
            "verdict": self.verdict,
            "patterns": self.patterns,
            "seed": self.seed,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class HarmRanking:
    """How much is known of single flips.

    Attributes:
        injections: single faults that were run.
        strata: bits of tensors, or groups of them, that were measured apart.
        guarded: strata that cannot be left unguarded, as the model is.
        is_certain: whether that is certain, with the confidence.
    """

    injections: int
    strata: int
    guarded: int
    is_certain: bool

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "injections": self.injections,
            "strata": self.strata,
            "guarded": self.guarded,
            "certain": self.is_certain,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What to harden, and what it buys.

    Attributes:
        goal: an accuracy at a rate.
        golden: accuracy without faults.
        model: the model's name.
        data: the data set's name.
        confidence: of all verdicts, and of the ranking.
        verdict: whether the plan, or the model as it is, meets the goal in a campaign with seeds of its own.
        plan: the cheapest that does, or the last one tried; None where the model meets the goal as it is.
        guards: of the plan, the one that buys most first.
        tried: protections that were tried by campaigns, the model as it is first.
        needed: whether a campaign shows that the plan without its last guard misses the goal; None where there was
            none, as the plan was not verified.
        frontier: plans that were only predicted, the cheapest first.
        ranking: what is known of single flips; None where nothing had to be known.
        bits: N, without check bits.
        stored_bits: bits of the model's tensors, of which costs are shares.
        results: the folder of all campaigns.
        seconds: that it took.
        headline_label: what the task calls its accuracy.
    """

    goal: Goal
    golden: float
    model: str
    data: str
    confidence: float
    verdict: Verdict
    plan: ProtectionPlan | None
    guards: tuple[AdvisedGuard, ...]
    tried: tuple[Compared, ...]
    needed: Verdict | None
    frontier: tuple[FrontierPoint, ...]
    ranking: HarmRanking | None
    bits: int
    stored_bits: int
    results: Path
    seconds: float
    headline_label: str = "top-1"

    @property
    def check_bits(self) -> int:
        """Of the plan."""
        return sum(guard.check_bits for guard in self.guards)

    @property
    def cheaper(self) -> tuple[Compared, ...]:
        """What stores fewer check bits than the plan and meets the goal, such as another model; the cheapest first."""
        found = [each for each in self.tried if each.verdict == "PASS" and each.check_bits < self.check_bits]
        return tuple(sorted(found, key=lambda each: each.check_bits))

    @property
    def outcome(self) -> str:
        """What a campaign has found of the plan, or of the model as it is, in words."""
        goal = f"{percent(self.goal.bound)} {self.headline_label} at {self.goal.rate:g}"
        return f"{_OUTCOMES[self.verdict]} {goal}"

    @property
    def headline(self) -> str:
        """The advice in one line."""
        if self.plan is None:
            return f"{self.verdict}: {self.model} {self.outcome} as it is"
        cost = f"{self.check_bits:,} check bits, {percent(self.check_bits / self.stored_bits)} of the model's"
        told = f"{self.verdict}: the plan {self.outcome} in a campaign of its own; it costs {cost}"
        if self.cheaper:
            least = self.cheaper[0]
            told += f"; {least.name} meets the goal with {least.check_bits:,}"
        return told

    def __str__(self) -> str:
        return "\n".join([self.headline, *map(str, self.guards)])

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``ftonnx advise --json``.

        All but ``run`` is a function of what was asked and of the counts.
        """
        return {
            "verdict": self.verdict,
            "goal": self.goal.to_dict(),
            "golden": nine_digits(self.golden),
            "model": self.model,
            "data": self.data,
            "confidence": self.confidence,
            "plan": None if self.plan is None else self.plan.to_dict(),
            "guards": [guard.to_dict() for guard in self.guards],
            "check_bits": self.check_bits,
            "needed": self.needed,
            "tried": [each.to_dict() for each in self.tried],
            "frontier": [point.to_dict() for point in self.frontier],
            "ranking": None if self.ranking is None else self.ranking.to_dict(),
            "bits": self.bits,
            "stored_bits": self.stored_bits,
            "run": {"results": str(self.results), "seconds": round(self.seconds, 3)},
        }
