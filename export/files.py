"""Writing a model so that a file of that name is either whole or not there."""

import os
from pathlib import Path

import onnx

from ftonnx.errors import ModelError, UsageError

__all__ = ["check_target", "write_file", "write_model"]


def check_target(path: Path) -> None:
    """Find out before the work whether a file can be written there.

    Raises:
        UsageError: ``path`` is a folder, or its folder does not exist or cannot be written to.
    """
    folder = path.parent
    if path.is_dir():
        raise UsageError(f"{path}: expected the name of a file to write, got a folder; add a name such as model.onnx")
    if not folder.is_dir():
        raise UsageError(f"{path}: there is no folder {folder}; create it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{path}: the folder {folder} cannot be written to; choose another one")


def write_model(proto: onnx.ModelProto, path: Path) -> int:
    """Write a model beside ``path``, then rename it.

    Returns:
        Size of the file in bytes.

    Raises:
        ModelError: The model is larger than 2 GiB, which a file without external data cannot hold.
        UsageError: The file cannot be written; nothing is left behind.
    """
    try:
        content: bytes = proto.SerializeToString(deterministic=True)
    except Exception as error:  # protobuf: EncodeError or ValueError
        raise ModelError(f"{path}: one ONNX file holds 2 GiB, this model is larger; use a smaller network") from error
    write_file(content, path)
    return len(content)


def write_file(content: bytes, path: Path) -> None:
    """Write a file beside ``path``, then rename it, so that nobody ever sees a part of it.

    Raises:
        UsageError: The file cannot be written; nothing is left behind.
    """
    check_target(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)
