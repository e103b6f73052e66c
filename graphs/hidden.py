"""Stored tensors that no kernel takes for constants."""

from collections.abc import Collection

import onnx

__all__ = ["hide_constants"]


def hide_constants(model: onnx.ModelProto, names: Collection[str]) -> None:
    """List some initializers among a model's inputs too, in place, where their values are mere defaults.

    A kernel packs what it knows to be constant, and then no longer reads it. What a run might be fed is read at every
    run; nobody has to feed it.

    Args:
        model: of IR version 4 or newer; in older ones this would mean nothing.
        names: of initializers.
    """
    listed = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:
        if tensor.name in names and tensor.name not in listed:
            value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            model.graph.input.append(value)
