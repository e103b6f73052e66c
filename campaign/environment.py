"""From a radiation environment to a bit-fault rate, and from a measured probability to failures in time.

Upsets are independent single-bit flips at a constant rate; bursts, stuck bits and correction are not
modelled. FIT are failures per 1e9 device-hours; Mbit are 1e6 bits, as in vendors' tables.
"""

import math
import re
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from ftonnx.errors import UsageError, message_of

__all__ = [
    "HOURS_PER_YEAR",
    "PLACES",
    "Environment",
    "FailureRate",
    "MispredictionRate",
    "coverage_for_budget",
    "duration_text",
    "failure_rate",
    "misprediction_rate",
    "parse_duration",
    "plain_words",
    "time_to_reach",
]

HOURS_PER_DAY: Final = 24.0
HOURS_PER_YEAR: Final = 8760.0
_FIT_HOURS: Final = 1e9
_MBIT: Final = 1e6
_SERIES_BELOW: Final = 1e-4
_KEYS: Final = (
    "fit_per_mbit", "upsets_per_bit_day", "cross_section", "flux", "flux_multiplier", "exposure", "scrub", "read",
)  # fmt: skip

PLACES: Final = {
    "at sea level (New York, 130 FIT/Mbit)": 1.3e-13,
    "in an airliner at 12 km (60,000 FIT/Mbit)": 6e-11,
    "in low Earth orbit (commercial SRAM, 1e-7 upsets per bit and day)": 1e-7 / HOURS_PER_DAY,
}
"""Upsets per bit and hour of unprotected memory in three places; orders of magnitude only.

Sea level: 1e-14 cm2/bit at 13 neutrons/cm2/h above 10 MeV. Airliner: the same memory at 6000 neutrons/cm2/h.
"""

_UNITS: Final = {
    "s": 1 / 3600, "sec": 1 / 3600, "min": 1 / 60, "h": 1.0, "hour": 1.0, "hours": 1.0, "d": HOURS_PER_DAY,
    "day": HOURS_PER_DAY, "days": HOURS_PER_DAY, "w": 7 * HOURS_PER_DAY, "y": HOURS_PER_YEAR,
    "year": HOURS_PER_YEAR, "years": HOURS_PER_YEAR,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where a memory lives and how long it collects upsets.

    Exactly one of ``fit_per_mbit``, ``upsets_per_bit_day`` and ``cross_section`` (with ``flux``) is given.

    Attributes:
        fit_per_mbit: upsets per 1e9 hours and 1e6 bits.
        upsets_per_bit_day: upsets per bit and day.
        cross_section: of one bit, cm2.
        flux: particles per cm2 and hour.
        flux_multiplier: factor on any of them, such as the flux relative to New York's.
        interval: hours between two loads or scrubs of the memory, or of exposure; None where only upsets
            per hour are asked about.
        read: ``end``, the memory is read at the end of the interval; ``average``, at any time of it alike.

    Raises:
        UsageError: a value is missing, contradicts another, or is out of range.

    >>> orbit = Environment(upsets_per_bit_day=1e-7, interval=1.5)
    >>> orbit.rate, orbit.expected_flips(817_825_024)
    (6.249999...e-09, 5.1114...)
    """

    fit_per_mbit: float | None = None
    upsets_per_bit_day: float | None = None
    cross_section: float | None = None
    flux: float | None = None
    flux_multiplier: float = 1.0
    interval: float | None = None
    read: Literal["end", "average"] = "end"

    def __post_init__(self) -> None:
        """Check that the values say one thing."""
        sources = ("fit_per_mbit", "upsets_per_bit_day", "cross_section")
        given = [name for name in sources if getattr(self, name) is not None]
        if len(given) != 1:
            raise UsageError(f"exactly one of {', '.join(sources)} was expected, got {', '.join(given) or 'none'}")
        if (self.cross_section is None) != (self.flux is None):
            raise UsageError("cross_section and flux belong together: both were expected, or neither")
        for name in (*given, "flux", "flux_multiplier", "interval"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and 0 <= value < math.inf):
                raise UsageError(f"{name}: a number of 0 or more was expected, got {value!r}")
        if self.read not in ("end", "average"):
            raise UsageError(f"read: end or average was expected, got {self.read!r}")

    @classmethod
    def from_toml(cls, path: str | Path) -> "Environment":
        """Read an environment from a TOML file: the keys are the arguments of `of`.

        Raises:
            UsageError: the file cannot be read, or does not describe an environment.
        """
        try:
            with open(path, "rb") as file:
                found = tomllib.load(file)
        except (OSError, ValueError) as error:  # a TOML error and one of UTF-8 are both ValueErrors
            raise UsageError(f"{path}: an environment in TOML was expected: {message_of(error)}") from None
        unknown = sorted(found.keys() - _KEYS)
        if unknown:
            raise UsageError(f"{path}: {unknown[0]} is not known; an environment has {', '.join(_KEYS)}")
        try:
            return cls.of(**found)
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from None

    @classmethod
    def of(
        cls,
        *,
        exposure: str | None = None,
        scrub: str | None = None,
        read: Literal["end", "average"] | None = None,
        **source: float,
    ) -> "Environment":
        """Return an environment from texts as people write them.

        Args:
            exposure: time since the memory was written, such as ``1y``; read at its end by default.
            scrub: time between two loads or scrubs, such as ``90min``; read at any time of it by default.
            read: ``end`` or ``average``, in place of the default.
            source: ``fit_per_mbit``, ``upsets_per_bit_day``, or ``cross_section`` and ``flux``, and
                ``flux_multiplier``.

        Raises:
            UsageError: both intervals are given, or a value makes no sense.

        >>> Environment.of(scrub="90min", upsets_per_bit_day=1e-7).rate
        3.124999...e-09
        """
        if exposure is not None and scrub is not None:
            raise UsageError(f"an exposure or a scrub interval was expected, not both; got {exposure} and {scrub}")
        given = exposure if scrub is None else scrub
        interval = None if given is None else parse_duration(given)
        return cls(interval=interval, read=read or ("average" if scrub else "end"), **source)

    @property
    def upsets_per_bit_hour(self) -> float:
        """Lambda: upsets per bit and hour."""
        if self.fit_per_mbit is not None:
            base = self.fit_per_mbit / _FIT_HOURS / _MBIT
        elif self.upsets_per_bit_day is not None:
            base = self.upsets_per_bit_day / HOURS_PER_DAY
        else:
            base = (self.cross_section or 0.0) * (self.flux or 0.0)
        return base * self.flux_multiplier

    @property
    def rate(self) -> float:
        """Bit-fault rate: the probability that a bit is found flipped, which is an odd number of upsets."""
        if self.interval is None:
            raise UsageError("how long the memory collects upsets was expected: an exposure or a scrub interval")
        upsets = self.upsets_per_bit_hour * self.interval
        return _flipped_at_end(upsets) if self.read == "end" else _flipped_on_average(upsets)

    def expected_flips(self, bits: int) -> float:
        """Return the mean number of flipped bits of a memory of ``bits`` bits when it is read."""
        return bits * self.rate

    def device_fit(self, bits: int) -> float:
        """Return the upsets of a memory of ``bits`` bits per 1e9 hours."""
        return self.upsets_per_bit_hour * bits * _FIT_HOURS

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; the interval in hours."""
        return asdict(self)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)  # TOML holds texts and truth values too


