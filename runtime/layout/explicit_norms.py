"""Stand-alone batch normalization made explicit, so that its stored values keep a place in memory.

ONNX Runtime folds a BatchNormalization into other constants by arithmetic, after which a flip in
gamma, beta, mean or variance has nowhere to go. Written as a per-channel scale and shift (a
depthwise 1x1 Conv) with the same arithmetic, a flip is one recomputed channel.
"""

from typing import Final

import numpy as np
import onnx
import onnx_ir as ir
from onnx.shape_inference import InferenceError
from onnx_ir.serde import SerdeError

from ftonnx.errors import message_of
from ftonnx.graphs import ExplicitNorm
from ftonnx.graphs.ir_models import edited_proto, to_ir
from ftonnx.graphs.norms import StoredNorm, make_explicit, stored_norms

__all__ = ["explicit_batch_norms"]

_IMAGE_AXES: Final = 4


def explicit_batch_norms(model: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[ExplicitNorm, ...]]:
    """Return a copy with its 4-D inference BatchNormalizations made explicit, and what was changed.

    Nodes whose four parameters are not plain float32 initializers stay as they are.

    Raises:
        ValueError: onnx-ir cannot edit the graph.
    """
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
        edited = to_ir(inferred)
        norms = _made_explicit(edited.graph)
        return edited_proto(edited, inferred), norms
    except (SerdeError, InferenceError) as error:
        raise ValueError(message_of(error)) from error


def _made_explicit(graph: ir.Graph) -> tuple[ExplicitNorm, ...]:
    made = []
    for norm in list(stored_norms(graph)):
        if not _can_be_flipped(norm):
            continue
        output = norm.node.outputs[0].name
        explicit = make_explicit(
            graph,
            norm,
            scale=f"{output}/ftonnx_scale",
            shift=f"{output}/ftonnx_shift",
            precision=np.float32,  # as ONNX Runtime computes, and as a flipped channel is recomputed
        )
        made.append(explicit)
    return tuple(made)


def _can_be_flipped(norm: StoredNorm) -> bool:
    """Say whether all four parameters are initializers, in which faults can lie, and images are normalized."""
    stored = all(parameter.is_initializer() for parameter in norm.parameters)
    return stored and norm.rank == _IMAGE_AXES
