"""Fault spaces without models, and how much work something is."""

import sys

import numpy as np

from ftonnx.inject import FaultSpace, Target, parse_format


def space_of(*tensors):
    """Make a fault space of (elements, element type) without any model behind it."""
    targets = tuple(
        Target(
            tensor=f"t{i}",
            role="weight",
            node="n",
            op_type="Conv",
            shape=(elements,),
            format=parse_format("auto", np.dtype(dtype)),
        )
        for i, (elements, dtype) in enumerate(tensors)
    )
    return FaultSpace(targets, tuple(range(len(targets))))


def calls_of(action):
    """Return how many calls of functions something takes: a measure of work that no busy machine changes."""
    count = 0

    def note(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count
