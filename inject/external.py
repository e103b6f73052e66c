"""Tensors whose bytes lie in files beside the model: where, how many, and whether that can be trusted."""

import os
from pathlib import Path
from typing import Final

from onnx import ModelProto, TensorProto

from ftonnx.errors import ModelError
from ftonnx.files import reason_unread
from ftonnx.graphs import refer_to
from ftonnx.inject.bodies import all_tensors
from ftonnx.inject.file_kinds import kind_by_content
from ftonnx.inject.tensors import NUMPY_TYPES, byte_count, is_external
from ftonnx.limits import MODEL_BYTES
from ftonnx.words import whole_of

__all__ = [
    "DataFiles",
    "check_external",
    "external_bytes",
    "external_locations",
    "read_external",
    "read_small_external",
]

_SHOWN: Final = 18  # characters of what is no number
_KEYS: Final = {"location", "offset", "length", "checksum", "basepath"}


class DataFiles:
    """The files beside a model that hold its tensors; each is looked for once, whatever number of tensors it holds."""

    def __init__(self, model: Path) -> None:
        """Take the path of the model's file, as it was given."""
        self._model = model
        self._found: dict[str, Path] = {}
        self._bytes = 0

    def file_of(self, tensor: TensorProto) -> Path:
        """Return the plain file that holds an external tensor, all links followed.

        Raises:
            ModelError: it lies where no model may read, or is no plain file; or all files together are too large.
        """
        location = _location(tensor)
        if location not in self._found:
            path = _data_file(tensor, self._model)
            # all of it is hashed, whatever part of it is read
            self._bytes += path.stat().st_size
            if self._bytes > MODEL_BYTES.most:
                raise ModelError(f"its external data have {self._bytes:,} bytes: {MODEL_BYTES.said}")
            self._found[location] = path
        return self._found[location]


def check_external(tensor: TensorProto, files: DataFiles | None) -> None:
    """Refuse a tensor whose entry is broken, or would read what is not a plain file that belongs to the model.

    Args:
        tensor: an external one.
        files: those of the model; None for a model in memory.

    Raises:
        ModelError: it is so, or the model is in memory and has no folder.
    """
    if files is None:
        raise ModelError(f"tensor {tensor.name!r} lies in another file; pass the model's path, or load its data first")
    _check_keys(tensor)
    path = files.file_of(tensor)
    location = _location(tensor)
    # both may be left out: then the tensor begins with the file, and is as long as its type and shape say
    offset = _whole_number(tensor, "offset") or 0
    expected = byte_count(tensor)
    length = _whole_number(tensor, "length") or expected
    size = path.stat().st_size
    end = offset + expected
    if end > size:
        _refuse_other_kind(path, location)
    if length != expected or end > size:
        raise ModelError(
            f"tensor {tensor.name!r} needs {expected} bytes at {offset} of {location!r}, "
            f"but {length} are declared and the file has {size}"
        )


def read_external(proto: ModelProto, model: Path) -> None:
    """Read all external tensors into a model, in place; afterwards it says nothing of where they were.

    Args:
        proto: a model whose external tensors passed ``check_external``.
        model: path of its file, as it was given.

    Raises:
        ModelError: one of the files changed since, or cannot be read.
    """
    files = DataFiles(model)
    for tensor in all_tensors(proto):
        if is_external(tensor):
            _read(tensor, files)


def read_small_external(proto: ModelProto, model: Path, *, smallest: int) -> None:
    """Read the small external tensors into a model, in place, and let the large ones say where they are.

    Args:
        proto: as in ``read_external``.
        model: as there.
        smallest: initializers of the graph with so many bytes stay where they are, under absolute paths without
            links, where ``tensors.words_of`` finds them; others, and those of a type that numpy lacks, are read.

    Raises:
        ModelError: as there.
    """
    files = DataFiles(model)
    for tensor in proto.graph.initializer:
        large = byte_count(tensor) >= smallest
        if is_external(tensor) and large and tensor.data_type in NUMPY_TYPES:
            offset = _whole_number(tensor, "offset") or 0
            path = files.file_of(tensor)
            refer_to(tensor, str(path), offset, byte_count(tensor))
    for tensor in all_tensors(proto):
        if is_external(tensor) and not Path(_location(tensor)).is_absolute():
            _read(tensor, files)


def _read(tensor: TensorProto, files: DataFiles) -> None:
    tensor.raw_data = _bytes_of(tensor, files)
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]


def external_locations(proto: ModelProto) -> list[str]:
    """Return the files that hold tensors of the model, sorted."""
    found = set()
    for tensor in all_tensors(proto):
        if is_external(tensor):
            found.add(_location(tensor))
    return sorted(found)


