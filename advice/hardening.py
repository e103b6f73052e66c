"""Puts plans together, tries them by campaigns, the cheapest first, and takes away what is not needed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from ftonnx.advice.candidates import Candidates
from ftonnx.advice.findings import Findings
from ftonnx.advice.items import Search, items_of
from ftonnx.advice.planning import code_guard, plan_of, range_guard
from ftonnx.advice.prediction import accuracy_after
from ftonnx.advice.result import AdvisedGuard, Compared, FrontierPoint
from ftonnx.advice.search import Plan
from ftonnx.advice.trials import Trials
from ftonnx.advice.ways import Device
from ftonnx.gates.verdict import Verdict
from ftonnx.inject.guards import RANGE, Guard, ProtectionPlan, cost_of

__all__ = ["Hardened", "Hardening"]

_TARGETS: Final = (0.75, 0.5, 0.3, 0.15)
"""Parts of the loss that is allowed, which a plan may lose by prediction; the next one where a campaign is not content.

The first is not 1, so that a campaign can tell soon that the goal is met."""
_SHOWN: Final = 40  # points of the frontier


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A guard of a plan.

    Attributes:
        guard: it.
        others: the codes of the plan that lacks it.
        is_checked: whether ranges are checked in that plan.
        without: accuracy lost per run, the sum over single flips, in that plan.
    """

    guard: Guard
    others: Plan
    is_checked: bool
    without: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """What a plan is made of.

    Attributes:
        parts: its guards, the one that buys most first.
        loss: accuracy lost per run behind all of them, the sum over single flips.
    """

    parts: tuple[_Part, ...]
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardened:
    """A plan that was tried.

    Attributes:
        plan: it.
        guards: what each guard costs and buys.
        verdict: whether it meets the goal.
        needed: whether the plan without its last guard does; None where the plan does not.
    """

    plan: ProtectionPlan
    guards: tuple[AdvisedGuard, ...]
    verdict: Verdict
    needed: Verdict | None