def _flipped_at_end(upsets: float) -> float:
    """Return (1 - exp(-2 x)) / 2 for x expected upsets of a bit, exact for small x.

    >>> round(_flipped_at_end(1), 7), _flipped_at_end(1.95e-13)
    (0.4323324, 1.9499999999996...e-13)
    """
    return -0.5 * math.expm1(-2 * upsets)


def _flipped_on_average(upsets: float) -> float:
    """Return the mean of `_flipped_at_end` over the interval: 1/2 - (1 - exp(-2 x)) / (4 x).

    Below x = 1e-4 the difference would lose all digits; its series is x/2 - x^2/3 + x^3/6 - ...

    >>> round(_flipped_on_average(1), 7), _flipped_on_average(1e-9)
    (0.2838338, 4.999...e-10)
    """
    if upsets < _SERIES_BELOW:
        return upsets * (1 / 2 - upsets * (1 / 3 - upsets / 6))
    return 0.5 + math.expm1(-2 * upsets) / (4 * upsets)


def time_to_reach(rate: float, upsets_per_bit_hour: float) -> float:
    """Return the hours until a bit is found flipped with probability ``rate``; infinite where it never is.

    >>> round(time_to_reach(1e-7, 1e-12))
    100000
    """
    if not 0 <= rate <= 1:
        raise UsageError(f"a rate from 0 to 1 was expected, got {rate}")
    if rate == 0:
        return 0.0
    if rate >= 0.5 or upsets_per_bit_hour <= 0:  # a bit's state is forgotten, never inverted
        return math.inf
    return -math.log1p(-2 * rate) / (2 * upsets_per_bit_hour)


def plain_words(rate: float) -> str:
    """Say how long an unprotected memory takes to collect a bit-fault rate, in three places.

    >>> for words in plain_words(1e-7).split(", about "):
    ...     print(words)
    about 88 years at sea level (New York, 130 FIT/Mbit)
    9.9 weeks in an airliner at 12 km (60,000 FIT/Mbit)
    24 hours in low Earth orbit (commercial SRAM, 1e-7 upsets per bit and day)
    """
    if rate == 0:
        return "no upset at all"
    if rate >= 0.5:
        return "no natural environment reaches it: a memory that is never reloaded tends to one flipped bit in two"
    return ", ".join(f"about {duration_text(time_to_reach(rate, place))} {name}" for name, place in PLACES.items())


