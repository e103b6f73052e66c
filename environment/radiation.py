"""From a radiation environment to a bit-fault rate.

Upsets are independent events at a constant rate, each of which flips one bit or, where it is said, several
neighbours; stuck bits and correction are not modelled. FIT are events per 1e9 device-hours; Mbit are 1e6 bits, as in
vendors' tables.
"""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from ftonnx.environment.multiplicity import SINGLE
from ftonnx.environment.upset_shape import UpsetShape
from ftonnx.errors import UsageError
from ftonnx.files import read_document, reason_unread
from ftonnx.words import HOURS_PER_DAY, HOURS_PER_YEAR, duration_text, is_number, near, parse_duration, parsed_toml

__all__ = [
    "FIT_HOURS",
    "HOURS_PER_YEAR",
    "PLACES",
    "Environment",
    "duration_text",
    "flipped_at_end",
    "parse_duration",
    "plain_words",
    "time_to_reach",
]

FIT_HOURS: Final = 1e9
"""Device-hours that FIT count events in."""
_MBIT: Final = 1e6
_SERIES_BELOW: Final = 1e-4
_SOURCES: Final = ("fit_per_mbit", "upsets_per_bit_day", "cross_section")
_KEYS: Final = (
    "fit_per_mbit", "upsets_per_bit_day", "cross_section", "flux", "flux_multiplier", "exposure", "scrub", "read",
    "sizes", "along", "memory",
)  # fmt: skip

