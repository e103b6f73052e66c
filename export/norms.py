"""BatchNormalization that no convolution took in, written as a per-channel scale and shift."""

import numpy as np
import onnx_ir as ir

from ftonnx.export.initializers import module_prefix
from ftonnx.graphs.norms import make_explicit, stored_norms

__all__ = ["explicit_norms"]


def explicit_norms(graph: ir.Graph) -> None:
    """Replace, in place, each inference BatchNormalization with stored parameters.

    An input with spatial axes goes through a depthwise 1x1 Conv, one without through Mul and Add.
    """
    for norm in list(stored_norms(graph)):
        prefix = module_prefix(norm.node)
        # the file is there to stay: its numbers are those of exact arithmetic, rounded once
        make_explicit(graph, norm, scale=f"{prefix}scale", shift=f"{prefix}shift", precision=np.float64)
