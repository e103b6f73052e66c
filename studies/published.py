"""Numbers that somebody published, to stand beside those that a study measures."""

import csv
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from ftonnx.errors import UsageError
from ftonnx.files import read_document, reason_unread

__all__ = ["PublishedNumber", "read_published"]

Share = Annotated[float, Meta(ge=0, le=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedNumber:
    """A number that somebody published, by the names of a study's cell.

    Attributes:
        model: of the cell.
        protect: likewise.
        quantize: likewise.
        data: likewise.
        rate: flips per bit; 0 is fault-free.
        figure: the task's name for it, such as ``top1``.
        value: a fraction.
        images: that it was measured on.
        patterns: fault patterns at the rate that it is the mean of; 0 for fault-free.
    """

    model: str
    protect: str
    quantize: str
    data: str
    rate: Share
    figure: str
    value: Share
    images: Annotated[int, Meta(ge=1)]
    patterns: Annotated[int, Meta(ge=0)]


_COLUMNS: Final = tuple(field.name for field in fields(PublishedNumber))


def read_published(path: Path) -> tuple[PublishedNumber, ...]:
    """Read published numbers from a CSV file with the attributes of ``PublishedNumber`` as its columns.

    Raises:
        UsageError: it cannot be read, or a line of it is no such number.
    """
    try:
        reader = csv.DictReader(read_document(path).splitlines(), strict=True)
        if set(reader.fieldnames or ()) != set(_COLUMNS):
            raise ValueError(f"its first line has to name {', '.join(_COLUMNS)}")
        lines = list(reader)
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"{path}: published numbers in CSV were expected: {reason_unread(error, path)}") from None
    found = []
    for number, line in enumerate(lines, start=2):
        if None in line:
            raise UsageError(f"{path}:{number}: {len(_COLUMNS)} values were expected, got more")
        try:
            found.append(msgspec.convert(line, PublishedNumber, strict=False))
        except msgspec.ValidationError as error:
            said = str(error).replace("`", "").replace("$.", "")
            raise UsageError(f"{path}:{number}: a published number was expected: {said}") from None
    return tuple(found)
