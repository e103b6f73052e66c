"""Other readings of the same images and labels: what the model says where pixels or labels mean something else.

A model that is much better under one of them was probably meant to be fed so. None of it is changed: it is a hint.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.readiness.pixels import channel_axis
from ftonnx.datasets import Dataset, Preprocess
from ftonnx.stats import clopper_pearson
from ftonnx.words import percent

__all__ = ["Reading", "image_readings", "label_readings"]

_FULL_SCALES: Final = (1 / 255, 1.0, 16.0, 255.0, 65535.0)
"""Largest values of pixels: scaled twice, of floats, of the embedded digits, and of 8 and 16 bits."""

_IMAGENET: Final = Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
_BELIEF: Final = 0.9999  # several readings are tried, and one that is better by chance would mislead
_WORTH_A_WORD: Final = 0.02  # of accuracy
_NAMED: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a model is worth where images or labels are read in another way.

    Attributes:
        name: what is read otherwise.
        accuracy: the mean headline of the images then, such as the share that are right.
        base: that of the same images as they are read now.
        better: whether it is so much better that chance does not explain it.
        advice: how to say so.
    """

    name: str
    accuracy: float
    base: float
    better: bool
    advice: str

    @classmethod
    def of(cls, name: str, scores: NDArray[Any], base: NDArray[Any], advice: str) -> "Reading":
        """Compare how every image fares, see ``much_better``."""
        return cls(
            name=name,
            accuracy=float(scores.mean()),
            base=float(base.mean()),
            better=much_better(scores, base),
            advice=advice,
        )

    @property
    def remark(self) -> str:
        """The hint."""
        return f"{self.name}: {percent(self.accuracy)} would be right in place of {percent(self.base)}; {self.advice}"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def much_better(scores: NDArray[Any], base: NDArray[Any]) -> bool:
    """Say whether the same images fare better, beyond chance and by more than a little.

    Args:
        scores: of the other reading, 0 to 1 of every image, or whether it is right, (images,).
        base: as they are read now, likewise.

    >>> right = np.arange(100) < 90
    >>> much_better(right, np.zeros(100, bool)), much_better(right, right)
    (True, False)
    """
    if scores.mean() - base.mean() <= _WORTH_A_WORD:
        return False
    won = int((scores > base).sum())
    lost = int((base > scores).sum())
    # images that fare alike either way tell nothing
    low = clopper_pearson(won, won + lost, _BELIEF).low
    return low is not None and low > 0.5


def image_readings(images: NDArray[Any], data: Dataset) -> Iterator[tuple[str, str, NDArray[Any]]]:
    """Yield names of other ways to prepare the same images, what to say for them, and the images as fed then.

    Args:
        images: as they are fed, (images, ...).
        data: where they are from, whose preprocessing is known.
    """
    axis = channel_axis(images.shape[1:])
    if axis is None:
        return
    used = data.preprocess
    channels = images.shape[1 + axis]
    pixels = _denormalized(images, used, axis)
    if channels == 3:
        other = "rgb" if used.channels == "bgr" else "bgr"
        turned = np.flip(pixels, axis=1 + axis)
        name = f"channels in the other order ({other.upper()})"
        yield name, f"see `channels={other}`", _normalized(turned, used, axis, images.dtype)
    if images.dtype.kind == "f":
        yield from _scales(images, pixels, axis)
    height, width = (size for place, size in enumerate(images.shape[1:]) if place != axis)
    if height == width:
        places = [place for place in range(1, 4) if place != 1 + axis]
        yield "rows and columns swapped", "turn the stored images", np.swapaxes(images, *places)


def _scales(images: NDArray[Any], pixels: NDArray[Any], axis: int) -> Iterator[tuple[str, str, NDArray[Any]]]:
    """Yield the usual ranges of pixels that differ from the present one; none where pixels are below 0 already."""
    top = float(pixels.max())
    if pixels.min() < 0 or not 0 < top <= _FULL_SCALES[-1]:
        return
    full = next(scale for scale in _FULL_SCALES if top <= scale)
    shares = pixels / np.float32(full)
    scale = f"`scale=1/{full:g}`" if full >= 1 else f"`scale={1 / full:g}`"
    ranges = [
        ("pixels from 0 to 1", f"see {scale}, without a mean and std", shares),
        ("pixels from 0 to 255", f"see `scale={255 / full:g}`, without a mean and std", 255 * shares),
        ("pixels from -1 to 1", f"see {scale}, `mean=0.5` and `std=0.5`", 2 * shares - 1),
    ]
    if images.shape[1 + axis] == 3:
        normalized = _normalized(shares, _IMAGENET, axis, images.dtype)
        advice = f"see {scale}, `mean=0.485,0.456,0.406` and `std=0.229,0.224,0.225`"
        ranges.append(("mean and std of ImageNet", advice, normalized))
    for name, advice, fed in ranges:
        if not np.allclose(fed, images, atol=1e-3):
            yield name, advice, fed.astype(images.dtype)


