"""Sparse stored tensors, which ONNX Runtime reads as dense ones and its quantizer does not know."""

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, SparseTensorProto, numpy_helper

from ftonnx.errors import ModelError

__all__ = ["store_densely"]

_MOST_BYTES: Final = 2**31 - 1
"""So much one message of protobuf holds."""


def store_densely(model: ModelProto) -> None:
    """Turn the sparse tensors that the main graph stores, in Constant nodes too, into initializers, in place.

    Raises:
        ModelError: one is too large for that.
    """
    graph = model.graph
    for sparse in graph.sparse_initializer:
        _add(model, sparse.values.name, sparse)
    del graph.sparse_initializer[:]
    for node, sparse in list(_sparse_constants(graph.node)):
        _add(model, node.output[0], sparse)
        graph.node.remove(node)


def _sparse_constants(nodes: Any) -> Iterator[tuple[NodeProto, SparseTensorProto]]:
    for node in nodes:
        if node.op_type != "Constant":
            continue
        for attribute in node.attribute:
            if attribute.HasField("sparse_tensor"):
                yield node, attribute.sparse_tensor


def _add(model: ModelProto, name: str, sparse: SparseTensorProto) -> None:
    array = _dense(name, sparse)
    tensor = numpy_helper.from_array(array, name)
    model.graph.initializer.append(tensor)


def _dense(name: str, sparse: SparseTensorProto) -> NDArray[Any]:
    values = numpy_helper.to_array(sparse.values)
    shape = tuple(sparse.dims)
    if math.prod(shape) * values.itemsize > _MOST_BYTES:
        raise ModelError(f"the sparse tensor {name!r} of shape {shape} is over 2 GiB as a dense one; leave it out")
    places = numpy_helper.to_array(sparse.indices)
    # one number per value counts through the whole tensor, several are its place along every axis
    if places.ndim > 1:
        places = np.ravel_multi_index(tuple(places.T), shape)
    array = np.zeros(shape, values.dtype)
    array.flat[places] = values
    return array
