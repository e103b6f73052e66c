"""Numbers as the report writes them."""

import numpy as np

from ftonnx.campaign import RateResult
from ftonnx.campaign.results.comparison import RateComparison
from ftonnx.campaign.results.rate_gap import written_rate
from ftonnx.words import interval, number, percent, shape_text, time_text

__all__ = ["format_words", "interval", "number", "percent", "rate_text", "rate_words", "shape_text"]


def rate_text(rate: float) -> str:
    """Return a fault rate in its shortest form, with five digits at most.

    >>> rate_text(1e-06), rate_text(0.00025), rate_text(5.584146385046996e-07), rate_text(0.0)
    ('1e-6', '2.5e-4', '5.5841e-7', '0')
    """
    return np.format_float_scientific(written_rate(rate), precision=4, trim="-", exp_digits=1) if rate else "0"


def rate_words(level: RateResult | RateComparison) -> str:
    """Return a fault rate, and the time at which upsets have come to it where they accumulate.

    >>> from ftonnx.campaign import RateResult
    >>> rate_words(RateResult(rate=1e-6, units=1, faults_mean=0.0, fractions={}, hours=24.0))
    '1e-6 (1d)'
    """
    if level.hours is None:
        return rate_text(level.rate)
    return f"{rate_text(level.rate)} ({time_text(level.hours)})"


def format_words(name: str) -> str:
    """Say how the bits of stored numbers are seen.

    Args:
        name: of the format, as fault spaces have it.

    >>> format_words("q15.16")
    'Q15.16, floats seen as fixed point of 32 bits, 16 of them behind the point: no IEEE floats'
    >>> format_words("ieee"), format_words("int8")
    ('IEEE floats as stored', 'int8 as stored')
    """
    if name == "ieee":
        return "IEEE floats as stored"
    if not name.startswith("q"):
        return f"{name} as stored"
    before, _, behind = name[1:].partition(".")
    bits = 1 + int(before) + int(behind)
    seen = f"fixed point of {bits} bits, {behind} of them behind the point"
    return f"{name.upper()}, floats seen as {seen}: no IEEE floats"
