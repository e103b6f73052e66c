"""Elements get another value: zero, a number or random bits, each element with a probability."""

import math
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeGuard

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import UsageError
from ftonnx.inject.fault_models.base import FaultModel
from ftonnx.inject.fault_models.bit_flip_rates import checked_rates
from ftonnx.inject.fault_models.options import Option
from ftonnx.inject.fault_models.sampling import distinct_positions
from ftonnx.inject.faults import Faults, bits_of_masks
from ftonnx.inject.formats import FixedPoint, Format, parse_format
from ftonnx.inject.space import FaultSpace

__all__ = ["ValueRates"]

_RANDOM = "random"
_ZERO = "zero"
_INTEGER: Final = re.compile(r"u?int\d+")
_ROUNDING: Final = 0.01
"""What a number may lose by rounding without a word."""


def _checked_value(value: str | float) -> str:
    """Return what elements become, in one form.

    Raises:
        UsageError: it is nothing that they could become.

    >>> _checked_value("random"), _checked_value(1), _checked_value("5e-1")
    ('random', '1.0', '0.5')
    """
    if value in (_ZERO, _RANDOM):
        return str(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise UsageError(f"zero, random or a finite number was expected as the value of elements, got {value!r}")
    return repr(number)


@dataclass(frozen=True, slots=True, init=False)
class ValueRates(FaultModel):
    """Each stored element gets another value independently with a probability, the rate.

    Attributes:
        rates: faults per element, each in [0, 1]; one number will do. Kept sorted, without doubles.
        value: what elements become: ``zero``; ``random``, uniform bits of their format; or a number, rounded to
            nearest in their format: fixed point and integers saturate, IEEE floats become infinite. An integer
            tensor's number is the stored integer, not what it stands for. An element that has the bits of its new
            value already stays as it is. `caution` says where another number is stored.

    Raises:
        UsageError: a value is out of range.

    >>> ValueRates(1e-4, "0.5")
    ValueRates(rates=(0.0001,), value='0.5')
    """

    name: ClassVar[str] = "values"
    fresh_per_batch: ClassVar[bool] = True
    stream: ClassVar[int] = 5
    default_repeats: ClassVar[int] = 10
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            flag="--value-rate",
            field="rates",
            metavar="R",
            type=float,
            repeated=True,
            help="In place of --rate: faults per stored element, which replace its value (repeatable).",
        ),
        Option(
            flag="--value",
            field="value",
            metavar="VALUE",
            type=_checked_value,
            help="Of --value-rate: what elements become: zero, random (uniform bits of their format), or a number.",
        ),
    )

    rates: tuple[float, ...]
    value: str

    def __init__(self, rates: float | Iterable[float], value: str | float) -> None:
        object.__setattr__(self, "rates", checked_rates(rates))
        object.__setattr__(self, "value", _checked_value(value))

    def levels(self, space: FaultSpace) -> tuple[float, ...]:
        """Return the rates.

        Raises:
            UsageError: bits were chosen, of which a value has more, or activations can flip here.
        """
        space.require_stored("value faults")
        if any(target.flippable for target in space.targets):
            raise UsageError("value faults replace all bits of an element: no choice of bits was expected")
        return self.rates

    @property
    def note(self) -> str:
        """What happens, and what is counted."""
        return (
            f"elements {self._becomes}, each with the rate as probability; the bits that change are counted as faults"
        )

    @property
    def chances(self) -> str:
        """See ``FaultModel.chances``."""
        return f"Elements of these tensors {self._becomes}, each with the same probability; nothing else changes."

    @property
    def _becomes(self) -> str:
        return {_ZERO: "become zero", _RANDOM: "get random bits"}.get(self.value, f"become {self.value}")

    def caution(self, formats: Collection[str]) -> str | None:
        """Say which formats hold a number that differs from the one asked for by more than rounding.

        >>> print(ValueRates(1e-4, 1e9).caution(["int8", "q15.16"]))
        elements cannot become 1000000000.0: in int8 they become 127, in q15.16 they become 32767.99998
        >>> ValueRates(1e-4, 0.1).caution(["ieee", "q15.16"])
        """
        if self.value in (_ZERO, _RANDOM):
            return None
        asked = float(self.value)
        others = []
        for name in formats:
            held = _held(name, asked)
            if held is not None and not math.isclose(held, asked, rel_tol=_ROUNDING):
                others.append(f"in {name} they become {held:.10g}")
        return f"elements cannot become {self.value}: {', '.join(others)}" if others else None

    def expected_faults(self, space: FaultSpace, level: float) -> float:
        """Return the mean number of elements that are hit."""
        return level * space.elements

    def has_patterns_of(self, other: FaultModel) -> bool:
        """Whether it has all rates of another one with the same value."""
        return self._alike(other) and set(self.rates) >= set(other.rates)

    def joined_with(self, other: FaultModel) -> FaultModel:
        """Return the rates of both, where the value is the same."""
        return ValueRates((*self.rates, *other.rates), self.value) if self._alike(other) else self

    def _alike(self, other: FaultModel) -> TypeGuard["ValueRates"]:
        return isinstance(other, ValueRates) and other.value == self.value

    def _pattern(self, space: FaultSpace, level: float, rng: np.random.Generator, index: int) -> Faults:
        """Draw one pattern, whatever its number; O(hit elements) time and memory."""
        count = int(rng.binomial(space.elements, level))
        hit = distinct_positions(space.elements, count, rng)
        ends = np.cumsum([target.elements for target in space.targets])
        targets = np.searchsorted(ends, hit, side="right")
        parts: list[tuple[NDArray[Any], ...]] = []
        for number in np.unique(targets).tolist():
            elements = hit[targets == number] - (ends[number] - space.targets[number].elements)
            changed = self._changed(space, number, elements, rng)
            element, bit = bits_of_masks(elements, changed)
            parts.append((np.full(len(bit), number), element, bit))
        if not parts:
            return Faults.none()
        target, element, bit = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Faults.in_order(target, element, bit)

    def _changed(
        self, space: FaultSpace, target: int, elements: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.uint64]:
        """Return the bits of each element that are others in its new value, uint64 (elements,)."""
        form = space.targets[target].format
        if self.value == _RANDOM:
            # what differs from random bits is random, whatever is stored
            return rng.integers(2**form.bits, size=len(elements), dtype=np.uint64, endpoint=False)
        number = 0.0 if self.value == _ZERO else float(self.value)
        changed: NDArray[np.uint64] = space.codes(target, elements) ^ _code(form, number)
        return changed


