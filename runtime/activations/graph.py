"""Graphs that flip bits of their activations: every chosen tensor becomes ``FlipBits(t, where, mask)``."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from onnx import FunctionProto, ModelProto, NodeProto, TensorProto, helper

from ftonnx.errors import UsageError
from ftonnx.graphs import FREE_INITIALIZERS, copy_of, forget_stored_inputs, with_outputs_too
from ftonnx.inject import FaultSpace, Target
from ftonnx.inject.activations import IMAGE
from ftonnx.runtime.activations.functions import DOMAIN, flip_function, mask_type, opset_of, row_function
from ftonnx.runtime.activations.places import Layout, Place, permuted

__all__ = [
    "FlippingGraph", "activations_of", "before", "flipping_graph", "insert", "place_of", "require_made",
    "row_sizes",
]  # fmt: skip

_WITH_FUNCTIONS: Final = 8
"""The first IR version with model-local functions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlippingGraph:
    """A model that flips bits of its activations.

    Attributes:
        model: it; its further inputs say what flips.
        shown: the same with more outputs: every activation under its own name, after its bits have flipped, and as it
            is stored, before.
        unflipped: names of the latter, in the order of the fault space.
        places: where the activations are flipped, in this order.
    """

    model: ModelProto
    shown: ModelProto
    unflipped: tuple[str, ...]
    places: tuple[Place, ...]


def flipping_graph(model: ModelProto, space: FaultSpace) -> FlippingGraph:
    """Return a copy of a model in which each activation is flipped right where it is made, so that all readers see it.

    Stored tensors keep their places among all that the model stores.

    Raises:
        ModelError: its operators are too old.
    """
    opset = opset_of(model)
    flipping = copy_of(model)
    places = []
    behind: dict[str, list[NodeProto]] = {}
    functions: dict[str, FunctionProto] = {}
    for number, target in enumerate(activations_of(space)):
        sizes = row_sizes(target, space)
        place = place_of(number, target, permuted(sizes, range(len(sizes))))
        flip = flip_function(place.form, opset)
        row = row_function(place.form, opset)
        functions[flip.name] = flip
        functions[row.name] = row
        inputs = [before(target.tensor), place.where, place.mask]
        behind[target.tensor] = [helper.make_node(flip.name, inputs, [target.tensor], domain=DOMAIN)]
        places.append(place)
    insert(flipping, behind, places, list(functions.values()))
    unflipped = [before(name) for name in behind]
    return FlippingGraph(
        model=flipping,
        shown=with_outputs_too(flipping, [*behind, *unflipped]),
        unflipped=tuple(unflipped),
        places=tuple(places),
    )


def activations_of(space: FaultSpace) -> tuple[Target, ...]:
    """Return the targets that are activations."""
    return space.targets[space.stored_targets :]


def require_made(model: ModelProto, space: FaultSpace) -> None:
    """Refuse a space of another model.

    Raises:
        UsageError: the model's main graph does not compute an activation of the space.
    """
    made = {name for node in model.graph.node for name in node.output}
    for target in activations_of(space):
        if target.tensor not in made:
            raise UsageError(f"this fault space is of another model: nothing computes {target.tensor!r}")


def row_sizes(target: Target, space: FaultSpace) -> tuple[int, ...]:
    """Return the sizes of an activation's axes in a run, but for the first."""
    return target.shape if space.scope.per == IMAGE else target.shape[1:]


def place_of(number: int, target: Target, layout: Layout) -> Place:
    """Return where an activation is flipped.

    Args:
        number: of the activation.
        target: it.
        layout: how the graph stores it.
    """
    sizes = [len(offset) for offset in layout.offsets]
    return Place(
        where=f"ftonnx_where_{number}",
        mask=f"ftonnx_mask_{number}",
        form=target.format,
        layout=layout,
        row=math.prod(sizes),
    )


def before(name: str) -> str:
    """Return the name of a tensor's values before bits flip."""
    return f"{name}/before_faults"


def insert(
    model: ModelProto,
    behind: Mapping[str, Sequence[NodeProto]],
    places: Sequence[Place],
    functions: Sequence[FunctionProto],
) -> None:
    """Put nodes behind those that make tensors, which get another name there, in place.

    Args:
        model: it.
        behind: the nodes, by the tensor; they read ``before`` of it and make it.
        places: of the activations, whose inputs the graph gets.
        functions: that the nodes call.
    """
    graph = model.graph
    nodes = []
    for node in graph.node:
        nodes.append(node)
        for slot, name in enumerate(node.output):
            if name in behind:
                node.output[slot] = before(name)
                nodes += behind[name]
    # a repeated field of protobuf can only be emptied and filled, and its nodes live as long as they are referred to
    del graph.node[:]
    graph.node.extend(nodes)
    for place in places:
        count = place.where
        graph.input.append(helper.make_tensor_value_info(place.where, TensorProto.INT64, [count]))
        graph.input.append(helper.make_tensor_value_info(place.mask, mask_type(place.form), [count]))
    # what is stored in functions comes behind everything else
    model.functions.extend(functions)
    if DOMAIN not in {each.domain for each in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    if model.ir_version < FREE_INITIALIZERS:
        forget_stored_inputs(model)
    model.ir_version = max(model.ir_version, _WITH_FUNCTIONS)
