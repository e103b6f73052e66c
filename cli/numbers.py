"""Numbers on a command line: several behind one option, and one line where something else stands in place of one."""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from ftonnx.errors import UsageError

__all__ = ["numbers_apart", "require_numbers"]

_SAID: Final = {int: "a whole number", float: "a number"}


def numbers_apart(arguments: Sequence[str], flags: Collection[str]) -> list[str]:
    """Return arguments in which every number stands behind a flag of its own.

    Args:
        arguments: of a command.
        flags: of its options that can be given several times, a number each.

    >>> numbers_apart(["--rate", "1e-6,1e-5", "--rate=1e-4,1e-3", "a,b"], ["--rate"])
    ['--rate', '1e-6', '--rate', '1e-5', '--rate=1e-4', '--rate=1e-3', 'a,b']
    """
    apart: list[str] = []
    before = ""
    for argument in arguments:
        flag, equals, numbers = argument.partition("=")
        if equals and flag in flags:
            apart += [f"{flag}={number}" for number in numbers.split(",")]
        elif before in flags:
            first, *others = argument.split(",")
            apart.append(first)
            for number in others:
                apart += [before, number]
        else:
            apart.append(argument)
        before = argument
    return apart


def require_numbers(flag: str, kind: type, texts: Iterable[str]) -> None:
    """Refuse texts that are no numbers of an option's kind, int or float.

    Raises:
        UsageError: one is none; it names the flag and the text.

    >>> require_numbers("--rate", float, ["1e-6", "ten"])
    Traceback (most recent call last):
    ftonnx.errors.UsageError: --rate: a number was expected, got 'ten'
    """
    for text in texts:
        try:
            value = float(text)
        except ValueError:
            raise UsageError(f"{flag}: {_SAID[kind]} was expected, got {text!r}") from None
        if kind is int and not value.is_integer():
            raise UsageError(f"{flag}: {_SAID[kind]} was expected, got {text!r}")