PLACES: Final = {
    "at sea level (New York, 130 FIT/Mbit)": 1.3e-13,
    "in an airliner at 12 km (60,000 FIT/Mbit)": 6e-11,
    "in low Earth orbit (commercial SRAM, 1e-7 upsets per bit and day)": 1e-7 / HOURS_PER_DAY,
}
"""Upsets per bit and hour of unprotected memory in three places; orders of magnitude only.

Sea level: 1e-14 cm2/bit at 13 neutrons/cm2/h above 10 MeV. Airliner: the same memory at 6000 neutrons/cm2/h.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where a memory lives and how long it collects upsets.

    Exactly one of ``fit_per_mbit``, ``upsets_per_bit_day`` and ``cross_section`` (with ``flux``) is given. Each counts
    upsets: events, whatever number of bits one flips. The rate counts bits.

    Attributes:
        fit_per_mbit: upsets per 1e9 hours and 1e6 bits.
        upsets_per_bit_day: upsets per bit and day.
        cross_section: of one bit, cm2.
        flux: particles per cm2 and hour.
        flux_multiplier: factor on any of them, such as the flux relative to New York's.
        interval: hours between two loads or scrubs of the memory, or of exposure; None where only upsets
            per hour are asked about.
        read: ``end``, the memory is read at the end of the interval; ``average``, at any time of it alike.
        sizes: how many bits upsets flip, with their shares of the upsets: ``1:0.9,2:0.1``; one bit each by default.
        along: which bits are neighbours, see ``UpsetShape``.
        memory: the map of the memory, likewise.
        scrubbed: whether the memory is loaded again after each interval.
        file: that it was read from, which messages name; None elsewhere.

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
    sizes: str = SINGLE
    along: str = "bits"
    memory: str | None = None
    scrubbed: bool = False
    file: str | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Check that the values say one thing."""
        given = [name for name in _SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            listed = ", ".join(f"`{name}`" for name in _SOURCES)
            got = ", ".join(f"`{name}`" for name in given) or "none"
            raise UsageError(f"exactly one of {listed} was expected, got {got}")
        # Neither means anything alone: upsets are their product.
        has_cross_section = self.cross_section is not None
        has_flux = self.flux is not None
        if has_cross_section != has_flux:
            raise UsageError("`cross_section` and `flux` belong together: both were expected, or neither")
        for name in (*given, "flux", "flux_multiplier", "interval"):
            _check_amount(name, getattr(self, name))
        if self.read not in ("end", "average"):
            raise UsageError(f"read: end or average was expected, got {self.read!r}")
        # which reads them, and refuses what makes no sense
        shape = self.shape
        object.__setattr__(self, "sizes", shape.sizes.text)
        object.__setattr__(self, "memory", shape.map_text)

    @classmethod
    def from_toml(cls, path: str | Path) -> "Environment":
        """Read an environment from a TOML file: the keys are the arguments of `of`.

        Raises:
            UsageError: the file cannot be read, or does not describe an environment.
        """
        try:
            found = parsed_toml(read_document(path))
        # A TOML error and one of UTF-8 are both ValueErrors.
        except (OSError, ValueError) as error:
            reason = reason_unread(error, Path(path))
            raise UsageError(f"{path}: an environment in TOML was expected: {reason}") from None
        # Checked here: `of` would take an unknown key for an argument that it does not have.
        unknown = sorted(found.keys() - _KEYS)
        if unknown:
            hint = near(unknown[0], _KEYS)
            raise UsageError(f"{path}: {unknown[0]} is not known; an environment has {', '.join(_KEYS)}{hint}")
        try:
            return cls.of(**found, file=str(path))
        except UsageError as error:
            # in a file they are keys, not parameters
            raise UsageError(f"{path}: {error}".replace("`", "")) from None

    @classmethod
    def of(
        cls,
        *,
        exposure: str | None = None,
        scrub: str | None = None,
        read: Literal["end", "average"] | None = None,
        **source: Any,
    ) -> "Environment":
        """Return an environment from texts as people write them.

        Args:
            exposure: time since the memory was written, such as ``1y``; read at its end by default.
            scrub: time between two loads or scrubs, such as ``90min``; read at any time of it by default.
            read: ``end`` or ``average``, in place of the default.
            source: ``fit_per_mbit``, ``upsets_per_bit_day``, or ``cross_section`` and ``flux``, and
                ``flux_multiplier``, ``sizes``, ``along``, ``memory`` and ``file``.

        Raises:
            UsageError: both intervals are given, neighbours without how many of them an upset flips, or a value makes
                no sense.

        >>> Environment.of(scrub="90min", upsets_per_bit_day=1e-7).rate
        3.124999...e-09
        """
        lies = [key for key in ("along", "memory") if key in source]
        if lies and "sizes" not in source:
            raise UsageError(f"`sizes` was expected too, beside `{lies[0]}`: how many bits an upset flips, such as 2")
        if exposure is not None and scrub is not None:
            raise UsageError(f"an exposure or a scrub interval was expected, not both; got {exposure} and {scrub}")
        if scrub is not None:
            # A memory that is reloaded again and again is in use all the time between.
            interval = parse_duration(scrub)
            return cls(interval=interval, read=read or "average", scrubbed=True, **source)
        if exposure is not None:
            interval = parse_duration(exposure)
            return cls(interval=interval, read=read or "end", **source)
        return cls(read=read or "end", **source)

    @property
    def upsets_per_bit_hour(self) -> float:
        """Lambda: upsets that begin at a bit, per hour."""
        return self._upsets_at_given_flux * self.flux_multiplier

    @property
    def _upsets_at_given_flux(self) -> float:
        """Upsets per bit and hour where the source's numbers were measured."""
        if self.fit_per_mbit is not None:
            return self.fit_per_mbit / FIT_HOURS / _MBIT
        if self.upsets_per_bit_day is not None:
            return self.upsets_per_bit_day / HOURS_PER_DAY
        # Both are numbers here; a validated environment has one source.
        cross_section = self.cross_section or 0.0
        flux = self.flux or 0.0
        return cross_section * flux

    @property
    def shape(self) -> UpsetShape:
        """How many bits an upset flips, and which are neighbours."""
        return UpsetShape(self.sizes, self.along, self.memory)

    @property
    def rate(self) -> float:
        """Bit-fault rate: the probability that a bit is found flipped, which is hit an odd number of times."""
        if self.interval is None:
            where = "" if self.file is None else f"{self.file}: "
            raise UsageError(
                f"{where}how long the memory collects upsets was expected: an exposure or a scrub interval"
            )
        # upsets that begin at other bits hit a bit too, so that it is hit as often as an upset flips bits
        hits = self.upsets_per_bit_hour * self.interval * self.shape.sizes.mean
        if self.read == "end":
            return flipped_at_end(hits)
        return _flipped_on_average(hits)

    def expected_flips(self, bits: int) -> float:
        """Return the mean number of flipped bits of a memory of ``bits`` bits when it is read."""
        return bits * self.rate

    def device_fit(self, bits: int) -> float:
        """Return the upsets of a memory of ``bits`` bits per 1e9 hours, each of one bit or several."""
        return self.upsets_per_bit_hour * bits * FIT_HOURS

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; the interval in hours."""
        values = asdict(self)
        del values["file"]
        return values


def _check_amount(name: str, value: Any) -> None:
    """Refuse what is no number of 0 or more; None is fine."""
    if value is None:
        return
    # TOML holds texts and truth values too.
    if not is_number(value) or value < 0:
        raise UsageError(f"{name}: a number of 0 or more was expected, got {value!r}")


def flipped_at_end(upsets: float) -> float:
    """Return (1 - exp(-2 x)) / 2 for x expected upsets of a bit, exact for small x.

    >>> round(flipped_at_end(1), 7), flipped_at_end(1.95e-13)
    (0.4323324, 1.9499999999996...e-13)
    """
    return -0.5 * math.expm1(-2 * upsets)


def _flipped_on_average(upsets: float) -> float:
    """Return the mean of `flipped_at_end` over the interval: 1/2 - (1 - exp(-2 x)) / (4 x).

    Below x = 1e-4 the difference would lose all digits; its series is x/2 - x^2/3 + x^3/6 - ...

    >>> round(_flipped_on_average(1), 7), _flipped_on_average(1e-9)
    (0.2838338, 4.999...e-10)
    """
    if upsets < _SERIES_BELOW:
        higher_terms = upsets * (1 / 3 - upsets / 6)
        return upsets * (1 / 2 - higher_terms)
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
    # A bit's state is forgotten, never inverted: half of all bits are wrong at most.
    if rate >= 0.5 or upsets_per_bit_hour <= 0:
        return math.inf
    return -math.log1p(-2 * rate) / (2 * upsets_per_bit_hour)


def plain_words(rate: float, bits_per_upset: float = 1.0) -> str:
    """Say how long an unprotected memory takes to collect a bit-fault rate, in three places.

    Args:
        rate: flips per bit.
        bits_per_upset: how many bits an upset flips, in the mean; the places' upsets are counted as events.

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
    texts = []
    for name, upsets_per_bit_hour in PLACES.items():
        hours = time_to_reach(rate, upsets_per_bit_hour * bits_per_upset)
        texts.append(f"about {duration_text(hours)} {name}")
    return ", ".join(texts)
