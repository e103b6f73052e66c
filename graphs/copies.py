"""Copies of models, so that what was given stays as it is."""

from collections.abc import Iterable

import onnx

__all__ = ["copy_of", "with_outputs_too"]


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def with_outputs_too(model: onnx.ModelProto, tensors: Iterable[str]) -> onnx.ModelProto:
    """Return a copy that gives some inner tensors beside its outputs.

    Their types are left to ONNX Runtime, so a session can be opened on the copy, and the checker would refuse it.
    """
    copy = copy_of(model)
    given = {value.name for value in copy.graph.output}
    for name in tensors:
        if name not in given:
            copy.graph.output.append(onnx.ValueInfoProto(name=name))
    return copy
