"""Pickles of CIFAR's python version, read without running what is in them.

They hold dictionaries, lists, texts, numbers and one numpy array. Anything else that a pickle may name is refused.
"""

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import DataError, Interrupted, describe
from ftonnx.files import require_plain

__all__ = ["read_pickle"]

_LARGEST: Final = 1 << 28
_PLACES: Final = ("BINPUT", "LONG_BINPUT", "PUT")
_RECONSTRUCT: Final = "_reconstruct"


class _Array:
    """What stands for a numpy array until its bytes are known; numpy's own code is not called by a stranger's file."""

    def __init__(self, *_: object) -> None:
        self.array: NDArray[np.uint8] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Take over the array's shape and bytes, as numpy's pickles list them."""
        _, shape, dtype, is_fortran, content = state
        if not isinstance(dtype, _Dtype) or dtype.name != "u1" or is_fortran:
            raise ValueError("an array of other numbers than bytes")
        data = content.encode("latin1") if isinstance(content, str) else content
        self.array = np.frombuffer(data, np.uint8).reshape(shape)


class _Dtype:
    """What stands for the type of an array's numbers."""

    def __init__(self, name: str, *_: object) -> None:
        self.name = name

    def __setstate__(self, state: object) -> None:
        """Bytes have no order, and no more to be said."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Name the few things that the files consist of, or stand-ins for them."""
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == _RECONSTRUCT:
            return _Array
        if module == "numpy" and name == "ndarray":
            return _Array
        if module == "numpy" and name == "dtype":
            return _Dtype
        if (module, name) == ("_codecs", "encode"):
            return str.encode
        raise pickle.UnpicklingError(f"the name {module}.{name}, which has no place in such a file")


def _require_small(content: bytes) -> None:
    """Refuse lengths beyond the file, and places for objects beyond their number: both would be reserved as memory.

    Raises:
        ValueError: there are such, or it is no pickle.
    """
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in _PLACES and int(argument or 0) > len(content):
            raise ValueError(f"a place {argument:,} for an object, in {len(content):,} bytes")


def read_pickle(path: Path) -> dict[str, Any]:
    """The dictionary in a file; arrays of bytes are numpy arrays.

    Raises:
        DataError: The file is missing, too large, damaged, or holds anything else.
    """
    expected = "a batch of CIFAR's python version"
    try:
        require_plain(path, _LARGEST)
        content = path.read_bytes()
        _require_small(content)
        # latin1: the files are of Python 2, whose texts are bytes
        found = _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except Interrupted:
        raise
    except Exception as error:
        # a damaged pickle fails in many ways
        raise DataError(f"{path}: expected {expected}, got {describe(error)}; download it again") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected {expected}, got {type(found).__name__}; download it again")
    return {key: value.array if isinstance(value, _Array) else value for key, value in found.items()}
