"""Why a tensor is not in a fault space, in the words of tables and reports."""

from typing import Final

__all__ = [
    "ATTRIBUTE", "BIT", "FUSED", "GRID", "INNER", "INPUT", "INTEGER", "KIND", "MASK", "MOVED", "NAME", "NOT_PER_IMAGE",
    "QUANTIZED", "ROLE", "SCALAR", "SHAPELESS", "SPARSE", "STATE", "THRESHOLD", "UNUSED", "ZEROS", "attribute_of",
    "is_of_computed", "is_worth_a_word", "not_followed",
]  # fmt: skip

ROLE: Final = "role not chosen"
NAME: Final = "name not chosen"
BIT: Final = "bits not chosen"

INTEGER: Final = "shape, index or condition"
SCALAR: Final = "single number"
THRESHOLD: Final = "threshold"
UNUSED: Final = "values not used"

MASK: Final = "mask"
GRID: Final = "grid or anchors"
INPUT: Final = "normalization of the input"
STATE: Final = "initial state"
ZEROS: Final = "initial state of zeros"
SPARSE: Final = "sparse"
FUSED: Final = "fused into its reader"
MOVED: Final = "only moves values"
QUANTIZED: Final = "in memory quantized"
INNER: Final = "inside a subgraph"
SHAPELESS: Final = "size not known before the run"
NOT_PER_IMAGE: Final = "not per image"
KIND: Final = "type that no run flips"

ATTRIBUTE: Final = "attribute"
"""Begins the reason for values that are no tensor, see ``attribute_of``."""

_COMPUTED: Final = frozenset({FUSED, MOVED, QUANTIZED, INNER, SHAPELESS, NOT_PER_IMAGE, KIND})
_EXPECTED: Final = frozenset({ROLE, NAME, BIT, INTEGER, SCALAR, THRESHOLD, UNUSED, ZEROS}) | _COMPUTED


def not_followed(op_type: str) -> str:
    """Return the reason where an operator reads values that ftonnx cannot judge."""
    return f"not followed: {op_type}"


def attribute_of(op_type: str) -> str:
    """Return the reason where an operator holds values in an attribute."""
    return f"{ATTRIBUTE} of {op_type}"


def is_of_computed(reason: str) -> bool:
    """Say whether a reason is one of computed tensors alone."""
    return reason in _COMPUTED


def is_worth_a_word(reason: str) -> bool:
    """Say whether a user would want to know: neither the user's own choice, nor what is never a weight."""
    return reason not in _EXPECTED
