"""Numbers of bits as people write them."""

from collections.abc import Iterable
from typing import Final

from ftonnx.errors import UsageError
from ftonnx.words.digits import whole_of

__all__ = ["bit_positions", "bits_text"]

_LAST_BIT: Final = 63


def bit_positions(text: str) -> tuple[int, ...]:
    """Read bit positions: numbers and ranges, separated by commas.

    Raises:
        UsageError: the text is something else, or a position is above 63.

    >>> bit_positions("0, 23-25,31")
    (0, 23, 24, 25, 31)
    """
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        low = _bit(first, text)
        high = _bit(last, text) if dash else low
        found.update(range(low, high + 1))
    if not found:
        raise _no_bits(text)
    return tuple(sorted(found))


def bits_text(bits: Iterable[int]) -> str:
    """Return ascending bit positions as ``bit_positions`` reads them.

    >>> bits_text((0, 23, 24, 25, 31))
    '0,23-25,31'
    """
    spans: list[list[int]] = []
    for bit in bits:
        if spans and bit == spans[-1][-1] + 1:
            spans[-1][1:] = [bit]
        else:
            spans.append([bit])
    return ",".join("-".join(map(str, span)) for span in spans)


def _bit(position: str, text: str) -> int:
    bit = whole_of(position.strip())
    if bit is None or bit > _LAST_BIT:
        raise _no_bits(text)
    return bit


def _no_bits(text: str) -> UsageError:
    return UsageError(f"positions from 0 to {_LAST_BIT} such as 0,23-30 were expected, got {text!r}")
