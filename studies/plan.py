"""What a study would do: its steps, which of them are done, and how much the others are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ftonnx.campaign import Settings
from ftonnx.campaign.run.signals import StopRequest
from ftonnx.errors import FtonnxError, message_of
from ftonnx.studies.activations import CellActivations
from ftonnx.studies.campaigns import CellCampaign
from ftonnx.studies.kept import KeptFiles
from ftonnx.studies.model_files import GivenFile, ModelFile
from ftonnx.studies.study import Study
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
        reason: why it fails; None where it does not.
    """

    name: str
    kind: str
    state: str
    source: str | None
    path: Path | None
    units: int | None = None
    recorded: int = 0
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

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"study": self.study, "steps": [step.to_dict() for step in self.steps]}


def plan(study: Study | str | Path, output: str | Path, *, only: Sequence[str] = ()) -> StudyPlan:
    """Say what ``run`` would do; nothing is run or written.

    Args:
        study: a study, or its file.
        output: the study's folder.
        only: patterns of names of cells, such as ``*/clipact/*``; all cells by default.

    Raises:
        UsageError: the file does not describe a study, or a pattern fits no cell.
    """
    read = study if isinstance(study, Study) else Study.read(study)
    shop = Workshop(read, Path(output).absolute(), StopRequest())
    kept = KeptFiles(shop)
    steps: dict[str, PlannedStep] = {}
    for cell in read.chosen(only):
        campaign = CellCampaign.of(cell, shop, Settings())
        _add_files(campaign.file, kept, steps)
        steps[cell.name] = _planned_campaign(campaign, kept)
    for cell in read.chosen_activations(only):
        activations = CellActivations.of(cell, read)
        _add_files(activations.file, kept, steps)
        steps[cell.name] = _planned_activations(activations, kept)
    return StudyPlan(study=read.name, steps=tuple(steps.values()))


def _add_files(file: ModelFile, kept: KeptFiles, steps: dict[str, PlannedStep]) -> None:
    """Add a file behind those that it is made from, where they are no steps yet."""
    for each in _chain(file):
        name = _name_of(each)
        if name not in steps:
            steps[name] = _planned_file(each, kept)


def _chain(file: ModelFile) -> list[ModelFile]:
    """Return a file behind those that it is made from."""
    before = [] if file.source is None else _chain(file.source)
    return [*before, file]


def _name_of(file: ModelFile) -> str:
    return f"{file.model}/{file.name}"


def _planned_file(file: ModelFile, kept: KeptFiles) -> PlannedStep:
    source = None if file.source is None else _name_of(file.source)
    path = None
    reason = None
    try:
        # reads what the file is made from, a given one itself
        file.key(kept.shop)
        path = file.path(kept.shop)
        state = _state_of(file, kept)
    except FtonnxError as error:
        state = FAILS
        reason = message_of(error)
    return PlannedStep(name=_name_of(file), kind="model", state=state, source=source, path=path, reason=reason)


def _state_of(file: ModelFile, kept: KeptFiles) -> str:
    if isinstance(file, GivenFile):
        return GIVEN
    return DONE if kept.is_there(file) else TO_DO


def _planned_campaign(campaign: CellCampaign, kept: KeptFiles) -> PlannedStep:
    path = None
    units = None
    recorded = None
    reason = None
    try:
        path = campaign.folder(kept.shop)
        units = campaign.units(kept)
        recorded = campaign.recorded(kept.shop)
        state = TO_DO if recorded is None else BEGUN
        if recorded is not None and recorded == units:
            state = DONE
    except FtonnxError as error:
        state = FAILS
        reason = message_of(error)
    return PlannedStep(
        name=campaign.cell.name,
        kind="campaign",
        state=state,
        source=_name_of(campaign.file),
        path=path,
        units=units,
        recorded=recorded or 0,
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
