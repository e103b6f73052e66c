"""Views of two sizes, as SwAV and DINO take them."""

from collections.abc import Sequence
from itertools import groupby
from typing import Final

import torch
from torch import Tensor, nn

from ftonnx.training.settings import PretrainingSettings

__all__ = ["LARGE_VIEWS", "by_view", "encoded", "local_views"]

LARGE_VIEWS: Final = 2
"""How many of the views are large; they come first."""

_LOCAL_VIEWS: Final = 6


def local_views(settings: PretrainingSettings) -> int:
    """Return how many small views there are of each image."""
    return _LOCAL_VIEWS if settings.local_views is None else settings.local_views


def encoded(encoder: nn.Module, views: Sequence[Tensor]) -> list[Tensor]:
    """Return features of views, ``(views x images, width)`` for each size, view by view.

    Views of one size are one batch, so that their statistics are too.
    """
    sizes = groupby(views, key=lambda view: view.shape[-1])
    return [encoder(torch.cat(list(group))) for _, group in sizes]


def by_view(groups: Sequence[Tensor], images: int) -> list[Tensor]:
    """Return what was made of ``encoded``'s features for each view, ``(images, width)``, in the order of the views."""
    return [view for group in groups for view in group.split(images)]  # type: ignore[no-untyped-call]  # torch's own
