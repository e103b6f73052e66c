"""What a comparison of campaigns found, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from ftonnx.campaign.results.notebook import html_table
from ftonnx.stats.betting import Question
from ftonnx.stats.differences import Difference
from ftonnx.stats.estimate import Estimate
from ftonnx.words import nine_digits, share_digits, time_text, told_apart

__all__ = ["PAIRINGS", "AucComparison", "Comparison", "ModelComparison", "Outcome", "Pairing", "RateComparison"]

Outcome = Literal["better", "worse", "no difference shown"]
Pairing = Literal["faults", "images", "none"]

PAIRINGS: Final[Mapping[Pairing, str]] = {
    "faults": "paired: the same fault patterns on the same batches",
    "images": "partially paired: the same batches, but other fault patterns",
    "none": "not paired: each campaign has fault patterns of its own",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RateComparison:
    """Two models at one fault rate, or at one time since the memory was loaded.

    Attributes:
        rate: bit-fault rate; of injections, the flips per bit of the baseline.
        baseline: the baseline's headline, such as top-1 accuracy, over the patterns compared.
        accuracy: the other model's.
        difference: accuracy minus baseline, with an interval and p-values.
        p_holm: the p-value, corrected for all rates and models that were compared; None with one pattern.
        outcome: ``better`` or ``worse`` where ``p_holm`` is below 1 - confidence.
        interval: ``fixed-n``, or ``anytime-valid`` where one of the campaigns could end early.
        hours: since the memory was loaded, where upsets accumulate; None elsewhere.
        other_rate: the other model's rate at that time, where it is not the baseline's; None elsewhere.
    """

    rate: float
    baseline: float
    accuracy: float
    difference: Difference
    p_holm: float | None = None
    outcome: Outcome = "no difference shown"
    interval: str = "fixed-n"
    hours: float | None = None
    other_rate: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "rate": self.rate,
            "baseline": share_digits(self.baseline),
            "accuracy": share_digits(self.accuracy),
            "difference": self.difference.to_dict(),
            "p_holm": nine_digits(self.p_holm),
            "outcome": self.outcome,
            "interval": self.interval,
            **({} if self.hours is None else {"hours": self.hours}),
            **({} if self.other_rate is None else {"other_rate": self.other_rate}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class AucComparison:
    """Two models over all common rates above 0, or over time.

    Attributes:
        baseline: area under the baseline's accuracy over log10 of the rate, divided by the axis' length; or the mean
            from loading to the last common time, by trapezoids between the times.
        area: the other model's.
        difference: area minus baseline, with an interval that follows from those at the rates.
        outcome: ``better`` or ``worse`` where the interval leaves 0 out.
    """

    baseline: float
    area: float
    difference: Estimate
    outcome: Outcome

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "baseline": share_digits(self.baseline),
            "area": share_digits(self.area),
            "difference": self.difference.to_dict(),
            "outcome": self.outcome,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelComparison:
    """One model against the baseline.

    Attributes:
        model: its name.
        results: its results folder.
        golden: its headline without faults.
        pairing: what the two campaigns share: ``faults`` (and images), ``images``, or ``none``.
        why: why fault patterns are not shared; None where they are.
        rates: one entry per common rate above 0, ascending.
        auc: over these; None with fewer than two, or where the rates of one time differ.
        over_time: over the times since loading, of histories that are compared by time; None elsewhere.
    """

    model: str
    results: Path
    golden: float
    pairing: Pairing
    why: str | None
    rates: tuple[RateComparison, ...]
    auc: AucComparison | None
    over_time: AucComparison | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "model": self.model,
            "results": str(self.results),
            "golden": share_digits(self.golden),
            "pairing": self.pairing,
            "why": self.why,
            "rates": [each.to_dict() for each in self.rates],
            "auc": None if self.auc is None else self.auc.to_dict(),
            **({} if self.over_time is None else {"over_time": self.over_time.to_dict()}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Several models against the first.

    Attributes:
        baseline: name of the first.
        results: its results folder.
        golden: its headline without faults.
        data: the data set's name.
        question: ``these-images`` or ``new-images``.
        confidence: of intervals and verdicts.
        models: the others.
        warnings: what a reader of these numbers must know first, by model.
        headline: what is compared.
        faults: what every run meets where all are campaigns of injections, such as ``one flip``; None at fault rates.
    """

    baseline: str
    results: Path
    golden: float
    data: str
    question: Question
    confidence: float
    models: tuple[ModelComparison, ...]
    warnings: tuple[str, ...] = ()
    headline: str = "top-1"
    faults: str | None = None

    def __repr__(self) -> str:
        return f"Comparison({', '.join(each.model for each in self.models)} against {self.baseline!r})"

    @property
    def labels(self) -> list[str]:
        """A distinct name for each campaign, the baseline first: the model's, with the results folder where needed."""
        others = [(model.model, model.results) for model in self.models]
        return told_apart([(self.baseline, self.results), *others])

    def _repr_html_(self) -> str:
        """Show the differences in a notebook."""
        baseline, *others = self.labels
        rows = [
            (name, self.level(rate), f"{100 * rate.difference.mean:+.2f} points", rate.outcome)
            for name, each in zip(others, self.models, strict=True)
            for rate in each.rates
        ]
        level = "faults" if self.faults else "rate"
        header = ("model", level, self.headline, "verdict")
        return html_table(f"against {baseline}", header, rows, warnings=self.warnings)

    def level(self, found: RateComparison) -> str:
        """Return what a level is called: its rate, with its time where there is one, or what every injection is.

        Where models meet other rates at the same times, it is the time alone.
        """
        if self.faults is not None:
            return self.faults
        if found.hours is None:
            return f"{found.rate:g}"
        time = time_text(found.hours)
        return time if self.has_other_rates else f"{found.rate:g} ({time})"

    @property
    def has_other_rates(self) -> bool:
        """Whether a model meets another rate than the baseline at the same time."""
        return any(rate.other_rate is not None for model in self.models for rate in model.rates)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``ftonnx compare --json``."""
        faults = {} if self.faults is None else {"faults": self.faults}
        return {
            "baseline": {"model": self.baseline, "results": str(self.results), "golden": share_digits(self.golden)},
            "data": self.data,
            "question": self.question,
            "confidence": self.confidence,
            "models": [each.to_dict() for each in self.models],
            "warnings": list(self.warnings),
            **faults,
        }
