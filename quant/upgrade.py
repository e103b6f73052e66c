"""The version of the standard operators, raised to what a quantized model needs."""

from typing import Final

import onnx
import onnx.version_converter
from onnx import ModelProto

from ftonnx.errors import ModelError, message_of
from ftonnx.graphs import copy_of, standard_opset

__all__ = ["STANDARD", "opset", "raise_opset"]

STANDARD: Final = ("", "ai.onnx")
"""Names of the domain of the standard operators."""

_TARGET_OPSET: Final = 17
_STATED_POSITIONS_OPSET: Final = 11
_REFUSALS: Final = (onnx.version_converter.ConvertError, RuntimeError, ValueError)


def opset(model: ModelProto) -> int:
    """Return the version of the standard operators that a model imports.

    Raises:
        ModelError: it imports none.
    """
    version = standard_opset(model)
    if not version:
        raise ModelError("the model imports no standard operators")
    return version


def raise_opset(model: ModelProto, needed: int) -> ModelProto:
    """Return the model with at least the needed operator set.

    Raises:
        ModelError: it has an operator that cannot be converted, or functions.
    """
    version = opset(model)
    if version >= needed:
        return model
    advice = "export the model again with a newer opset"
    if model.functions:
        raise ModelError(
            f"opset {needed} is needed, the model has {version}, and functions cannot be converted; {advice}"
        )
    try:
        converted = onnx.version_converter.convert_version(model, _TARGET_OPSET)
    except _REFUSALS as error:
        # in front of the reason stands a line of the converter's source
        reason = message_of(error).rpartition(" failed: ")[2]
        where = _first_refused(model)
        raise ModelError(
            f"opset {needed} is needed, the model has {version}, and {where} cannot be converted: {reason}; {advice}"
        ) from error
    if version < _STATED_POSITIONS_OPSET:
        _state_positions(converted)
    return converted


def _first_refused(model: ModelProto) -> str:
    """Name the node at which the converter gives up: with the nodes before it the model would be converted."""
    convertible = 0
    refused = len(model.graph.node)
    while refused - convertible > 1:
        middle = (convertible + refused) // 2
        begin = copy_of(model)
        del begin.graph.node[middle:]
        del begin.graph.output[:]
        try:
            onnx.version_converter.convert_version(begin, _TARGET_OPSET)
        except _REFUSALS:
            refused = middle
        else:
            convertible = middle
    node = model.graph.node[convertible]
    return f"node {node.name!r} ({node.op_type})"


def _state_positions(model: ModelProto) -> None:
    """Say of every Resize where its pixels lie, in place; the converter leaves it open, which means another rule."""
    for node in model.graph.node:
        if node.op_type != "Resize" or node.domain not in STANDARD:
            continue
        stated = {attribute.name for attribute in node.attribute}
        for name, value in (("coordinate_transformation_mode", "asymmetric"), ("nearest_mode", "floor")):
            if name not in stated:
                attribute = onnx.helper.make_attribute(name, value)
                node.attribute.append(attribute)
