"""Groups of options: a command that takes a frozen dataclass gets an option per field, and the object.

A group is a frozen, keyword-only dataclass whose fields are annotated as a command's own parameters are::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class RunOptions:
        PANEL: ClassVar[str] = "Running"

        threads: Annotated[int | None, typer.Option("--threads", help="Threads per session.")] = None
        providers: Annotated[tuple[str, ...], typer.Option("--providers", parser=split_names)] = ("cpu",)
        include: Annotated[tuple[str, ...], typer.Option("--include", help="Repeatable.")] = ()


    def inspect(model: Model, running: RunOptions) -> None: ...

Values arrive as the annotations say: parsed by the option's ``parser``; a tuple without a parser is an option that can
be repeated. ``PANEL`` is the heading of the group's options in the help text.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, OptionInfo

from ftonnx.errors import FtonnxError, UsageError

__all__ = ["OptionError", "expanded", "option_key"]

_REQUIRED: Final = inspect.Parameter.empty


class OptionError(FtonnxError):
    """An option's own parser refuses its value.

    It is no ValueError, which typer would answer in words of its own.

    Attributes:
        name: of the command's parameter.
        reason: what its parser says.
    """

    exit_code = UsageError.exit_code

    def __init__(self, option: str, name: str, reason: str) -> None:
        super().__init__(f"{option}: {reason}")
        self.name = name
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slot:
    """One parameter of a command, which may be a group's field.

    Attributes:
        name: of the parameter.
        annotation: the type of the value that arrives.
        info: what typer is told about it; None where nothing is.
        default: of the value; ``_REQUIRED`` without one.
    """

    name: str
    annotation: Any
    info: OptionInfo | ArgumentInfo | None
    default: Any

    @property
    def parser(self) -> Callable[[Any], Any] | None:
        """The option's own parser."""
        return None if self.info is None else self.info.parser

    @property
    def repeated(self) -> bool:
        """Whether values come one by one and are to arrive as a tuple."""
        return self.parser is None and get_origin(self.annotation) is tuple

    def as_parameter(self) -> inspect.Parameter:
        """Return the parameter that typer reads."""
        annotation = self._shown_type()
        if self.info is not None:
            annotation = Annotated[annotation, _told(self.info, self.name)]
        return inspect.Parameter(
            self.name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=annotation,
            default=self._shown_default(),
        )

    def arrived(self, value: Any) -> Any:
        """Return the value for the command; typer's None stands for what was not given."""
        if value is None:
            # typer knows a required value to be there; in completions nobody calls the command
            return self.default
        return tuple(value) if self.repeated else value

    def _shown_type(self) -> Any:
        """Return the type as typer understands it: what a parser reads is text, whatever it makes of it."""
        shown: Any = str
        if self.repeated:
            element = get_args(self.annotation)[0]
            shown = list[element]  # type: ignore[valid-type]
        elif self.parser is None:
            return self.annotation
        elif _is_list(self.annotation):
            shown = list[str]
        return shown if self.default is _REQUIRED else shown | None

    def _shown_default(self) -> Any:
        if self.default is _REQUIRED or not (self.repeated or self.parser):
            return self.default
        return _written(self.default)


def expanded(command: Callable[..., None], *extra: type) -> Callable[..., None]:
    """Return the command with the fields of its groups as parameters of its own.

    Args:
        command: A function whose parameters are options, arguments, and groups of them.
        extra: Groups whose options the command gets but whose values it does not see.
    """
    groups: dict[str, tuple[type, list[_Slot]]] = {}
    own: list[_Slot] = []
    slots: list[_Slot] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        kind = parameter.annotation
        if isinstance(kind, type) and is_dataclass(kind):
            of_group = _slots_of(kind)
            groups[parameter.name] = (kind, of_group)
            slots += of_group
        else:
            slot = _own_slot(parameter)
            own.append(slot)
            slots.append(slot)
    for group in extra:
        slots += _slots_of(group)

    @functools.wraps(command)
    def call(**values: Any) -> None:
        arguments = _arrived(own, values)
        for name, (group, of_group) in groups.items():
            arguments[name] = group(**_arrived(of_group, values))
        command(**arguments)

    parameters = [slot.as_parameter() for slot in slots]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in parameters}
    return call


