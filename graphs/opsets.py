"""Which operators a model is written in."""

import onnx

__all__ = ["standard_opset"]


def standard_opset(proto: onnx.ModelProto) -> int:
    """Return the version of the standard operators that a model imports, 0 where it imports none."""
    opsets = {entry.domain: entry.version for entry in proto.opset_import}
    # the standard domain has two names
    return opsets.get("", opsets.get("ai.onnx", 0))
