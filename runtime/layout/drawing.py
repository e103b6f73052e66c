"""From a draft to its blueprint and its values: the model is optimized, and every target is found."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx

from ftonnx.graphs import ExplicitNorm, copy_without, take_bytes
from ftonnx.inject import FaultSpace
from ftonnx.inject.tensors import byte_count, element_count, is_external, words_of
from ftonnx.runtime.layout.blueprint import Blueprint, Rest, Weights
from ftonnx.runtime.layout.draft import Draft, NotPossibleError
from ftonnx.runtime.layout.placement import Placement, row_major
from ftonnx.runtime.layout.places import Layout, find_layout, stored_tensors

__all__ = ["draw"]

_Tensors = Mapping[str, onnx.TensorProto]


def draw(draft: Draft) -> tuple[Blueprint, Weights]:
    """Optimize the draft's model and find every target; return the blueprint and the values that belong into it.

    Raises:
        NotPossibleError: a target has no place in the optimized graph.
    """
    if not draft.options.optimize:
        return _as_it_is(draft)
    scratch, norms = draft.prepared(draft.model.proto)
    tensors = stored_tensors(scratch.graph)
    names = _reachable(draft.space, tensors)
    # these are no targets, but faults in the parameters go there
    for norm in norms:
        names.append(norm.scale)
        names.append(norm.shift)
    layout = find_layout(scratch, names, draft.options)
    _require_found(layout, norms)
    return _without_values(layout, norms, tensors)


def _as_it_is(draft: Draft) -> tuple[Blueprint, Weights]:
    """Return the blueprint of a graph that is not optimized: every initializer is where it was."""
    scratch, norms = draft.prepared(draft.model.structure)
    graph = scratch.graph
    inside = {tensor.name: tensor for tensor in graph.initializer}
    names = _reachable(draft.space, inside)
    # no session could read these from their files
    names += [tensor.name for tensor in graph.initializer if is_external(tensor)]
    places: dict[str, tuple[Placement, ...]] = {}
    sizes: dict[str, int] = {}
    for name in names:
        tensor = inside[name]
        places[name] = (row_major(name, tuple(tensor.dims)),)
        sizes[name] = byte_count(tensor)
    blueprint = Blueprint(
        model=copy_without(scratch, sizes),
        places=places,
        norms=norms,
        rest={},
    )
    return blueprint, blueprint.weights(inside)


def _reachable(space: FaultSpace, stored: _Tensors) -> list[str]:
    """Return the names of all targets, provided that our arrays can hold them."""
    for target in space.targets:
        if target.tensor not in stored:
            raise NotPossibleError(f"{target.tensor!r} lies in a subgraph or function")
        if not target.format.known_to_numpy:
            lacking = target.format.dtype.name
            raise NotPossibleError(f"{target.tensor!r} has the type {lacking}, which numpy lacks")
    return [target.tensor for target in space.targets]


def _require_found(layout: Layout, norms: Sequence[ExplicitNorm]) -> None:
    # what feeds a normalization needs no place of its own: its scale and shift have one
    needless: set[str] = set()
    for norm in norms:
        needless.update(norm.inputs)
    lost = []
    for name, found in layout.places.items():
        if not found and name not in needless:
            lost.append(name)
    if lost:
        others = len(lost) - 1
        more = f" and {others} more" if others else ""
        raise NotPossibleError(f"the optimizer left no place for {lost[0]!r}{more}")


def _without_values(layout: Layout, norms: tuple[ExplicitNorm, ...], tensors: _Tensors) -> tuple[Blueprint, Weights]:
    """Return the blueprint of an optimized graph, which gives up its bytes, and its values.

    Args:
        layout: the graph and where its tensors went.
        norms: what was made explicit before it was optimized.
        tensors: the original model's, by name.
    """
    bare = Blueprint(
        model=layout.model,
        places=layout.places,
        norms=norms,
        rest={},
    )
    weights = bare.weights(tensors)
    rest: dict[str, Rest] = {}
    placed = Counter[str]()
    for place in bare.all_places():
        placed[place.initializer] += place.elements
    for name, tensor in bare.held.items():
        # the places were compared with the graph: what differs belongs to no element
        if placed[name] < element_count(tensor):
            words = words_of(tensor)
            explained = weights.arrays[name]
            positions = np.flatnonzero(words != explained)
            if len(positions):
                rest[name] = (positions, words[positions])
                explained[positions] = words[positions]
        take_bytes(tensor, byte_count(tensor))
    # cleared bytes stay with the old message
    light = onnx.ModelProto.FromString(bare.model.SerializeToString())
    return replace(bare, model=light, rest=rest), weights
