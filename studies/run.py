"""Running a study: every step once, cell by cell; what fails is said, and the rest is done."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from ftonnx.campaign import CampaignResult, Settings
from ftonnx.campaign.plan.settings import LOCAL, Jobs
from ftonnx.campaign.plan.shard import Shard
from ftonnx.campaign.run.signals import stop_on_signals
from ftonnx.errors import FtonnxError, Interrupted, StoreError, message_of
from ftonnx.studies.activations import measured_cells
from ftonnx.studies.campaigns import CellCampaign
from ftonnx.studies.kept import KeptFiles
from ftonnx.studies.lock import locked
from ftonnx.studies.pace import Pace, StudyProgress
from ftonnx.studies.result import Failure, StudyResult
from ftonnx.studies.shards import cells_of_shard
from ftonnx.studies.study import Cell, Study
from ftonnx.studies.workshop import Workshop

__all__ = ["run"]

_logger: Final = logging.getLogger(__name__)

Progress = Callable[[StudyProgress], None]


def run(
    study: Study | str | Path,
    output: str | Path,
    *,
    only: Sequence[str] = (),
    shard: Shard | str | None = None,
    jobs: Jobs = 1,
    engine: str = LOCAL,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> StudyResult:
    """Run a study: export, protect and quantize its models, and measure every cell's accuracy under bit flips.

    Every step is kept in the folder under a name that depends on what decides its content, so that an interrupted study
    goes on where it was, and a changed line repeats what depends on it and nothing else. A folder that cannot be
    written to is read.

    Args:
        study: a study, or its file.
        output: the study's folder.
        only: patterns of names of cells, such as ``*/clipact/*``; all cells by default.
        shard: which part of these cells is done here, ``K/N`` of N about equal parts; None for all of them. Folders of
            parts are put together by copying one over the other.
        jobs: processes that run a campaign's units, or ``auto``.
        engine: ``local``, or ``dask`` for the workers of a Dask cluster.
        scheduler: of the cluster.
        progress: called while models are made, and after every unit.

    Returns:
        The results of all cells that are complete, those of earlier runs and outside ``only`` too, and what failed.

    Raises:
        UsageError: the file does not describe a study, a pattern fits no cell, or the part has nothing to do.
        StoreError: the folder is in use, or cannot be made.
        Interrupted: SIGINT or SIGTERM came; every finished step and unit is kept.
    """
    read = study if isinstance(study, Study) else Study.read(study)
    running = Settings(jobs=jobs, engine=engine, scheduler=scheduler)
    folder = Path(output).absolute()
    chosen = (*read.chosen(only), *read.chosen_activations(only))
    with stop_on_signals() as stop:
        shop = Workshop(read, folder, stop)
        if shard is not None:
            chosen = cells_of_shard(shard, chosen, shop)
        with locked(folder) as writable:
            return _Work(shop, running, writable=writable).done(chosen, progress)


class _Work:
    """One run of a study."""

    def __init__(self, shop: Workshop, running: Settings, *, writable: bool) -> None:
        self._shop = shop
        self._writable = writable
        self._kept = KeptFiles(shop)
        self._campaigns = {cell: CellCampaign.of(cell, shop, running) for cell in shop.study.cells}

    def done(self, chosen: Sequence[Cell], progress: Progress | None) -> StudyResult:
        """Run the chosen cells, and look for the results of the others."""
        pace = self._pace(chosen, progress)
        failures = []
        results: dict[Cell, CampaignResult] = {}
        for cell, campaign in self._campaigns.items():
            try:
                found = campaign.found(self._shop)
                if found is None and cell in chosen:
                    found = self._run(campaign, pace)
            except Interrupted:
                raise
            except FtonnxError as error:
                reason = message_of(error)
                if cell in chosen:
                    failures.append(Failure(cell, reason))
                    pace.fail(cell)
                else:
                    # nobody asked for it
                    _logger.info("%s is left out of the tables: %s", cell.name, reason)
            else:
                if found is not None:
                    results[cell] = found
                if cell in chosen:
                    pace.end(cell)
        activations = measured_cells(self._kept, chosen, self._begin)
        failures += [Failure(cell, reason) for cell, reason in activations.reasons.items()]
        return StudyResult(
            study=self._shop.study,
            results=results,
            activations=activations.found,
            failures=tuple(failures),
        )

    def _run(self, campaign: CellCampaign, pace: Pace) -> CampaignResult:
        cell = campaign.cell
        self._begin(cell)
        self._kept.made(campaign.file)
        pace.open(cell)

        def progress(done: int, total: int) -> None:
            # a signal that came before the campaign watched for any
            self._shop.check_stop()
            pace.run(cell, done, total)

        return campaign.run(self._kept, progress)

    def _begin(self, cell: Cell) -> None:
        """Begin what is to be done for a cell."""
        if not self._writable:
            raise StoreError(f"{self._shop.folder} cannot be written to: copy it, and run the study there")
        self._shop.check_stop()
        _logger.info("running %s", cell.name)

    def _pace(self, chosen: Sequence[Cell], progress: Progress | None) -> Pace:
        """Return what follows the run; nothing is looked at for it where nobody watches."""
        units = {} if progress is None else {cell: self._size(cell) for cell in chosen if cell in self._campaigns}
        pace = Pace(self._campaigns, units, progress)
        self._shop.watch(pace)
        return pace

    def _size(self, cell: Cell) -> int:
        """Return the units of a cell as far as they are known; what is wrong with it is said when its turn comes."""
        try:
            return self._campaigns[cell].size(self._kept).units or 0
        except FtonnxError:
            return 0
