"""ReLU6: clamp at 6 (paper, equation 5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from ftonnx.errors import ModelError
from ftonnx.export import Activation, with_activation
from ftonnx.inject import OnnxModel
from ftonnx.mitigate.points import ClipActSettings
from ftonnx.mitigate.protections.base import Protected, Protection, Work, marked

__all__ = ["ReLU6"]


@dataclass(frozen=True, slots=True)
class ReLU6(Protection):
    """Every ReLU becomes a clamp from 0 to 6; needs no data."""

    name: ClassVar[str] = "relu6"

    def apply(self, model: OnnxModel, activations: Sequence[Activation], work: Work) -> Protected:
        """Clamp the ReLUs and leave all other activations alone."""
        names = []
        for activation in activations:
            if activation.kind == "relu":
                names.append(activation.name)
        if not names:
            raise ModelError(f"{model.name} has no Relu that relu6 could clamp; use actmax or clipact")
        clamped = with_activation(model.proto, "relu6")
        marked(clamped, self.name)
        return Protected(clamped, None, tuple(names))

    @classmethod
    def with_options(cls, *, scope: str, settings: ClipActSettings) -> Self:
        """Take none of them."""
        return cls()
