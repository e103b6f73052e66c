"""Writing a model."""

from pathlib import Path

import onnx

from ftonnx.errors import ModelError
from ftonnx.files import write_file

__all__ = ["write_model"]


def write_model(proto: onnx.ModelProto, path: Path) -> int:
    """Write a model: ``path`` is the old or the new file at any time, never a part.

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
