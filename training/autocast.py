"""Steps in a narrower float type where torch holds that for safe, and with it faster."""

from contextlib import AbstractContextManager
from typing import Any, Final

import torch

from ftonnx.training.settings import AUTO

__all__ = ["Autocast"]

_BY_DEVICE: Final = {"cuda": "float16"}
"""What ``auto`` means; nothing on other devices."""


class Autocast:
    """How the steps of a training compute: in float32, or in mixed precision as ``torch.autocast`` has it.

    Attributes:
        scaler: keeps small gradients of float16 from becoming 0; it does nothing in other types.
    """

    def __init__(self, name: str, kind: str) -> None:
        """Choose.

        Args:
            name: one of ``settings.AUTOCASTS``.
            kind: of the device, such as ``cuda``.
        """
        chosen = _BY_DEVICE.get(kind) if name == AUTO else name
        self._kind = kind
        self._dtype: torch.dtype | None = getattr(torch, chosen) if chosen in ("float16", "bfloat16") else None
        self.scaler = torch.amp.GradScaler(kind, enabled=self._dtype is torch.float16)

    def __call__(self) -> AbstractContextManager[Any]:
        """Return the context that a step's loss is computed in."""
        return torch.autocast(self._kind, dtype=self._dtype, enabled=self._dtype is not None)
