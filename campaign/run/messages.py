"""What a worker process and its parent tell each other."""

import traceback
from typing import NamedTuple, Self

from ftonnx.campaign.plan.schedule import Unit
from ftonnx.campaign.store.folder import Record
from ftonnx.campaign.store.golden_run import GoldenRun
from ftonnx.errors import FtonnxError

__all__ = ["Assignment", "Item", "Ready", "Report", "Trouble", "batch_of"]

Item = Unit | int
"""What a worker works on: a unit, or the golden run of the batch with this number."""


class Assignment(NamedTuple):
    """What to do, in this order; a batch that the worker does not hold begins with its golden run.

    Attributes:
        items: it.
        timed_out: those of the units over which a worker has timed out, which are not run again.
    """

    items: tuple[Item, ...]
    timed_out: frozenset[Item] = frozenset()


class Ready(NamedTuple):
    """The session is open."""


class Report(NamedTuple):
    """What a worker has done since its last report.

    Attributes:
        done: number of items.
        golden: the golden runs of the batches that it was asked for or has opened.
        records: the units.
        dropped: the batches that it holds no longer.
    """

    done: int
    golden: dict[int, GoldenRun]
    records: list[Record]
    dropped: list[int]


class Trouble(NamedTuple):
    """An exception ended the worker: one of ours as it is, any other as the text of its traceback."""

    error: FtonnxError | None
    text: str

    @classmethod
    def of(cls, error: Exception) -> Self:
        """Return the exception in a form that can be sent."""
        return cls(error if isinstance(error, FtonnxError) else None, "".join(traceback.format_exception(error)))


def batch_of(item: Item) -> int:
    """Return the number of the batch that an item belongs to."""
    return item.batch if isinstance(item, Unit) else item