def option_key(parameter: Any) -> str:
    """Return the name of a command's option or argument in a file of settings: ``batch_size`` for --batch-size."""
    for name in parameter.opts:
        if name.startswith("--"):
            return str(name).removeprefix("--").replace("-", "_")
    return str(parameter.name)


def _arrived(slots: list[_Slot], values: Mapping[str, Any]) -> dict[str, Any]:
    arrived = {}
    for slot in slots:
        arrived[slot.name] = slot.arrived(values[slot.name])
    return arrived


def _own_slot(parameter: inspect.Parameter) -> _Slot:
    annotation, info = _parts(parameter.annotation)
    return _Slot(name=parameter.name, annotation=annotation, info=info, default=parameter.default)


def _slots_of(group: type) -> list[_Slot]:
    """Return a slot per field, with the group's panel where an option names none."""
    hints = get_type_hints(group, include_extras=True)
    panel = getattr(group, "PANEL", None)
    slots = []
    for field in fields(group):
        annotation, info = _parts(hints[field.name])
        # arguments have a panel of their own
        if isinstance(info, OptionInfo) and info.rich_help_panel is None:
            info = copy(info)
            info.rich_help_panel = panel
        default = _REQUIRED if field.default is MISSING else field.default
        slots.append(_Slot(name=field.name, annotation=annotation, info=info, default=default))
    return slots


def _parts(annotation: Any) -> tuple[Any, OptionInfo | ArgumentInfo | None]:
    """Return the type, and what typer is told."""
    if get_origin(annotation) is not Annotated:
        return annotation, None
    parts = get_args(annotation)
    for each in parts[1:]:
        if isinstance(each, OptionInfo | ArgumentInfo):
            return parts[0], each
    return parts[0], None


def _is_list(annotation: Any) -> bool:
    """Say whether a type is a list, or a list or None."""
    alternatives = [annotation, *get_args(annotation)]
    return any(get_origin(each) is list for each in alternatives)


def _written(default: Any) -> Any:
    """Return a default as the parser reads it.

    >>> _written(("weight", "bias")), _written((1e-7, 3e-6)), _written(()), _written("auto"), _written(2)
    ('weight,bias', '1e-7,3e-6', None, 'auto', '2')
    """
    if default is None or default == ():
        return None
    if isinstance(default, tuple):
        return ",".join(map(_written, default))
    if isinstance(default, float):
        return repr(default).replace("e-0", "e-").replace("e+0", "e+")
    return str(default)


def _told(info: OptionInfo | ArgumentInfo, name: str) -> OptionInfo | ArgumentInfo:
    """Return what typer is told: a parser whose refusal names the option, and a help text that rich leaves alone."""
    told = copy(info)
    if info.help:
        # rich would take a default in brackets for a style
        told.help = info.help.replace("[default:", "\\[default:")
    if info.parser is not None:
        told.parser = _naming_parser(info.parser, _spelling(info, name), name)
    return told


def _naming_parser(parser: Callable[[Any], Any], option: str, name: str) -> Callable[[Any], Any]:
    def parse(text: Any) -> Any:
        try:
            return parser(text)
        except UsageError as error:
            # some messages begin with the option's name already
            reason = str(error).removeprefix(f"{option.removeprefix('--')}: ").removeprefix(f"{name}: ")
            raise OptionError(option, name, reason) from error

    return parse


def _spelling(info: OptionInfo | ArgumentInfo, name: str) -> str:
    """Return what people write: the long flag of an option, the placeholder of an argument."""
    if isinstance(info, ArgumentInfo):
        return info.metavar or name.upper()
    # in an annotation, typer takes the first flag for a default until it reads the signature
    flags = [info.default, *(info.param_decls or ())]
    for flag in flags:
        if isinstance(flag, str) and flag.startswith("--"):
            return flag
    return f"--{name.replace('_', '-')}"
