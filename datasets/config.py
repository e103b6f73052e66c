"""Preprocessing written down: a TOML file beside the data, or JSON in the model's metadata.

The keys are those of Preprocess; the TOML may also say ``classes``, ``class_names`` or ``class_names_file``, and
``first_label``. For example::

    scale = 0.00392156862745098
    mean = [0.485, 0.456, 0.406]
    std = [0.229, 0.224, 0.225]
    class_names = ["cat", "dog"]
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ftonnx.datasets.checks import MAX_CLASSES
from ftonnx.datasets.class_names import ClassNames, read_class_names
from ftonnx.datasets.preprocess import Preprocess
from ftonnx.errors import DataError, UsageError, describe
from ftonnx.files import read_document
from ftonnx.words import near, parsed_json, parsed_toml

__all__ = ["METADATA_KEY", "SideFile", "from_metadata", "read_side_file"]

METADATA_KEY = "ftonnx.preprocess"
_FIELDS = tuple(each.name for each in fields(Preprocess))
_SIDE_KEYS = (*_FIELDS, "classes", "class_names", "class_names_file", "first_label")


@dataclass(frozen=True, slots=True, kw_only=True)
class SideFile:
    """What the TOML beside the data says.

    Attributes:
        preprocess: Fields it leaves out are None.
        classes: Number of classes, or None.
        class_names: Names of the classes, or None; where ``classes`` is said too, there are as many.
        first_label: The number that stands for the first class in labels and in names of folders, or None.
    """

    preprocess: Preprocess = field(default_factory=Preprocess)
    classes: int | None = None
    class_names: ClassNames | None = None
    first_label: int | None = None


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
        values = parsed_toml(read_document(path))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected a TOML file, got {describe(error)}; correct it") from error
    # taken out, since what is left are the fields of Preprocess
    classes = _whole(values, "classes", path, lowest=1)
    first_label = _whole(values, "first_label", path, lowest=0)
    class_names = _class_names(values, path)
    preprocess = _parsed(values, str(path), known=_SIDE_KEYS)
    if classes is not None and class_names is not None and classes != len(class_names):
        expected = f"classes={len(class_names)}, as many as there are class names"
        raise DataError(f"{path}: expected {expected}, got {classes}; correct either")
    return SideFile(preprocess=preprocess, classes=classes, class_names=class_names, first_label=first_label)


def _whole(values: dict[str, Any], key: str, path: Path, *, lowest: int) -> int | None:
    """Take a whole number out of the values; None where it is not said."""
    value = values.pop(key, None)
    if value is None:
        return None
    # type, not isinstance: true is no number of classes
    in_range = type(value) is int and lowest <= value <= MAX_CLASSES
    if not in_range:
        expected = f"a whole number from {lowest} to {MAX_CLASSES}"
        raise DataError(f"{path}: {key}: expected {expected}, got {value!r}")
    return int(value)


def _class_names(values: dict[str, Any], path: Path) -> ClassNames | None:
    """Take the names out of the values, which hold them or name a file."""
    listed = values.pop("class_names", None)
    file = values.pop("class_names_file", None)
    if listed is not None and file is not None:
        raise DataError(f"{path}: expected class_names or class_names_file, got both; take out one")
    if listed is not None:
        if not isinstance(listed, list):
            raise DataError(f"{path}: class_names: expected a list of names, got {listed!r}")
        return ClassNames.of(listed, f"{path} (class_names)", asked=True)
    if file is None:
        return None
    if not isinstance(file, str):
        raise DataError(f"{path}: class_names_file: expected the name of a file, got {file!r}")
    return read_class_names(path.parent / file)


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
        values = parsed_json(metadata[METADATA_KEY])
    except ValueError as error:
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
