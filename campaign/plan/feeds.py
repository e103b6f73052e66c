"""Constants for the inputs of a model that take no data: a sampling rate, a state of zeros, a mask."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnx
from numpy.typing import NDArray

from ftonnx.errors import DataError, UsageError, describe
from ftonnx.sessions import dimension, free_inputs
from ftonnx.words import near

__all__ = ["Feed", "arrays_of_feeds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """The value of one input: a number for all its elements, or an array in a file.

    Attributes:
        name: of the input.
        number: the number; None where there is a file.
        file: path of a ``.npy`` file; None where there is a number.
        content: SHA-256 of the file; None where there is a number.
    """

    name: str
    number: float | None = None
    file: str | None = None
    content: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``NAME=VALUE`` or ``NAME=FILE.npy``.

        Raises:
            UsageError: it is neither.
            DataError: the file cannot be read.

        >>> Feed.parse("sr=16000")
        Feed(name='sr', number=16000.0, file=None, content=None)
        """
        # names may hold an equals sign, numbers and most files do not
        name, equals, value = text.rpartition("=")
        if not equals or not name or not value:
            raise UsageError(f"`feeds`: NAME=VALUE or NAME=FILE.npy was expected, got {text!r}")
        if value.endswith(".npy"):
            path = Path(value).absolute()
            return cls(name=name, file=str(path), content=sha256(_read(path)).hexdigest())
        try:
            return cls(name=name, number=float(value))
        except ValueError:
            raise UsageError(f"`feeds`: {name}: a number or a file FILE.npy was expected, got {value!r}") from None

    @classmethod
    def several(cls, feeds: "Sequence[Self | str] | Mapping[str, float | str]") -> "tuple[Self, ...]":
        """Return feeds in any of the forms that people write: texts, feeds, or values by name.

        Raises:
            UsageError: one is none.
            DataError: a file cannot be read.
        """
        if isinstance(feeds, Mapping):
            return tuple(cls.parse(f"{name}={value}") for name, value in feeds.items())
        given = [feeds] if isinstance(feeds, str) else feeds
        return tuple(cls.parse(feed) if isinstance(feed, str) else feed for feed in given)

    @property
    def text(self) -> str:
        """The feed as ``parse`` takes it."""
        return f"{self.name}={self.file if self.number is None else format(self.number, 'g')}"

    def array(self, value: onnx.ValueInfoProto, batch: int) -> NDArray[Any]:
        """Return the array that is fed.

        Args:
            value: the input.
            batch: images per run, the size of every axis that the model leaves open.

        Raises:
            DataError: the file holds something else than the input takes.
        """
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        rank = len(value.type.tensor_type.shape.dim)
        declared = [dimension(value, axis) for axis in range(rank)]
        if self.number is not None:
            shape = [batch if size is None else size for size in declared]
            return np.full(shape, self.number).astype(dtype)
        path = Path(self.file or "")
        if self.content != sha256(_read(path)).hexdigest():
            raise DataError(f"{path}: the file has changed since it was named for input {self.name!r}")
        try:
            array = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: an array saved by numpy.save was expected: {describe(error)}") from error
        fits = array.ndim == rank and all(size in (None, got) for size, got in zip(declared, array.shape, strict=False))
        if array.dtype != dtype or not fits:
            raise DataError(
                f"{path}: input {self.name!r} takes {dtype} of shape {declared}, got {array.dtype} of {array.shape}"
            )
        return np.ascontiguousarray(array)


def arrays_of_feeds(feeds: Sequence[Feed], model: onnx.ModelProto, batch: int) -> dict[str, NDArray[Any]]:
    """Return the values of a model's inputs that take no data.

    Raises:
        UsageError: the model has no such input, or one is named twice.
        DataError: a file does not hold what its input takes.
    """
    inputs: Mapping[str, onnx.ValueInfoProto] = {value.name: value for value in free_inputs(model)}
    found: dict[str, NDArray[Any]] = {}
    for feed in feeds:
        if feed.name not in inputs:
            raise UsageError(
                f"`feeds`: the model takes {', '.join(inputs)}; got {feed.name}{near(feed.name, list(inputs))}"
            )
        if feed.name in found:
            raise UsageError(f"`feeds`: input {feed.name!r} is given twice")
        found[feed.name] = feed.array(inputs[feed.name], batch)
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: a file made by numpy.save was expected: {describe(error)}") from error
