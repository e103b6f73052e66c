"""Stored tensors that a graph lists among its inputs, as files of IR version 3 must."""

from typing import Final

from onnx import ModelProto

__all__ = ["FREE_INITIALIZERS", "forget_stored_inputs"]

FREE_INITIALIZERS: Final = 4
"""IR version since which a stored tensor need not be listed among the inputs of its graph."""


def forget_stored_inputs(model: ModelProto) -> None:
    """Bring a model of IR version 3 or older to version 4, in place: what is stored is no input.

    ONNX Runtime takes stored tensors of such files for constants, whether or not they are listed.
    """
    graph = model.graph
    stored = {tensor.name for tensor in graph.initializer}
    free = [value for value in graph.input if value.name not in stored]
    del graph.input[:]
    graph.input.extend(free)
    model.ir_version = FREE_INITIALIZERS
