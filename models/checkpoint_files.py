"""Checkpoints from strangers, read without running code, and unwrapped; needs torch."""

import argparse
import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from ftonnx.errors import ModelError, describe
from ftonnx.files import reason_unread, require_plain
from ftonnx.models.extras import require
from ftonnx.words import some_of

__all__ = ["read_metadata", "read_state_dict"]

_METADATA: Final = "metadata"

_WRAPPERS: Final = (
    "state_dict", "model_state_dict", "model_state", "model_weights", "model", "teacher", "net", "network", "weights",
)  # fmt: skip
"""Keys of a checkpoint under which the weights lie, the first one found wins."""

_CODE: Final = re.compile(r"(?:GLOBAL|Unsupported global:|instantiate|class) +([\w.]+\.[\w.]+)")
"""Where torch's refusal of a pickle names what it would have had to call."""

_SCALAR: Final[Any] = np.float64(0).__reduce__()[0]
"""What numpy makes a number of a type and bytes with; its module has had several names."""

_PLAIN: Final[list[Callable[..., Any] | tuple[Callable[..., Any], str]]] = [
    argparse.Namespace,
    np.dtype,
    np.dtypes.Float64DType,
    (_SCALAR, "numpy._core.multiarray.scalar"),
    (_SCALAR, "numpy.core.multiarray.scalar"),
]
"""What torch would refuse but is plain data: DINO's parsed options, and the accuracies that others noted as numpy's."""


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a ``.pth``, ``.pt``, ``.pth.tar`` or ``.safetensors`` file, by the names they have there.

    Code in a pickle is never run: such a file is refused.

    Raises:
        ModelError: The file is missing, damaged, holds code, or holds no tensors.
        UsageError: safetensors is not installed.
    """
    path = Path(path)
    # by its suffix: the two formats share no mark at their beginning
    content = _content(path)
    tensors = _unwrapped(content)
    if not tensors:
        holds = _described(content)
        raise ModelError(f"{path}: expected a state dict, got an object {holds}; save network.state_dict()")
    return {name: tensor.detach() for name, tensor in tensors.items()}


def read_metadata(path: str | Path) -> dict[str, str]:
    """What a checkpoint that ftonnx trained says of itself, by the keys of a model's metadata; empty for others.

    Raises:
        ModelError: As ``read_state_dict``.
        UsageError: As ``read_state_dict``.
    """
    content = _content(Path(path))
    said = content.get(_METADATA) if isinstance(content, Mapping) else None
    if not isinstance(said, Mapping):
        return {}
    return {str(key): value for key, value in said.items() if isinstance(value, str)}


def _content(path: Path) -> Any:
    try:
        require_plain(path)
    except (OSError, ValueError) as error:
        reason = reason_unread(error, path)
        raise ModelError(f"{path}: expected a checkpoint, but it cannot be read: {reason}") from error
    if path.suffix == ".safetensors":
        return _safetensors(path)
    return _pickled(path)


def _described(content: object) -> str:
    """What a file without tensors holds, for a message."""
    if not isinstance(content, Mapping):
        return type(content).__name__
    keys = [str(key) for key in content]
    return f"with the keys {some_of(keys)}"


def _safetensors(path: Path) -> Mapping[str, Tensor]:
    require("safetensors")
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:
        raise ModelError(f"{path}: expected a safetensors file, but reading it failed: {describe(error)}") from error


def _pickled(path: Path) -> Any:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_PLAIN):
            # about old formats
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    # code, or no checkpoint at all
    except pickle.UnpicklingError as error:
        raise ModelError(f"{path}: {_why_refused(str(error))}") from error
    except Exception as error:
        raise ModelError(f"{path}: expected a torch checkpoint, but reading it failed: {describe(error)}") from error


def _why_refused(message: str) -> str:
    """What is wrong with a pickle that torch refuses to load without running code."""
    named = _CODE.search(message)
    if named is None:
        got = "a damaged file or another kind of pickle"
        return f"expected a torch checkpoint, got {got}; save network.state_dict() again"
    return (
        f"expected tensors only, got a pickle with code ({named[1]}), which is never run here; "
        "where you trust the file, load it in torch and save network.state_dict(), "
        "or convert it to safetensors"
    )


def _unwrapped(content: Any, depth: int = 4) -> dict[str, Tensor]:
    """The dict of tensors inside the wrappers; empty where there is none."""
    if not isinstance(content, Mapping):
        return {}
    # a file from a stranger may hold itself
    if depth > 0:
        for key in _WRAPPERS:
            inner = _unwrapped(content.get(key), depth - 1)
            if inner:
                return inner
    return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
