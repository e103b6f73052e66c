"""Where the command begins and ends: whatever happens becomes one line and an exit code.

The commands and what they need are imported inside, so that a broken installation gets its line too.
"""

import os
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from ftonnx.cli.clock import begin
from ftonnx.cli.crash import write_report
from ftonnx.cli.interrupts import ended_by_the_second
from ftonnx.cli.streams import abandon_stdout, say, standard_streams
from ftonnx.errors import FtonnxError, Interrupted, ModelError, StoreError
from ftonnx.files import reason_of, settle_temporary_root
from ftonnx.words import printable

__all__ = ["entry", "main"]

_INTERRUPTED: Final = 128  # and more: the number of the signal
_ENDING_SECONDS: Final = 3.0
_CTRL_C: Final = _INTERRUPTED + signal.SIGINT
_NO_READER: Final = 141  # 128 + SIGPIPE, which not every system has
_PRINTED: Final = (0, 1, 3)
"""Exit codes that stand for what was printed."""


def entry() -> NoReturn:
    """Be the command: exit with what ``main`` returns."""
    try:
        code = main()
        if code > _INTERRUPTED:
            _end_soon(code)
    except KeyboardInterrupt:
        code = _CTRL_C
    sys.exit(code)


def _end_soon(code: int) -> None:
    """Let an interrupted process end with its own code: not by one more signal, and not later than in some seconds."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)
    late = threading.Timer(_ENDING_SECONDS, os._exit, [code])
    late.daemon = True
    late.start()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 done, 1 and 3 the gate's FAIL and INCONCLUSIVE, 2 usage, 4 model, data or results folder rejected, 5 incomplete,
    70 unforeseen, 130 or 143 interrupted, 141 the reader of stdout has gone.
    """
    begin()
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        with standard_streams(), ended_by_the_second():
            return _delivered(_outcome(given))
    except KeyboardInterrupt:  # the second one, while the first was being answered
        return _CTRL_C
    except BaseException:  # while an exception was being reported: there is nothing left to say it with
        return FtonnxError.exit_code


def _outcome(arguments: Sequence[str]) -> int:
    """Run the command line, say what went wrong, and return the exit code."""
    try:
        settle_temporary_root()
        from ftonnx.cli.application import run

        return run(arguments)
    except Interrupted as error:
        return _fail(f"{error}{_way_on(error, arguments)}", error.exit_code)
    except FtonnxError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted", _CTRL_C)
    except MemoryError:
        return _fail("the memory does not suffice; allow more, or give something smaller", ModelError.exit_code)
    except BrokenPipeError:  # as in `ftonnx inspect | head`
        return _NO_READER
    except OSError as error:  # the disk is full
        return _fail(f"reading or writing failed: {_described(error)}", StoreError.exit_code)
    except BaseException as error:
        if isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError):  # rich leaves so
            return _NO_READER
        say(f"error: {_one_line_first(write_report(error, arguments))}")
        return FtonnxError.exit_code


def _way_on(error: Interrupted, arguments: Sequence[str]) -> str:
    """Return the end of a message that names the command by which a campaign goes on."""
    if error.results is None:
        return ""
    words = ["ftonnx", *arguments]
    if error.is_temporary:
        words += ["--results", str(error.results)]
    return f"; go on with: {shlex.join(words)}"


def _described(error: OSError) -> str:
    """Return which file it was, where that is known, what is wrong, and what to do."""
    if error.filename is None:
        return reason_of(error, Path())
    return f"{error.filename}: {reason_of(error, Path(os.fsdecode(error.filename)))}"


def _delivered(code: int) -> int:
    """Return the exit code once everything printed has left the process."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        abandon_stdout()
        return _NO_READER if code in _PRINTED else code
    except (OSError, ValueError) as error:
        abandon_stdout()
        return _fail(f"writing to stdout failed: {error}", StoreError.exit_code) if code in _PRINTED else code
    return code


def _fail(message: str, code: int) -> int:
    say(f"error: {printable(' '.join(message.split()))}")
    return code


def _one_line_first(text: str) -> str:
    """Return the first line without control characters, and the others as they are."""
    first, newline, others = text.partition("\n")
    return printable(first) + newline + others
