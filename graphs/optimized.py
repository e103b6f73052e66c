"""Files that ONNX Runtime's optimizer wrote: what they can no longer be used for."""

from typing import Final

from onnx import ModelProto, NodeProto

from ftonnx.errors import ModelError

__all__ = ["require_unoptimized"]

_DOMAIN: Final = "com.microsoft"
_BLOCKED_DOMAIN: Final = "com.microsoft.nchwc"
"""Its operators take channels in blocks, where a value per channel has another place."""

_FUSED: Final = frozenset({"FusedConv", "FusedGemm", "FusedMatMulActivation", "NhwcFusedConv"})
"""Operators that hold an activation, or another node, inside."""

_MOST_NAMED: Final = 3


def require_unoptimized(model: ModelProto) -> None:
    """Refuse a model whose nodes ONNX Runtime's optimizer fused, where the nodes of before are needed.

    Running it with faults needs them not: what is stored is what flips.

    Raises:
        ModelError: the model has fused nodes, or nodes of the blocked layout.
    """
    # dict keys: each once, in the order of the graph
    found = list(dict.fromkeys(_described(node) for node in model.graph.node if _is_fused(node)))
    if not found:
        return
    named = ", ".join(found[:_MOST_NAMED])
    more = ", ..." if len(found) > _MOST_NAMED else ""
    raise ModelError(
        f"this file was optimized by ONNX Runtime ({named}{more}), which hides activations and the layout of weights; "
        "give the model from before"
    )


def _is_fused(node: NodeProto) -> bool:
    if node.domain == _BLOCKED_DOMAIN:
        return True
    return node.domain == _DOMAIN and node.op_type in _FUSED


def _described(node: NodeProto) -> str:
    if node.domain == _BLOCKED_DOMAIN:
        return f"{node.op_type} of {node.domain}"
    return node.op_type
