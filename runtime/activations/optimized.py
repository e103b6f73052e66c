"""The flipping graph that runs as fast as the model: made of what ONNX Runtime's optimizer makes of the plain one.

The optimizer keeps images of convolutions in blocks of channels, or channels last. A node that does not know these
layouts would have every tensor turned to and fro; so the bits are flipped where they are then.
"""

import functools
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import onnx
from onnx import FunctionProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from ftonnx.graphs import count_readers, with_outputs_too
from ftonnx.inject import FaultSpace, OnnxModel, Target
from ftonnx.inject.activations import IMAGE
from ftonnx.runtime.activations.functions import DOMAIN, opset_of, row_function
from ftonnx.runtime.activations.graph import (
    FlippingGraph,
    activations_of,
    before,
    insert,
    place_of,
    row_sizes,
)
from ftonnx.runtime.activations.places import Layout, Place, blocked, permuted
from ftonnx.runtime.activations.sums import sum_before_turning
from ftonnx.runtime.layout.draft import NotPossibleError
from ftonnx.runtime.session_model import session_model
from ftonnx.sessions import SessionOptions, open_session, optimize_model, run_session

__all__ = ["flip_optimized", "optimized_graph"]

_BLOCKED_DOMAIN: Final = "com.microsoft.nchwc"
_FLAT: Final = "ftonnx_flat"


def optimized_graph(model: OnnxModel, space: FaultSpace, options: SessionOptions) -> FlippingGraph:
    """Return an optimized graph that flips bits of its activations; it is to be opened without optimizing it again.

    Args:
        model: the original.
        space: what can flip, activations alone.
        options: of the session that would run the plain model.

    Raises:
        NotPossibleError: an activation is not to be found.
        ModelError: ONNX Runtime refuses the model.
    """
    own_outputs = [value.name for value in model.structure.graph.output]
    names = [target.tensor for target in activations_of(space)]
    # what is an output is there, whatever is fused; the others stay as they are
    optimized = optimize_model(session_model(with_outputs_too(model.proto, names)), options)
    return flip_optimized(optimized, space, own_outputs)


def flip_optimized(optimized: ModelProto, space: FaultSpace, own_outputs: Sequence[str]) -> FlippingGraph:
    """Put flips into an optimized graph, in place.

    Args:
        optimized: made of a model that gives its activations beside its outputs.
        space: what can flip.
        own_outputs: names of the outputs.

    Raises:
        NotPossibleError: an activation is not to be found.
    """
    sum_before_turning(optimized)
    targets = activations_of(space)
    stored = _stored(optimized, targets, space)
    places = _flip(optimized, targets, space, stored)
    unflipped = [before(each.name) for each in stored]
    shown = with_outputs_too(optimized, unflipped)
    _only_outputs(optimized, own_outputs)
    return FlippingGraph(model=optimized, shown=shown, unflipped=tuple(unflipped), places=tuple(places))


class _Stored(NamedTuple):
    """Where an activation is in an optimized graph."""

    name: str
    layout: Layout


def _stored(optimized: ModelProto, targets: tuple[Target, ...], space: FaultSpace) -> list[_Stored]:
    makers = {name: node for node in optimized.graph.node for name in node.output}
    found = []
    for target in targets:
        if target.tensor not in makers:
            raise NotPossibleError(f"the optimizer left no place for {target.tensor!r}")
        found.append(_stored_behind(makers[target.tensor], target, row_sizes(target, space)))
    places = Counter(each.name for each in found)
    shared = [name for name, count in places.items() if count > 1]
    if shared:
        raise NotPossibleError(f"the optimizer put several activations into {shared[0]!r}")
    return found


def _stored_behind(maker: NodeProto, target: Target, sizes: tuple[int, ...]) -> _Stored:
    """Return what a node that only moves an activation has moved, or the activation itself."""
    if sum(map(bool, maker.output)) > 1 and maker.op_type != target.op_type:
        raise NotPossibleError(f"the optimizer has fused {target.tensor!r} with what reads it")
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in maker.attribute}
    if maker.domain == _BLOCKED_DOMAIN and maker.op_type == "ReorderOutput":
        if attributes.get("channels_last"):
            raise NotPossibleError(f"the optimizer turned {target.tensor!r} twice")
        return _Stored(maker.input[0], blocked(sizes, _block_size()))
    order = attributes.get("perm", ())
    if maker.op_type == "Transpose" and len(order) == len(sizes) + 1 and order[0] == 0:
        # the activation's axis i is the stored one's order[i]
        axes = [axis - 1 for axis in order[1:]]
        return _Stored(maker.input[0], permuted(sizes, np.argsort(axes).tolist()))
    return _Stored(target.tensor, permuted(sizes, range(len(sizes))))


