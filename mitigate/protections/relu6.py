"""ReLU6: clamp at 6 (paper, equation 5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Self

import numpy as np

from ftonnx.errors import ModelError
from ftonnx.export import Activation, check_on_exceed, clip_activations, with_activation
from ftonnx.inject import OnnxModel
from ftonnx.mitigate.points import ClipActSettings
from ftonnx.mitigate.protections.base import Protected, Protection, Work, marked

__all__ = ["ReLU6"]

_SIX: Final = np.float32(6)


@dataclass(frozen=True, slots=True)
class ReLU6(Protection):
    """Every ReLU is limited to 6; needs no data.

    Attributes:
        on_exceed: what a value above 6 becomes: 6 (``clamp``), or ``zero``.

    Raises:
        UsageError: the form is not known.
    """

    name: ClassVar[str] = "relu6"
    on_exceed: str = "clamp"

    def __post_init__(self) -> None:
        """Check the form."""
        check_on_exceed(self.on_exceed)

    def apply(self, model: OnnxModel, activations: Sequence[Activation], work: Work) -> Protected:
        """Limit the ReLUs and leave all other activations alone."""
        names = []
        for activation in activations:
            if activation.kind == "relu":
                names.append(activation.name)
        if not names:
            raise ModelError(f"{model.name} has no Relu that relu6 could clamp; use actmax or clipact")
        if self.on_exceed == "clamp":
            limited = with_activation(model.proto, "relu6")
        else:
            limited, _ = clip_activations(model.proto, dict.fromkeys(names, np.asarray(_SIX)))
        marked(limited, self.name, self.on_exceed)
        return Protected(limited, None, tuple(names))

    @classmethod
    def with_options(cls, *, scope: str, settings: ClipActSettings, on_exceed: str | None) -> Self:
        """Take the form."""
        return cls(on_exceed or "clamp")
