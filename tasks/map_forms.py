"""The forms in which networks say the class of every pixel: one class per form."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, final

import numpy as np
from numpy.typing import NDArray

__all__ = ["FORMS", "MOST_CLASSES", "MapForm", "Words", "class_map", "form_of"]

MOST_CLASSES: Final = 600
"""Three columns of the store each, of which it has 2,000."""

_BYTE: Final = 256  # classes whose numbers fit in one


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What becomes of images, as outputs of a form show it.

    Attributes:
        outputs: what they are.
        masked: that an image is masked, of images.
        due: that it is a detected error, of images.
        meaning: what masked, tolerable and DUE mean, in sentences; ``{many}`` stands for how many pixels are harm.
    """

    outputs: str
    masked: str
    due: str
    meaning: str


_OF_SCORES: Final = Words(
    outputs="scores",
    masked="have bit-identical scores",
    due="have NaN or Inf in the scores, or none",
    meaning="Masked: the scores are bit-identical to the fault-free ones. SDC (silent data corruption): another class "
    "in {many} pixels, and nothing shows it. Tolerable: scores differ, but not so many classes. DUE (detected, "
    "uncorrectable error): NaN or Inf in an image's scores, or no scores; its pixels are counted as wrong.",
)
_OF_NUMBERS: Final = Words(
    outputs="classes",
    masked="have the same classes as without faults",
    due="get no output",
    meaning="Masked: all classes are the fault-free ones. SDC (silent data corruption): another class in {many} "
    "pixels, and nothing shows it. Tolerable: fewer differ. The model gives no scores, in which NaN or Inf would show: "
    "DUE (detected, uncorrectable error) are images without an output only; their pixels are counted as wrong.",
)


