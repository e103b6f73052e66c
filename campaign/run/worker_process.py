"""A worker process as its parent sees it: started, handed units, ended."""

import itertools
import logging
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Collection, Sequence
from multiprocessing import Pipe
from pathlib import Path
from typing import Final

from ftonnx.campaign.run.messages import Assignment, Item, batch_of
from ftonnx.campaign.run.worker import OUT_OF_MEMORY
from ftonnx.campaign.run.worker_files import Progress, temporary_files
from ftonnx.sessions import STUCK

__all__ = ["TIMED_OUT", "WorkerProcess"]

TIMED_OUT: Final = "a run did not end"

_START: Final = (
    "import sys; sys.path[:] = sys.argv[4:]; "
    "from ftonnx.campaign.run.worker import main; main(int(sys.argv[1]), sys.argv[2], sys.argv[3])"
)
_numbers: Final = itertools.count()
_logger: Final = logging.getLogger(__name__)


class WorkerProcess:
    """A worker process as its parent sees it.

    Attributes:
        connection: to the process.
        ready: its session is open.
        items: what it has been given and has not reported, in order.
        records: number of units it has done.
    """

    def __init__(self, folder: Path) -> None:
        """Start the process, which finds what it needs to know in a folder.

        Raises:
            OSError: the system has no room for another one.
            StoreError: there is no room for temporary files.
        """
        progress = folder / f"progress-{next(_numbers)}"
        with temporary_files():
            self._progress = Progress(progress)
        self.connection, theirs = Pipe()
        with theirs:
            arguments = [str(theirs.fileno()), str(folder), str(progress), *map(str, sys.path)]
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # the parent's belongs to the results
                pass_fds=[theirs.fileno()],
                # what it puts down goes with the folder, also where it is killed while opening its session
                env=os.environ | {"TMPDIR": str(folder)},
                process_group=0,  # out of the reach of Ctrl-C, which is for the parent
            )
        self.ready = False
        self.records = 0
        self.items: deque[Item] = deque()
        self._reported = 0

    def assign(self, items: Sequence[Item], timed_out: Collection[Item] = ()) -> None:
        """Hand over what is to be done; what timed out is recorded as that."""
        self.items += items
        self.send(Assignment(tuple(items), frozenset(timed_out)))

    def take_back(self, done: int) -> list[Item]:
        """Return the items that it reports, so many of them."""
        self._reported += done
        return [self.items.popleft() for _ in range(done)]

    def in_work(self) -> Item | None:
        """Return what it was working on when it died: an item, or the golden run that one needed."""
        if not self.ready or not self.items:
            return None
        begun = self._progress.read()
        # where it died between two items, the next one is suspected, so that nothing is tried for ever
        place = max(0, begun.items - self._reported - 1)
        item = self.items[place]
        return batch_of(item) if begun.golden else item

    def send(self, message: Assignment | None) -> None:
        """Hand over units, or None for the end."""
        try:
            self.connection.send(message)
        except ConnectionError:  # it has died, which is noticed behind its last records
            _logger.debug("worker process %d takes no more messages", self._process.pid)

    def end(self, *, patient: bool = False) -> str:
        """End the process, one that is ending by itself in its own way, and say how it ended."""
        try:
            code = self._process.wait(1 if patient else 0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        # not before: a worker without a parent removes the folder, in which others may be at work
        self.connection.close()
        if code == OUT_OF_MEMORY:
            return "out of memory"
        if code == STUCK:
            return TIMED_OUT
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"
