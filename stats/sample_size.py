"""How many injections a statistical fault-injection campaign needs.

Leveugle, Calvez, Maistri and Vanhauwaert (DATE 2009) for a proportion from single faults drawn without
replacement; Ruospo et al. (DATE 2023) for the same per layer and per layer and bit.
"""

import math
from typing import Final

from ftonnx.errors import UsageError
from ftonnx.stats.proportions import normal_quantile

__all__ = ["sample_size", "zero_failure_size"]

_HALF: Final = 0.5
# A whole number of injections is not rounded up for an error in its last bit.
_ROUNDING: Final = 1e-12


def sample_size(
    population: float, margin: float, confidence: float = 0.99, p: float = _HALF, *, t: float | None = None
) -> int:
    """Return how many of ``population`` faults must be drawn to know a proportion to within ``margin``.

    n = N / (1 + e^2 (N - 1) / (t^2 p (1 - p))), rounded up (Leveugle et al. 2009, equation 1).

    Args:
        population: N, the number of possible faults; may be infinite.
        margin: e, half the width of the interval, in (0, 1).
        confidence: of the interval; t is the two-sided normal cut-off.
        p: expected proportion; 0.5 needs the most.
        t: cut-off in place of the confidence's; the field often rounds 2.576 to 2.58.

    Raises:
        UsageError: a number is out of range.

    >>> sample_size(1_000_000, 0.05, 0.95), sample_size(math.inf, 0.05, 0.95), sample_size(math.inf, 0.01, 0.99)
    (384, 385, 16588)
    >>> sample_size(17_174_144, 0.01, t=2.58)  # ResNet-20, both stuck-at values of every bit
    16625
    """
    if not (0 < margin < 1 and 0 < p < 1 and population >= 1):
        raise UsageError(
            "a population of 1 or more, a margin and a proportion between 0 and 1 were expected; "
            f"got {population}, {margin}, {p}"
        )
    if t is not None and not t > 0:
        raise UsageError(f"a cut-off above 0 was expected, got {t}")
    cut = t
    if cut is None:
        cut = normal_quantile(confidence)
    size = cut**2 * p * (1 - p) / margin**2
    if not math.isinf(population):
        # Drawn without replacement, so that fewer of a small population do.
        size = population / (1 + (population - 1) / size)
    return math.ceil(size * (1 - _ROUNDING))


def zero_failure_size(limit: float, confidence: float = 0.95) -> int:
    """Return how many injections without one failure show that the failure probability is below ``limit``.

    n = ln(1 - confidence) / ln(1 - limit), rounded up.

    >>> [zero_failure_size(limit) for limit in (0.1, 0.01, 0.001)]
    [29, 299, 2995]
    """
    if not (0 < limit < 1 and 0 < confidence < 1):
        raise UsageError(f"a limit and a confidence between 0 and 1 were expected, got {limit} and {confidence}")
    # n passes in a row have probability (1 - limit)^n, which must not exceed 1 - confidence.
    injections = math.log1p(-confidence) / math.log1p(-limit)
    return math.ceil(injections)
