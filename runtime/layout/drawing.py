"""From a draft to its memory: the model is optimized, and every target is found."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto

from ftonnx.files import scratch_folder
from ftonnx.graphs import ExplicitNorm, copy_of, copy_without, hoist, stored_anywhere, take_bytes
from ftonnx.inject.formats import Words
from ftonnx.inject.tensors import byte_count, element_count, is_external, words_of, write_words
from ftonnx.runtime.layout.blueprint import Blueprint, Rest, Weights
from ftonnx.runtime.layout.draft import Draft, Named, NotPossibleError
from ftonnx.runtime.layout.half_bytes import elements_of, halves_of
from ftonnx.runtime.layout.memory import Memory
from ftonnx.runtime.layout.placement import Placement, row_major
from ftonnx.runtime.layout.places import Layout, find_layout

__all__ = ["draw"]

_Tensors = Mapping[str, onnx.TensorProto]


def draw(draft: Draft) -> Memory:
    """Optimize the draft's model and find every target; return the blueprint with the values that belong into it.

    Raises:
        NotPossibleError: a target has no place in the optimized graph.
    """
    if not draft.options.optimize:
        named = draft.named(draft.model.structure)
        blueprint, weights = _as_it_is(draft, named)
    else:
        named = draft.named(draft.model.proto)
        blueprint, weights = _optimized(draft, named)
    return Memory(blueprint, weights, draft.space, named.names)


def _optimized(draft: Draft, named: Named) -> tuple[Blueprint, Weights]:
    """Return the blueprint of the optimized graph, and its values."""
    scratch, norms = draft.prepared(named.model)
    tensors = stored_anywhere(scratch)
    names = list(named.names)
    # these are no targets, but faults in the parameters go there
    for norm in norms:
        names.append(norm.scale)
        names.append(norm.shift)
    # the user knows them by the names in the file
    own = {name: target.tensor for name, target in zip(named.names, draft.space.targets, strict=True)}
    with scratch_folder() as folder:
        layout = find_layout(scratch, names, draft.options, folder)
        _require_found(layout, norms, own)
        return _without_values(layout, norms, tensors)


def _as_it_is(draft: Draft, named: Named) -> tuple[Blueprint, Weights]:
    """Return the blueprint of a graph that is not optimized, and its values: every initializer is where it was."""
    prepared, norms = draft.prepared(named.model)
    scratch = copy_of(prepared)
    stored = stored_anywhere(scratch)
    # no session could be given what lies elsewhere
    hoist(scratch, [stored[name] for name in named.names])
    graph = scratch.graph
    inside = {tensor.name: tensor for tensor in graph.initializer}
    names = list(named.names)
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


def _require_found(layout: Layout, norms: Sequence[ExplicitNorm], own: Mapping[str, str]) -> None:
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
        first = own.get(lost[0], lost[0])
        raise NotPossibleError(f"the optimizer left no place for {first!r}{more}")


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
    in_halves = bare.in_halves(tensors)
    rest: dict[str, Rest] = {}
    placed = Counter[str]()
    for place in bare.all_places():
        placed[place.initializer] += place.elements
    held = bare.held
    for name, tensor in held.items():
        if name in in_halves:
            words = elements_of(tensor, TensorProto.UINT4)
            explained = halves_of(weights.arrays[name])[: len(words)]
            rest |= _unexplained(name, words, explained)
        # the places were compared with the graph: what differs belongs to no element
        elif placed[name] < element_count(tensor):
            rest |= _unexplained(name, elements_of(tensor, tensor.data_type), weights.arrays[name])
        take_bytes(tensor, byte_count(tensor))
    for tensor in bare.model.graph.initializer:
        # of the others the graph keeps the values
        if is_external(tensor) and tensor.name not in held:
            write_words(tensor, words_of(tensor))
    # cleared bytes stay with the old message
    light = onnx.ModelProto.FromString(bare.model.SerializeToString())
    blueprint = replace(bare, model=light, rest=rest)
    for name, (positions, words) in rest.items():
        # half bytes are put together anew
        if name in in_halves:
            return blueprint, blueprint.weights(tensors)
        weights.arrays[name][positions] = words
    return blueprint, weights


def _unexplained(name: str, words: Words, explained: Words) -> dict[str, Rest]:
    """Return the positions and words of an initializer that no element explains; nothing where there are none."""
    positions = np.flatnonzero(words != explained)
    return {name: (positions, words[positions])} if len(positions) else {}
