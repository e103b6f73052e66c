"""What a study would do: its steps, which of them are done, and how much the others are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ftonnx.campaign import Settings
from ftonnx.campaign.plan.settings import Jobs
from ftonnx.campaign.plan.shard import Shard
from ftonnx.campaign.run.signals import StopRequest
from ftonnx.errors import FtonnxError, message_of
from ftonnx.studies.activations import CellActivations
from ftonnx.studies.campaigns import CampaignSize, CellCampaign
from ftonnx.studies.forecast import Forecaster
from ftonnx.studies.kept import KeptFiles
from ftonnx.studies.model_files import GivenFile, ModelFile
from ftonnx.studies.shards import cells_of_shard
from ftonnx.studies.study import ACTIVATIONS, Study
from ftonnx.studies.workshop import Workshop

__all__ = ["BEGUN", "DONE", "FAILS", "GIVEN", "TO_DO", "PlannedStep", "StudyPlan", "plan"]

GIVEN: Final = "given"
DONE: Final = "done"
BEGUN: Final = "begun"
TO_DO: Final = "to do"
FAILS: Final = "fails"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """A model file, a campaign or measured activations of a study.

    Attributes:
        name: of the file without its ending, below its model's name, or of the cell.
        kind: ``model``, ``campaign`` or ``activations``.
        state: given, done, begun, to do or fails.
        source: the name of the model file that it is made from, or runs on; None where that is none of the study's.
        path: where the file or the results are; None where it fails.
        units: of a campaign; None where that follows from a model that is not made yet.
        recorded: units that are done.
        bits: that can flip in a campaign; None where that follows from a model that is not made yet.
        bytes: of a model file that is there.
        seconds: that the units of a campaign which are not done will take on this machine; None where nobody knows.
        measured_on: the name of the model file that the time was measured on.
        reason: why it fails; None where it does not.
    """

    name: str
    kind: str
    state: str
    source: str | None
    path: Path | None
    units: int | None = None
    recorded: int = 0
    bits: int | None = None
    bytes: int | None = None
    seconds: float | None = None
    measured_on: str | None = None
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "name": self.name,
            "kind": self.kind,
            "state": self.state,
            "source": self.source,
            "path": None if self.path is None else str(self.path),
            "units": self.units,
            "recorded": self.recorded,
            "bits": self.bits,
            "bytes": self.bytes,
            "seconds": self.seconds,
            "measured_on": self.measured_on,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPlan:
    """A study's steps, each behind the one that it is made from.

    Attributes:
        study: its name.
        steps: model files, campaigns and measured activations.
    """

    study: str
    steps: tuple[PlannedStep, ...]

    def after(self, name: str | None) -> tuple[PlannedStep, ...]:
        """Return the steps that are made from a model file; those that are made from none of the study's for None."""
        return tuple(step for step in self.steps if step.source == name)

    @property
    def seconds(self) -> float:
        """What the campaigns will take on this machine, but for those that are left out."""
        return sum(step.seconds or 0.0 for step in self.steps)

    @property
    def left_out(self) -> tuple[PlannedStep, ...]:
        """What is not in the seconds: models that are to be made, and campaigns whose time nobody knows."""
        open_steps = [step for step in self.steps if step.state in (BEGUN, TO_DO)]
        return tuple(step for step in open_steps if step.seconds is None)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "study": self.study,
            "steps": [step.to_dict() for step in self.steps],
            "seconds": self.seconds,
            "left_out": [step.name for step in self.left_out],
        }


