"""ONNX operators in torch: those of the networks that quantization-aware training takes.

A graph that is prepared for quantization has few of them: batch normalizations are folded, functions inlined.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import torch
from onnx import NodeProto
from torch import Tensor
from torch.nn import functional

from ftonnx.errors import ModelError
from ftonnx.training.resizing import COORDINATES, ROUNDINGS, Neighbours, neighbours

__all__ = ["OPERATORS", "Attributes"]

Attributes = Mapping[str, Any]
"""Of a node, by name."""

_Operator = Callable[[NodeProto, Attributes, Sequence[Tensor | None]], Tensor]


def _padded(node: NodeProto, attributes: Attributes, values: Tensor, *, fill: float = 0.0) -> Tensor:
    """Pad the sides of images as a convolution or a pooling says."""
    automatic = attributes.get("auto_pad", b"NOTSET")
    if automatic not in (b"NOTSET", b"VALID"):
        raise ModelError(
            f"node {node.name!r} ({node.op_type}): auto_pad={automatic.decode()} is not trained; give pads"
        )
    pads = list(attributes.get("pads", ()))
    if not any(pads):
        return values
    return functional.pad(values, _sides(pads), value=fill)


def _sides(pads: Sequence[int]) -> list[int]:
    """Return torch's order of the paddings of ONNX.

    >>> _sides([1, 2, 3, 4])
    [2, 4, 1, 3]
    """
    axes = len(pads) // 2
    sides: list[int] = []
    # torch counts from the last axis
    for axis in reversed(range(axes)):
        sides += [pads[axis], pads[axis + axes]]
    return sides


def _conv(node: NodeProto, attributes: Attributes, inputs: Sequence[Tensor | None]) -> Tensor:
    values, weight, *rest = inputs
    assert values is not None
    assert weight is not None
    convolve = {3: functional.conv1d, 4: functional.conv2d, 5: functional.conv3d}[weight.ndim]
    ones = [1] * (weight.ndim - 2)
    result: Tensor = convolve(
        _padded(node, attributes, values),
        weight,
        rest[0] if rest else None,
        stride=tuple(attributes.get("strides", ones)),
        dilation=tuple(attributes.get("dilations", ones)),
        groups=attributes.get("group", 1),
    )
    return result


def _conv_transpose(node: NodeProto, attributes: Attributes, inputs: Sequence[Tensor | None]) -> Tensor:
    _refuse_any(node, attributes, "output_shape")
    values, weight, *rest = inputs
    assert values is not None
    assert weight is not None
    axes = weight.ndim - 2
    convolve = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}[axes]
    result: Tensor = convolve(
        values,
        weight,
        rest[0] if rest else None,
        stride=tuple(attributes.get("strides", [1] * axes)),
        output_padding=tuple(attributes.get("output_padding", [0] * axes)),
        dilation=tuple(attributes.get("dilations", [1] * axes)),
        groups=attributes.get("group", 1),
    )
    # what a convolution pads is cut here
    cut = {**attributes, "pads": [-size for size in attributes.get("pads", ())]}
    return _padded(node, cut, result)


def _gemm(node: NodeProto, attributes: Attributes, inputs: Sequence[Tensor | None]) -> Tensor:
    first, second, *rest = inputs
    assert first is not None
    assert second is not None
    left = first.T if attributes.get("transA") else first
    right = second.T if attributes.get("transB") else second
    result: Tensor = attributes.get("alpha", 1.0) * (left @ right)
    if rest and rest[0] is not None:
        result = result + attributes.get("beta", 1.0) * rest[0]
    return result


def _max_pool(node: NodeProto, attributes: Attributes, inputs: Sequence[Tensor | None]) -> Tensor:
    _refuse(node, attributes, "storage_order")
    (values,) = inputs
    assert values is not None
    kernel = attributes["kernel_shape"]
    pool = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}[len(kernel)]
    result: Tensor = pool(
        _padded(node, attributes, values, fill=-torch.inf),
        tuple(kernel),
        tuple(attributes.get("strides", [1] * len(kernel))),
        dilation=tuple(attributes.get("dilations", [1] * len(kernel))),
        ceil_mode=bool(attributes.get("ceil_mode", 0)),
    )
    return result


def _average_pool(node: NodeProto, attributes: Attributes, inputs: Sequence[Tensor | None]) -> Tensor:
    _refuse(node, attributes, "dilations", "ceil_mode")
    (values,) = inputs
    assert values is not None
    pads = attributes.get("pads", ())
    if any(pads) and not attributes.get("count_include_pad"):
        raise ModelError(f"node {node.name!r} ({node.op_type}): padding that does not count is not trained")
    kernel = attributes["kernel_shape"]
    pool = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}[len(kernel)]
    strides = tuple(attributes.get("strides", [1] * len(kernel)))
    result: Tensor = pool(_padded(node, attributes, values), tuple(kernel), strides)
    return result


def _global_average_pool(node: NodeProto, attributes: Attributes, inputs: Sequence[Tensor | None]) -> Tensor:
    (values,) = inputs
    assert values is not None
    return values.mean(tuple(range(2, values.ndim)), keepdim=True)


def _reduce_mean(node: NodeProto, attributes: Attributes, inputs: Sequence[Tensor | None]) -> Tensor:
    values = inputs[0]
    assert values is not None
    axes = _numbers(inputs, 1) or attributes.get("axes") or range(values.ndim)
    return values.mean(tuple(axes), keepdim=bool(attributes.get("keepdims", 1)))


def _reshape(node: NodeProto, attributes: Attributes, inputs: Sequence[Tensor | None]) -> Tensor:
    values = inputs[0]
    assert values is not None
    wanted = _numbers(inputs, 1)
    sizes = [values.shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    return values.reshape(sizes)


def _flatten(node: NodeProto, attributes: Attributes, inputs: Sequence[Tensor | None]) -> Tensor:
    (values,) = inputs
    assert values is not None
    axis = attributes.get("axis", 1)
    rows = 1
    for size in values.shape[:axis]:
        rows *= size
    return values.reshape(rows, -1)


def _clip(node: NodeProto, attributes: Attributes, inputs: Sequence[Tensor | None]) -> Tensor:
    values, low, high = [*inputs, None, None][:3]
    assert values is not None
    if low is None and high is None:
        return values
    return values.clamp(low, high)


def _slice(node: NodeProto, attributes: Attributes, inputs: Sequence[Tensor | None]) -> Tensor:
    values = inputs[0]
    assert values is not None
    starts, ends = _numbers(inputs, 1), _numbers(inputs, 2)
    axes = _numbers(inputs, 3) or list(range(len(starts)))
    steps = _numbers(inputs, 4) or [1] * len(starts)
    chosen = [slice(None)] * values.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 1:
            raise ModelError(f"node {node.name!r} (Slice): steps below 1 are not trained")
        chosen[axis] = slice(start, end, step)
    return values[tuple(chosen)]


def _pad(node: NodeProto, attributes: Attributes, inputs: Sequence[Tensor | None]) -> Tensor:
    if attributes.get("mode", b"constant") != b"constant" or len(inputs) > 3:
        raise ModelError(f"node {node.name!r} (Pad): only constant padding of all axes is trained")
    values = inputs[0]
    assert values is not None
    sides = _sides(_numbers(inputs, 1))
    fill = inputs[2] if len(inputs) > 2 else None
    return functional.pad(values, sides, value=0.0 if fill is None else float(fill))


def _concat(node: NodeProto, attributes: Attributes, inputs: Sequence[Tensor | None]) -> Tensor:
    return torch.cat([values for values in inputs if values is not None], dim=attributes["axis"])


def _transpose(node: NodeProto, attributes: Attributes, inputs: Sequence[Tensor | None]) -> Tensor:
    (values,) = inputs
    assert values is not None
    return values.permute(*attributes.get("perm", reversed(range(values.ndim))))


def _resize(node: NodeProto, attributes: Attributes, inputs: Sequence[Tensor | None]) -> Tensor:
    _refuse_any(node, attributes, "axes", "antialias")
    mode = _said(node, attributes, "mode", "nearest", ("nearest", "linear"))
    coordinates = _said(node, attributes, "coordinate_transformation_mode", "half_pixel", COORDINATES)
    rounding = None if mode == "linear" else _said(node, attributes, "nearest_mode", "round_prefer_floor", ROUNDINGS)
    _said(node, attributes, "keep_aspect_ratio_policy", "stretch", ("stretch",))
    values = inputs[0]
    assert values is not None
    sizes = _numbers(inputs, 3)
    scales = inputs[2] if len(inputs) > 2 else None
    for axis, before in enumerate(values.shape):
        scale = sizes[axis] / before if scales is None or sizes else float(scales[axis])
        after = sizes[axis] if sizes else int(before * scale)
        if scale == 1 and after == before:
            continue
        values = _resized(values, axis, neighbours(before, after, scale, coordinates, rounding))
    return values


def _resized(values: Tensor, axis: int, places: Neighbours) -> Tensor:
    """Resize along one axis."""
    lower = values.index_select(axis, torch.from_numpy(places.lower).to(values.device))
    if not places.share.any():
        return lower
    upper = values.index_select(axis, torch.from_numpy(places.upper).to(values.device))
    shape = [1] * values.ndim
    shape[axis] = -1
    share = torch.from_numpy(places.share).to(values.device).reshape(shape)
    return lower + share * (upper - lower)


def _said(node: NodeProto, attributes: Attributes, name: str, usual: str, known: Collection[str]) -> str:
    """Return an attribute that is a word, refuse one that is not known."""
    word: str = attributes.get(name, usual.encode()).decode()
    if word not in known:
        raise ModelError(f"node {node.name!r} ({node.op_type}): {name}={word} is not trained; {', '.join(known)} are")
    return word


def _numbers(inputs: Sequence[Tensor | None], place: int) -> list[int]:
    """Return the whole numbers of an input, none where it is left out."""
    values = inputs[place] if place < len(inputs) else None
    return [] if values is None else [int(value) for value in values.reshape(-1)]


def _refuse(node: NodeProto, attributes: Attributes, *names: str) -> None:
    for name in names:
        value = attributes.get(name, 0)
        if value not in (0, [1] * 1, [1] * 2, [1] * 3):
            raise ModelError(f"node {node.name!r} ({node.op_type}): {name}={value} is not trained")


def _refuse_any(node: NodeProto, attributes: Attributes, *names: str) -> None:
    for name in names:
        if attributes.get(name):
            raise ModelError(f"node {node.name!r} ({node.op_type}): {name} is not trained; leave it out")


def _plain(function: Callable[..., Tensor]) -> _Operator:
    """Return an operator without attributes."""

    def applied(node: NodeProto, attributes: Attributes, inputs: Sequence[Tensor | None]) -> Tensor:
        return function(*inputs)

    return applied


OPERATORS: Final[Mapping[str, _Operator]] = {
    "Add": _plain(torch.add),
    "AveragePool": _average_pool,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Dropout": _plain(lambda values, *_: values),
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average_pool,
    "Identity": _plain(lambda values: values),
    "MatMul": _plain(torch.matmul),
    "MaxPool": _max_pool,
    "Mul": _plain(torch.mul),
    "Pad": _pad,
    "ReduceMean": _reduce_mean,
    "Relu": _plain(torch.relu),
    "Reshape": _reshape,
    "Resize": _resize,
    "Sigmoid": _plain(torch.sigmoid),
    "Slice": _slice,
    "Softmax": lambda node, attributes, inputs: torch.softmax(inputs[0], attributes.get("axis", -1)),  # type: ignore[arg-type]  # it has one
    "Sub": _plain(torch.sub),
    "Transpose": _transpose,
}
"""By name; each takes the node, its attributes, and its inputs (None for one that is left out)."""