def duration_text(hours: float) -> str:
    """Return a length of time in a unit that suits it, to two digits.

    >>> [duration_text(hours) for hours in (0.001, 2.4, 24, 7200, 8760, 8760 * 26325, math.inf)]
    ['3.6 seconds', '2.4 hours', '24 hours', '43 weeks', '1 year', '26,000 years', 'for ever']
    """
    if math.isinf(hours):
        return "for ever"
    unit, name = next(((unit, name) for limit, unit, name in _SCALE if hours < limit), (HOURS_PER_YEAR, "years"))
    shown = _two_digits(hours / unit)
    return f"{shown} {name.removesuffix('s') if shown == '1' else name}"


_SCALE: Final = (
    (1 / 60, 1 / 3600, "seconds"),
    (2.0, 1 / 60, "minutes"),
    (48.0, 1.0, "hours"),
    (21 * HOURS_PER_DAY, HOURS_PER_DAY, "days"),
    (HOURS_PER_YEAR, 7 * HOURS_PER_DAY, "weeks"),
)


def _two_digits(value: float) -> str:
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"


def parse_duration(text: str | float) -> float:
    """Return hours for a text such as ``90min``, ``24h``, ``30d`` or ``1y`` (365 days).

    >>> parse_duration("90min"), parse_duration("1y"), parse_duration("0.5 days")
    (1.5, 8760.0, 12.0)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?(?:e[+-]?\d+)?)\s*([a-z]+)\s*", str(text).lower())
    if match is None or match[2] not in _UNITS:
        raise UsageError(f"a length of time such as 90min, 24h, 30d or 1y was expected, got {text!r}")
    return float(match[1]) * _UNITS[match[2]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRate:
    """How often silent data corruptions occur, and what a budget asks for.

    Attributes:
        device_fit: upsets in the memory per 1e9 hours.
        sdc_fit: upsets that lead to a silent data corruption, per 1e9 hours.
        mttf_hours: mean time to such a failure, 1e9 / sdc_fit; infinite at 0.
        budget_fit: allowed failures per 1e9 hours.
        coverage_needed: share of upsets that must be detected or corrected for the budget; None without one.
    """

    device_fit: float
    sdc_fit: float
    mttf_hours: float
    budget_fit: float | None
    coverage_needed: float | None


def failure_rate(
    device_fit: float, sdc: float, *, coverage: float = 0.0, budget_fit: float | None = None
) -> FailureRate:
    """Return FIT_SDC = device FIT x P(SDC | one upset) x (1 - coverage), mean time to failure, coverage for a budget.

    Args:
        device_fit: upsets in the memory per 1e9 hours.
        sdc: probability that one upset corrupts an output silently; an upper confidence limit, for claims.
        coverage: share of upsets that is detected or corrected already.
        budget_fit: allowed failures per 1e9 hours.

    Raises:
        UsageError: a number is out of range.

    >>> found = failure_rate(106_317, 0.05, budget_fit=10)
    >>> round(found.sdc_fit), round(found.coverage_needed, 4)
    (5316, 0.9981)
    """
    if not (0 <= sdc <= 1 and 0 <= coverage <= 1 and 0 <= device_fit < math.inf):
        raise UsageError(
            "probabilities from 0 to 1 and a finite upset rate of 0 or more were expected; "
            f"got SDC {sdc}, coverage {coverage}, {device_fit} FIT"
        )
    sdc_fit = device_fit * sdc * (1 - coverage)
    needed = None if budget_fit is None else coverage_for_budget(device_fit * sdc, budget_fit)
    return FailureRate(
        device_fit=device_fit,
        sdc_fit=sdc_fit,
        mttf_hours=_FIT_HOURS / sdc_fit if sdc_fit else math.inf,
        budget_fit=budget_fit,
        coverage_needed=needed,
    )


def coverage_for_budget(fit: float, budget_fit: float) -> float:
    """Return the diagnostic coverage that brings ``fit`` down to a budget; 0 where it is within it already.

    >>> round(coverage_for_budget(531.6, 100), 4), coverage_for_budget(53, 100)
    (0.8119, 0.0)
    """
    if not budget_fit > 0:
        raise UsageError(f"a budget above 0 FIT was expected, got {budget_fit}")
    return max(0.0, 1 - budget_fit / fit) if fit else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MispredictionRate:
    """How often a running model predicts something else than without faults.

    Attributes:
        probability: per inference.
        per_hour: mispredictions.
        hours_between: mean time between two; infinite where there are none.
    """

    probability: float
    per_hour: float
    hours_between: float


def misprediction_rate(probability: float, inferences_per_hour: float) -> MispredictionRate:
    """Return how often mispredictions occur: 1 / (inferences per hour x probability) hours apart on average.

    >>> misprediction_rate(1e-4, 3600).hours_between
    2.777...
    """
    if not (0 <= probability <= 1 and 0 <= inferences_per_hour < math.inf):
        raise UsageError(
            "a probability from 0 to 1 and a finite number of inferences per hour were expected; "
            f"got {probability} and {inferences_per_hour}"
        )
    per_hour = probability * inferences_per_hour
    return MispredictionRate(
        probability=probability, per_hour=per_hour, hours_between=1 / per_hour if per_hour else math.inf
    )
