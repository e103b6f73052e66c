"""Fault spaces without models."""

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
