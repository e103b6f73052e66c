"""What a training has come to, epoch by epoch: a file of JSON lines."""

import json
from abc import ABC
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import ClassVar, Final, Generic, Self, TypeVar

import msgspec

from ftonnx.errors import DataError, describe
from ftonnx.files import read_document, write_file
from ftonnx.words import parsed_json

__all__ = ["LOG_ENDING", "Epoch", "EpochLog", "PretrainingEpoch", "PretrainingLog", "TrainingLog"]

LOG_ENDING: Final = ".jsonl"
"""A log has the name of what is trained, with this suffix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One pass over the training images.

    Attributes:
        epoch: Counted from 1.
        loss: Mean cross entropy on the training images, as they were met.
        accuracy: Share of them that were right, as they were met.
        val_loss: Mean cross entropy on the validation images afterwards.
        val_accuracy: Share of them that are right.
        learning_rate: Used in it.
        seconds: That it took.
    """

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float

    @property
    def rank(self) -> tuple[float, float]:
        """The larger the better: accuracy on the validation images, then the lower loss."""
        return self.val_accuracy, -self.val_loss


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainingEpoch:
    """One pass over the training images without their labels.

    Attributes:
        epoch: Counted from 1.
        loss: Mean of the method's loss.
        spread: How far the features of different images lie apart, from 0, where all are the same and training has
            collapsed, to 1.
        learning_rate: Used in its last step.
        seconds: That it took.
    """

    epoch: int
    loss: float
    spread: float
    learning_rate: float
    seconds: float


_E = TypeVar("_E", bound=Epoch | PretrainingEpoch)


@dataclass(frozen=True, slots=True)
class EpochLog(ABC, Generic[_E]):
    """All epochs so far; a leaf says of what kind."""

    entry: ClassVar[type[Epoch] | type[PretrainingEpoch]]

    epochs: tuple[_E, ...] = ()

    def with_epoch(self, epoch: _E) -> Self:
        """A log with one epoch more."""
        return type(self)((*self.epochs, epoch))

    def to_dicts(self) -> list[dict[str, float]]:
        """One dictionary per epoch."""
        return [asdict(each) for each in self.epochs]

    @classmethod
    def from_dicts(cls, entries: Iterable[dict[str, float]]) -> Self:
        """Read back what ``to_dicts`` returned.

        Raises:
            ValueError: A value is missing or of another type, or the epochs are not numbered from 1.
        """
        log = cls(tuple(msgspec.convert(entry, cls.entry) for entry in entries))  # type: ignore[misc]  # epochs are whole
        for number, each in enumerate(log.epochs, 1):
            if each.epoch != number:
                raise ValueError(f"epoch {number} was expected, got {each.epoch}")
        return log

    def write(self, path: Path) -> None:
        """Write one JSON object per line; the file is the old or the new one at any time.

        Raises:
            UsageError: It cannot be written.
        """
        lines = [json.dumps(entry, allow_nan=False) + "\n" for entry in self.to_dicts()]
        write_file("".join(lines).encode(), path)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a file that ``write`` wrote.

        Raises:
            DataError: It cannot be read, or is something else.
        """
        names: Sequence[str] = [field.name for field in fields(cls.entry)]
        try:
            lines = read_document(path).splitlines()
            entries = [parsed_json(line) for line in lines]
            return cls.from_dicts({name: entry[name] for name in names} for entry in entries)
        except (OSError, ValueError, KeyError, TypeError) as error:
            expected = "a log of a training"
            raise DataError(f"{path}: expected {expected}, got {describe(error)}; check the path") from error


class TrainingLog(EpochLog[Epoch]):
    """The epochs of a training that knows a best one."""

    __slots__ = ()
    entry = Epoch

    @property
    def best(self) -> Epoch | None:
        """The best epoch, of equal ones the first; None where there is none yet."""
        return max(self.epochs, key=lambda each: each.rank, default=None)

    @property
    def since_best(self) -> int:
        """How many epochs have passed since the best one."""
        best = self.best
        return 0 if best is None else len(self.epochs) - best.epoch


class PretrainingLog(EpochLog[PretrainingEpoch]):
    """The epochs of a pretraining, whose last one counts."""

    __slots__ = ()
    entry = PretrainingEpoch
