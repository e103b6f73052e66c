"""The application: its commands, and the options that all of them have."""

import logging
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Annotated, Any, Final

import typer
from typer.completion import shell_complete
from typer.exceptions import TyperException

from ftonnx.cli.examples import epilog_of
from ftonnx.cli.flags import with_flags
from ftonnx.cli.lazy import SUMMARIES, LazyGroup
from ftonnx.cli.output import set_quiet
from ftonnx.errors import FtonnxError, UsageError
from ftonnx.words import printable

__all__ = ["app", "run"]

_NAME: Final = "ftonnx"
_COMPLETE: Final = "_FTONNX_COMPLETE"
"""The variable by which a shell asks for completions."""

_COMPLETION: Final = ("--install-completion", "--show-completion")
_ANYWHERE: Final = ("-v", "-vv", "--verbose", "-q", "--quiet")
_UNTRUSTED: Final = "--untrusted"

# The commands are listed in cli/lazy.py and imported when they are called.
app = typer.Typer(
    name=_NAME,
    cls=LazyGroup,
    help="How accurate is a deployed ONNX network when its memory takes bit flips?",
    epilog=epilog_of(_NAME),
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ftonnx {metadata.version('ftonnx')}")
        raise typer.Exit


class _Printable(logging.Formatter):
    """Lines in the words of the command line, without the control characters that names from strangers may have."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, with_flags(super().format(record)).split("\n")))


@app.callback()
def _common(
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, help="Say more on stderr; twice for every detail.")
    ] = 0,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no warnings on stderr.")] = False,
    untrusted: Annotated[
        bool,
        typer.Option(
            _UNTRUSTED,
            help="Run the command in a process of its own with little memory and time, for files from strangers.",
        ),
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    levels = (logging.WARNING, logging.INFO, logging.DEBUG)
    level = logging.ERROR if quiet else levels[min(verbose, 2)]
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, force=True)
    for handler in logging.root.handlers:
        handler.setFormatter(_Printable("%(levelname)s: %(message)s"))
    logging.getLogger("ftonnx").setLevel(level)
    set_quiet(quiet)


def run(arguments: Sequence[str]) -> int:
    """Run a command and return what it wants to exit with.

    Typer's own way of running it is not used: it turns a closed pipe and an end of input into exit code 1.

    Raises:
        UsageError: the arguments make no sense.
        BaseException: whatever the command raises.
    """
    group = typer.main.get_command(app)
    asked_by_shell = os.environ.get(_COMPLETE)
    if asked_by_shell:
        return shell_complete(group, {}, _NAME, _COMPLETE, asked_by_shell)
    if _UNTRUSTED in arguments:
        # this needs resource limits, which not every system has
        from ftonnx.cli.untrusted import run_apart

        return run_apart([each for each in arguments if each != _UNTRUSTED])
    try:
        return _ran(group, arguments)
    except TyperException as error:
        message = error.format_message()
        if not message:  # help was printed instead
            return UsageError.exit_code
        raise UsageError(f"{message}{_where_it_belongs(message, group, _command_in(arguments))}") from error
    except FtonnxError as error:
        command = _command_in(arguments)
        error.args = (with_flags(str(error), command, _flags_of(group, command)), *error.args[1:])
        raise


def _command_in(arguments: Sequence[str]) -> str:
    """Return the name of the command; empty where none is named."""
    return next((each for each in arguments if each in SUMMARIES), "")


def _where_it_belongs(message: str, group: Any, command: str) -> str:
    """Return where data belong that stand behind the model; empty where something else is wrong."""
    if "unexpected extra argument" not in message or "--data" not in _flags_of(group, command).values():
        return ""
    return "; images are given as --data SPEC"


def _flags_of(group: Any, command: str) -> dict[str, str]:
    """Return a command's flags by the names of its parameters; none where no command was named."""
    found = group.get_command(None, command)
    if found is None:
        return {}
    return {option.name: option.opts[-1] for option in found.params if option.param_type_name == "option"}


def _ran(group: Any, arguments: Sequence[str]) -> int:
    """Run a command; its own exit code is that of a verdict."""
    try:
        with group.make_context(_NAME, _common_first(arguments)) as context:
            group.invoke(context)
    except typer.Exit as leave:
        if leave.exit_code and any(option in arguments for option in _COMPLETION):
            raise UsageError("the shell is not known: call this from bash, zsh or fish itself") from leave
        return leave.exit_code
    except SystemExit as leave:
        if isinstance(leave.__context__, BrokenPipeError):  # rich leaves so
            raise
        if any(option in arguments for option in _COMPLETION):  # typer leaves so
            return int(leave.code or 0)
        raise
    return 0


def _common_first(arguments: Sequence[str]) -> list[str]:
    """Let -v and -q stand behind the command too.

    >>> _common_first(["inject", "-q", "--rate", "0"])
    ['-q', 'inject', '--rate', '0']
    """
    return sorted(arguments, key=lambda argument: argument not in _ANYWHERE)
