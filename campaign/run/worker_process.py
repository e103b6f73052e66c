"""A worker process as its parent sees it: started, handed units, ended."""

import logging
import signal
import subprocess
import sys
from collections import deque
from multiprocessing import Pipe
from pathlib import Path
from typing import Final

from ftonnx.campaign.plan.schedule import Unit
from ftonnx.campaign.run.worker import OUT_OF_MEMORY, Assignment

__all__ = ["Item", "WorkerProcess"]

_START: Final = (
    "import sys; sys.path[:] = sys.argv[3:]; "
    "from ftonnx.campaign.run.worker import main; main(int(sys.argv[1]), sys.argv[2])"
)
_logger: Final = logging.getLogger(__name__)

Item = Unit | int
"""What a worker works on: a unit, or the golden run of the batch with this number."""


class WorkerProcess:
    """A worker process as its parent sees it.

    Attributes:
        connection: to the process.
        ready: its session is open.
        items: what it has been given and has not finished, in order.
        batch: the batch it was given last.
        records: number of units it has done.
    """

    def __init__(self, folder: Path) -> None:
        """Start the process, which finds what it needs to know in a folder.

        Raises:
            OSError: the system has no room for another one.
        """
        self.connection, theirs = Pipe()
        with theirs:
            command = [sys.executable, "-c", _START, str(theirs.fileno()), str(folder), *map(str, sys.path)]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # the parent's belongs to the results
                pass_fds=[theirs.fileno()],
                process_group=0,  # out of the reach of Ctrl-C, which is for the parent
            )
        self.ready = False
        self.batch = -1
        self.records = 0
        self.items: deque[Item] = deque()

    def assign(self, batch: int, units: list[Unit]) -> int:
        """Hand over units of a batch; return the number of new items, its golden run included."""
        golden: list[Item] = [batch] if batch != self.batch else []
        items = golden + units
        self.items += items
        self.batch = batch
        self.send(Assignment(batch, tuple(units)))
        return len(items)

    def send(self, message: Assignment | None) -> None:
        """Hand over units, or None for the end."""
        try:
            self.connection.send(message)
        except ConnectionError:  # it has died, which is noticed behind its last records
            _logger.debug("worker process %d takes no more messages", self._process.pid)

    def end(self, *, patient: bool = False) -> str:
        """End the process, one that is ending by itself in its own way, and say how it ended."""
        self.connection.close()
        try:
            code = self._process.wait(1 if patient else 0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if code == OUT_OF_MEMORY:
            return "out of memory"
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"
