"""The gap between a fault rate in question, such as an environment's, and those that were tested.

Harm is taken to grow with the number of flips, and nothing else: a limit holds at lower rates, never at higher ones.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context
from typing import Final

from ftonnx.errors import UsageError

__all__ = ["RateGap", "rate_gap", "rounded_up", "times_text", "written_rate"]

_SAME: Final = 1.001
"""Rates this close count as one: `rounded_up` changes them by less."""

_DIGITS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class RateGap:
    """The lowest tested rate that is not below a rate in question.

    Attributes:
        rate: in question, such as an environment's.
        tested: the tested one.
        index: its place among the tested ones.
        below: the next lower tested rate; None where the rate in question is below all of them.
    """

    rate: float
    tested: float
    index: int
    below: float | None

    @property
    def measured(self) -> bool:
        """Whether the rate in question itself was tested."""
        return self.tested <= self.rate * _SAME

    @property
    def factor(self) -> float | None:
        """How many times as many flips were tested; None for a rate of 0."""
        return self.tested / self.rate if self.rate else None

    @property
    def note(self) -> str | None:
        """What a limit at the tested rate says about the one in question; None where that is the same.

        >>> print(rate_gap(3e-9, [1e-7, 1e-6]).note)
        3e-09 is below every tested rate: this is the upper limit measured at 1e-07, with 33 times as many flips. It is
        pessimistic by an amount that was not measured; where flips are rare, harm falls about as their number does.
        """
        if self.measured:
            return None
        if self.below is None:
            where = f"{self.rate:.4g} is below every tested rate: this is the upper limit measured at {self.tested:g}"
        else:
            where = (
                f"{self.rate:.4g} lies between two tested rates, {self.below:g} and {self.tested:g}: this is the upper "
                "limit measured at the higher one"
            )
        more = f", with {times_text(self.factor)} times as many flips" if self.factor else ""
        return (
            f"{where}{more}. It is pessimistic by an amount that was not measured; where flips are rare, harm falls "
            "about as their number does."
        )


def rate_gap(rate: float, tested: Sequence[float]) -> RateGap | None:
    """Return the lowest tested rate that is not below ``rate``; None where all are.

    Args:
        rate: in question.
        tested: ascending.

    >>> found = rate_gap(3e-6, [1e-6, 1e-4])
    >>> found.tested, found.below, round(found.factor, 1), found.measured
    (0.0001, 1e-06, 33.3, False)
    >>> rate_gap(1e-3, [1e-6, 1e-4]) is None
    True
    """
    for index, each in enumerate(tested):
        if each >= rate or math.isclose(each, rate, rel_tol=1e-9):
            return RateGap(rate=rate, tested=each, index=index, below=tested[index - 1] if index else None)
    return None


def rounded_up(rate: float) -> float:
    """Return a rate of four digits to test in place of one of sixteen; never a lower one.

    Raises:
        UsageError: it is no rate.

    >>> rounded_up(3.1249999674e-09), rounded_up(3.1251e-9), rounded_up(0.0)
    (3.125e-09, 3.126e-09, 0.0)
    """
    if not 0 <= rate <= 1:
        raise UsageError(f"a rate from 0 to 1 was expected, got {rate}")
    return float(Context(prec=_DIGITS, rounding=ROUND_CEILING).create_decimal(repr(float(rate))))


def written_rate(rate: float) -> float:
    """Return a rate with the five digits that tables write; rates that are written alike are compared as one.

    So are those of a campaign at rates and of histories, in which some bits were hit twice.

    >>> written_rate(9.999990000006665e-07), written_rate(1e-06), written_rate(9.9999e-07)
    (1e-06, 1e-06, 9.9999e-07)
    """
    return float(f"{rate:.4e}")


def times_text(factor: float) -> str:
    """Return a factor to two digits.

    >>> times_text(3.33333), times_text(320.0001), times_text(1_234_567.0)
    ('3.3', '320', '1,200,000')
    """
    return f"{float(f'{factor:.2g}'):,.12g}"
