"""Command-line options as values, so that a fault model can describe its own without knowing who parses them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["Option"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of a fault model.

    Attributes:
        flag: as written, such as ``--faults-per-run``.
        help: one sentence.
        field: which argument of the model it gives; None for a switch, which only chooses the model.
        metavar: what stands for the value in the help.
        type: reads one value from its text.
        write: writes it, so that ``type`` reads it back.
        repeated: may be given several times; the argument is then a tuple of what ``type`` made of each.
        optional: the model has a value for it where it is not given.
    """

    flag: str
    help: str
    field: str | None = None
    metavar: str | None = None
    type: Callable[[str], Any] = str
    write: Callable[[Any], str] = str
    repeated: bool = False
    optional: bool = False

    @property
    def name(self) -> str:
        """The flag as a Python name.

        >>> Option(flag="--per-layer", help="").name
        'per_layer'
        """
        return self.flag.lstrip("-").replace("-", "_")

    def made_optional(self) -> "Option":
        """Return the option for a model that has a value where it is not given."""
        return replace(self, optional=True)

    def arguments(self, value: Any) -> list[str]:
        """Return what to write on a command line for a value.

        >>> Option(flag="--rate", help="", field="rates", repeated=True).arguments((1e-7, 3e-7))
        ['--rate', '1e-07', '--rate', '3e-07']
        >>> Option(flag="--exhaustive", help="").arguments(None)
        ['--exhaustive']
        """
        if self.field is None:
            return [self.flag]
        values: Sequence[Any] = value if self.repeated else (value,)
        written: list[str] = []
        for each in values:
            written += [self.flag, self.write(each)]
        return written
