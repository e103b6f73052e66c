"""The application: its commands, and the options that all of them have."""

import logging
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Annotated, Final

import typer
from typer.exceptions import TyperException

from ftonnx.cli.lazy import LazyGroup
from ftonnx.cli.output import set_quiet
from ftonnx.errors import UsageError

__all__ = ["app", "run"]

_ANYWHERE: Final = ("-v", "-vv", "--verbose", "-q", "--quiet")

# The commands are listed in cli/lazy.py and imported when they are called.
app = typer.Typer(
    name="ftonnx",
    cls=LazyGroup,
    help="How accurate is a deployed ONNX network when its memory takes bit flips?",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ftonnx {metadata.version('ftonnx')}")
        raise typer.Exit


@app.callback()
def _common(
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, help="Say more on stderr; twice for every detail.")
    ] = 0,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no warnings on stderr.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    level = logging.ERROR if quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr, force=True)
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
    try:
        with group.make_context("ftonnx", _common_first(arguments)) as context:
            group.invoke(context)
    except typer.Exit as leave:
        return leave.exit_code
    except TyperException as error:
        message = error.format_message()
        if not message:  # help was printed instead
            return UsageError.exit_code
        raise UsageError(message) from error
    return 0


def _common_first(arguments: Sequence[str]) -> list[str]:
    """Let -v and -q stand behind the command too.

    >>> _common_first(["inject", "-q", "--rate", "0"])
    ['-q', 'inject', '--rate', '0']
    """
    return sorted(arguments, key=lambda argument: argument not in _ANYWHERE)
