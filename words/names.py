"""Names in messages and lists."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

__all__ = ["did_you_mean", "near", "some_of", "split_names", "told_apart"]


def near(got: str, known: Iterable[str]) -> str:
    """Return the end of a message that names what was probably meant; empty where nothing is near.

    >>> near("tset", ["train", "test"])
    '; did you mean test?'
    """
    candidates = list(known)
    close = get_close_matches(got, candidates, 1)
    return did_you_mean(close)


def did_you_mean(close: Sequence[str]) -> str:
    """Return the end of a message that offers names; empty where there are none.

    >>> did_you_mean(["resnet18", "resnet34"])
    '; did you mean resnet18 or resnet34?'
    """
    if not close:
        return ""
    offered = " or ".join(close)
    return f"; did you mean {offered}?"


def some_of(names: Sequence[str], most: int = 3) -> str:
    """Return a list of names that may be long, as a message shows it.

    >>> some_of(["a", "b"]), some_of(["a", "b", "c", "d", "e"])
    ('a, b', 'a, b, c and 2 more')
    """
    shown = ", ".join(names[:most])
    left = len(names) - most
    return f"{shown} and {left} more" if left > 0 else shown


def split_names(names: str) -> tuple[str, ...]:
    """Split a comma-separated list.

    >>> split_names("cuda, cpu")
    ('cuda', 'cpu')
    """
    found = []
    for part in names.split(","):
        name = part.strip()
        if name:
            found.append(name)
    return tuple(found)


def told_apart(named: Sequence[tuple[str, Path]]) -> list[str]:
    """Return one distinct name for each of some models, which come with their results folders.

    >>> told_apart([("a", Path("x/1")), ("b", Path("x/2")), ("b", Path("x/3"))])
    ['a', 'b (2)', 'b (3)']
    """
    names = [name for name, _ in named]
    by_folder = []
    for name, folder in named:
        by_folder.append(name if names.count(name) == 1 else f"{name} ({folder.name})")
    distinct = []
    for index, name in enumerate(by_folder):
        before = by_folder[: index + 1].count(name)
        distinct.append(name if by_folder.count(name) == 1 else f"{name} #{before}")
    return distinct
