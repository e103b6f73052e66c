"""Options from a TOML file, ``--config``, and into one, ``--save-config``: for every command alike.

A key is the long name of an option, ``batch_size`` or ``batch-size``, or the name of an argument, ``model``. What
stands on the command line wins.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Final, Union, get_args, get_origin

import typer
from typer.core import TyperCommand

from ftonnx.cli.expand import OptionError, expanded, option_key
from ftonnx.cli.numbers import numbers_apart, require_numbers
from ftonnx.cli.overwriting import refuse_existing
from ftonnx.cli.recorded import recorded_arguments
from ftonnx.errors import UsageError
from ftonnx.files import read_document, reason_unread
from ftonnx.words import near, option_text, parsed_toml, printable, toml_line

__all__ = ["ConfigCommand", "ConfigOptions", "with_config"]

_CONFIG: Final = "config"
_SAVE: Final = "save_config"
_FORCE: Final = "force"
_GIVEN: Final = "given"
_ABOUT_FILES: Final = (_CONFIG, _SAVE, _FORCE, "help")
_BESIDE_THE_FILE: Final = ("environment",)
"""A file of settings that belongs to the file that names it; everything else is as on the command line."""
_TABLES: Final = ("goals",)
"""Options whose parsers read tables; all others read texts."""

_GOES_ON: Final = ("inject",)
"""Commands that go on from a results folder without being told again what it is about."""

_KINDS: Final[Mapping[Any, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigOptions:
    """The two options themselves, and the one that lets files be written over."""

    PANEL: ClassVar[str] = "Options in a file"

    config: Annotated[
        Path | None,
        typer.Option(
            "--config", metavar="FILE.toml", help="Options by their names, as batch_size = 64; those given here win."
        ),
    ] = None
    save_config: Annotated[
        Path | None,
        typer.Option("--save-config", metavar="FILE.toml", help="Write all options that were used, for --config."),
    ] = None
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there already.")] = False


def with_config(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command with its groups of options expanded, and with the two options for files."""
    return expanded(command, ConfigOptions)


