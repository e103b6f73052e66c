"""The groups of options that say which images are taken, and how they are prepared."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Final

import typer

from ftonnx.campaign.inputs import fitted
from ftonnx.cli.output import note
from ftonnx.cli.parsers import fraction, fractions, split_or
from ftonnx.datasets import Dataset, Preprocess, load_dataset
from ftonnx.datasets.geometry import INTERPOLATIONS
from ftonnx.datasets.kinds import FORMS, parse_spec
from ftonnx.inject import OnnxModel
from ftonnx.words import printable

__all__ = [
    "CalibrationDataOptions",
    "DataOptions",
    "OptionalDataOptions",
    "SpecOptions",
    "TrainingDataOptions",
    "TuningDataOptions",
]

_DATA: Final = typer.Option("--data", metavar="SPEC", help=f"One of {FORMS}.")
_SPLIT: Final = typer.Option("--split", help="Split of the data, such as test or val.")
_LIMIT: Final = typer.Option("--limit", metavar="N", help="At most N images.")
_SPLITS: Final = typer.Option(
    "--splits",
    metavar="PATH",
    help="Lists of a published data set's splits: a folder with eurosat_test.csv and so on, or one list.  "
    "[default: those in or beside the data]",
)
_CLASS_NAMES: Final = typer.Option(
    "--class-names",
    metavar="FILE",
    help="Names of all classes by their numbers, one per line or JSON; they say which folder or label is which class.",
)
_SCALE: Final = typer.Option("--scale", metavar="X", parser=fraction, help="Factor on pixel values, such as 1/255.")
_MEAN: Final = typer.Option("--mean", metavar="X,X,X", parser=fractions, help="Subtracted per channel, after scaling.")
_STD: Final = typer.Option("--std", metavar="X,X,X", parser=fractions, help="Divided by per channel, after the mean.")
_RESIZE: Final = typer.Option("--resize", metavar="PIXELS", help="Resize the short side to this.")
_CROP: Final = typer.Option("--crop", metavar="PIXELS", help="Cut a centred square of this side.")
_INTERPOLATION: Final = typer.Option(
    "--interpolation", help=f"Filter of --resize: {', '.join(INTERPOLATIONS)}.  [default: bilinear]"
)
_CHANNELS: Final = typer.Option("--channels", help="Channel order fed to the model: rgb, bgr or gray.")

_ALL_OF_IT: Final = (
    "all of its images are taken to choose by, and what is then tested on them looks better than on others; keep some "
    "apart, in folders train, val and test"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionalDataOptions:
    """Which images, and how they are prepared; none where --data is left out."""

    PANEL: ClassVar[str] = "Data"
    DEFAULT_SPLIT: ClassVar[str | None] = None
    """What is taken where the data has splits and none is named; None leaves it to the data."""

    data: Annotated[str | None, _DATA] = None
    split: Annotated[str | None, _SPLIT] = None
    splits: Annotated[Path | None, _SPLITS] = None
    limit: Annotated[int | None, _LIMIT] = None
    class_names: Annotated[Path | None, _CLASS_NAMES] = None
    scale: Annotated[float | None, _SCALE] = None
    mean: Annotated[tuple[float, ...] | None, _MEAN] = None
    std: Annotated[tuple[float, ...] | None, _STD] = None
    resize: Annotated[int | None, _RESIZE] = None
    crop: Annotated[int | None, _CROP] = None
    channels: Annotated[str | None, _CHANNELS] = None
    interpolation: Annotated[str | None, _INTERPOLATION] = None

    @property
    def preprocess(self) -> Preprocess:
        """What is done with the images.

        Raises:
            UsageError: a value is out of range.
        """
        return Preprocess(
            scale=self.scale,
            mean=self.mean,
            std=self.std,
            resize=self.resize,
            crop=self.crop,
            channels=self.channels,  # type: ignore[arg-type]  # checked by Preprocess
            interpolation=self.interpolation,  # type: ignore[arg-type]  # checked by Preprocess
        )

    def load(self, spec: str, model: OnnxModel | None, *, whole: bool = False) -> Dataset:
        """Open the data of a spec, prepared as the options and the model's metadata say; all of it if ``whole``.

        Raises:
            UsageError: an option makes no sense for these data.
            DataError: they cannot be read.
        """
        split = self.split
        if self.DEFAULT_SPLIT is not None:
            has_lists = self.splits is not None
            split = split or self.DEFAULT_SPLIT if has_lists else split_or(self.DEFAULT_SPLIT, split, spec)
        found = load_dataset(
            spec,
            split=split,
            limit=None if whole else self.limit,
            preprocess=self.preprocess,
            model_metadata=None if model is None else model.metadata,
            class_names=self.class_names,
            splits=self.splits,
        )
        if self.DEFAULT_SPLIT is not None and split is None and parse_spec(spec).could_have_splits:
            note(f"warning: {printable(found.name)} has no splits: {_ALL_OF_IT}")
        return found if model is None else fitted(found, model)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions(OptionalDataOptions):
    """Which images, and how they are prepared."""

    data: Annotated[str, _DATA]

    def open(self, model: OnnxModel | None) -> Dataset:
        """Open the data; see `load`."""
        return self.load(self.data, model)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecOptions(DataOptions):
    """Which images, named by an argument."""

    data: Annotated[
        str,
        typer.Argument(
            metavar="SPEC",
            help=f"One of {FORMS}; the last runs that file.",
        ),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningDataOptions(OptionalDataOptions):
    """Images to choose thresholds by: not those of the test."""

    DEFAULT_SPLIT: ClassVar[str | None] = "val"

    split: Annotated[
        str | None, typer.Option("--split", help="Split of the data.  [default: val, where the data has splits]")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationDataOptions(DataOptions):
    """Images to calibrate on: not those of the test."""

    DEFAULT_SPLIT: ClassVar[str | None] = "train"

    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="SPEC",
            help=f"Calibration data, one of {FORMS}.",
        ),
    ]
    split: Annotated[
        str | None, typer.Option("--split", help="Split of the data.  [default: train, where the data has splits]")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingDataOptions(DataOptions):
    """Images to train on: not those of the test."""

    DEFAULT_SPLIT: ClassVar[str | None] = "train"

    data: Annotated[
        str,
        typer.Option("--data", metavar="SPEC", help=f"Training data, one of {FORMS}."),
    ]
    split: Annotated[
        str | None, typer.Option("--split", help="Split to train on.  [default: train, where the data has splits]")
    ] = None
