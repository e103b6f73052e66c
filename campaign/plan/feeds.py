"""Constants for the inputs of a model that take no data: a sampling rate, a state of zeros, a mask."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import onnx
from numpy.typing import NDArray

from ftonnx.datasets.npy import read_npy
from ftonnx.errors import DataError, UsageError, describe
from ftonnx.files import require_plain
from ftonnx.samples import Shape
from ftonnx.sessions import dimension, free_inputs, size_name
from ftonnx.words import near, text

__all__ = ["Feed", "arrays_of_feeds", "rows_of_feeds"]

_MOST_BYTES: Final = 2**31
"""Of a file with a constant, which is in memory as a whole."""

_EXACT: Final = 2**53
"""Below it a float is exactly the whole number that was written."""


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
        given = feeds if isinstance(feeds, Sequence) and not isinstance(feeds, str) else [feeds]
        return tuple(feed if isinstance(feed, cls) else cls.parse(text("feeds", feed)) for feed in given)

    @property
    def text(self) -> str:
        """The feed as ``parse`` takes it.

        >>> Feed.parse("sr=1234567").text
        'sr=1234567'
        """
        # every digit: a rounded number would repeat another campaign
        value = self.file if self.number is None else repr(self.number).removesuffix(".0")
        return f"{self.name}={value}"

    def array(self, value: onnx.ValueInfoProto, batch: int, sizes: Mapping[str, int]) -> NDArray[Any]:
        """Return the array that is fed.

        Args:
            value: the input.
            batch: images per run, the size of every axis that the model leaves open.
            sizes: of open axes that the data decides, such as a number of tokens, by their names.

        Raises:
            UsageError: the input's type does not hold the number.
            DataError: the file holds something else than the input takes.
        """
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        rank = len(value.type.tensor_type.shape.dim)
        declared = [dimension(value, axis) for axis in range(rank)]
        if self.number is not None:
            if not _holds(dtype, self.number):
                raise UsageError(f"`feeds`: input {self.name!r} takes {dtype}, got {self.number!r}")
            open_sizes = [sizes.get(size_name(value, axis), batch) for axis in range(rank)]
            shape = [other if size is None else size for size, other in zip(declared, open_sizes, strict=True)]
            return np.full(shape, self.number).astype(dtype)
        array = self.stored()
        fits = array.ndim == rank and all(size in (None, got) for size, got in zip(declared, array.shape, strict=False))
        # floats between their widths, as data are
        with np.errstate(over="ignore"):
            converted = array.astype(dtype) if _are_floats(array.dtype, dtype) else array
        same_finite = array.dtype == dtype or np.array_equal(np.isfinite(array), np.isfinite(converted))
        if converted.dtype != dtype or not same_finite or not fits:
            takes = f"input {self.name!r} takes {dtype} of shape {declared}"
            raise DataError(f"{self.file}: {takes}, got {array.dtype} of {array.shape}")
        return np.ascontiguousarray(converted)

    def stored(self) -> NDArray[Any]:
        """Return the array in the file.

        Raises:
            DataError: the file has changed, or holds no array.
        """
        path = Path(self.file or "")
        content = _read(path)
        if self.content != sha256(content).hexdigest():
            raise DataError(f"{path}: the file has changed since it was named for input {self.name!r}")
        try:
            return read_npy(BytesIO(content), len(content))
        except ValueError as error:
            raise DataError(f"{path}: an array saved by numpy.save was expected: {describe(error)}") from error


def arrays_of_feeds(
    feeds: Sequence[Feed], model: onnx.ModelProto, batch: int, sample_shape: Shape = ()
) -> dict[str, NDArray[Any]]:
    """Return the values of a model's inputs that take no data.

    Args:
        feeds: they.
        model: the model.
        batch: images per run.
        sample_shape: shape of a sample, by the inputs' names where there are several arrays.

    Raises:
        UsageError: the model has no such input, its type does not hold the number, or one is named twice.
        DataError: a file does not hold what its input takes.
    """
    inputs: Mapping[str, onnx.ValueInfoProto] = {value.name: value for value in free_inputs(model)}
    sizes = _named_sizes(free_inputs(model, besides=[feed.name for feed in feeds]), batch, sample_shape)
    found: dict[str, NDArray[Any]] = {}
    for feed in feeds:
        if feed.name not in inputs:
            raise UsageError(
                f"`feeds`: the model takes {', '.join(inputs)}; got {feed.name}{near(feed.name, list(inputs))}"
            )
        if feed.name in found:
            raise UsageError(f"`feeds`: input {feed.name!r} is given twice")
        found[feed.name] = feed.array(inputs[feed.name], batch, sizes)
    return found


def rows_of_feeds(feeds: Sequence[Feed], model: onnx.ModelProto) -> int | None:
    """Return the largest batch that constants in files have rows for; None where any will do.

    A recurrent state has a row for every sample: its free size has the same name as the batch's.

    Raises:
        DataError: a file cannot be read.
    """
    constants = {feed.name: feed for feed in feeds if feed.file is not None}
    data = free_inputs(model, besides=[feed.name for feed in feeds])
    if not data or not size_name(data[0], 0):
        return None
    batch = size_name(data[0], 0)
    rows: list[int] = []
    for value in free_inputs(model):
        if value.name not in constants:
            continue
        shape = constants[value.name].stored().shape
        # a file of another rank is refused later, with what the input takes
        rows.extend(size for axis, size in enumerate(shape) if size_name(value, axis) == batch)
    return min(rows, default=None)


def _named_sizes(inputs: Sequence[onnx.ValueInfoProto], batch: int, sample_shape: Shape) -> dict[str, int]:
    """Return the sizes that data gives to open axes with names: that of the batch, and those of a sample."""
    sizes: dict[str, int] = {}
    for value in inputs:
        shape = sample_shape.get(value.name, ()) if isinstance(sample_shape, dict) else sample_shape
        for axis, size in enumerate((batch, *shape)):
            name = size_name(value, axis)
            if name:
                sizes.setdefault(name, size)
    return sizes


def _holds(dtype: np.dtype[Any], number: float) -> bool:
    """Say whether a type holds a number: integers exactly, floats not as Inf."""
    if dtype.kind == "b":
        return number in (0, 1)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return number.is_integer() and abs(number) < _EXACT and limits.min <= number <= limits.max
    if dtype.kind in "OSU":
        return False
    with np.errstate(over="ignore"):
        held = np.asarray(number).astype(dtype).astype(np.float64)
    return bool(np.isfinite(held)) == math.isfinite(number)


def _are_floats(*dtypes: np.dtype[Any]) -> bool:
    return all(np.issubdtype(dtype, np.floating) for dtype in dtypes)


def _read(path: Path) -> bytes:
    try:
        require_plain(path, _MOST_BYTES)
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: a file made by numpy.save was expected: {describe(error)}") from error
