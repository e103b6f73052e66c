"""Names in messages and lists."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

__all__ = ["did_you_mean", "near", "some_of", "split_names"]


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
