"""Preprocessing written down: a TOML file beside the data, or JSON in the model's metadata.

The keys are those of Preprocess; the TOML may also say ``classes``. For example::

    scale = 0.00392156862745098
    mean = [0.485, 0.456, 0.406]
    std = [0.229, 0.224, 0.225]
"""

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ftonnx.datasets.checks import MAX_CLASSES
from ftonnx.datasets.preprocess import Preprocess
from ftonnx.errors import DataError, UsageError, describe
from ftonnx.words import near

__all__ = ["METADATA_KEY", "SideFile", "from_metadata", "read_side_file"]

METADATA_KEY = "ftonnx.preprocess"
_FIELDS = tuple(each.name for each in fields(Preprocess))
_SIDE_KEYS = (*_FIELDS, "classes")


@dataclass(frozen=True, slots=True, kw_only=True)
class SideFile:
    """What the TOML beside the data says.

    Attributes:
        preprocess: Fields it leaves out are None.
        classes: Number of classes, or None.
    """

    preprocess: Preprocess = field(default_factory=Preprocess)
    classes: int | None = None


def read_side_file(*candidates: Path) -> SideFile:
    """The first of ``candidates`` that exists, parsed; an empty SideFile where none does.

    Raises:
        DataError: The file is no TOML, or holds an unknown key or a value that is not allowed.
    """
    for path in candidates:
        if os.path.isfile(path):
            return _parsed_side_file(path)
    return SideFile()


def _parsed_side_file(path: Path) -> SideFile:
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        # deeply nested brackets end in a RecursionError
        raise DataError(f"{path}: expected a TOML file, got {describe(error)}; correct it") from error
    # taken out, since what is left are the fields of Preprocess
    classes = values.pop("classes", None)
    _check_classes(classes, path)
    preprocess = _parsed(values, str(path), known=_SIDE_KEYS)
    return SideFile(preprocess=preprocess, classes=classes)


def _check_classes(classes: object, path: Path) -> None:
    if classes is None:
        return
    # type, not isinstance: true is no number of classes
    in_range = type(classes) is int and 1 <= classes <= MAX_CLASSES
    if not in_range:
        expected = f"a whole number from 1 to {MAX_CLASSES}"
        raise DataError(f"{path}: classes: expected {expected}, got {classes!r}")


def from_metadata(metadata: Mapping[str, str] | None) -> Preprocess:
    """What the model says under ``ftonnx.preprocess``, a JSON object with the keys of Preprocess.

    Raises:
        DataError: It is no JSON object, or holds an unknown key or a value that is not allowed.
    """
    # most models of strangers say nothing
    if not metadata or METADATA_KEY not in metadata:
        return Preprocess()
    where = f"model metadata {METADATA_KEY}"
    try:
        values = json.loads(metadata[METADATA_KEY])
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: expected a JSON object, got {describe(error)}; correct it") from error
    # JSON may be a list or a number too
    if not isinstance(values, dict):
        raise DataError(f"{where}: expected a JSON object, got {type(values).__name__}; correct it")
    return _parsed(values, where, known=_FIELDS)


def _parsed(values: dict[str, Any], where: str, *, known: tuple[str, ...]) -> Preprocess:
    """The fields as a Preprocess; ``known`` are the keys that a message lists."""
    for key in values:
        if key not in _FIELDS:
            expected = ", ".join(known)
            meant = near(key, known)
            raise DataError(f"{where}: expected keys of {expected}, got {key!r}{meant}")
    try:
        return Preprocess(**values)
    except UsageError as error:
        raise DataError(f"{where}: {error}") from error
