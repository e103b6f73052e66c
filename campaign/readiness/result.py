"""What was found out about a model and data before a campaign, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ftonnx.campaign.readiness.pixels import ChannelRange
from ftonnx.campaign.readiness.readings import Reading
from ftonnx.datasets import Dataset
from ftonnx.inject import Coverage, FaultSpace, OnnxModel, format_note
from ftonnx.sessions import Declared
from ftonnx.stats import Estimate
from ftonnx.tasks import Task
from ftonnx.words import json_values

__all__ = ["FaultFreeRuns", "Readiness", "Units"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultFreeRuns:
    """What a model does without faults on the images that were run.

    Attributes:
        images: their number.
        headline: the share that models are compared by; without limits where a task does not judge images alone.
        fractions: what the task tells of fault-free runs.
        chance: the headline of a model that guesses; None where that has no meaning.
        majority: that of always answering the most frequent class, likewise.
        scored: classes that the model scores; None where it does not score classes.
    """

    images: int
    headline: Estimate
    fractions: Mapping[str, float]
    chance: float | None
    majority: float | None
    scored: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """How units of a campaign run.

    Attributes:
        strategy: that is the fastest.
        others: that are possible too.
        note: why one is not possible; None where all are.
        images: that share a pattern.
        milliseconds: median time of a unit.
    """

    strategy: str
    others: tuple[str, ...]
    note: str | None
    images: int
    milliseconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """What was found, and what to look at before a campaign.

    Attributes:
        model: it.
        data: the images, prepared as the model takes them.
        task: by which the model is judged.
        inputs: of the model, as its file declares them.
        outputs: likewise.
        golden: what the model does without faults.
        counts: images per class; empty where labels are no class numbers.
        channels: what every channel of the inputs holds.
        readings: what the model is worth under other readings of images and labels.
        space: the bits that can flip.
        units: how units run.
        look_at: what may lead to wrong conclusions, one sentence each; none where all is as it should be.
    """

    model: OnnxModel = field(repr=False)
    data: Dataset
    task: Task
    inputs: tuple[Declared, ...] = field(repr=False)
    outputs: tuple[Declared, ...] = field(repr=False)
    golden: FaultFreeRuns
    counts: tuple[int, ...] = field(repr=False)
    channels: tuple[ChannelRange, ...] = field(repr=False)
    readings: tuple[Reading, ...] = field(repr=False)
    space: FaultSpace = field(repr=False)
    units: Units = field(repr=False)
    look_at: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Whether there is nothing to look at."""
        return not self.look_at

    @property
    def verdict(self) -> str:
        """``ready``, or ``look at this``."""
        return "ready" if self.ready else "look at this"

    @property
    def coverage(self) -> Coverage:
        """How much of what the model stores can flip."""
        return self.space.coverage

    @property
    def fault_model(self) -> str | None:
        """How floats are flipped; None where none can."""
        return format_note(self.space.formats)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``ftonnx check --json``."""
        data = self.data
        golden = self.golden
        found = {
            "schema_version": 1,
            "verdict": self.verdict,
            "look_at": list(self.look_at),
            "model": {
                "name": self.model.name,
                "sha256": self.model.sha256,
                "inputs": [each._asdict() for each in self.inputs],
                "outputs": [each._asdict() for each in self.outputs],
            },
            "data": {
                "name": data.name,
                "split": data.split,
                "samples": len(data),
                "shape": data.sample_shape,
                "preprocess": data.preprocess.as_dict(),
                "classes": data.classes,
                "class_names": list(data.class_names or ()) or None,
                "counts": list(self.counts),
                "unused_files": list(data.labelling.unused),
            },
            "task": self.task.to_dict(),
            "golden": {
                "images": golden.images,
                "headline": self.task.headline,
                **golden.headline.to_dict(),
                "fractions": dict(golden.fractions),
                "chance": golden.chance,
                "majority": golden.majority,
                "scored_classes": golden.scored,
            },
            "channels": [each.to_dict() for each in self.channels],
            "readings": [each.to_dict() for each in self.readings],
            "fault_space": {
                "bits": self.space.bits,
                "elements": self.space.elements,
                "formats": list(self.space.formats),
                "share": self.coverage.share,
                "left_out": [group.to_dict() for group in self.coverage.groups],
                "note": self.fault_model,
            },
            "units": {
                "strategy": self.units.strategy,
                "others": list(self.units.others),
                "note": self.units.note,
                "images": self.units.images,
                "milliseconds": self.units.milliseconds,
            },
        }
        return dict(json_values(found))
