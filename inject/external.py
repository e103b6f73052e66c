"""Tensors whose bytes lie in files beside the model: where, how many, and whether that can be trusted."""

from pathlib import Path
from typing import Final

from onnx import ModelProto, TensorProto

from ftonnx.errors import ModelError
from ftonnx.inject.bodies import all_tensors
from ftonnx.inject.tensors import byte_count, is_external

__all__ = ["check_external", "declare_lengths", "external_bytes", "external_locations"]

_KEYS: Final = {"location", "offset", "length", "checksum", "basepath"}


def check_external(tensor: TensorProto, folder: Path | None) -> None:
    """Refuse a tensor whose entry is broken, or would read what is not a plain file in the model's folder.

    Raises:
        ModelError: it is so, or the model is in memory and has no folder.
    """
    if folder is None:
        raise ModelError(f"tensor {tensor.name!r} lies in another file; pass the model's path, or load its data first")
    _check_keys(tensor)
    location = _location(tensor)
    path = folder / location
    _check_path(tensor, path, folder)
    # both may be left out: then the tensor begins with the file, and is as long as its type and shape say
    offset = _whole_number(tensor, "offset") or 0
    expected = byte_count(tensor)
    length = _whole_number(tensor, "length") or expected
    size = path.stat().st_size
    end = offset + expected
    if length != expected or end > size:
        raise ModelError(
            f"tensor {tensor.name!r} needs {expected} bytes at {offset} of {location!r}, "
            f"but {length} are declared and the file has {size}"
        )


def declare_lengths(proto: ModelProto) -> None:
    """Write down the optional lengths of external tensors, else onnx reads to the end of the file."""
    for tensor in all_tensors(proto):
        if not is_external(tensor) or _whole_number(tensor, "length"):
            continue
        # a length of 0 counts as none
        for entry in list(tensor.external_data):
            if entry.key == "length":
                tensor.external_data.remove(entry)
        length = byte_count(tensor)
        tensor.external_data.add(key="length", value=str(length))


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


def _check_path(tensor: TensorProto, path: Path, folder: Path) -> None:
    location = _location(tensor)
    # after links are followed: a file from a stranger could name any file of the user's
    inside = path.resolve().is_relative_to(folder.resolve())
    if Path(location).is_absolute() or not inside:
        raise ModelError(f"tensor {tensor.name!r} points outside the model's folder: {location!r}")
    if not _is_plain_file(path):
        raise ModelError(
            f"external data {location!r} must be a plain file beside the model, not missing or a link; "
            "copy the folder with links followed (cp -rL)"
        )


def _is_plain_file(path: Path) -> bool:
    """Say whether it is a file and no link; a hard link is one too."""
    if not path.is_file() or path.is_symlink():
        return False
    return path.stat().st_nlink == 1


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
    if not value.isdecimal():
        raise ModelError(f"tensor {tensor.name!r} has the external_data {key} {value!r}, a whole number was expected")
    return int(value)
