"""Batches for models that insist on one batch size."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import onnx

from ftonnx.samples import Samples, count_of, mapped

__all__ = ["Declared", "dimension", "fixed_batch", "free_inputs", "joined_runs", "padded", "size_name", "unpadded"]


def fixed_batch(model: onnx.ModelProto, *, besides: Collection[str] = ()) -> int | None:
    """Return the batch size that a model's first input insists on, None where any will do.

    Args:
        model: it.
        besides: names of inputs that take no data, such as a state, whose first size need not be the batch's.
    """
    inputs = free_inputs(model, besides=besides)
    return dimension(inputs[0], 0) if inputs else None


def free_inputs(model: onnx.ModelProto, *, besides: Collection[str] = ()) -> list[onnx.ValueInfoProto]:
    """Return the inputs for which nothing is stored; files of IR version 3 list what they store among the inputs.

    Args:
        model: it.
        besides: names of inputs to leave out, such as those that are fed constants.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in stored and value.name not in besides]


def dimension(value: onnx.ValueInfoProto, axis: int) -> int | None:
    """Return a fixed size, None for a free or unknown one; some exporters write -1 for free."""
    dims = value.type.tensor_type.shape.dim
    if axis >= len(dims):
        return None
    size = dims[axis].dim_value
    return size if size > 0 else None


def size_name(value: onnx.ValueInfoProto, axis: int) -> str:
    """Return the name of a free size; empty where it has none."""
    dims = value.type.tensor_type.shape.dim
    return dims[axis].dim_param if axis < len(dims) else ""


class Declared(NamedTuple):
    """What a file says of an input or output.

    Attributes:
        name: of it.
        dtype: of its elements; the kind of value where it is no tensor.
        shape: its sizes, names of free ones among them; None where nothing is said.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...] | None

    @classmethod
    def of(cls, value: onnx.ValueInfoProto) -> "Declared":
        """Read it."""
        kind = value.type.WhichOneof("value") or "tensor_type"
        if kind != "tensor_type":
            return cls(value.name, kind.removesuffix("_type"), None)
        tensor = value.type.tensor_type
        if tensor.elem_type not in onnx.helper.get_all_tensor_dtypes():
            return cls(value.name, "unknown", None)
        is_text = tensor.elem_type == onnx.TensorProto.STRING
        # numpy would call texts objects
        dtype = "string" if is_text else onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
        if not tensor.HasField("shape"):
            return cls(value.name, dtype, None)
        return cls(value.name, dtype, tuple(dim.dim_value or dim.dim_param or "?" for dim in tensor.shape.dim))

    @property
    def text(self) -> str:
        """For people.

        >>> Declared("x", "float32", ("N", 3)).text, Declared("y", "sequence", None).text
        ('x: float32 (N, 3)', 'y: sequence')
        """
        shape = "" if self.shape is None else f" ({', '.join(map(str, self.shape))})"
        return f"{self.name}: {self.dtype}{shape}"


_Samples = TypeVar("_Samples", bound=Samples)


def padded(images: _Samples, size: int | None) -> _Samples:
    """Repeat the last image until there are ``size``; None takes any number.

    >>> padded(np.float32([1, 2]), 4).tolist()
    [1.0, 2.0, 2.0, 2.0]
    """
    if size is None:
        return images
    missing = size - count_of(images)
    if missing <= 0:
        return images
    # an image like the others: what zeros would do in the model, nobody has tried
    return mapped(images, lambda array: np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]))  # type: ignore[return-value]  # of the same kind


def unpadded(values: Any, images: int, size: int | None) -> Any:
    """Return the part of an output that belongs to the first ``images`` of ``size`` images.

    It may be a list with one entry per image; a tensor may hold several rows per image (the windows of a transformer),
    or be the same for all images.

    >>> unpadded(np.float32([1, 2, 3, 4, 5, 6]), 2, 3).tolist()
    [1.0, 2.0, 3.0, 4.0]
    """
    if size is None or images == size:
        return values
    if isinstance(values, list):
        return values[:images]
    if values.ndim == 0:
        return values
    rows = len(values)
    # not a whole number of rows per image: something that all images share
    if rows % size:
        return values
    rows_per_image = rows // size
    return values[: rows_per_image * images]


def joined_runs(values: Sequence[Any]) -> Any:
    """Return an output of several runs as one of all their images; a number is one per run.

    >>> joined_runs([np.float32([1, 2]), np.float32([3])]).tolist(), joined_runs([[{1: 0.5}], [{2: 0.5}]])
    ([1.0, 2.0, 3.0], [{1: 0.5}, {2: 0.5}])
    """
    first = values[0]
    if isinstance(first, list):
        return [each for part in values for each in part]
    if first.ndim == 0:
        return np.stack(values)
    return np.concatenate(values)