class Hardening:
    """Looks for the cheapest plan that meets a goal in a campaign.

    Args:
        trials: where plans are tried; the model as it is was tried already, and misses the goal.
        candidates: what may be used.
        findings: what single flips cost.
        golden: accuracy without faults.
        allowed: accuracy that may be lost per run, the sum over single flips.
    """

    def __init__(
        self, trials: Trials, candidates: Candidates, findings: Findings, *, golden: float, allowed: float
    ) -> None:
        self._trials = trials
        self._candidates = candidates
        self._findings = findings
        self._golden = golden
        self._allowed = allowed
        rate = trials.goal.rate
        assert rate is not None  # it was resolved
        device = Device(
            rate=rate,
            word_bits=candidates.word_bits,
            reloads=candidates.reloads,
            codes=candidates.codes,
        )
        self._search = Search(findings.behind, device)
        self._space = trials.subject.space

    def run(self) -> Hardened | None:
        """Try plans until one meets the goal, and take away guards until each is needed.

        Returns:
            The plan that meets it, or the last one tried; None where single flips are not known to do any harm.

        Raises:
            FtonnxError: as ``gate``.
        """
        seen: list[ProtectionPlan] = []
        tried: Hardened | None = None
        for draft in self._attempts():
            found = self._plan(draft)
            if found in seen:
                continue
            seen.append(found)
            compared = self._try(draft, f"plan {len(seen)}")
            if compared.verdict == "PASS":
                return self._least(draft)
            tried = self._hardened(draft, compared.verdict, None)
        return tried

    def _attempts(self) -> Iterator[_Draft]:
        """Yield plans, each of which is predicted to lose less; the best that there is comes last."""
        for target in _TARGETS:
            plan = self._search.cheapest(target * self._allowed)
            if plan is not None:
                draft = self._checked_if_needed(plan, target * self._allowed)
                if draft.parts:
                    yield draft
        strongest = self._checked_if_needed(self._search.strongest(), 0.0)
        if strongest.parts:
            yield strongest

    def compare(self, hardened: Hardened | None) -> None:
        """Try what people would do without advice, for the chart.

        Args:
            hardened: what was advised, which is not tried again.

        Raises:
            FtonnxError: as ``gate``.
        """
        usual = {RANGE: "range check alone", "secded": "SECDED of all bits"}
        advised = [] if hardened is None else [guard.by for guard in hardened.guards]
        for by, name in usual.items():
            if by in self._candidates.guards and (by != RANGE or advised != [RANGE]):
                guard = Guard("*", by, on_detect=self._candidates.on_detect)
                self._trials.add(name, plan_of([guard], self._candidates, None))

    def frontier(self) -> tuple[FrontierPoint, ...]:
        """Return plans that no other one beats by prediction, from the cheapest to the best, some of many."""
        found = self._search.frontier(self._allowed)
        stored = self._trials.subject.stored_bits
        places = np.unique(np.linspace(0, len(found) - 1, _SHOWN).round().astype(int))
        points = []
        for place in places.tolist():
            plan = found.plan(place)
            accuracy = accuracy_after(plan.loss, self._golden)
            points.append(FrontierPoint(check_bits=plan.cost, share=plan.cost / stored, accuracy=accuracy))
        return tuple(points)

    def _checked_if_needed(self, plan: Plan, allowed: float) -> _Draft:
        """Return the guards of a plan, with the range check only where too much is lost without it."""
        return self._draft(plan, self._candidates.has_range and self._loss(plan, is_checked=False) > allowed)

    def _draft(self, plan: Plan, is_checked: bool) -> _Draft:
        """Return the guards of a plan.

        Args:
            plan: its codes.
            is_checked: whether ranges are checked too.
        """
        parts = []
        for item in items_of(plan, self._findings.behind, self._search.device):
            others = self._search.without(plan, item)
            parts.append(self._part(code_guard(item, self._candidates), others, is_checked))
        if is_checked:
            parts.append(self._part(range_guard(self._space, self._candidates), plan, False))
        parts.sort(key=lambda part: -part.without)
        return _Draft(parts=tuple(parts), loss=self._loss(plan, is_checked))

    def _part(self, guard: Guard, others: Plan, is_checked: bool) -> _Part:
        return _Part(guard=guard, others=others, is_checked=is_checked, without=self._loss(others, is_checked))

    def _loss(self, plan: Plan, is_checked: bool) -> float:
        """Return the loss of a plan's codes, with a check of ranges or alone."""
        if is_checked:
            return plan.loss
        rate = self._search.device.rate
        loss = plan.loss
        for way, plain, behind in zip(plan.ways, self._findings.plain, self._findings.behind, strict=True):
            loss += plain.unguarded(way.bits, rate) - behind.unguarded(way.bits, rate)
        return loss

    def _plan(self, draft: _Draft) -> ProtectionPlan:
        plan = plan_of([part.guard for part in draft.parts], self._candidates, self._trials.subject.model.sha256)
        assert plan is not None  # there are parts
        return plan

    def _try(self, draft: _Draft, name: str) -> Compared:
        return self._trials.add(name, self._plan(draft), predicted=accuracy_after(draft.loss, self._golden))

    def _least(self, draft: _Draft) -> Hardened:
        """Take away the last guard as long as the goal is met without it too."""
        while len(draft.parts) > 1:
            last = draft.parts[-1]
            shorter = self._draft(last.others, last.is_checked)
            fewer = self._try(shorter, "without its last guard")
            if fewer.verdict != "PASS":
                return self._hardened(draft, "PASS", fewer.verdict)
            draft = shorter
        # without its only guard, it is the model as it is
        return self._hardened(draft, "PASS", self._trials.tried[0].verdict)

    def _hardened(self, draft: _Draft, verdict: Verdict, needed: Verdict | None) -> Hardened:
        plan = self._plan(draft)
        guards = []
        for part, cost in zip(draft.parts, cost_of(plan, self._space).guards, strict=True):
            guard = AdvisedGuard(
                by=part.guard.by,
                bits=() if isinstance(part.guard.bits, str) else part.guard.bits,
                tensors=cost.tensors,
                check_bits=cost.check_bits,
                share=cost.share,
                without=accuracy_after(part.without, self._golden),
            )
            guards.append(guard)
        return Hardened(plan=plan, guards=tuple(guards), verdict=verdict, needed=needed)
