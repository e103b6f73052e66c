"""What is printed of advice."""

from ftonnx.advice import AdvisedGuard, FrontierPoint
from ftonnx.gates.verdict import Verdict
from json_outputs.base import Interval, Object, all_of
from json_outputs.campaigns import Protection

__all__ = ["Advice"]

GuardWithGain = all_of(AdvisedGuard)
Point = all_of(FrontierPoint)


class AccuracyGoal(Object, frozen=True):
    """An accuracy at a rate.

    Attributes:
        kind: min_accuracy; a largest drop is turned into one.
        bound: the accuracy.
        rate: flips per bit.
    """

    kind: str
    bound: float
    rate: float


class Tried(Object, frozen=True):
    """A protection that was tried by a campaign.

    Attributes:
        name: of it.
        check_bits: bits that it stores besides.
        share: of these in all bits of the model's tensors.
        predicted: accuracy to expect; null where there is no prediction.
        accuracy: that was found; null where nothing was run.
        verdict: whether it meets the goal.
        patterns: fault patterns that this took.
        seed: of the patterns.
    """

    name: str
    check_bits: int
    share: float
    predicted: float | None
    accuracy: Interval | None
    verdict: Verdict
    patterns: int
    seed: int


class Ranking(Object, frozen=True):
    """How much is known of single flips.

    Attributes:
        injections: single faults that were run.
        strata: bits of tensors, or groups of them, that were measured apart.
        guarded: strata that cannot be left unguarded, as the model is.
        certain: whether that is certain, with the confidence.
    """

    injections: int
    strata: int
    guarded: int
    certain: bool


class AdviceRun(Object, frozen=True):
    """How and where the advice came about.

    Attributes:
        results: the folder of all campaigns.
        seconds: that it took.
    """

    results: str
    seconds: float


class Advice(Object, frozen=True):
    """What to harden, and what it buys; all but ``run`` is a function of what was asked and of the counts.

    Attributes:
        verdict: whether the plan, or the model as it is, meets the goal in a campaign of its own.
        goal: an accuracy at a rate.
        golden: accuracy without faults.
        model: its name.
        data: its name.
        confidence: of all verdicts, and of the ranking.
        plan: the cheapest that meets the goal, or the last one tried; null where the model meets it as it is.
        guards: of the plan, the one that buys most first.
        check_bits: of the plan.
        needed: what a campaign says of the plan without its last guard, FAIL where that is needed; null without one.
        tried: protections that were tried, the model as it is first.
        frontier: plans that were only predicted, the cheapest first.
        ranking: of single flips; null where nothing had to be known.
        bits: N, without check bits.
        stored_bits: bits of the model's tensors, of which costs are shares.
        run: how and where.
    """

    verdict: Verdict
    goal: AccuracyGoal
    golden: float
    model: str
    data: str
    confidence: float
    plan: Protection | None
    guards: list[GuardWithGain]
    check_bits: int
    needed: Verdict | None
    tried: list[Tried]
    frontier: list[Point]
    ranking: Ranking | None
    bits: int
    stored_bits: int
    run: AdviceRun
