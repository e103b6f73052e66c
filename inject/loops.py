"""Operators that run until a computed condition, or a number that bits can flip in, lets them end."""

from typing import Final

from onnx import ModelProto

from ftonnx.inject.bodies import all_bodies

__all__ = ["has_loops"]

_LOOPS: Final = {"Loop", "BeamSearch", "GreedySearch", "Sampling", "WhisperBeamSearch"}


def has_loops(model: ModelProto) -> bool:
    """Say whether a model has a node that may run for ever; all others end, as there are so many."""
    return any(node.op_type in _LOOPS for body in all_bodies(model) for node in body.node)
