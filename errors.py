"""The exceptions that user input can cause.

    FtonnxError            base; the command line exits with ``exit_code``   70
    ├── UsageError         an option or argument makes no sense              2
    ├── ModelError         the ONNX file is broken, hostile or unsuitable    4
    ├── DataError          the images or labels are                          4
    ├── StoreError         the results folder cannot be used                 4
    ├── IncompleteError    some units could not be run; the others are kept  5
    └── Interrupted        SIGINT or SIGTERM; finished units are kept        130, 143

Anything else that is raised is unforeseen, and ends the command line with 70 too. 1 is no error's: it is the gate's
FAIL.

A message is one line: what was expected, what came, and what to do.
"""

import signal

__all__ = [
    "DataError",
    "FtonnxError",
    "IncompleteError",
    "Interrupted",
    "ModelError",
    "StoreError",
    "UsageError",
    "describe",
    "message_of",
]


_LONGEST = 2000
"""Characters of a message; what it quotes of a stranger's file may be longer."""


class FtonnxError(Exception):
    """Base of every error that user input can cause; its message is one line, whatever it quotes.

    Of one that is too long, the middle is left out: the begin says what is wrong, and the end what to do.
    """

    exit_code = 70

    def __str__(self) -> str:
        text = " ".join(super().__str__().split())
        if len(text) <= _LONGEST:
            return text
        half = _LONGEST // 2
        return f"{text[:half]} … {text[-half:]}"


class UsageError(FtonnxError, ValueError):
    """An option or argument is out of range or contradicts another."""

    exit_code = 2


class ModelError(FtonnxError):
    """The ONNX model cannot be read, is not valid, or cannot be evaluated."""

    exit_code = 4


class DataError(FtonnxError):
    """The data set cannot be read or does not fit the model."""

    exit_code = 4


class StoreError(FtonnxError):
    """The results folder is damaged, in use, full, or belongs to another campaign."""

    exit_code = 4


class IncompleteError(FtonnxError):
    """Worker processes died over some units, or cells of a study failed; all others are recorded."""

    exit_code = 5


class Interrupted(FtonnxError):
    """A signal asked the campaign to stop; every finished unit is recorded."""

    def __init__(self, message: str, signum: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.exit_code = 128 + signum


def message_of(error: BaseException) -> str:
    r"""Return an exception's message on one line of bounded length, for use inside a message.

    >>> message_of(ValueError("first\n  second"))
    'first second'
    """
    return _text(error) or type(error).__name__


def describe(error: BaseException) -> str:
    r"""Return an exception's type and message on one line of bounded length; of the system's errors what they mean.

    >>> describe(ValueError("first\n  second")), describe(ValueError())
    ('ValueError: first second', 'ValueError')
    >>> describe(FileNotFoundError(2, "No such file or directory", "x.txt"))
    'No such file or directory'
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = _text(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _text(error: BaseException) -> str:
    try:
        return " ".join(str(error).split())[:300]
    except Exception:  # a stranger's exception, whose text is broken too; its type says enough
        return ""