def _denormalized(images: NDArray[Any], used: Preprocess, axis: int) -> NDArray[Any]:
    """Return the pixels before scale, mean and std."""
    pixels = images.astype(np.float32)
    pixels = pixels * _by_channel(used.std, 1.0, axis) + _by_channel(used.mean, 0.0, axis)
    return pixels if used.scale is None else pixels / np.float32(used.scale)


def _normalized(pixels: NDArray[Any], used: Preprocess, axis: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return pixels with scale, mean and std."""
    scaled = pixels if used.scale is None else pixels * np.float32(used.scale)
    fed = (scaled - _by_channel(used.mean, 0.0, axis)) / _by_channel(used.std, 1.0, axis)
    return fed.astype(dtype) if dtype.kind == "f" else np.rint(fed).astype(dtype)


def _by_channel(values: tuple[float, ...] | None, usual: float, axis: int) -> NDArray[np.float32]:
    """Return one value per channel in a shape that goes with images."""
    array = np.array(values or (usual,), np.float32)
    return array.reshape(-1, 1, 1) if axis == 0 else array


def label_readings(decisions: NDArray[Any], labels: NDArray[Any], outputs: int) -> list[Reading]:
    """Return what a classifier is worth where the labels are shifted by one, or numbered in another order.

    Args:
        decisions: the class that the model says of every image, (images,).
        labels: class numbers (images,).
        outputs: classes that the model scores.
    """
    base = decisions == labels
    found = []
    for shift, words in ((1, "one too low"), (-1, "one too high")):
        advice = f"add {shift} to the labels" if shift > 0 else "subtract 1 from the labels"
        found.append(Reading.of(f"labels {words}", decisions == labels + shift, base, advice))
    order = _assigned(decisions, labels, outputs, np.ones(len(labels), np.bool_))
    hits = _hits_out_of_sample(decisions, labels, outputs)
    found.append(Reading.of("labels in another order", hits, base, _order_words(order)))
    return found


def _hits_out_of_sample(decisions: NDArray[Any], labels: NDArray[Any], outputs: int) -> NDArray[np.bool_]:
    """Say which images are right under the best order of the classes, which the other half of the images chose.

    An order that is chosen on the images that it is judged by looks good for a model that guesses.
    """
    place = np.empty(len(labels), np.int64)
    order = np.argsort(labels, kind="stable")
    place[order] = np.arange(len(labels))
    first = place % 2 == 0
    hits = np.zeros(len(labels), np.bool_)
    for half in (first, ~first):
        if half.any():
            chosen = _assigned(decisions, labels, outputs, half)
            hits[~half] = decisions[~half] == chosen[labels[~half]]
    return hits


def _assigned(decisions: NDArray[Any], labels: NDArray[Any], outputs: int, rows: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the model's class for every label: the one-to-one order under which most of the images are right."""
    from scipy.optimize import linear_sum_assignment  # only this needs it, and it takes a moment

    met = np.zeros((outputs, outputs), np.int64)
    np.add.at(met, (labels[rows], decisions[rows]), 1)
    # of equal orders the one that changes least
    weights = 2 * met + np.eye(outputs, dtype=np.int64)
    _, columns = linear_sum_assignment(weights, maximize=True)
    chosen: NDArray[Any] = columns
    return chosen


def _order_words(order: Sequence[int] | NDArray[Any]) -> str:
    """Return which classes the model says in place of labels."""
    moved = [(label, int(own)) for label, own in enumerate(order) if label != own]
    if not moved:
        return "none is better than the present one"
    listed = ", ".join(f"{label} as {own}" for label, own in moved[:_NAMED])
    rest = ", ..." if len(moved) > _NAMED else ""
    return f"the model answers label {listed}{rest}: compare the names of the classes, see `class_names`"
