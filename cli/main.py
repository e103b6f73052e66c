"""The application: its commands, and how errors become one line and an exit code."""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Annotated, Final

import typer
from typer.exceptions import Abort, TyperException

from ftonnx.cli.lazy import LazyGroup
from ftonnx.cli.output import set_quiet, shown
from ftonnx.errors import FtonnxError, StoreError, UsageError

__all__ = ["app", "main"]

_ANYWHERE: Final = ("-v", "-vv", "--verbose", "-q", "--quiet")
_CTRL_C: Final = 128 + signal.SIGINT

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 done, 2 usage, 4 model, data or results folder rejected, 5 incomplete, 130 or 143 interrupted.
    """
    try:
        code = app(args=_common_first(sys.argv[1:] if arguments is None else arguments), standalone_mode=False)
    except FtonnxError as error:
        return _fail(str(error), error.exit_code)
    except TyperException as error:
        message = error.format_message()  # empty where help was printed instead
        return _fail(message, UsageError.exit_code) if message else UsageError.exit_code
    except (Abort, KeyboardInterrupt):
        code = _CTRL_C
    except SystemExit:  # the reader of our output has gone, as in `ftonnx inspect | head`: typer and rich leave so
        return 128 + signal.SIGPIPE
    except OSError as error:  # the disk is full
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _fail(f"reading or writing failed: {error}", StoreError.exit_code)
    if code == _CTRL_C:  # typer's answer to KeyboardInterrupt
        return _fail("interrupted", _CTRL_C)
    return code if isinstance(code, int) else 0


def _common_first(arguments: Sequence[str]) -> list[str]:
    """Let -v and -q stand behind the command too.

    >>> _common_first(["inject", "-q", "--rate", "0"])
    ['-q', 'inject', '--rate', '0']
    """
    return sorted(arguments, key=lambda argument: argument not in _ANYWHERE)


def _fail(message: str, code: int) -> int:
    typer.echo(f"error: {shown(' '.join(message.split()))}", err=True)
    return code
