"""Whose computed tensors a fault space counts, and which of them a pattern hits."""

from dataclasses import dataclass

from ftonnx.inject.activations import IMAGE

__all__ = ["ActivationScope"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationScope:
    """Whose activations are bits of a fault space.

    Attributes:
        per: ``image``, the inference of one image; or ``batch``, a run of several.
        images: of a run.
        slots: how many images (or runs) a pattern tells apart, each with flips of its own; None where all of them meet
            a flip at the same place.
        parts: of images or runs that lie one after the other in each activation; 1 but where patterns are drawn from.
    """

    per: str = IMAGE
    images: int = 1
    slots: int | None = None
    parts: int = 1

    def slots_of(self, images: int) -> int:
        """Return how many images, or runs, a unit of so many images has.

        >>> ActivationScope(per="image", images=4).slots_of(10), ActivationScope(per="batch", images=4).slots_of(10)
        (10, 3)
        """
        return images if self.per == IMAGE else -(-images // self.images)
