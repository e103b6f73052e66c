"""Opening a model whose activations can flip: alone, or beside its stored values."""

import logging
from dataclasses import replace
from typing import Final

from ftonnx.errors import ModelError
from ftonnx.inject import FaultSpace, OnnxModel
from ftonnx.runtime.activations.graph import flipping_graph
from ftonnx.runtime.activations.proof import ActivationProof
from ftonnx.runtime.activations.source import FlippingCache, FlippingSource
from ftonnx.runtime.activations.strategies import ALONE, BesideOptimized, BesideStored, Flipping, OnGraph, Told
from ftonnx.runtime.choice import Choice, choose_strategy
from ftonnx.runtime.layout.cache import LayoutCache
from ftonnx.runtime.layout.draft import NotPossibleError
from ftonnx.runtime.layout.memory import MemorySource
from ftonnx.runtime.proof import Case
from ftonnx.runtime.session_model import session_model
from ftonnx.runtime.strategies import AUTO, strategy_class
from ftonnx.runtime.strategies.base import Strategy
from ftonnx.sessions import SessionOptions, open_session

__all__ = ["choose_with_activations", "taken_over"]

_IMPOSSIBLE: Final = "faults in activations are not possible"
_logger: Final = logging.getLogger(__name__)


def choose_with_activations(wanted: str, case: Case, cache: LayoutCache) -> Choice:
    """Open the strategies in question for a space with activations, and take the fastest that passes the proof.

    Args:
        wanted: a strategy for stored values, or ``auto``.
        case: what they are compared on.
        cache: where they get their memory from.

    Raises:
        ModelError: ONNX Runtime refuses the model, or flips other bits than were asked for.
        DataError: the model refuses the sample.
    """
    proof = ActivationProof(case)
    stored = case.space.stored
    if stored is None:
        chosen = _alone(wanted, case, cache, proof)
    else:
        chosen = _beside_either(wanted, case, stored, cache, proof)
    if isinstance(chosen.strategy, Flipping):
        chosen.strategy.release()
    return chosen


def _beside_either(wanted: str, case: Case, stored: FaultSpace, cache: LayoutCache, proof: ActivationProof) -> Choice:
    """Open the strategies for stored values on optimized graphs, or else on the model's own."""
    try:
        return _beside_optimized(wanted, case, stored, cache, proof)
    except (NotPossibleError, ModelError) as error:
        _logger.info("flips are put into the model's own graph: %s", error)
    return _beside(wanted, case, stored, cache, proof)


def _beside_optimized(
    wanted: str, case: Case, stored: FaultSpace, cache: LayoutCache, proof: ActivationProof
) -> Choice:
    """Open the strategies for stored values on graphs that ONNX Runtime has optimized, with flips put in."""
    source = FlippingCache(cache, case.space)
    chosen = choose_strategy(
        wanted,
        replace(case, space=stored),
        source,
        within=lambda strategy: BesideOptimized(strategy, case.space, case.model.structure),
    )
    _require(proof, chosen.strategy)
    if not proof.is_plain(chosen.strategy):
        raise NotPossibleError("outputs without faults are not the plain model's")
    return chosen


def _beside(wanted: str, case: Case, stored: FaultSpace, cache: LayoutCache, proof: ActivationProof) -> Choice:
    """Open them on the model's own graph, with flips put in."""
    graph = flipping_graph(case.model.proto, case.space)
    told = Told(graph.places, case.space, case.model.structure)
    own = replace(case, model=case.model.with_proto(graph.model), space=stored, feeds=told.golden(case.feeds))
    chosen = choose_strategy(wanted, own, cache)
    strategy = BesideStored(chosen.strategy, graph, case.space, case.model.structure)
    _require(proof, strategy)
    if not proof.is_plain(strategy):
        _warn_of_rounding(case)
    return Choice(strategy, chosen.fallback)


def _require(proof: ActivationProof, strategy: Strategy) -> None:
    """Refuse a strategy that does not pass.

    Raises:
        ModelError: it does not.
    """
    reason = proof.shortfall(strategy)
    if reason is not None:
        raise ModelError(f"{_IMPOSSIBLE}: {reason}")


def _alone(wanted: str, case: Case, cache: LayoutCache, proof: ActivationProof) -> Choice:
    """Open the model for faults in activations and nothing else; strategies are about stored values."""
    rounded: Flipping | None = None
    reason: str | None = None
    for kind in ALONE:
        try:
            opened = kind(case.model, case.space, case.options, cache)
        except (NotPossibleError, ModelError) as error:
            reason = str(error)
        else:
            reason = proof.shortfall(opened)
            if reason is None and proof.is_plain(opened):
                return _as_asked(wanted, opened)
            if reason is None:
                rounded = rounded or opened
                reason = "its outputs without faults are not the plain model's"
        _logger.info("%s: %s", kind.__name__, reason)
    if rounded is None:
        # a model that does not open as it is has an error of its own
        open_session(session_model(case.model.structure), case.options)
        raise ModelError(f"{_IMPOSSIBLE}: {reason}")
    _warn_of_rounding(case)
    return _as_asked(wanted, rounded)


def _as_asked(wanted: str, strategy: Strategy) -> Choice:
    """Return a choice, and say so where it is not what was asked for."""
    if wanted in (AUTO, strategy.name):
        return Choice(strategy, None)
    return Choice(strategy, f"{wanted} is for stored values, and activations alone can flip")


def _warn_of_rounding(case: Case) -> None:
    _logger.warning(
        "%s: fault-free outputs differ from the plain model's by rounding: ONNX Runtime would fuse an activation that "
        "can flip; leave it out with `exclude`, or compare with this campaign's own golden run",
        case.model.name,
    )


def taken_over(
    kind: str, model: OnnxModel, space: FaultSpace, options: SessionOptions, source: MemorySource
) -> Strategy:
    """Open a strategy as it is open elsewhere, without a proof.

    Args:
        kind: its name for itself.
        model: the model.
        space: its fault space, with activations.
        options: how sessions are to be opened.
        source: gives the memory of stored values.
    """
    strategy = _as_elsewhere(kind, model, space, options, source)
    strategy.release()
    return strategy


def _as_elsewhere(
    kind: str, model: OnnxModel, space: FaultSpace, options: SessionOptions, source: MemorySource
) -> Flipping:
    stored = space.stored
    if stored is None:
        alone = {each.__name__: each for each in ALONE}
        return alone.get(kind, OnGraph)(model, space, options, source)
    outer, _, inner = kind.partition(" ")
    opened = strategy_class(inner)
    if outer == BesideOptimized.__name__:
        strategy = opened(model, stored, options, FlippingSource(source, space))
        return BesideOptimized(strategy, space, model.structure)
    graph = flipping_graph(model.proto, space)
    strategy = opened(model.with_proto(graph.model), stored, options, source)
    return BesideStored(strategy, graph, space, model.structure)
