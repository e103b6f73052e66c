"""Names for what torch's exporter has computed of parameters, and stores under numbers or names of operators."""

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ftonnx.export.initializers import module_prefix
from ftonnx.graphs.initializers import free_name

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["name_by_module", "name_transposed"]

_NUMBERED: Final = re.compile(r"val_\d+")

_Content = tuple[tuple[int, ...], bytes]


def name_transposed(graph: ir.Graph, parameters: "Mapping[str, Tensor]") -> None:
    """Name stored matrices that are a parameter transposed after that parameter, in place.

    They are known by their values; of parameters with equal values the first one that is not named yet is taken.

    Args:
        graph: As the exporter wrote it.
        parameters: Of the module, by name.
    """
    names: dict[_Content, list[str]] = {}
    for name, parameter in parameters.items():
        if parameter.ndim == 2:
            transposed = parameter.detach().cpu().numpy().T
            names.setdefault(_content(transposed), []).append(name)
    # renaming changes the table of initializers
    for value in list(graph.initializers.values()):
        if value.name is None or value.const_value is None or not _NUMBERED.fullmatch(value.name):
            continue
        if len(value.const_value.shape) != 2:
            continue
        known = names.get(_content(value.const_value.numpy()))
        if known:
            value.name = free_name(graph, known.pop(0))


def name_by_module(graph: ir.Graph) -> None:
    """Put the module that uses it before the name of every stored array that has none, in place.

    Such as the bias that attention looks up in a table, which the exporter has looked up.
    """
    for value in list(graph.initializers.values()):
        if value.name is None or value.const_value is None or "." in value.name:
            continue
        is_array = value.const_value.size > 1 and value.const_value.dtype == ir.DataType.FLOAT
        users = [use.node for use in value.uses()]
        if not is_array or not users:
            continue
        prefix = module_prefix(users[0])
        if prefix:
            value.name = free_name(graph, f"{prefix}{value.name}")


def _content(array: NDArray[Any]) -> _Content:
    """What tells a matrix from others."""
    contiguous = np.ascontiguousarray(array)
    return contiguous.shape, hashlib.sha256(contiguous.data).digest()
