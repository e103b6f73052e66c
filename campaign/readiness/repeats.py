"""Images that are there more than once, and what their labels say."""

import hashlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.readiness.pixels import channel_axis
from ftonnx.samples import Samples
from ftonnx.words import number

__all__ = ["Repeats"]

_DIGEST_BYTES: Final = 16
_WORTH_A_WORD: Final = 0.01  # of all images; a few of a large set may be taken twice


class Repeats:
    """Counts images that are equal in every pixel as they are fed.

    Attributes:
        images: that were looked at.
        contradicting: how many of them have another label than an equal one before.
    """

    def __init__(self) -> None:
        self.images = 0
        self.contradicting = 0
        self._labels: dict[bytes, bytes] = {}

    def add(self, samples: Samples, labels: NDArray[Any]) -> None:
        """Take in a batch; arrays that are no images may well be equal, and are left aside."""
        if not isinstance(samples, np.ndarray) or channel_axis(samples.shape[1:]) is None:
            return
        self.images += len(labels)
        for image, label in zip(samples, labels, strict=True):
            digest = hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=_DIGEST_BYTES).digest()
            known = self._labels.setdefault(digest, label.tobytes())
            if known != label.tobytes():
                self.contradicting += 1

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is odd about them."""
        found = []
        repeated = self.images - len(self._labels)
        if repeated > _WORTH_A_WORD * self.images:
            found.append(f"images that are there before, pixel by pixel: {number(repeated)} of {number(self.images)}")
        if self.contradicting:
            found.append(
                f"equal images with another label than before: {number(self.contradicting)} of {number(self.images)}"
            )
        return tuple(found)
