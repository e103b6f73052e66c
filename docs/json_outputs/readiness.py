"""What is printed before anything is measured: of a model and data, and of an installation."""

from typing import Literal

from msgspec import UNSET, UnsetType

from ftonnx.campaign.doctor import self_test
from ftonnx.campaign.readiness.pixels import ChannelRange
from ftonnx.campaign.readiness.readings import Reading
from ftonnx.campaign.readiness.result import Units
from ftonnx.datasets.preprocess import Preprocess
from json_outputs.base import Object, Real, all_of
from json_outputs.campaigns import LeftOutGroup, Task
from json_outputs.questions import Value

__all__ = ["Check", "Doctor"]

Preprocessing = all_of(Preprocess, set_only=True)
Channel = all_of(ChannelRange, low=Real, high=Real, mean=Real, std=Real)
OtherReading = all_of(Reading)
UnitTimes = all_of(Units)
Tried = all_of(self_test.Check)


class CheckedModel(Object, frozen=True):
    """The model that was looked at.

    Attributes:
        name: of it.
        sha256: of its file.
        inputs: as the file declares them.
        outputs: likewise.
    """

    name: str
    sha256: str
    inputs: list[Value]
    outputs: list[Value]


class CheckedData(Object, frozen=True):
    """The images that were looked at.

    Attributes:
        name: of the data set.
        split: of it, if any.
        samples: number of images.
        shape: of an image, or several by the names of a model's inputs.
        preprocess: the steps, those that are none left out.
        classes: number of classes; null where labels are no class numbers.
        class_names: by number; null where nobody knows any.
        counts: images per class.
        unused_files: that are no images of a class.
    """

    name: str
    split: str | None
    samples: int
    shape: list[int] | dict[str, list[int]]
    preprocess: Preprocessing
    classes: int | None
    class_names: list[str | None] | None
    counts: list[int]
    unused_files: list[str]


class GoldenRun(Object, frozen=True):
    """What runs without faults gave.

    Attributes:
        images: that were run.
        headline: name of the fraction that the task is judged by.
        mean: its value.
        low: its lower limit for new images; null where there is none.
        high: its upper limit, likewise.
        confidence: of the limits.
        fractions: of the task, by name.
        chance: what guessing gives; null where the task does not say.
        majority: what the most frequent class alone gives, likewise.
        scored_classes: that the model scores; null where its output does not say.
    """

    images: int
    headline: str
    mean: float
    low: float | None
    high: float | None
    confidence: float
    fractions: dict[str, float]
    chance: float | None
    majority: float | None
    scored_classes: int | None


class CheckedSpace(Object, frozen=True):
    """The bits that can flip.

    Attributes:
        bits: N.
        elements: stored or computed elements that they are in.
        formats: how these are seen as bits.
        share: of all of these that there are.
        left_out: what cannot flip, by reason.
        note: how floats are flipped; null where none can.
    """

    bits: int
    elements: int
    formats: list[str]
    share: float
    left_out: list[LeftOutGroup]
    note: str | None


class Check(Object, frozen=True):
    """Whether a model and data are ready for a campaign.

    Attributes:
        schema_version: of this object.
        verdict: in words.
        look_at: what is to be looked at first.
        model: as it is.
        data: as they are read.
        task: what outputs are worth.
        golden: what runs without faults gave.
        channels: what the images hold as they are fed.
        readings: what other ways to read images or labels would give.
        fault_space: the bits that can flip.
        units: how they would run.
    """

    schema_version: int
    verdict: Literal["ready", "look at this"]
    look_at: list[str]
    model: CheckedModel
    data: CheckedData
    task: Task
    golden: GoldenRun
    channels: list[Channel]
    readings: list[OtherReading]
    fault_space: CheckedSpace
    units: UnitTimes


class Processor(Object, frozen=True):
    """The processor.

    Attributes:
        name: of it.
        cores: that may be used.
        units: vector units by which kernels are chosen.
        saturates: whether products of int8 saturate in 16 bits.
    """

    name: str
    cores: int
    units: list[str]
    saturates: bool


class Folder(Object, frozen=True):
    """A folder.

    Attributes:
        path: of it.
        free: bytes on its disk; left out of a cache.
        bytes: of what ftonnx has in it; left out of the working folder.
        left: files and folders that ftonnx has left in it, for temporary files.
    """

    path: str
    free: int | UnsetType = UNSET
    bytes: int | UnsetType = UNSET
    left: int | UnsetType = UNSET


class Doctor(Object, frozen=True):
    """What an installation is made of, and whether it works.

    Attributes:
        schema_version: of this object.
        versions: of packages; null for those that are absent.
        python: version.
        platform: the operating system.
        providers: execution providers.
        processor: what is known of it.
        free_memory: bytes.
        cache: of layouts; null where there is none.
        temporary: the folder for temporary files.
        working_folder: the current one.
        checks: the self-test.
    """

    schema_version: int
    versions: dict[str, str | None]
    python: str
    platform: str
    providers: list[str]
    processor: Processor
    free_memory: int
    cache: Folder | None
    temporary: Folder
    working_folder: Folder
    checks: list[Tried]
