"""What the user of a preset brings: data and checkpoints, where they come from, and whether they are there."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from ftonnx.studies.schema import for_data
from ftonnx.words import parsed_toml

__all__ = ["Part", "PartKind", "part"]

_FILE: Final = Path(__file__).parent / "paper" / "parts.toml"

PartKind = Literal["data", "weights"]


class _Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"what": "is"}):
    """An entry of the file."""

    what: str
    source: str
    form: str
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Something that a preset needs and its user brings.

    Attributes:
        kind: ``data``, or ``weights`` for a checkpoint.
        name: of the data, or of the checkpoint's file.
        what: it is.
        source: where it comes from.
        form: that it must have.
        licence: of its publisher, in short.
        is_there: whether it was brought.
    """

    kind: PartKind
    name: str
    what: str
    source: str
    form: str
    licence: str
    is_there: bool

    @property
    def option(self) -> str:
        """How it is brought, on the command line."""
        return f"--data {self.name}:PATH" if self.kind == "data" else f"{self.name} in --weights DIR"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "kind": self.kind,
            "name": self.name,
            "what": self.what,
            "source": self.source,
            "form": self.form,
            "licence": self.licence,
            "is_there": self.is_there,
        }


@cache
def _told() -> Mapping[PartKind, Mapping[str, _Told]]:
    return msgspec.convert(parsed_toml(_FILE.read_text(encoding="utf-8")), dict[PartKind, dict[str, _Told]])


def part(kind: PartKind, name: str, data: str | None = None, *, is_there: bool) -> Part:
    """Return what is known of a part.

    Args:
        kind: of the part.
        name: as in the preset.
        data: the name of the data set that stands in the place of ``{data}``.
        is_there: whether it was brought.
    """
    told = _told()[kind][name]
    full = name if data is None else for_data(name, data)
    return Part(
        kind=kind,
        name=full,
        what=told.what,
        source=told.source,
        form=told.form,
        licence=told.licence,
        is_there=is_there,
    )