class ConfigCommand(TyperCommand):
    """A command whose options can come from a file and go into one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take what the command line leaves out from the file."""
        if ctx.resilient_parsing:
            # a shell asks for completions: nothing is read or checked
            return super().parse_args(ctx, args)
        args = numbers_apart(args, self._number_flags(ctx))
        given, twice = self._as_given(ctx, args)
        self._require_numbers(ctx, given)
        ctx.meta[_GIVEN] = given
        config = given.get(_CONFIG)
        if config is None:
            ctx.default_map = self._as_recorded(ctx, given)
            rest = super().parse_args(ctx, args)
        else:
            rest = self._parse_with(Path(config), ctx, args)
        if twice:
            from ftonnx.cli.output import warn  # not by --help and --version, which are to be quick

            warn(f"{flags} is given more than once: the last one counts" for flags in twice)
        refuse_existing(str(self.name), ctx.params, forced=bool(ctx.params.get(_FORCE)))
        target = ctx.params.get(_SAVE)
        if target is not None:
            from ftonnx.files import check_target  # not by --help and --version, which are to be quick

            # the work may take hours: better to know now
            check_target(target)
            ctx.meta[_SAVE] = self._used(ctx, given)
        return rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command, and write what it was run with once it has done its work."""
        try:
            result = super().invoke(ctx)
        except typer.Exit as verdict:
            # it is a result too
            self._end(ctx, verdict.exit_code)
            raise
        self._end(ctx)
        return result

    def _end(self, ctx: Any, code: int = 0) -> None:
        """Write what the command was run with, and say what usually follows."""
        self._save(ctx)
        if ctx.params.get("json"):
            return
        from ftonnx.cli.next_steps import next_step
        from ftonnx.cli.output import note

        step = next_step(str(self.name), ctx.params, self._arguments(ctx), code=code)
        if step is not None:
            note(f"next: {printable(step)}")

    def _arguments(self, ctx: Any) -> dict[str, list[str]]:
        """Return the options with values that were given, on the command line or in a file, as words by parameter."""
        found: dict[str, list[str]] = {}
        for option in self._options(ctx):
            if option.param_type_name == "argument" or option.is_flag:
                continue
            value, source = option.consume_value(ctx, ctx.meta[_GIVEN])
            if source.name not in ("COMMANDLINE", "DEFAULT_MAP"):
                continue
            words = found.setdefault(option.name, [])
            for each in value if isinstance(value, list | tuple) else [value]:
                words += [option.opts[-1], str(each)]
        return found

    def get_help_option(self, ctx: Any) -> Any:
        """Put --help beside the options for files: a panel of its own would come before the command's."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.rich_help_panel = ConfigOptions.PANEL
        return option

    def _number_flags(self, ctx: Any) -> list[str]:
        """Return the flags that can be given several times, a number each."""
        types = self._types()
        flags: list[str] = []
        for option in self._options(ctx):
            kind = types[option.name]
            if kind.repeated and kind.kind is float and not kind.parsed:
                flags += option.opts
        return flags

    def _require_numbers(self, ctx: Any, given: Mapping[str, Any]) -> None:
        """Refuse what is no number where one was expected; typer would not say what it was."""
        types = self._types()
        for option in self._options(ctx):
            kind = types[option.name]
            value = given.get(option.name)
            if value is None or kind.parsed or kind.kind not in (int, float):
                continue
            require_numbers(option.opts[-1], kind.kind, value if kind.repeated else [value])

    def _as_given(self, ctx: Any, args: list[str]) -> tuple[dict[str, Any], list[str]]:
        """Return the texts that stand on the command line, by parameter, and the flags of those that others replace."""
        parser = self.make_parser(ctx)
        given, _, order = parser.parse_args(list(args))
        return given, _given_twice([each for each in order if each.param_type_name == "option"])

    def _as_recorded(self, ctx: Any, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return what an earlier call of the command has recorded, by parameter, where this one goes on from it."""
        if self.name not in _GOES_ON:
            return {}
        recorded, _ = self._as_given(ctx, recorded_arguments(given))
        return recorded

    def _parse_with(self, path: Path, ctx: Any, args: list[str]) -> list[str]:
        settings = _Settings(path, self._options(ctx), self._types())
        ctx.default_map = settings.read()
        try:
            return super().parse_args(ctx, args)
        except OptionError as error:
            source = ctx.get_parameter_source(error.name)
            if source is None or source.name != "DEFAULT_MAP":
                raise
            # nobody wrote the flag, so the file is named
            key = settings.key_of[error.name]
            raise UsageError(f"{path}: {key}: {error.reason}") from error

    def _options(self, ctx: Any) -> list[Any]:
        return [each for each in self.get_params(ctx) if each.name not in _ABOUT_FILES]

    def _types(self) -> dict[str, "_Type"]:
        """Return what every parameter takes."""
        assert self.callback is not None
        signature = inspect.signature(self.callback)
        types = {}
        for name, parameter in signature.parameters.items():
            types[name] = _Type.of(name, parameter.annotation)
        return types

    def _used(self, ctx: Any, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of all options by key: as text where the option has a parser of its own."""
        types = self._types()
        used = {}
        for option in self._options(ctx):
            value = ctx.params.get(option.name)
            if types[option.name].parsed:
                # what the parser made of the text cannot be written back
                value = option.consume_value(ctx, given)[0]
            if value is None or value in ((), []):
                continue
            key = option_key(option)
            if key in _BESIDE_THE_FILE:
                value = value.absolute()
            used[key] = _as_toml(value)
        return used

    def _save(self, ctx: Any) -> None:
        used = ctx.meta.get(_SAVE)
        if used is None:
            return
        from ftonnx.files import write_file

        version = metadata.version("ftonnx")
        lines = [f"# ftonnx {self.name}, version {version}"]
        for key, value in used.items():
            lines.append(toml_line(key, value))
        text = "\n".join(lines) + "\n"
        write_file(text.encode(), ctx.params[_SAVE])


def _given_twice(options: Sequence[Any]) -> list[str]:
    """Return the flags of options that take one value and stand there several times, so that the last value counts.

    Args:
        options: in the order in which they were given, each as often.
    """
    found: dict[str, None] = {}
    for option in options:
        # a switch says the same again, unless it has a form for no
        has_values = not option.is_flag or option.secondary_opts
        if has_values and not option.multiple and options.count(option) > 1:
            found["/".join((option.opts[-1], *option.secondary_opts))] = None
    return list(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Type:
    """What an option takes.

    Attributes:
        kind: bool, int, float or str; str for whatever is written as text.
        repeated: whether it can be given several times.
        parsed: whether the option has a parser of its own.
        tables: whether that parser reads tables too.
    """

    kind: Any
    repeated: bool
    parsed: bool
    tables: bool

    @classmethod
    def of(cls, name: str, annotation: Any) -> "_Type":
        """Read a parameter's annotation, as typer does."""
        told: Sequence[Any] = ()
        kind = annotation
        if get_origin(kind) is Annotated:
            kind = get_args(annotation)[0]
            told = get_args(annotation)[1:]
        if get_origin(kind) in (Union, UnionType):
            alternatives = [each for each in get_args(kind) if each is not NoneType]
            kind = alternatives[0]
        repeated = get_origin(kind) is list
        if repeated:
            kind = get_args(kind)[0]
        if kind not in _KINDS:
            # a path, which is written as text
            kind = str
        parsed = any(getattr(each, "parser", None) is not None for each in told)
        return cls(kind=kind, repeated=repeated, parsed=parsed, tables=name in _TABLES)

    def checked(self, value: Any) -> Any:
        """Return a value of the file as the option takes it.

        Raises:
            UsageError: it has another type.
        """
        if not self.repeated:
            return self._one(value)
        values = value if isinstance(value, list) else [value]
        return [self._one(each) for each in values]

    def _one(self, value: Any) -> Any:
        if self.parsed:
            is_table = self.tables and isinstance(value, dict)
            return value if is_table else option_text(value)
        if not self._fits(value):
            raise UsageError(f"{_KINDS[self.kind]} was expected, got {value!r}")
        return value

    def _fits(self, value: Any) -> bool:
        if isinstance(value, bool):
            # Python counts truth values among the whole numbers
            return self.kind is bool
        if self.kind is float:
            return isinstance(value, int | float)
        return isinstance(value, self.kind)


class _Settings:
    """A file of options for one command."""

    def __init__(self, path: Path, options: Sequence[Any], types: Mapping[str, _Type]) -> None:
        self._path = path
        self._types = types
        self._name_of: dict[str, str] = {}
        self.key_of: dict[str, str] = {}
        for option in options:
            key = option_key(option)
            self._name_of[key] = option.name
            self.key_of[option.name] = key

    def read(self) -> dict[str, Any]:
        """Return the values by parameter.

        Raises:
            UsageError: the file cannot be read, or holds a key or a value that makes no sense.
        """
        try:
            found = parsed_toml(read_document(self._path))
        except (OSError, ValueError) as error:
            reason = reason_unread(error, self._path)
            raise UsageError(f"{self._path}: options in TOML were expected: {reason}") from None
        values: dict[str, Any] = {}
        for written, value in found.items():
            key = written.replace("-", "_")
            name = self._known(key, written)
            if name in values:
                raise UsageError(f"{self._path}: {written} stands there twice")
            values[name] = self._checked(key, name, value)
        return values

    def _known(self, key: str, written: str) -> str:
        if key in self._name_of:
            return self._name_of[key]
        meant = near(key, self._name_of)
        known = ", ".join(sorted(self._name_of))
        raise UsageError(f"{self._path}: {written} is no option of this command{meant}; it has {known}")

    def _checked(self, key: str, name: str, value: Any) -> Any:
        try:
            checked = self._types[name].checked(value)
        except UsageError as error:
            raise UsageError(f"{self._path}: {key}: {error}") from None
        if key in _BESIDE_THE_FILE:
            return str(self._path.parent / checked)
        return checked


def _as_toml(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_as_toml(each) for each in value]
    if isinstance(value, Path):
        return str(value)
    return value
