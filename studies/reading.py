"""Reading a study's file: whatever is wrong with it is one line that names the place and what was probably meant."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from ftonnx.errors import UsageError, message_of
from ftonnx.files import read_document, reason_unread
from ftonnx.studies.lines import line_of, lines_of
from ftonnx.studies.schema import PROTECT, QUANTIZE, DataTable, Document, FaultsTable, ModelTable
from ftonnx.words import near, parsed_toml

__all__ = ["NAME", "NAMES", "StudyFile", "document_of"]

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Of a study's entries, which become parts of the names of cells and files."""
NAMES: Final = "a name of at most 64 letters, digits, dots, _ and -"
_NAMED: Final[Mapping[str, Any]] = {"models": ModelTable | str, "data": DataTable | str, "faults": FaultsTable}
"""Tables whose keys are names of the user's own, and what stands behind each."""
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*?)`(?: - at `\$\.?(.*)`)?", re.DOTALL)
_CHOICE: Final = re.compile("Invalid enum value '(.*)'", re.DOTALL)
_AT_LINE: Final = re.compile(r"\(at line (\d+), column \d+\)")
_PLACE: Final = re.compile(r"(.*?)(?: - at `\$\.?(.*)`)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class StudyFile:
    """A study's file, which is TOML.

    Attributes:
        path: where it is.
        text: its content.
        values: what it holds.
    """

    path: Path
    text: str
    values: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file.

        Raises:
            UsageError: it cannot be read, or is no TOML.
        """
        try:
            text = read_document(path)
            return cls(path, text, parsed_toml(text))
        except (OSError, ValueError) as error:
            reason = reason_unread(error, path)
            found = _AT_LINE.search(reason)
            place = path if found is None else f"{path}:{found[1]}"
            raise UsageError(f"{place}: a study in TOML was expected: {reason}") from None

    @contextmanager
    def naming_lines(self) -> Iterator[None]:
        """Put the file, and the line that it is about, before the message of a UsageError in the block."""
        try:
            yield
        except UsageError as error:
            line = line_of(str(error), lines_of(self.text))
            place = self.path if line is None else f"{self.path}:{line}"
            raise UsageError(f"{place}: {error}") from None


def document_of(values: Mapping[str, Any]) -> Document:
    """Return a study's tables as typed values.

    Raises:
        UsageError: a key is not known, a value is of another kind or out of range, or a table is missing.

    >>> values = {"study": {"name": "a"}, "models": {"m": {"flie": "m.onnx"}}, "data": {}, "faults": {}}
    >>> document_of(values)
    Traceback (most recent call last):
    ftonnx.errors.UsageError: models.m.flie is not known; did you mean file?
    """
    try:
        msgspec.json.encode(values)
    except (UnicodeEncodeError, TypeError) as error:
        raise UsageError(f"values that a file can hold were expected: {message_of(error)}") from None
    kinds = {field.name: field.type for field in msgspec.structs.fields(Document)}
    tables: dict[str, Any] = {}
    for key, value in values.items():
        if key not in kinds:
            raise UsageError(f"{key} is not known{near(key, kinds) or _list_of(kinds)}")
        if key in _NAMED:
            tables[key] = _entries(key, value)
        else:
            tables[key] = _converted(value, kinds[key], key)
    missing = [field.name for field in msgspec.structs.fields(Document) if field.required and field.name not in tables]
    if missing:
        raise UsageError(f"a table [{missing[0]}] was expected, got none")
    if "faults" not in tables and "activations" not in tables:
        raise UsageError("a table [faults] or [activations] was expected, got none")
    return Document(**tables)


def _entries(table: str, values: Any) -> dict[str, Any]:
    """Read a table whose keys are names, which become parts of the names of cells and files."""
    if not isinstance(values, dict) or not values:
        raise UsageError(f"{table}: a table with an entry or several was expected, got {values!r}")
    found = {}
    for name, value in values.items():
        if not NAME.fullmatch(name):
            raise UsageError(f"{table}: {NAMES} was expected, got {name!r}")
        found[name] = _converted(value, _NAMED[table], f"{table}.{name}")
    return found


def _converted(value: Any, kind: Any, where: str) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise UsageError(_said(str(error), kind, where)) from None


def _said(message: str, kind: Any, where: str) -> str:
    """Return what msgspec says with the place in front, and with the key that was probably meant."""
    unknown = _UNKNOWN.fullmatch(message)
    if unknown is not None:
        known = _keys_of(kind)
        place = _joined(where, unknown[2], unknown[1])
        return f"{place} is not known{near(unknown[1], known) or _list_of(known)}"
    found = _PLACE.fullmatch(message)
    assert found is not None  # the pattern fits every text
    what = found[1][:1].lower() + found[1][1:]
    choice = _CHOICE.fullmatch(found[1])
    meant = "" if choice is None else near(choice[1], (*PROTECT, *QUANTIZE))
    return f"{_joined(where, found[2])}: {what}{meant}".replace("`", "")


def _joined(*parts: str | None) -> str:
    """Join the parts of a place.

    >>> _joined("data.a", "tuning", "spec"), _joined("exclude", "[0]", None)
    ('data.a.tuning.spec', 'exclude[0]')
    """
    return ".".join(part for part in parts if part).replace(".[", "[")


def _keys_of(kind: Any) -> list[str]:
    """Return the keys of a table, and of those that it holds."""
    found: list[str] = []
    for field in msgspec.json.schema(kind).get("$defs", {}).values():
        found += field.get("properties", {})
    return list(dict.fromkeys(found))


def _list_of(known: Any) -> str:
    return f"; there are {', '.join(known)}"
