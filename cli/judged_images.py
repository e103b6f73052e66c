"""On which images a changed model is measured: some that were not used to change it, where there are any."""

from dataclasses import dataclass, replace
from typing import Any, Final

from ftonnx.cli.data_options import OptionalDataOptions
from ftonnx.cli.output import number, percent
from ftonnx.datasets import Dataset
from ftonnx.errors import DataError, UsageError
from ftonnx.inject import OnnxModel
from ftonnx.mitigate import AccuracyChange
from ftonnx.words import printable

__all__ = ["JudgedImages", "accuracy_rows"]

_MOST: Final = 1000
"""Images that are measured on where no limit is given: an accuracy to about 2 percentage points is enough here."""

_OTHER_SPLITS: Final = ("test", "val")


@dataclass(frozen=True, slots=True)
class JudgedImages:
    """Images to measure on.

    Attributes:
        data: they.
        unseen: whether none of them was used to change the model.
    """

    data: Dataset
    unseen: bool

    @classmethod
    def of(cls, options: OptionalDataOptions, used: Dataset, model: OnnxModel) -> "JudgedImages":
        """Open another split than the used one, test before val; where there is none, take the used images.

        Args:
            options: which images were used.
            used: they.
            model: what is measured.

        Raises:
            DataError: the used images cannot be read again.
        """
        limited = replace(options, limit=min(options.limit or _MOST, _MOST))
        spec = options.data or ""
        for split in () if used.split is None else _OTHER_SPLITS:
            if split == used.split:
                continue
            try:
                other = replace(limited, split=split).load(spec, model)
            except (UsageError, DataError):
                continue  # there is no such split
            # several names may stand for one split
            if other.split != used.split and other.fingerprint != used.fingerprint:
                return cls(other, unseen=True)
        same = used if len(used) <= _MOST else replace(limited, split=used.split).load(spec, model)
        return cls(same, unseen=False)

    @property
    def text(self) -> str:
        """Which images they are, in words."""
        split = "" if self.data.split is None else f", {printable(self.data.split)}"
        which = "none of which was used" if self.unseen else "which were used, as there is no other split"
        return f"{number(len(self.data))} images of {printable(self.data.name)}{split}, {which}"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "name": self.data.name,
            "split": self.data.split,
            "samples": len(self.data),
            "unseen": self.unseen,
        }


def accuracy_rows(accuracy: AccuracyChange) -> list[tuple[str, str, str]]:
    """Return a row for each fraction: its name, before, after; none where there is no accuracy."""
    if accuracy.before is None or accuracy.after is None or accuracy.task is None:
        return []
    rows = []
    for name, before in accuracy.before.items():
        rows.append((accuracy.task.fractions[name].label, percent(before), percent(accuracy.after[name])))
    return rows