def plan(
    study: Study | str | Path,
    output: str | Path,
    *,
    only: Sequence[str] = (),
    shard: Shard | str | None = None,
    jobs: Jobs = 1,
    measure: float = 0.0,
) -> StudyPlan:
    """Say what ``run`` would do; but for a few units that are measured, nothing is run, and nothing is written.

    Args:
        study: a study, or its file.
        output: the study's folder.
        only: patterns of names of cells, such as ``*/clipact/*``; all cells by default.
        shard: a part of these cells, as for ``run``.
        jobs: processes that would run a campaign's units.
        measure: seconds after which no further campaign is opened to time a few of its units; 0 for no times.

    Raises:
        UsageError: the file does not describe a study, a pattern fits no cell, or the part has nothing to do.
    """
    read = study if isinstance(study, Study) else Study.read(study)
    shop = Workshop(read, Path(output).absolute(), StopRequest())
    kept = KeptFiles(shop)
    forecaster = Forecaster(kept, measure) if measure else None
    cells = (*read.chosen(only), *read.chosen_activations(only))
    if shard is not None:
        cells = cells_of_shard(shard, cells, shop)
    running = Settings(jobs=jobs)
    steps: dict[str, PlannedStep] = {}
    for cell in cells:
        if cell.faults == ACTIVATIONS:
            activations = CellActivations.of(cell, read)
            _add_files(activations.files, kept, steps)
            steps[cell.name] = _planned_activations(activations, kept)
        else:
            campaign = CellCampaign.of(cell, shop, running)
            _add_files(campaign.files, kept, steps)
            steps[cell.name] = _planned_campaign(campaign, kept, forecaster)
    return StudyPlan(study=read.name, steps=tuple(steps.values()))


def _add_files(files: Sequence[ModelFile], kept: KeptFiles, steps: dict[str, PlannedStep]) -> None:
    for file in files:
        name = _name_of(file)
        if name not in steps:
            steps[name] = _planned_file(file, kept)


def _name_of(file: ModelFile) -> str:
    return f"{file.model}/{file.name}"


def _planned_file(file: ModelFile, kept: KeptFiles) -> PlannedStep:
    source = None if file.source is None else _name_of(file.source)
    path = None
    size = None
    reason = None
    try:
        # reads what the file is made from, a given one itself
        file.key(kept.shop)
        path = file.path(kept.shop)
        state = _state_of(file, kept)
        size = None if state == TO_DO else path.stat().st_size
    except FtonnxError as error:
        state = FAILS
        reason = message_of(error)
    return PlannedStep(
        name=_name_of(file), kind="model", state=state, source=source, path=path, bytes=size, reason=reason
    )


def _state_of(file: ModelFile, kept: KeptFiles) -> str:
    if isinstance(file, GivenFile):
        return GIVEN
    return DONE if kept.is_there(file) else TO_DO


def _planned_campaign(campaign: CellCampaign, kept: KeptFiles, forecaster: Forecaster | None) -> PlannedStep:
    path = None
    size = CampaignSize(None, None)
    recorded = None
    forecast = None
    reason = None
    try:
        path = campaign.folder(kept.shop)
        size = campaign.size(kept)
        recorded = campaign.recorded(kept.shop)
        state = TO_DO if recorded is None else BEGUN
        if recorded is not None and recorded == size.units:
            state = DONE
        if forecaster is not None and size.units is not None and state != DONE:
            forecast = forecaster.of(campaign)
    except FtonnxError as error:
        state = FAILS
        reason = message_of(error)
    left = (size.units or 0) - (recorded or 0)
    return PlannedStep(
        name=campaign.cell.name,
        kind="campaign",
        state=state,
        source=_name_of(campaign.file),
        path=path,
        units=size.units,
        recorded=recorded or 0,
        bits=size.bits,
        seconds=None if forecast is None else left * forecast.seconds,
        measured_on=None if forecast is None else _name_of(forecast.file),
        reason=reason,
    )


def _planned_activations(activations: CellActivations, kept: KeptFiles) -> PlannedStep:
    path = None
    reason = None
    try:
        path = activations.path(kept.shop)
        state = TO_DO if activations.found(kept.shop) is None else DONE
    except FtonnxError as error:
        state = FAILS
        reason = message_of(error)
    return PlannedStep(
        name=activations.cell.name,
        kind="activations",
        state=state,
        source=_name_of(activations.file),
        path=path,
        reason=reason,
    )
