"""Running a study: every step once, cell by cell; what fails is said, and the rest is done."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from ftonnx.campaign import CampaignResult, Settings
from ftonnx.campaign.plan.settings import LOCAL, Jobs
from ftonnx.campaign.run.signals import stop_on_signals
from ftonnx.errors import FtonnxError, Interrupted, message_of
from ftonnx.studies.activations import measured_cells
from ftonnx.studies.campaigns import CellCampaign
from ftonnx.studies.kept import KeptFiles
from ftonnx.studies.lock import locked
from ftonnx.studies.result import Failure, StudyResult
from ftonnx.studies.study import Cell, Study
from ftonnx.studies.workshop import Workshop

__all__ = ["run"]

_logger: Final = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with (units done, units in all) of the whole study."""


def run(
    study: Study | str | Path,
    output: str | Path,
    *,
    only: Sequence[str] = (),
    jobs: Jobs = 1,
    engine: str = LOCAL,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> StudyResult:
    """Run a study: export, protect and quantize its models, and measure every cell's accuracy under bit flips.

    Every step is kept in the folder under a name that depends on what decides its content, so that an interrupted study
    goes on where it was, and a changed line repeats what depends on it and nothing else.

    Args:
        study: a study, or its file.
        output: the study's folder.
        only: patterns of names of cells, such as ``*/clipact/*``; all cells by default.
        jobs: processes that run a campaign's units, or ``auto``.
        engine: ``local``, or ``dask`` for the workers of a Dask cluster.
        scheduler: of the cluster.
        progress: called after every unit with (units done, units in all).

    Returns:
        The results of all cells that are complete, those of earlier runs and outside ``only`` too, and what failed.

    Raises:
        UsageError: the file does not describe a study, or a pattern fits no cell.
        StoreError: the folder is in use, or cannot be written.
        Interrupted: SIGINT or SIGTERM came; every finished step and unit is kept.
    """
    read = study if isinstance(study, Study) else Study.read(study)
    running = Settings(jobs=jobs, engine=engine, scheduler=scheduler)
    chosen = read.chosen(only)
    folder = Path(output).absolute()
    with locked(folder), stop_on_signals() as stop:
        work = _Work(Workshop(read, folder, stop), running, progress)
        return work.done(chosen, read.chosen_activations(only))


class _Work:
    """One run of a study."""

    def __init__(self, shop: Workshop, running: Settings, progress: Progress | None) -> None:
        self._shop = shop
        self._kept = KeptFiles(shop)
        self._campaigns = {cell: CellCampaign.of(cell, shop, running) for cell in shop.study.cells}
        self._watcher = progress
        self._units: dict[Cell, int] = {}
        self._finished = 0

    def done(self, chosen: Sequence[Cell], measured: Sequence[Cell]) -> StudyResult:
        """Run the chosen cells, measure activations of the chosen ones, and look for the results of the others."""
        if self._watcher is not None:
            self._units = {cell: self._size(cell) for cell in chosen}
        failures = []
        results: dict[Cell, CampaignResult] = {}
        for cell, campaign in self._campaigns.items():
            try:
                found = campaign.found(self._shop)
                if found is None and cell in chosen:
                    self._shop.check_stop()
                    _logger.info("running %s", cell.name)
                    found = campaign.run(self._kept, self._progress_of(cell))
            except Interrupted:
                raise
            except FtonnxError as error:
                reason = message_of(error)
                if cell in chosen:
                    failures.append(Failure(cell, reason))
                else:
                    # nobody asked for it
                    _logger.info("%s is left out of the tables: %s", cell.name, reason)
                # which will not be done
                self._units.pop(cell, None)
            else:
                if found is not None:
                    results[cell] = found
            self._finished += self._units.get(cell, 0)
            self._tell(0)
        activations = measured_cells(self._kept, measured)
        failures += [Failure(cell, reason) for cell, reason in activations.reasons.items()]
        return StudyResult(
            study=self._shop.study,
            results=results,
            activations=activations.found,
            failures=tuple(failures),
        )

    def _size(self, cell: Cell) -> int:
        """Return the units of a cell as far as they are known; what is wrong with it is said when its turn comes."""
        try:
            return self._campaigns[cell].units(self._kept) or 0
        except FtonnxError:
            return 0

    def _progress_of(self, cell: Cell) -> Progress:
        def progress(done: int, total: int) -> None:
            # a signal that came before the campaign watched for any
            self._shop.check_stop()
            self._units[cell] = total
            self._tell(done)

        return progress

    def _tell(self, done: int) -> None:
        if self._watcher is not None:
            self._watcher(self._finished + done, sum(self._units.values()))
