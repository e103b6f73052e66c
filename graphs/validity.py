"""onnx's own checker, asked about what ONNX Runtime insists on too."""

from collections.abc import Iterator

import onnx
from onnx import ModelProto, ValueInfoProto

from ftonnx.graphs.copies import copy_of

__all__ = ["check_valid"]


def check_valid(model: ModelProto) -> None:
    """Ask onnx's checker about a model, but not whether its inputs and outputs have a declared type and shape.

    Files without them are common, and ONNX Runtime infers them.

    Raises:
        onnx.checker.ValidationError: the checker refuses the model.
        ValueError: it cannot look at the model, which is larger than 2 GiB for one.
    """
    onnx.checker.check_model(_declared(model))


def _declared(model: ModelProto) -> ModelProto:
    """Return a model in which every input and output is declared; the same one where they are."""
    if all(_is_declared(value) for value in _signature(model)):
        return model
    declared = copy_of(model)
    for value in _signature(declared):
        if not _is_declared(value):
            # any will do, since the checker does not infer any
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
            value.type.tensor_type.shape.SetInParent()
    return declared


def _signature(model: ModelProto) -> Iterator[ValueInfoProto]:
    yield from model.graph.input
    yield from model.graph.output


def _is_declared(value: ValueInfoProto) -> bool:
    kind = value.type.WhichOneof("value")
    if kind is None:
        return False
    # sequences and maps have no shape
    return kind != "tensor_type" or value.type.tensor_type.HasField("shape")
