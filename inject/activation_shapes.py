"""The shapes that computed tensors have in a run of so many images, by onnx's shape inference on concrete sizes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import onnx
from onnx import ModelProto, TensorShapeProto, ValueInfoProto

from ftonnx.graphs import copy_of, copy_without
from ftonnx.inject.tensors import byte_count

__all__ = ["TensorShapes"]

_LARGE: Final = 2**12
"""Bytes of stored tensors that no shape is made of."""

_UNKNOWN: Final = -1
_FEW: Final = 2
"""Images of the smaller of two runs that tell which axes count them. Of one, onnx cannot say whether it is repeated."""

_Shapes = Mapping[str, tuple[int, tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class TensorShapes:
    """Element types and shapes of the computed tensors of a model's main graph.

    Attributes:
        images: of the run.
    """

    images: int
    _shapes: _Shapes
    _few: _Shapes
    _more: _Shapes

    @classmethod
    def of(cls, model: ModelProto, images: int) -> "TensorShapes":
        """Infer the shapes of a run.

        Args:
            model: its inputs have the images along their first axis.
            images: of the run, where the model does not insist on another number.
        """
        light = _light(model)
        first = _axes_of_images(light)
        insisted = first[0].dim_value if first else 1
        # some exporters write -1 for any number
        if insisted > 0:
            shapes = _inferred(light, insisted)
            return cls(insisted, shapes, shapes, shapes)
        # what grows with the images has them along an axis
        return cls(images, _inferred(light, images), _inferred(light, _FEW), _inferred(light, _FEW + 1))

    def type_of(self, name: str) -> int | None:
        """Return the element type of a tensor, one of ``TensorProto``'s; None where it is not known."""
        known = self._few.get(name)
        return None if known is None else known[0]

    def shape_of(self, name: str) -> tuple[int, ...] | None:
        """Return the shape of a tensor in the run; None where a size is not known before the run."""
        if _UNKNOWN in self._sizes(self._few, name):
            return None
        sizes = self._sizes(self._shapes, name)
        if _UNKNOWN not in sizes:
            return sizes
        return self._followed(name)

    def image_shape_of(self, name: str) -> tuple[int, ...] | None:
        """Return the shape of one image's part of a tensor, whatever the images of a run; None where it has none.

        The first axis of such a tensor counts the images, and no other one does. Where a model insists on their number,
        an axis of that size is taken for it.
        """
        few = self._sizes(self._few, name)
        more = self._sizes(self._more, name)
        is_free = self._more is not self._few
        images = _FEW if is_free else self.images
        if _UNKNOWN in few or not few or few[0] != images:
            return None
        if more != (images + is_free, *few[1:]):
            return None
        return few[1:]

    def _sizes(self, shapes: _Shapes, name: str) -> tuple[int, ...]:
        """Return the sizes of a tensor's axes, as far as they are known."""
        known = shapes.get(name)
        return (_UNKNOWN,) if known is None else known[1]

    def _followed(self, name: str) -> tuple[int, ...] | None:
        """Return a shape in the run that follows from those with a few images, of which each adds as much."""
        few = self._sizes(self._few, name)
        more = self._sizes(self._more, name)
        if _UNKNOWN in more or len(more) != len(few):
            return None
        sizes = []
        for size, next_size in zip(few, more, strict=True):
            step = next_size - size
            sizes.append(size + step * (self.images - _FEW))
        return tuple(sizes)


def _light(model: ModelProto) -> ModelProto:
    """Return a copy without the bytes of large tensors, and without what it says of shapes that nobody checked."""
    sizes = {}
    for tensor in model.graph.initializer:
        size = byte_count(tensor)
        if size >= _LARGE:
            sizes[tensor.name] = size
    light = copy_without(model, sizes)
    names = _names_of_images(light)
    # of operators that onnx does not know, the file may say the shape
    told = [value for value in light.graph.value_info if _counts_images(value, names)]
    del light.graph.value_info[:]
    light.graph.value_info.extend(told)
    made = {name for node in light.graph.node for name in node.output}
    # what is handed out as it came in has no second shape
    computed = [value for value in light.graph.output if value.name in made]
    for value in computed:
        value.type.tensor_type.ClearField("shape")
    del light.graph.output[:]
    light.graph.output.extend(computed)
    return light


def _free_inputs(model: ModelProto) -> list[ValueInfoProto]:
    """Return the inputs that are no defaults of stored tensors."""
    stored = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in stored]


def _axes_of_images(model: ModelProto) -> Sequence[TensorShapeProto.Dimension]:
    """Return the axes of the first input that has some; none where there is no such input."""
    for value in _free_inputs(model):
        dims: Sequence[TensorShapeProto.Dimension] = value.type.tensor_type.shape.dim
        if dims:
            return dims
    return ()


def _names_of_images(model: ModelProto) -> set[str]:
    """Return the name of the axis that counts the images, where it has one."""
    dims = _axes_of_images(model)
    return {dims[0].dim_param} - {""} if dims else set()


def _counts_images(value: ValueInfoProto, names: Collection[str]) -> bool:
    """Say whether a value's first axis is named as that of the images, and all others have a size."""
    dims = value.type.tensor_type.shape.dim
    return bool(dims) and dims[0].dim_param in names and all(dim.dim_value for dim in dims[1:])


def _inferred(light: ModelProto, images: int) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Return types and shapes with so many images."""
    names = _names_of_images(light)
    model = copy_of(light)
    for value in _free_inputs(model):
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            _set_images(dim, images, names, is_first=axis == 0)
    for value in model.graph.value_info:
        _set_images(value.type.tensor_type.shape.dim[0], images, names)
    known = onnx.shape_inference.infer_shapes(model, data_prop=True)
    found = {}
    for value in (*known.graph.value_info, *known.graph.output):
        kind = value.type.tensor_type
        if kind.HasField("shape"):
            found[value.name] = (kind.elem_type, tuple(map(_size, kind.shape.dim)))
    return found


def _set_images(
    dim: TensorShapeProto.Dimension, images: int, names: Collection[str], *, is_first: bool = False
) -> None:
    """Give an axis that counts the images their number, in place."""
    if dim.dim_param in names or (is_first and dim.dim_value <= 0):
        dim.dim_value = images


def _size(dim: TensorShapeProto.Dimension) -> int:
    return dim.dim_value if dim.HasField("dim_value") else _UNKNOWN
