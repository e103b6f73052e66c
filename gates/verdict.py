"""What a gate decided, as plain values."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ftonnx.campaign.plan.stopping import Budget
from ftonnx.campaign.results.notebook import html_table
from ftonnx.gates.goals import Goal
from ftonnx.stats.betting import Question
from ftonnx.stats.estimate import Estimate
from ftonnx.words import nine_digits, percent

__all__ = ["GateVerdict", "GoalVerdict", "Verdict"]

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalVerdict:
    """What was found out about one goal.

    Attributes:
        goal: with its rate.
        name: the goal in words.
        verdict: ``PASS``, ``FAIL`` or ``INCONCLUSIVE``.
        estimate: of the quantity the goal limits, with a lower and an upper limit, each of which holds with
            the gate's confidence at any time; None where no round was finished.
        rounds: how often was looked: rounds of a fault pattern per batch, or portions of drawn batches.
        patterns: fault patterns in all.
        seconds: until it was decided.
        message: the evidence in words.
    """

    goal: Goal
    name: str
    verdict: Verdict
    estimate: Estimate | None
    rounds: int
    patterns: int
    seconds: float
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values, but for the time it took."""
        return {
            **self.goal.to_dict(),
            "name": self.name,
            "verdict": self.verdict,
            "estimate": None if self.estimate is None else self.estimate.to_dict(),
            "rounds": self.rounds,
            "patterns": self.patterns,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class GateVerdict:
    """What a gate decided, goal by goal.

    Attributes:
        verdict: ``PASS`` where every goal is reached, ``FAIL`` where one is not, else ``INCONCLUSIVE``.
        goals: one entry per goal.
        golden: the headline without faults, such as top-1 accuracy, of the images that were met; None of none.
        model: the model's name.
        data: the data set's name.
        question: ``these-images`` or ``new-images``.
        confidence: of every goal's verdict.
        budget: what could be spent.
        units: recorded in the results folder.
        seconds: that the run took.
        results: the results folder.
        warnings: what a reader of the verdict must know first.
        headline_label: what the task calls that.
        golden_images: how many images were met; None for all of them.
        machine_warnings: those of ``warnings`` that are about the processor.
        faults_note: how flips come, where they do in bursts; None where they are independent.
    """

    verdict: Verdict
    goals: tuple[GoalVerdict, ...]
    golden: float | None
    model: str
    data: str
    question: Question
    confidence: float
    budget: Budget
    units: int
    seconds: float
    results: Path
    warnings: tuple[str, ...] = ()
    headline_label: str = "top-1"
    golden_images: int | None = None
    machine_warnings: tuple[str, ...] = ()
    faults_note: str | None = None

    def __repr__(self) -> str:
        found = ", ".join(f"{each.name}: {each.verdict}" for each in self.goals)
        return f"GateVerdict({self.verdict}, {self.model!r}, {found})"

    def __str__(self) -> str:
        warnings = [f"warning: {warning}" for warning in self.warnings]
        goals = [f"{each.verdict}: {each.name}: {each.message}" for each in self.goals]
        return "\n".join([self.headline, *warnings, *goals])

    def _repr_html_(self) -> str:
        """Show the goals in a notebook."""
        rows = [(each.name, each.verdict, each.message) for each in self.goals]
        return html_table(self.headline, ("goal", "verdict", "evidence"), rows, warnings=self.warnings)

    @property
    def headline(self) -> str:
        """The verdict in one line."""
        images = "" if self.golden_images is None else f" of {self.golden_images:,} images"
        golden = "" if self.golden is None else f", fault-free {self.headline_label} {percent(self.golden)}{images}"
        return f"{self.verdict}: {self.model} on {self.data}{golden}, {self.units:,} units, {self.seconds:.0f} s"

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``ftonnx gate --json``.

        All but ``run`` is a function of what was asked and of the counts; computed numbers are given to nine digits.
        """
        return {
            "verdict": self.verdict,
            "goals": [each.to_dict() for each in self.goals],
            "golden": nine_digits(self.golden),
            "golden_images": self.golden_images,
            "model": self.model,
            "data": self.data,
            "question": self.question,
            "confidence": self.confidence,
            "interval": "anytime-valid one-sided limits",
            "budget": self.budget.to_dict(),
            "units": self.units,
            **({} if self.faults_note is None else {"faults": self.faults_note}),
            "warnings": [text for text in self.warnings if text not in self.machine_warnings],
            "run": {
                "results": str(self.results),
                "seconds": round(self.seconds, 3),
                "goal_seconds": [round(each.seconds, 3) for each in self.goals],
                "warnings": list(self.machine_warnings),
            },
        }
