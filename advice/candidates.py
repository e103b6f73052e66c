"""What the advisor may choose among."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ftonnx.campaign.inputs import ModelLike
from ftonnx.errors import UsageError
from ftonnx.inject.guards import CODES, RANGE
from ftonnx.words import near

__all__ = ["GUARDS", "Candidates"]

GUARDS: Final = (RANGE, *CODES)
"""All guards by name."""

_WORD_BITS: Final = (32, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """What may be used to harden a model, and what else is compared with it.

    Attributes:
        guards: names of guards, of ``range``, ``parity``, ``secded``, ``tmr`` and ``duplication``.
        word_bits: data bits of a code word, 32 or 64.
        reloads: whether the device can read what a guard detects again from storage; else it is set to zero.
        models: other models, such as a clipped one, that are tried at the goal's rate beside the plans.

    Raises:
        UsageError: a value makes no sense.
    """

    guards: Sequence[str] = GUARDS
    word_bits: int = 64
    reloads: bool = False
    models: Sequence[ModelLike] = ()

    def __post_init__(self) -> None:
        """Check the values."""
        if not self.guards:
            raise UsageError(f"guards: one or more of {', '.join(GUARDS)} were expected, got none")
        for guard in self.guards:
            if guard not in GUARDS:
                raise UsageError(f"guards: {', '.join(GUARDS)} were expected, got {guard!r}{near(str(guard), GUARDS)}")
        if type(self.word_bits) is not int or self.word_bits not in _WORD_BITS:
            raise UsageError(f"word_bits: 32 or 64 was expected, got {self.word_bits!r}")

    @property
    def codes(self) -> tuple[str, ...]:
        """The guards that store check bits, in the order of the table of codes."""
        return tuple(code for code in CODES if code in self.guards)

    @property
    def has_range(self) -> bool:
        """Whether the range of values may be checked, which stores nothing."""
        return RANGE in self.guards

    @property
    def on_detect(self) -> str:
        """What is done where an error is only detected."""
        return "reload" if self.reloads else "zero"