@functools.cache
def _block_size() -> int:
    """Return how many channels ONNX Runtime keeps side by side on this processor.

    Raises:
        ModelError: it has no such layout.
    """
    shape = [1, 64, 1, 2]
    node = helper.make_node("ReorderInput", ["x"], ["y"], domain=_BLOCKED_DOMAIN)
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    graph = helper.make_graph([node], "blocks", [value], [ValueInfoProto(name="y")])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(_BLOCKED_DOMAIN, 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    pixels = np.zeros(shape, np.float32)
    # the second pixel of the first channel lies behind the first pixels of all channels of its block
    pixels[0, 0, 0, 1] = 1
    session = open_session(model.SerializeToString(), SessionOptions(optimize=False))
    (reordered,) = run_session(session, {"x": pixels})
    return int(np.flatnonzero(reordered)[0])


def _only_outputs(model: ModelProto, names: Sequence[str]) -> None:
    """Leave a graph these outputs, and no node that nobody reads, in place."""
    graph = model.graph
    kept = [value for value in graph.output if value.name in names]
    del graph.output[:]
    graph.output.extend(kept)
    readers = count_readers(graph)
    nodes = []
    for node in reversed(graph.node):
        if any(readers[name] for name in node.output):
            nodes.append(node)
            continue
        for name in node.input:
            readers[name] -= 1
    nodes.reverse()
    del graph.node[:]
    graph.node.extend(nodes)


def _sizes(name: str, sizes: list[int]) -> TensorProto:
    return numpy_helper.from_array(np.array(sizes, np.int64), name)


def _set_shape(graph: onnx.GraphProto, name: str, kind: int, sizes: list[int | str | None]) -> None:
    """Say the sizes of a tensor, in place of what the graph says of it."""
    others = [value for value in graph.value_info if value.name != name]
    del graph.value_info[:]
    graph.value_info.extend([*others, helper.make_tensor_value_info(name, kind, sizes)])


def _flip(model: ModelProto, targets: tuple[Target, ...], space: FaultSpace, stored: list[_Stored]) -> list[Place]:
    """Put flips of the stored tensors into the optimized graph, in place; return where they are."""
    opset = opset_of(model)
    graph = model.graph
    images = graph.input[0].type.tensor_type.shape.dim
    is_per_image = space.scope.per == IMAGE
    graph.initializer.append(_sizes(_FLAT, [-1]))
    places = []
    behind: dict[str, list[NodeProto]] = {}
    functions: dict[str, FunctionProto] = {}
    for number, (target, found) in enumerate(zip(targets, stored, strict=True)):
        place = place_of(number, target, found.layout)
        function = row_function(place.form, opset)
        functions[function.name] = function
        row = f"{place.where}_row"
        flipped = f"{place.where}_flipped"
        shape = f"{place.where}_shape"
        behind[found.name] = [
            helper.make_node("Reshape", [before(found.name), _FLAT], [row]),
            helper.make_node(function.name, [row, place.where, place.mask], [flipped], domain=DOMAIN),
            helper.make_node("Reshape", [flipped, shape], [found.name]),
        ]
        rank = len(target.shape) + is_per_image
        graph.initializer.append(_sizes(shape, [-1, *found.layout.stored] if rank else []))
        kind = helper.np_dtype_to_tensor_dtype(target.format.dtype)
        # sizes of one name are known to be equal, whatever they are: so it scatters in place
        for name in (row, flipped):
            graph.value_info.append(helper.make_tensor_value_info(name, kind, [f"{place.where}_elements"]))
        if is_per_image and images:
            first = images[0].dim_param or images[0].dim_value or None
            _set_shape(graph, found.name, kind, [first, *found.layout.stored])
        places.append(place)
    insert(model, behind, places, list(functions.values()))
    return places
