"""The campaigns of a study: what decides a cell's counts, where they are kept, and how they are run."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from ftonnx.campaign import Campaign, CampaignResult, Settings
from ftonnx.campaign.campaign import Progress
from ftonnx.campaign.plan.schedule import Schedule
from ftonnx.campaign.plan.sharing import sized, usual_images_of
from ftonnx.campaign.provenance import versions
from ftonnx.campaign.store.folder import Store
from ftonnx.campaign.store.header_file import SETTINGS
from ftonnx.inject import OnnxModel, load_model
from ftonnx.studies.kept import KeptFiles
from ftonnx.studies.model_files import ModelFile, model_file_of
from ftonnx.studies.study import Cell
from ftonnx.studies.workshop import Workshop, key_of

__all__ = ["CampaignSize", "CellCampaign"]


class CampaignSize(NamedTuple):
    """How much a campaign is; None where that follows from a model that is not made yet.

    Attributes:
        units: of work.
        bits: that can flip.
    """

    units: int | None
    bits: int | None


@dataclass(frozen=True, slots=True)
class CellCampaign:
    """The campaign of a cell.

    Attributes:
        cell: the cell.
        file: the model file that it runs on.
        settings: how it is run.
    """

    cell: Cell
    file: ModelFile
    settings: Settings

    @classmethod
    def of(cls, cell: Cell, shop: Workshop, running: Settings) -> "CellCampaign":
        """Return a cell's campaign.

        Args:
            cell: the cell.
            shop: with the study.
            running: where units run: ``jobs``, ``engine`` and ``scheduler`` count.
        """
        study = shop.study
        faults = study.faults[cell.faults]
        # how many patterns a list has follows from the list
        usual = study.campaign.repeats if faults.model.is_endless else None
        # all images meet an injection's pattern
        images = study.campaign.images_per_pattern if faults.model.fresh_per_batch else None
        settings = replace(
            study.campaign,
            repeats=faults.repeats or usual,
            images_per_pattern=images,
            protection=faults.protection,
            jobs=running.jobs,
            engine=running.engine,
            scheduler=running.scheduler,
        )
        return cls(cell, model_file_of(cell, study), settings)

    def about(self, shop: Workshop) -> dict[str, Any]:
        """Return what decides the counts, as JSON values.

        Raises:
            FtonnxError: model or data cannot be read.
        """
        study = shop.study
        return {
            "model": self.file.key(shop),
            "data": shop.fingerprint(self.cell.data, "test"),
            "faults": study.faults[self.cell.faults].model.to_dict(),
            # another provider may compute in fewer bits; strategies and threads change the last bits of FP32 at most
            "settings": self.settings.deciding() | {"providers": list(self.settings.providers)},
            "task": None if study.task is None else study.task.to_dict(),
            "versions": versions(),
        }

    @property
    def files(self) -> tuple[ModelFile, ...]:
        """The model file, behind those that it is made from."""
        return self.file.chain

    def folder(self, shop: Workshop) -> Path:
        """Return the results folder; other counts have another name, so that none are ever lost."""
        return shop.folder / "campaigns" / f"{self.cell.name}.{key_of(self.about(shop))[:8]}"

    def recorded(self, shop: Workshop) -> int | None:
        """Return how many units are recorded; None where the campaign was never begun.

        Raises:
            FtonnxError: model or data cannot be read, or the folder is damaged.
        """
        folder = self.folder(shop)
        if not (folder / SETTINGS).exists():
            return None
        with Store.open(folder) as store:
            return store.count()

    def size(self, kept: KeptFiles) -> CampaignSize:
        """Return how much the campaign is.

        Raises:
            FtonnxError: model or data cannot be read.
        """
        shop = kept.shop
        faults = shop.study.faults[self.cell.faults].model
        file: ModelFile | None = self.file
        # of random patterns there are as many for every variant of a model
        while file is not None and faults.is_endless and not kept.is_there(file):
            file = file.source
        if file is None or not kept.is_there(file):
            return CampaignSize(None, None)
        found = self.size_on(load_model(file.path(shop)), shop)
        return found if file == self.file else CampaignSize(found.units, None)

    def size_on(self, model: OnnxModel, shop: Workshop) -> CampaignSize:
        """Return how much the campaign would be on a model.

        Raises:
            FtonnxError: the data cannot be read, or the faults do not fit the model.
        """
        faults = shop.study.faults[self.cell.faults].model
        usual = usual_images_of(shop.study.task)
        used = sized(self.settings, model, pooled=not faults.fresh_per_batch, usual=usual)
        schedule = Schedule.of(model, faults, used)
        return CampaignSize(schedule.units(shop.count(self.cell.data)), schedule.space.bits)

    def found(self, shop: Workshop) -> CampaignResult | None:
        """Return the result where the campaign is complete.

        Raises:
            FtonnxError: model or data cannot be read, or the folder is damaged.
        """
        if not self.recorded(shop):
            return None
        result = CampaignResult.open(self.folder(shop))
        return result if result.complete else None

    def run(self, kept: KeptFiles, progress: Progress) -> CampaignResult:
        """Run what is not recorded yet.

        Raises:
            FtonnxError: the model cannot be made, or the campaign not be run.
        """
        shop = kept.shop
        kept.made(self.file)
        folder = self.folder(shop)
        shop.make_folder(folder.parent)
        return self.opened(shop, results=folder).run(progress=progress)

    def opened(self, shop: Workshop, *, results: Path | None = None) -> Campaign:
        """Open the campaign, whose model file is there.

        Args:
            shop: with the study.
            results: the results folder; a temporary one by default.

        Raises:
            FtonnxError: model or data cannot be read, or do not fit.
        """
        model = load_model(self.file.path(shop), name=self.cell.label)
        images = shop.images(self.cell.data, "test", model)
        faults = shop.study.faults[self.cell.faults].model
        settings = self.settings if results is None else _as_begun(self.settings, results)
        return Campaign(model, images, faults, task=shop.study.task, settings=settings, results=results)


def _as_begun(settings: Settings, folder: Path) -> Settings:
    """Return settings with the strategy and the threads with which a campaign was begun, if it was.

    They change the last bits of outputs at most, but a results folder is of one campaign, which says them.
    """
    known = Store.recorded_settings(folder)
    if known is None:
        return settings
    return replace(settings, strategy=known.strategy, threads=known.threads)
