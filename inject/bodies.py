"""The parts of a model in which nodes and tensors stand: its graph, its functions, and their subgraphs."""

from collections.abc import Iterator, Sequence

from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto

from ftonnx.graphs import subgraphs

__all__ = [
    "Body",
    "FunctionKey",
    "all_bodies",
    "all_tensors",
    "called_by",
    "functions_by_key",
    "initializers",
    "nested_bodies",
    "subgraphs",
]

Body = GraphProto | FunctionProto
FunctionKey = tuple[str, str, str]
"""Domain, name and overload, by which a node calls a function."""


def functions_by_key(model: ModelProto) -> dict[FunctionKey, FunctionProto]:
    """Return the model-local functions; of two with one key the last one."""
    functions = {}
    for function in model.functions:
        key = (function.domain, function.name, function.overload)
        functions[key] = function
    return functions


def called_by(node: NodeProto) -> FunctionKey:
    """Return the key of the function that a node calls, if there is one; else it is an operator."""
    return (node.domain, node.op_type, node.overload)


def all_bodies(proto: ModelProto) -> Iterator[Body]:
    """Yield the graph, the functions, and every subgraph of their nodes."""
    yield from nested_bodies(proto.graph)
    for function in proto.functions:
        yield from nested_bodies(function)


def nested_bodies(body: Body) -> Iterator[Body]:
    """Yield a body and every subgraph of its nodes."""
    yield body
    for node in body.node:
        for attribute in node.attribute:
            for graph in subgraphs(attribute):
                yield from nested_bodies(graph)


def initializers(body: Body) -> Sequence[TensorProto]:
    """Return a graph's stored tensors; a function has none."""
    if isinstance(body, GraphProto):
        return body.initializer
    return ()


def all_tensors(proto: ModelProto) -> Iterator[TensorProto]:
    """Yield every tensor that a model holds, the parts of sparse ones included."""
    for body in all_bodies(proto):
        yield from initializers(body)
        sparse: list[SparseTensorProto] = []
        if isinstance(body, GraphProto):
            sparse.extend(body.sparse_initializer)
        # one pass over the attributes, of which a model has many and few hold a tensor
        for node in body.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors
                if attribute.HasField("sparse_tensor"):
                    sparse.append(attribute.sparse_tensor)
                sparse.extend(attribute.sparse_tensors)
        for tensor in sparse:
            yield tensor.values
            yield tensor.indices
