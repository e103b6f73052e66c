"""The executors, and which of them the settings ask for."""

from typing import Final

from ftonnx.campaign.plan.settings import Jobs
from ftonnx.campaign.run.automatic import Automatic
from ftonnx.campaign.run.base import Executor, Work
from ftonnx.campaign.run.in_process import InProcess
from ftonnx.campaign.run.processes import Processes

__all__ = ["EXECUTORS", "executor_class", "executor_for"]

EXECUTORS: Final[tuple[type[Executor], ...]] = (InProcess, Processes, Automatic)
"""All of them; a new one needs a file of its own and its name here."""


def executor_class(jobs: Jobs) -> type[Executor]:
    """Return the executor that the setting ``jobs`` means.

    >>> executor_class(1).__name__, executor_class(2).__name__, executor_class("auto").__name__
    ('InProcess', 'Processes', 'Automatic')
    """
    return next(kind for kind in EXECUTORS if kind.takes(jobs))


def executor_for(work: Work) -> Executor:
    """Return the executor that a campaign's settings ask for; nothing is started yet."""
    return executor_class(work.settings.jobs).of(work)
