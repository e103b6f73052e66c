"""The input of a model that takes the images."""

import math
from collections.abc import Collection, Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from ftonnx.errors import DataError, ModelError, UsageError
from ftonnx.sessions import dimension, free_inputs

__all__ = ["ModelInput"]

_MOST_SAMPLE_VALUES: Final = 2**30
_MOST_NAMED: Final = 5


class ModelInput:
    """The input of a model that takes the images.

    Attributes:
        value: its name, type and shape.
        name: its name.
        batch_size: the batch size the model insists on; None where any will do.
    """

    def __init__(self, value: onnx.ValueInfoProto) -> None:
        self.value = value
        self.name = value.name
        self.batch_size = dimension(value, 0)
        element = value.type.tensor_type.elem_type
        self._dtype = onnx.helper.tensor_dtype_to_np_dtype(element)
        self._takes_floats = np.issubdtype(self._dtype, np.floating)

    @classmethod
    def of(cls, proto: onnx.ModelProto, *, besides: Collection[str]) -> "ModelInput":
        """Return a model's only input besides some named ones.

        Raises:
            ModelError: it has none or several, or one that is no tensor of a known type.
        """
        inputs = [value for value in free_inputs(proto) if value.name not in besides]
        if len(inputs) != 1 or not inputs[0].type.HasField("tensor_type"):
            raise ModelError(f"a model with one tensor input was expected, got {_listed(inputs)}")
        only = onnx.ValueInfoProto()
        # a part of a message would keep all of it in memory
        only.CopyFrom(inputs[0])
        element = only.type.tensor_type.elem_type
        # onnx's checker passes it
        if element not in onnx.helper.get_all_tensor_dtypes():
            raise ModelError(f"input {only.name!r} has no element type that onnx knows; export the model again")
        return cls(only)

    def feeds(self, batch: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return ``batch`` under the input's name, floats in the float type the model wants."""
        is_float = np.issubdtype(batch.dtype, np.floating)
        # whole numbers are not converted: they may be pixels that nobody has normalized
        if self._takes_floats and is_float:
            batch = batch.astype(self._dtype, copy=False)
        return {self.name: batch}

    def refused(self, batch: NDArray[Any], error: ModelError) -> DataError:
        """Return the error that says what the model takes and what the data gives."""
        sizes = []
        for dim in self.value.type.tensor_type.shape.dim:
            size = dim.dim_value or dim.dim_param or "?"
            sizes.append(str(size))
        shape = ", ".join(sizes)
        return DataError(
            f"the model takes {self.name!r} of shape ({shape}), the data gives {batch.shape} {batch.dtype}: {error}"
        )

    def random_images(self) -> NDArray[np.float32]:
        """Return images of the right shape.

        Raises:
            UsageError: a size other than the batch's is free.
            ModelError: the shape is impossible.
        """
        rank = len(self.value.type.tensor_type.shape.dim)
        sizes = [dimension(self.value, axis) for axis in range(rank)]
        # a free batch size is no obstacle: one image will do
        if not sizes or None in sizes[1:]:
            raise UsageError(
                f"input {self.name!r} has free sizes {sizes}; pass sample= with images of the right shape",
            )
        shape = [size or 1 for size in sizes]
        # a broken file may ask for more than any machine has
        if math.prod(shape) > _MOST_SAMPLE_VALUES:
            raise ModelError(f"input {self.name!r} has the impossible shape {shape}; export the model again")
        rng = np.random.default_rng(0)
        images = rng.standard_normal(shape)
        return images.astype(np.float32)


def _listed(inputs: Sequence[onnx.ValueInfoProto]) -> str:
    """Return how many inputs there are, and the names of the first."""
    names = [value.name for value in inputs[:_MOST_NAMED]]
    if len(inputs) > _MOST_NAMED:
        names.append("...")
    listed = ", ".join(names) or "none"
    return f"{len(inputs)} inputs: {listed}"
