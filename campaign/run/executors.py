"""The executors, and which of them the settings ask for."""

import logging
from typing import Final

from ftonnx.campaign.plan.settings import Settings
from ftonnx.campaign.run.automatic import Automatic
from ftonnx.campaign.run.base import Executor, Work
from ftonnx.campaign.run.in_process import InProcess
from ftonnx.campaign.run.on_dask import OnDask
from ftonnx.campaign.run.processes import Processes, cores
from ftonnx.campaign.run.user_task import check_importable
from ftonnx.errors import UsageError
from ftonnx.tasks import Task

__all__ = ["EXECUTORS", "executor_class", "executor_for"]

EXECUTORS: Final[tuple[type[Executor], ...]] = (InProcess, Processes, Automatic, OnDask)
"""All of them; a new one needs a file of its own and its name here."""

_logger: Final = logging.getLogger(__name__)


def executor_class(settings: Settings) -> type[Executor]:
    """Return the executor that settings ask for.

    >>> executor_class(Settings()).__name__, executor_class(Settings(jobs=2, engine="dask")).__name__
    ('InProcess', 'OnDask')
    """
    return next(kind for kind in EXECUTORS if kind.takes(settings))


def executor_for(work: Work) -> Executor:
    """Return the executor that a campaign's settings ask for; nothing is started yet.

    Runs that may have to end with their process are no work for this one.
    """
    kind = executor_class(work.settings)
    if work.may_not_end and kind in (InProcess, Automatic) and _can_leave(work.recipe.task):
        jobs = 1 if kind is InProcess else max(1, cores() // (work.settings.threads or 1))
        return Processes.so_many(work, jobs)
    return kind.of(work)


def _can_leave(task: Task) -> bool:
    """Say whether another process can import a task."""
    try:
        check_importable(task)
    except UsageError as error:
        _logger.warning("a run that ONNX Runtime cannot end would not be ended: %s", error)
        return False
    return True
