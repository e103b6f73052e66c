"""What the caller asked of a data set, passed from ``load_dataset`` to each kind of data."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path

from ftonnx.datasets.class_names import ClassNames, names_in_metadata, read_class_names
from ftonnx.datasets.config import from_metadata
from ftonnx.datasets.preprocess import Preprocess
from ftonnx.errors import UsageError
from ftonnx.words import of_kind

__all__ = ["Request", "Resolved"]

_PLAIN_NAME = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """Preprocessing that still knows which of its fields somebody has said, so that a model can complete it.

    Attributes:
        said: Fields that the command line, the file beside the data or a model gave; the others are None.
        default: What counts where nobody said anything.
        class_names: Lists of the classes' names; the first that fits the data counts.
    """

    said: Preprocess
    default: Preprocess
    class_names: tuple[ClassNames, ...] = ()

    @property
    def named_classes(self) -> int | None:
        """Number of classes where somebody named them, None where nobody did."""
        first = next(iter(self.class_names), None)
        if first is None or not first.asked:
            return None
        return len(first)

    @property
    def effective(self) -> Preprocess:
        """The preprocessing as things stand."""
        return self.said.merged(self.default)

    def completed(self, model_metadata: Mapping[str, str] | None) -> "Resolved":
        """This, with the fields that nobody has said, and a last list of class names, from a model's metadata.

        >>> left_open = Resolved(said=Preprocess(crop=4), default=Preprocess(scale=0.5))
        >>> left_open.completed({"ftonnx.preprocess": '{"scale": 0.25, "crop": 8}'}).effective.as_dict()
        {'scale': 0.25, 'crop': 4}
        """
        from_model = from_metadata(model_metadata)
        # the default stays apart, so that a second model can still fill in what this one left
        said = self.said.merged(from_model)
        class_names = self.class_names
        of_model = names_in_metadata(model_metadata)
        # the first model's: one that follows it shall count the classes in the same way
        if of_model is not None and not any(names.of_model for names in class_names):
            class_names = (*class_names, of_model)
        return Resolved(said=said, default=self.default, class_names=class_names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Split, number of images and preprocessing that were asked for.

    Attributes:
        split: Name of a split, None for the default.
        limit: At most this many images, None for all.
        preprocess: What the command line said; it wins over every other source.
        model_metadata: The model's ``metadata_props``; it yields to the TOML beside the data.
        class_names: A file of class names; it wins over every other source of them.
        splits: Where the lists of the splits are, a folder or one list; None to look beside the data.
    """

    split: str | None = None
    limit: int | None = None
    preprocess: Preprocess = field(default_factory=Preprocess)
    model_metadata: Mapping[str, str] | None = None
    class_names: Path | None = None
    splits: Path | None = None

    def __post_init__(self) -> None:
        if self.limit is not None:
            _check_limit(self.limit)
        if self.split is not None:
            _check_split(self.split)

    def resolve(
        self, beside: Preprocess | None = None, *, default: Preprocess, class_names: Sequence[ClassNames | None] = ()
    ) -> Resolved:
        """Field by field: the command line, then the file beside the data, the model, the default.

        Args:
            beside: What the file beside the data says.
            default: What counts where nobody says anything.
            class_names: Lists of class names that belong to the data, None where there is none.
        """
        # in this order: what is said first wins
        said = self.preprocess
        if beside is not None:
            said = said.merged(beside)
        names = [each for each in class_names if each is not None]
        if self.class_names is not None:
            # one that somebody named leaves nothing to the others
            names = [read_class_names(self.class_names)]
        without_model = Resolved(said=said, default=default, class_names=tuple(names))
        return without_model.completed(self.model_metadata)


def _check_limit(limit: int) -> None:
    of_kind("limit", limit, Integral, "a number of images")
    if limit < 1:
        raise UsageError(f"limit: expected at least 1 image, got {limit}; leave it out for all")


def _check_split(split: str) -> None:
    # it becomes a part of a path, and must not lead out of the folder
    if not _PLAIN_NAME.fullmatch(split):
        raise UsageError(f"split: expected a plain name such as test, got {split!r}")
