"""Views of two sizes, as SwAV and DINO take them."""

from collections.abc import Sequence
from itertools import groupby
from typing import Final

import torch
from torch import Tensor, nn

__all__ = ["LARGE_VIEWS", "encoded"]

LARGE_VIEWS: Final = 2
"""How many of the views are large; they come first."""


def encoded(encoder: nn.Module, views: Sequence[Tensor]) -> list[Tensor]:
    """Return features of views, ``(views x images, width)`` for each size, view by view.

    Views of one size are one batch, so that their statistics are too.
    """
    sizes = groupby(views, key=lambda view: view.shape[-1])
    return [encoder(torch.cat(list(group))) for _, group in sizes]