def external_bytes(proto: ModelProto) -> int:
    """Return how many bytes lie beside the model's file."""
    total = 0
    for tensor in all_tensors(proto):
        if is_external(tensor):
            total += byte_count(tensor)
    return total


def _refuse_other_kind(path: Path, location: str) -> None:
    """Say what a file is that is too short for its tensors, where that can be told."""
    try:
        kind = kind_by_content(path)
    except OSError as error:
        raise ModelError(f"external data {location!r} cannot be read: {reason_unread(error, path)}") from error
    if kind is not None:
        raise ModelError(f"external data {location!r} is {kind.what}; {kind.way_on}")


def _check_keys(tensor: TensorProto) -> None:
    keys = sorted(entry.key for entry in tensor.external_data)
    distinct = set(keys)
    # which of two entries counts is not defined
    if len(distinct) < len(keys):
        listed = ", ".join(keys)
        raise ModelError(f"tensor {tensor.name!r} lists an external_data key twice: {listed}")
    unknown = sorted(distinct - _KEYS)
    if unknown:
        listed = ", ".join(unknown)
        raise ModelError(f"tensor {tensor.name!r} has unknown external_data keys: {listed}")


def _data_file(tensor: TensorProto, model: Path) -> Path:
    """Return the plain file that holds an external tensor, all links followed.

    The rule is ONNX Runtime's: the location is relative to the folder of the model's path as it was given. What is
    found there, after links are followed, must lie in that folder or below, or in or below the folder of the file that
    the model's own path leads to. So in the cache of Hugging Face, where model and data are links into one folder of
    blobs, the data is found, and no model reads a file from elsewhere. Hard links are refused, as onnx does: where they
    lead cannot be told.

    Raises:
        ModelError: it lies elsewhere, or is no plain file.
    """
    location = _location(tensor)
    # a name with a NUL byte is none of the system's
    if Path(location).is_absolute() or "\0" in location:
        raise _outside(tensor, repr(location))
    present = model.parent / location
    real = _followed(present)
    folders = (_followed(model.parent), _followed(model).parent)
    # a file from a stranger could name any file of the user's
    if not any(real.is_relative_to(folder) for folder in folders):
        where = f"{location!r}, a link to {real}; put a copy in its place" if present.is_symlink() else repr(location)
        raise _outside(tensor, where)
    if not _is_plain_file(real):
        linked = _followed(model)
        if _is_plain_file(linked.parent / location):
            raise ModelError(
                f"external data {location!r} must be a plain file beside the model's path, which is a link: "
                f"give the path of the file itself, {linked}"
            )
        raise ModelError(
            f"external data {location!r} must be a plain file beside the model, not missing, a folder or a hard link; "
            "copy the folder with links followed (cp -rL)"
        )
    return real


def _outside(tensor: TensorProto, where: str) -> ModelError:
    return ModelError(f"tensor {tensor.name!r} points outside the model's folder: {where}")


def _followed(path: Path) -> Path:
    """Return a path with its links followed; unlike ``Path.resolve`` also where they form a circle."""
    return Path(os.path.realpath(path))


def _is_plain_file(path: Path) -> bool:
    """Say whether a path, in which links are followed, is a file with this one name."""
    # unlike Path.is_file it is no error where a name is too long or a folder may not be looked into
    return os.path.isfile(path) and path.stat().st_nlink == 1


def _bytes_of(tensor: TensorProto, files: DataFiles) -> bytes:
    size = byte_count(tensor)
    offset = _whole_number(tensor, "offset") or 0
    path = files.file_of(tensor)
    try:
        # what was a plain file may have become a link since
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with open(descriptor, "rb") as file:
            file.seek(offset)
            content = file.read(size)
    except OSError as error:
        raise ModelError(f"external data {_location(tensor)!r} cannot be read: {reason_unread(error, path)}") from error
    if len(content) != size:
        raise ModelError(f"external data {_location(tensor)!r} became shorter while it was read")
    return content


def _entry(tensor: TensorProto, key: str) -> str | None:
    for entry in tensor.external_data:
        if entry.key == key:
            return entry.value
    return None


def _location(tensor: TensorProto) -> str:
    return _entry(tensor, "location") or ""


def _whole_number(tensor: TensorProto, key: str) -> int | None:
    value = _entry(tensor, key)
    if value is None:
        return None
    number = whole_of(value)
    if number is None:
        said = f"{value[:_SHOWN]!r}{'…' if len(value) > _SHOWN else ''}"
        raise ModelError(f"tensor {tensor.name!r} has the external_data {key} {said}, a whole number was expected")
    return number
