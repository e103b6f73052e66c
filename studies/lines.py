"""The lines of a TOML file on which its keys stand, since the parser of the standard library does not tell them."""

import re
import tomllib
from bisect import bisect_left
from typing import Final, NamedTuple

__all__ = ["line_of", "lines_of", "place_of"]

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACES: Final = re.compile(r"[ \t]*")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_TEXT: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'",
    re.DOTALL,
)
_PLAIN: Final = re.compile(r"[^,\]}#\n]+")
"""Numbers, dates and truth values."""

_BEHIND: Final = (":", " ", "")
"""What follows the place in a message."""

_Place = tuple[str | int, ...]


def place_of(parts: _Place) -> str:
    """Return a place as messages name it.

    >>> place_of(("matrix", "protect", 1)), place_of(("exclude", 0, "model"))
    ('matrix.protect[1]', 'exclude[0].model')
    """
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return text.removeprefix(".")


def lines_of(text: str) -> dict[str, int]:
    r"""Return the line, from 1, on which each table, key and element of a TOML text begins.

    Args:
        text: which a parser has found to be TOML.

    >>> lines_of('[study]\nseed = 1\n[matrix]\nprotect = ["none",\n  "relu6"]')["matrix.protect[1]"]
    5
    """
    reader = _Reader(text)
    reader.read()
    return reader.lines


def line_of(message: str, lines: dict[str, int]) -> int | None:
    """Return the line that a message is about, which begins with a place; None where it begins with none.

    A key is looked for behind the place too, and names that are quoted.

    >>> lines = {"campaign": 3, "campaign.threads": 5, "models": 7, "models.a/b": 8}
    >>> line_of("campaign: threads: a number was expected", lines), line_of("models: got 'a/b'", lines)
    (5, 8)
    >>> line_of("a table [data] was expected", lines) is None
    True
    """
    begins = [place for place in lines if _begins_with(message, place)]
    if not begins:
        return None
    place = max(begins, key=len)
    behind = message[len(place) :]
    for inner, line in lines.items():
        key = inner.removeprefix(place).lstrip(".")
        is_below = inner.startswith(place) and inner != place
        if is_below and (behind.startswith(f": {key}:") or behind.startswith(f": {key} ") or f"{key!r}" in behind):
            return line
    return lines[place]


def _begins_with(message: str, place: str) -> bool:
    behind = message[len(place) : len(place) + 1]
    return message.startswith(place) and behind in _BEHIND


class _Mark(NamedTuple):
    """A key in the text.

    Attributes:
        parts: of a dotted key.
        at: where it begins.
    """

    parts: tuple[str, ...]
    at: int


class _Reader:
    """Goes through a text that is TOML."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._tables: dict[_Place, int] = {}  # how many tables an array has so far
        self._ends = [found.start() for found in re.finditer("\n", text)]
        self.lines: dict[str, int] = {}

    def read(self) -> None:
        """Note the lines of everything."""
        table: _Place = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            table = self._header() if self._sees("[") else self._pair(table)
            self._skip(_BLANK)

    def _header(self) -> _Place:
        """Read ``[a.b]`` or ``[[a.b]]``; return the place of the table."""
        start = self._at
        brackets = 2 if self._sees("[[") else 1
        self._at += brackets
        key = self._key()
        self._at += brackets
        *before, last = key.parts
        place: _Place = ()
        for part in before:
            place = self._current((*place, part))
            self._note(place, start)
        place = (*place, last)
        if brackets == 2:
            number = self._tables.get(place, 0)
            self._tables[place] = number + 1
            self._note(place, start)
            place = (*place, number)
        self._note(place, start)
        return place

    def _current(self, place: _Place) -> _Place:
        """Return the last table of an array, in which the next keys are."""
        return (*place, self._tables[place] - 1) if place in self._tables else place

    def _pair(self, table: _Place) -> _Place:
        """Read a key with its value; return the table that it stands in."""
        key = self._key()
        place = table
        for part in key.parts:
            place = (*place, part)
            self._note(place, key.at)
        self._at += 1  # the equals sign
        self._skip(_SPACES)
        self._value(place)
        return table

    def _key(self) -> _Mark:
        """Read a key and the spaces behind it."""
        self._skip(_SPACES)
        start = self._at
        parts = [self._key_part()]
        while self._sees("."):
            self._at += 1
            self._skip(_SPACES)
            parts.append(self._key_part())
        return _Mark(tuple(parts), start)

    def _key_part(self) -> str:
        is_quoted = self._sees('"') or self._sees("'")
        written = self._skip(_TEXT if is_quoted else _BARE_KEY)
        self._skip(_SPACES)
        return str(tomllib.loads(f"key = {written}")["key"]) if is_quoted else written

    def _value(self, place: _Place) -> None:
        if self._sees("["):
            self._array(place)
        elif self._sees("{"):
            self._inline_table(place)
        elif self._sees('"') or self._sees("'"):
            self._skip(_TEXT)
        else:
            self._skip(_PLAIN)

    def _array(self, place: _Place) -> None:
        number = 0
        self._at += 1
        self._skip(_BLANK)
        while not self._sees("]"):
            self._note((*place, number), self._at)
            self._value((*place, number))
            number += 1
            self._skip(_BLANK)
            self._comma()
        self._at += 1

    def _inline_table(self, place: _Place) -> None:
        self._at += 1
        self._skip(_BLANK)
        while not self._sees("}"):
            self._pair(place)
            self._skip(_BLANK)
            self._comma()
        self._at += 1

    def _comma(self) -> None:
        if self._sees(","):
            self._at += 1
            self._skip(_BLANK)

    def _sees(self, text: str) -> bool:
        return self._text.startswith(text, self._at)

    def _skip(self, pattern: re.Pattern[str]) -> str:
        """Go behind what a pattern fits, and return it."""
        found = pattern.match(self._text, self._at)
        assert found is not None  # the text is TOML
        self._at = found.end()
        return found[0]

    def _note(self, place: _Place, at: int) -> None:
        """Note a place where it is met first."""
        self.lines.setdefault(place_of(place), bisect_left(self._ends, at) + 1)