@dataclass(frozen=True, slots=True)
class MapForm(ABC):
    """A form of outputs; a leaf says which arrays have it, and how one of them becomes maps of classes.

    Attributes:
        name: of the form, as a setting.
        expects: what an output is, for messages.
        words: what becomes of images.
        is_bounded: whether all that it may hold is a class.
        threshold: scores above it are class 1; of forms with one score per pixel.
    """

    name: ClassVar[str]
    expects: ClassVar[str]
    words: ClassVar[Words] = _OF_SCORES
    is_bounded: ClassVar[bool] = True

    threshold: float = 0.5

    @abstractmethod
    def arranged(self, value: NDArray[Any]) -> NDArray[Any] | None:
        """Return an output as this form has it, with a row per image; None where it is of another form."""

    @abstractmethod
    def size(self, values: NDArray[Any]) -> tuple[int, ...]:
        """Return height and width of arranged outputs."""

    @abstractmethod
    def classes(self, values: NDArray[Any]) -> int | None:
        """Return how many classes arranged outputs tell apart; None where they do not say."""

    @abstractmethod
    def map_of(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the classes (height, width) that an image's arranged, finite values mean, integers."""

    @final
    def seen(self, values: NDArray[Any]) -> NDArray[Any] | None:
        """Return the classes (height, width) of an image's arranged values; None where these hold NaN or Inf."""
        return self.map_of(values) if np.isfinite(values).all() else None


class ChannelsFirst(MapForm):
    """Scores of the classes; the highest is the class, of equal ones the first."""

    __slots__ = ()
    name: ClassVar[str] = "channels-first"
    expects: ClassVar[str] = "scores (batch, classes, height, width) of 2 classes or more"

    def arranged(self, value: NDArray[Any]) -> NDArray[Any] | None:
        """See ``MapForm.arranged``."""
        fits = value.ndim == 4 and value.dtype.kind in "fiu" and 2 <= value.shape[1] <= MOST_CLASSES
        return value if fits else None

    def size(self, values: NDArray[Any]) -> tuple[int, ...]:
        """See ``MapForm.size``."""
        return values.shape[2:]

    def classes(self, values: NDArray[Any]) -> int | None:
        """See ``MapForm.classes``."""
        count: int = values.shape[1]
        return count

    def map_of(self, values: NDArray[Any]) -> NDArray[Any]:
        """See ``MapForm.map_of``."""
        return class_map(values)


class ChannelsLast(MapForm):
    """The same with the classes behind, as TensorFlow has it."""

    __slots__ = ()
    name: ClassVar[str] = "channels-last"
    expects: ClassVar[str] = "scores (batch, height, width, classes) of 2 classes or more"

    def arranged(self, value: NDArray[Any]) -> NDArray[Any] | None:
        """See ``MapForm.arranged``."""
        fits = value.ndim == 4 and value.dtype.kind in "fiu" and 2 <= value.shape[3] <= MOST_CLASSES
        return value if fits else None

    def size(self, values: NDArray[Any]) -> tuple[int, ...]:
        """See ``MapForm.size``."""
        return values.shape[1:3]

    def classes(self, values: NDArray[Any]) -> int | None:
        """See ``MapForm.classes``."""
        count: int = values.shape[3]
        return count

    def map_of(self, values: NDArray[Any]) -> NDArray[Any]:
        """See ``MapForm.map_of``."""
        return class_map(np.moveaxis(values, -1, 0))


class OneChannel(MapForm):
    """One score per pixel, a probability or a logit: above the threshold is class 1, all else class 0."""

    __slots__ = ()
    name: ClassVar[str] = "one-channel"
    expects: ClassVar[str] = "one score per pixel (batch, 1, height, width), floats"

    def arranged(self, value: NDArray[Any]) -> NDArray[Any] | None:
        """See ``MapForm.arranged``."""
        return _without_channel(value) if value.dtype.kind == "f" else None

    def size(self, values: NDArray[Any]) -> tuple[int, ...]:
        """See ``MapForm.size``."""
        return values.shape[1:]

    def classes(self, values: NDArray[Any]) -> int | None:
        """See ``MapForm.classes``."""
        return 2

    def map_of(self, values: NDArray[Any]) -> NDArray[Any]:
        """See ``MapForm.map_of``."""
        return (values > self.threshold).astype(np.uint8)


class ClassNumbers(MapForm):
    """The classes themselves, behind an ArgMax or a comparison; no scores, so that no NaN shows."""

    __slots__ = ()
    name: ClassVar[str] = "class-numbers"
    expects: ClassVar[str] = "maps of class numbers (batch, height, width), integers"
    words: ClassVar[Words] = _OF_NUMBERS
    is_bounded: ClassVar[bool] = False

    def arranged(self, value: NDArray[Any]) -> NDArray[Any] | None:
        """See ``MapForm.arranged``."""
        return _without_channel(value) if value.dtype.kind in "iub" else None

    def size(self, values: NDArray[Any]) -> tuple[int, ...]:
        """See ``MapForm.size``."""
        return values.shape[1:]

    def classes(self, values: NDArray[Any]) -> int | None:
        """See ``MapForm.classes``."""
        return None

    def map_of(self, values: NDArray[Any]) -> NDArray[Any]:
        """See ``MapForm.map_of``."""
        return values.astype(np.int64)


FORMS: Final[Mapping[str, type[MapForm]]] = {
    kind.name: kind for kind in (ChannelsFirst, ChannelsLast, OneChannel, ClassNumbers)
}
"""All of them by name; of those that an output may have, the first is meant that has the labels' size."""


def form_of(value: NDArray[Any], size: tuple[int, ...]) -> type[MapForm] | None:
    """Return the form of an output for label maps of a size; None where it has none.

    >>> form_of(np.zeros((2, 3, 8, 8)), (8, 8)).name, form_of(np.zeros((2, 8, 8, 3)), (8, 8)).name
    ('channels-first', 'channels-last')
    >>> form_of(np.zeros((2, 1, 8, 8)), (8, 8)).name, form_of(np.zeros((2, 8, 8), np.int64), (8, 8)).name
    ('one-channel', 'class-numbers')
    """
    for kind in FORMS.values():
        form = kind()
        values = form.arranged(value)
        if values is not None and form.size(values) == size:
            return kind
    return None


def _without_channel(value: NDArray[Any]) -> NDArray[Any] | None:
    """Return maps (images, height, width), which may have an axis of size 1 for channels; None of other arrays."""
    if value.ndim == 4 and value.shape[1] == 1:
        return value[:, 0]
    if value.ndim == 4 and value.shape[3] == 1:
        return value[..., 0]
    return value if value.ndim == 3 else None


def class_map(scores: NDArray[Any]) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Return the class with the highest score of every pixel, of equal ones the lowest, as ``argmax`` has it.

    Class by class, which is several times faster than numpy's argmax over an axis that is not the last.

    Args:
        scores: of one image, (classes, height, width), finite.

    Returns:
        Classes (height, width), in as few bytes as their number needs.

    >>> class_map(np.array([[[1., 0., 0.]], [[1., 2., 0.]], [[0., 3., 0.]]])).tolist()
    [[0, 2, 0]]
    """
    best = scores[0].copy()
    kind = np.uint8 if len(scores) <= _BYTE else np.uint16
    classes = np.zeros(best.shape, kind)
    is_better = np.empty(best.shape, np.bool_)
    for number, own in enumerate(scores[1:], start=1):
        np.greater(own, best, out=is_better)
        # a later class has a larger number: a maximum overwrites, faster than a masked copy
        np.maximum(classes, np.multiply(is_better, kind(number)), out=classes)
        np.maximum(best, own, out=best)
    return classes
