"""The inputs of a model that take the data."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from ftonnx.errors import DataError, ModelError, UsageError
from ftonnx.samples import Samples
from ftonnx.sessions import Declared, dimension, free_inputs, size_name

__all__ = ["ModelInputs"]

_MOST_SAMPLE_VALUES: Final = 2**30
_MOST_NAMED: Final = 5
_IMAGE_AXES: Final = 4


class ModelInputs:
    """The inputs of a model that take the data.

    Attributes:
        values: their names, types and shapes.
        names: their names.
        batch_size: the batch size the model insists on; None where any will do.
    """

    def __init__(self, values: Sequence[onnx.ValueInfoProto], batch_size: int | None) -> None:
        self.values = tuple(values)
        self.names = tuple(value.name for value in values)
        self.batch_size = batch_size

    @classmethod
    def of(cls, proto: onnx.ModelProto, *, besides: Mapping[str, NDArray[Any]]) -> "ModelInputs":
        """Return a model's inputs besides those that constants are fed to, by name.

        Raises:
            ModelError: it has none, or one that is no tensor of a known type.
        """
        inputs = []
        for value in free_inputs(proto, besides=besides):
            _check_type(value)
            # a part of a message would keep all of it in memory
            own = onnx.ValueInfoProto()
            own.CopyFrom(value)
            inputs.append(own)
        if not inputs:
            raise ModelError("a model with a tensor input was expected, got none")
        batch_size = dimension(inputs[0], 0)
        if batch_size is None:
            constants = [value for value in free_inputs(proto) if value.name in besides]
            batch_size = _size_of_constants(size_name(inputs[0], 0), constants, besides)
        return cls(inputs, batch_size)

    def feeds(self, batch: Samples) -> dict[str, NDArray[Any]]:
        """Return a batch by the inputs' names, floats in the float types the model wants.

        Raises:
            DataError: the batch has other inputs than the model.
        """
        arrays = self._by_name(batch)
        fed = {}
        for value in self.values:
            array = arrays[value.name]
            wanted = _dtype(value)
            # whole numbers are not converted: they may be pixels that nobody has normalized
            if np.issubdtype(wanted, np.floating) and np.issubdtype(array.dtype, np.floating):
                array = array.astype(wanted, copy=False)
            if array.dtype != wanted:
                raise DataError(
                    f"the model takes {value.name!r} as {wanted}, the data gives {array.dtype}; convert it, and scale "
                    "pixels as the model was trained, as in images.astype('float32') / 255"
                )
            fed[value.name] = array
        return fed

    def _by_name(self, batch: Samples) -> Mapping[str, NDArray[Any]]:
        if isinstance(batch, Mapping):
            if set(batch) != set(self.names):
                raise DataError(
                    f"the model takes {_listed(self.names)}; the data gives {_listed(batch)}: arrays are fed to the "
                    "inputs of their names, and `feeds` gives constants to inputs without data"
                )
            return batch
        if len(self.names) != 1:
            raise DataError(
                f"the model takes {_listed(self.names)}; the data gives one array without a name: give a dict of "
                "arrays by these names, or constants for the others as `feeds`"
            )
        return {self.names[0]: batch}

    def refused(self, feeds: Mapping[str, NDArray[Any]], error: ModelError) -> DataError:
        """Return the error that says what the model takes, what the data gives, and what else was fed.

        Args:
            feeds: all that was fed, constants among them.
            error: what the model said.
        """
        takes = []
        gives = []
        advice = []
        for value in self.values:
            array = feeds[value.name]
            declared = Declared.of(value)
            takes.append(f"{value.name!r} of shape ({', '.join(map(str, declared.shape or ()))})")
            gives.append(f"{array.shape} {array.dtype}")
            advice.append(_advice(value.name, declared.shape or (), array.shape))
        constants = [f"{name!r} {array.shape} {array.dtype}" for name, array in feeds.items() if name not in self.names]
        besides = f", `feeds` {' and '.join(constants)}" if constants else ""
        advised = "".join(filter(None, advice))
        return DataError(
            f"the model takes {' and '.join(takes)}, the data gives {' and '.join(gives)}{besides}{advised}: {error}"
        )

    def random_samples(self) -> dict[str, NDArray[Any]]:
        """Return data of the right shapes: normally distributed numbers, and zeros for what are no floats.

        Raises:
            UsageError: a size other than the batch's is free.
            ModelError: a shape is impossible.
        """
        rng = np.random.default_rng(0)
        return {value.name: _random(value, rng) for value in self.values}


def _advice(name: str, declared: Sequence[int | str], given: Sequence[int]) -> str:
    """Return what to do where an input's shape is another than that of the data; empty where nobody can tell.

    >>> _advice("x", ("N", 1, 8, 8), (4, 3, 8, 8)), _advice("x", ("N", 3, 8, 8), (4, 3, 9, 9))
    ('; `channels=gray` makes one channel of three', '; `resize` and `crop` make images of another size')
    >>> _advice("x", (64,), (64, 1, 8, 8))
    "; export it with an axis for the batch and 3 for a sample of 'x'"
    """
    if not declared or tuple(declared) == tuple(given):
        return ""
    if len(declared) != len(given):
        return f"; export it with an axis for the batch and {len(given) - 1} for a sample of {name!r}"
    if len(given) != _IMAGE_AXES:
        return ""
    fixed = [size if isinstance(size, int) else own for size, own in zip(declared, given, strict=True)]
    if (fixed[1], given[1]) == (1, 3):
        return "; `channels=gray` makes one channel of three"
    if (fixed[1], given[1]) == (3, 1):
        return "; `channels=rgb` makes three channels of one"
    if fixed[1] == given[1] and fixed[2:] != list(given[2:]):
        return "; `resize` and `crop` make images of another size"
    return ""


def _size_of_constants(
    batch: str, constants: Iterable[onnx.ValueInfoProto], arrays: Mapping[str, NDArray[Any]]
) -> int | None:
    """Return the size that constants have along the batch axis: a recurrent state has a row for every sample."""
    for value in constants:
        for axis in range(len(value.type.tensor_type.shape.dim)):
            if dimension(value, axis) is None and size_name(value, axis) == batch:
                size: int = arrays[value.name].shape[axis]
                return size
    return None


def _random(value: onnx.ValueInfoProto, rng: np.random.Generator) -> NDArray[Any]:
    rank = len(value.type.tensor_type.shape.dim)
    sizes = [dimension(value, axis) for axis in range(rank)]
    # a free batch size is no obstacle: one image will do
    if not sizes or None in sizes[1:]:
        raise UsageError(
            f"input {value.name!r} has free sizes {sizes}; pass `sample` with images of the right shape",
        )
    shape = [size or 1 for size in sizes]
    # a broken file may ask for more than any machine has
    if math.prod(shape) > _MOST_SAMPLE_VALUES:
        raise ModelError(f"input {value.name!r} has the impossible shape {shape}; export the model again")
    dtype = _dtype(value)
    if not np.issubdtype(dtype, np.floating):
        # which numbers an embedding or a mask takes, nobody knows, but zero is one of them
        return np.zeros(shape, dtype)
    drawn: NDArray[Any] = rng.standard_normal(shape).astype(np.float32)
    return drawn


def _check_type(value: onnx.ValueInfoProto) -> None:
    if not value.type.HasField("tensor_type"):
        raise ModelError(f"input {value.name!r} is no tensor; models with tensor inputs were expected")
    element = value.type.tensor_type.elem_type
    # onnx's checker passes it
    if element not in onnx.helper.get_all_tensor_dtypes():
        raise ModelError(f"input {value.name!r} has no element type that onnx knows; export the model again")


def _dtype(value: onnx.ValueInfoProto) -> np.dtype[Any]:
    return onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)


def _listed(names: Iterable[str]) -> str:
    """Return how many inputs there are, and the names of the first.

    >>> _listed(["x"]), _listed(["a", "b"])
    ("1 input: 'x'", "2 inputs: 'a', 'b'")
    """
    known = list(names)
    shown = [repr(name) for name in known[:_MOST_NAMED]]
    if len(known) > _MOST_NAMED:
        shown.append("...")
    plural = "" if len(known) == 1 else "s"
    return f"{len(known)} input{plural}: {', '.join(shown)}"
