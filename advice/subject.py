"""What is advised on: a model with its data, and how its campaigns are run and kept."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ftonnx.campaign import Budget, CampaignResult, Settings
from ftonnx.campaign.campaign import Campaign
from ftonnx.datasets import Dataset
from ftonnx.inject import FaultModel, FaultSpace, OnnxModel
from ftonnx.tasks import Task

__all__ = ["Progress", "Subject"]

Progress = Callable[[str, int, int], None]
"""Called with (what is done, units done, units in all) after every unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model and its data, and what all campaigns on them have in common.

    Attributes:
        model: the model.
        data: labelled images.
        task: what outputs are worth; None for what they look like.
        settings: of all campaigns, but for what each of them is about.
        budget: of the measurements, and of each trial; None for the usual ones.
        folder: in which each campaign has its results folder.
        progress: told after every unit.
    """

    model: OnnxModel
    data: Dataset
    task: Task | None
    settings: Settings
    budget: Budget | None
    folder: Path
    progress: Progress

    @property
    def space(self) -> FaultSpace:
        """The bits that can flip."""
        return self.settings.fault_space(self.model)

    @property
    def stored_bits(self) -> int:
        """Bits of the tensors that can flip, of which costs are shares."""
        return sum(target.elements * target.format.bits for target in self.space.targets)

    def seed(self, *path: int) -> int:
        """Return a seed of its own for each thing that is drawn; the advice has one seed."""
        return int(np.random.SeedSequence((self.settings.seed, *path)).generate_state(1, np.uint64)[0])

    def run(
        self, name: str, what: str, faults: FaultModel, *, data: Dataset | None = None, **settings: Any
    ) -> CampaignResult:
        """Run a campaign, or what is left of it, in its folder.

        The folder's name says what is run, so that a run with more time, which knows more, does not meet another one's.

        Args:
            name: with which the folder's begins.
            what: is done, in a word or two.
            faults: what flips.
            data: images in place of all.
            **settings: in place of those of all campaigns.
        """
        told = f"{faults.to_dict()} {settings}"
        digest = hashlib.sha256(told.encode()).hexdigest()[:12]
        campaign = Campaign(
            self.model,
            self.data if data is None else data,
            faults,
            task=self.task,
            # all images meet an injection's pattern
            settings=replace(self.settings, images_per_pattern=None, **settings),
            results=self.folder / f"{name}-{digest}",
        )
        return campaign.run(progress=self.told(what))

    def told(self, what: str) -> Callable[[int, int], None]:
        """Return the progress of one campaign."""

        def tell(done: int, total: int) -> None:
            self.progress(what, done, total)

        return tell
