"""One tensor whose bits can flip: stored in the model, or computed while it runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ftonnx.inject.formats import Format

__all__ = ["Target"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One tensor whose bits can flip.

    Attributes:
        tensor: its name, exactly as in the graph.
        role: ``weight``, ``bias``, ``scale`` or ``zero_point`` of a stored tensor; ``activation`` of a computed one.
        node: name of the first node that a stored tensor feeds, or of the one that computes it.
        op_type: that node's operator.
        shape: of the tensor; of an activation, its part of one image, or all of it in a run (see ``ActivationScope``).
        format: how an element's bits are seen.
        flippable: numbers of an element's bits that can flip, ascending; empty where all can.
    """

    tensor: str
    role: str
    node: str
    op_type: str
    shape: tuple[int, ...]
    format: Format
    flippable: tuple[int, ...] = ()

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bits(self) -> int:
        """Number of bits that can flip."""
        return self.elements * len(self.bit_numbers)

    @property
    def bit_numbers(self) -> Sequence[int]:
        """Numbers of an element's bits that can flip, counted from the least significant."""
        return self.flippable or range(self.format.bits)

    def to_dict(self) -> dict[str, Any]:
        """Return the target as JSON values; ``flippable`` only where not every bit can flip."""
        values: dict[str, Any] = {
            "tensor": self.tensor,
            "role": self.role,
            "node": self.node,
            "op_type": self.op_type,
            "shape": list(self.shape),
            "dtype": self.format.dtype.name,
            "format": self.format.name,
            "bits": self.bits,
        }
        # the fingerprint is made of this: a space without the choice keeps the one it always had
        if self.flippable:
            values["flippable"] = list(self.flippable)
        return values
