"""The options with which a command asks for faults: those that the fault models describe."""

from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, TypeVar

import typer

from ftonnx.errors import UsageError
from ftonnx.inject import (
    FAULT_MODELS,
    BitFlipRates,
    EveryBit,
    FaultCount,
    FaultList,
    FaultModel,
    Option,
    PerLayer,
    asked_kinds,
)

__all__ = ["FaultModelOptions", "is_given"]

_KNOWN_TYPES: Final = (bool, int, float, str, Path)  # typer reads these itself
_USUAL: Final = (BitFlipRates, FaultCount, EveryBit, PerLayer, FaultList)
_OTHERS: Final = "Other kinds of faults"
"""The panel of those that are asked for less often, which would hide the others."""
_Group = TypeVar("_Group")


def is_given(value: Any) -> bool:
    """Say whether an option has a value; 0 is one, though it equals False.

    >>> is_given(0), is_given(False), is_given(None), is_given([])
    (True, False, False, False)
    """
    return not (value is None or value is False or value == [])


def _parameter(option: Option) -> tuple[str, Any, Any]:
    """Return name, annotation and default of the field for an option."""
    default: Any = None
    kind: Any = option.type
    more: dict[str, Any] = {}
    if option.field is None:
        kind = bool
        default = False
    elif option.type not in _KNOWN_TYPES:
        kind = Any
        more["parser"] = option.type
    if option.repeated:
        kind = list[kind]
    if option.field is not None:
        kind = kind | None
    if not any(option in usual.options for usual in _USUAL):
        more["rich_help_panel"] = _OTHERS
    declared = typer.Option(option.flag, metavar=option.metavar, help=option.help, **more)
    return option.name, Annotated[kind, declared], default


def _options() -> list[Option]:
    """Return the options of all fault models, once each; some share one."""
    found: dict[str, Option] = {}
    for kind in FAULT_MODELS:
        for option in kind.options:
            found.setdefault(option.name, option)
    return list(found.values())


def _with_registered(group: type[_Group]) -> type[_Group]:
    """Return a group that also has a field for every option of a fault model."""
    described = [_parameter(option) for option in _options()]
    return make_dataclass(group.__name__, described, bases=(group,), frozen=True, slots=True, kw_only=True)


@_with_registered
@dataclass(frozen=True, slots=True, kw_only=True)
class FaultModelOptions:
    """What flips: a field for every option of every fault model."""

    PANEL: ClassVar[str] = "Faults"

    @property
    def given(self) -> dict[str, Any]:
        """The options that were given, by name."""
        values = {option.name: getattr(self, option.name) for option in _options()}
        return {name: value for name, value in values.items() if is_given(value)}

    @property
    def flags(self) -> list[str]:
        """The options that were given, as written."""
        given = self.given
        return [option.flag for option in _options() if option.name in given]

    def model(self) -> FaultModel | None:
        """Return the fault model that is asked for; None where none is.

        Raises:
            UsageError: several are, or a value makes no sense.
        """
        given = self.given
        if not given:
            return None
        kinds = asked_kinds(given)
        if len(kinds) != 1:
            every = [kind.options[0].flag for kind in FAULT_MODELS]
            raise UsageError(f"exactly one of {', '.join(every)} says what flips; got {' and '.join(self.flags)}")
        values: dict[str, Any] = {}
        for option in kinds[0].options:
            if option.field is not None and option.name in given:
                values[option.field] = given[option.name]
        return kinds[0].from_options(values)
