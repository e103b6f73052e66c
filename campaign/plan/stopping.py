"""When a campaign may end before its last repeat."""

import re
from dataclasses import dataclass
from typing import Any, Final

from ftonnx.environment.radiation import parse_duration
from ftonnx.errors import UsageError
from ftonnx.stats.betting import Question, parse_question
from ftonnx.stats.estimate import CONFIDENCE, check_confidence

__all__ = ["MOST_ROUNDS", "Budget", "Stopping"]

MOST_ROUNDS: Final = 10_000
"""Upper limit of rounds where none is given."""

_UNITS: Final = re.compile(r"([0-9]{1,18})\s*units?")


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be spent.

    Attributes:
        seconds: of this run; None for any.
        units: recorded in all, those of earlier runs included; None for any.

    >>> Budget.parse("10min"), Budget.parse("500units")
    (Budget(seconds=600.0, units=None), Budget(seconds=None, units=500))
    """

    seconds: float | None = None
    units: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Read a time, a number of units, or both.

        Raises:
            UsageError: it is neither.

        >>> Budget.parse("1.5h, 2000units")
        Budget(seconds=5400.0, units=2000)
        """
        found: dict[str, Any] = {}
        for part in text.lower().split(","):
            match = _UNITS.fullmatch(part.strip())
            name = "units" if match else "seconds"
            value = int(match[1]) if match else _seconds(text, part)
            if name in found or value <= 0:
                raise UsageError(_expected(text))
            found[name] = value
        return cls(**found)

    def __str__(self) -> str:
        parts = []
        if self.seconds is not None:
            parts.append(f"{self.seconds:g} s")
        if self.units is not None:
            parts.append(f"{self.units} units")
        return " or ".join(parts)

    @property
    def text(self) -> str:
        """The budget as ``parse`` reads it.

        >>> Budget(600.0, 500).text
        '600.0s,500units'
        """
        parts = []
        if self.seconds is not None:
            parts.append(f"{self.seconds}s")
        if self.units is not None:
            parts.append(f"{self.units}units")
        return ",".join(parts)

    def to_dict(self) -> dict[str, float | int | None]:
        """Return JSON values."""
        return {"seconds": self.seconds, "units": self.units}


def _seconds(text: str, part: str) -> float:
    try:
        return round(3600 * parse_duration(part), 6)
    except UsageError:
        raise UsageError(_expected(text)) from None


def _expected(text: str) -> str:
    return f"a budget such as 10min, 500units, or 10min,500units was expected, got {text!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """When a campaign may end before its last repeat.

    Attributes:
        precision: half-width of the headline's interval at which a rate is left; None for all repeats.
        budget: what may be spent; None for any amount.
        question: ``these-images`` or ``new-images``.
        confidence: of the interval.
        ended: whether it has ended, as far as the results folder knows.

    Raises:
        UsageError: a value makes no sense.
    """

    precision: float | None = None
    budget: Budget | None = None
    question: Question = "these-images"
    confidence: float = CONFIDENCE
    ended: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        parse_question(self.question)
        check_confidence(self.confidence)
        if self.precision is not None and not 0 < self.precision < 0.5:
            raise UsageError(
                f"a precision (half-width of an interval) between 0 and 0.5 was expected, got {self.precision}"
            )

    def require_reachable(self, batches: int) -> None:
        """Refuse a precision that no number of patterns reaches.

        Raises:
            UsageError: it is asked for new images, of which one batch says nothing.
        """
        if self.precision is not None and self.question == "new-images" and batches == 1:
            raise UsageError(
                "a precision for new images needs two batches of images or more, got one: "
                "choose fewer `images_per_pattern`"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        budget = None if self.budget is None else self.budget.to_dict()
        return {"precision": self.precision, "budget": budget, "question": self.question, "ended": self.ended}