def _code(form: Format, value: float) -> np.uint64:
    """Return the bits of a number in a format.

    >>> from ftonnx.inject.formats import parse_format
    >>> codes = [_code(parse_format(name, np.dtype(kind)), -1.0) for name, kind in (("q3.4", "f4"), ("ieee", "f2"))]
    >>> [hex(code) for code in codes], hex(_code(parse_format("auto", np.dtype("int8")), -200))
    (['0xf0', '0xbc00'], '0x80')
    """
    if isinstance(form, FixedPoint):
        signed = form.encode(np.array([value]))
    elif _is_integer(form.dtype):
        # check bits may be fewer than their type has
        signed = np.array([min(_saturated(form.dtype, value), 2**form.bits - 1)])
    else:
        with np.errstate(over="ignore"):
            signed = np.array([value]).astype(form.dtype).view(form.word)
    return np.uint64(int(signed[0]) & ((1 << form.bits) - 1))


def _is_integer(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "iu" or dtype.name in ("int4", "uint4")


def _saturated(dtype: np.dtype[Any], value: float) -> int:
    """Return the integer of a type that is nearest to a number.

    >>> _saturated(np.dtype("int8"), 1e9), _saturated(np.dtype("uint8"), 2.5)
    (127, 2)
    """
    limits = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]  # knows four bits, as numpy does not
    return min(max(round(value), int(limits.min)), int(limits.max))


def _held(name: str, value: float) -> float | None:
    """Return what a format holds in place of a number; None of IEEE floats of unknown width, and of check bits.

    >>> _held("q7.8", 0.001), _held("int4", 9.0), _held("ieee", 1e9)
    (0.0, 7, None)
    """
    if _INTEGER.fullmatch(name):
        return _saturated(np.dtype(name), value)
    form = parse_format(name, np.dtype(np.float64)) if name.startswith("q") else None
    if isinstance(form, FixedPoint):
        code = form.encode(np.array([value]))
        return int(code[0]) / 2.0**form.fractional
    return None
