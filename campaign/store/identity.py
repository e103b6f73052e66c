"""What makes two campaigns the same."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ftonnx.campaign.plan.settings import Settings
from ftonnx.campaign.store.seeds import PooledSeeds, SeedRepeats
from ftonnx.inject import FaultModel, fault_model_from_dict
from ftonnx.tasks import Task, task_from_dict

__all__ = ["Identity"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What decides the counts of a campaign; a folder holds one identity.

    Attributes:
        model: SHA-256 of the file.
        data: SHA-256 of images and labels.
        fault_space: SHA-256 of what can flip.
        faults: the fault model; a fault list by its fingerprint.
        task: what counts the outcomes.
        settings: what else was asked for, with the repeats, sizes and format that were used.
        versions: of ftonnx, onnxruntime and numpy.
        pooled: the seeds whose patterns were put together, of which the settings have the first, and the repeats of
            all; None where there is one seed.
    """

    model: str
    data: str
    fault_space: str
    faults: FaultModel
    task: Task
    settings: Settings
    versions: Mapping[str, str]
    pooled: PooledSeeds | None = None

    @property
    def seeds(self) -> tuple[SeedRepeats, ...]:
        """The seed and its repeats, or those that were pooled."""
        if self.pooled is not None:
            return self.pooled.seeds
        return (SeedRepeats(self.settings.seed, self.settings.repeats or 1),)

    def origin(self, repeat: int) -> tuple[int, int]:
        """Return the seed that a repeat was drawn from, and which of that one's repeats it is."""
        return (self.settings.seed, repeat) if self.pooled is None else self.pooled.origin(repeat)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values, which are what is compared."""
        return {
            "model": self.model,
            "data": self.data,
            "fault_space": self.fault_space,
            "faults": self.faults.to_dict(),
            "task": self.task.to_dict(),
            "settings": self.settings.to_dict(),
            "versions": dict(self.versions),
            "pooled": None if self.pooled is None else self.pooled.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Identity":
        """Read back what ``to_dict`` returned.

        Raises:
            UsageError: the fault model or the task is not known here.
        """
        pooled = values.get("pooled")  # the first folders of this schema do not say it
        return cls(
            model=values["model"],
            data=values["data"],
            fault_space=values["fault_space"],
            faults=fault_model_from_dict(values["faults"]),
            task=task_from_dict(values["task"]),
            settings=Settings.from_dict(values["settings"]),
            versions=dict(values["versions"]),
            pooled=None if pooled is None else PooledSeeds.from_dict(pooled),
        )

    @property
    def fingerprint(self) -> str:
        """A short hash of what makes two campaigns the same."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
