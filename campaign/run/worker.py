"""A worker process: it runs the units it is handed and sends their records back.

It maps the images of a batch from a file that its parent wrote, and ends when its parent ends. What
it is to do comes as an ``Assignment``; what it sends is Ready, ``Golden``, ``Record``, ``Trouble`` or
a log record. It knows nothing of the store.
"""

import json
import logging
import os
import pickle
import shutil
import signal
import threading
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.plan.schedule import Unit
from ftonnx.campaign.run.batch import Recipe
from ftonnx.errors import FtonnxError, UsageError
from ftonnx.files import UserFunction
from ftonnx.runtime import FaultySession
from ftonnx.samples import Samples, arrays_of
from ftonnx.sessions import Arrays
from ftonnx.tasks import Counts, task_of_file

__all__ = ["OUT_OF_MEMORY", "Assignment", "Golden", "Ready", "Setup", "Trouble", "add_batch", "remove_batch"]

OUT_OF_MEMORY: Final = 71
"""Exit code of a worker for which Python has no memory left."""

_SETUP: Final = "setup.pickle"
_SHARED: Final = "shared"
_TASK: Final = "task.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a worker needs to know besides the weights and the images.

    Attributes:
        recipe: how units are run.
        extra: values of the model's inputs that take no data, by name.
        threads: intra-op threads of the worker's session.
        cache_memory: bytes of golden tensors that the worker may keep.
        log_level: records below it are not sent.
    """

    recipe: Recipe
    extra: Arrays
    threads: int
    cache_memory: int
    log_level: int

    def save(self, folder: Path, session: FaultySession) -> None:
        """Write the setup and the session's weights where workers find them.

        Raises:
            UsageError: the task is defined where another process cannot import it.
        """
        kind = type(self.recipe.task)
        if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__:
            raise UsageError(
                f"worker processes cannot import {kind.__qualname__}; move it into a module, or use `jobs=1`"
            )
        own_file = UserFunction.file_of(kind)
        if own_file is not None:
            (folder / _TASK).write_text(json.dumps([str(own_file), kind.__qualname__]))
        (folder / _SETUP).write_bytes(pickle.dumps(self))
        session.share(folder / _SHARED)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote; a task of the user's own is defined by running its file again."""
        if (folder / _TASK).exists():
            path, name = json.loads((folder / _TASK).read_text())
            task_of_file(Path(path), name)
        setup: Self = pickle.loads((folder / _SETUP).read_bytes())
        return setup

    def open(self, folder: Path) -> FaultySession:
        """Open the session on the parent's weights, with its strategy."""
        return FaultySession.from_shared(
            folder / _SHARED,
            self.recipe.model,
            self.recipe.schedule.space,
            providers=self.recipe.schedule.settings.providers,
            threads=self.threads,
            extra=self.extra,
            cache_memory=self.cache_memory,
        )


class Assignment(NamedTuple):
    """Units of one batch to run, in this order; a batch that is new to the worker begins with its golden run."""

    batch: int
    units: tuple[Unit, ...]


class Ready(NamedTuple):
    """The session is open."""


class Golden(NamedTuple):
    """The golden run of a batch."""

    batch: int
    outcomes: Counts


class Trouble(NamedTuple):
    """An exception ended the worker: one of ours as it is, any other as the text of its traceback."""

    error: FtonnxError | None
    text: str

    @classmethod
    def of(cls, error: Exception) -> Self:
        """Return the exception in a form that can be sent."""
        return cls(error if isinstance(error, FtonnxError) else None, "".join(traceback.format_exception(error)))


def add_batch(folder: Path, index: int, images: Samples, labels: NDArray[Any]) -> None:
    """Write a batch where workers find it."""
    own = _batch_folder(folder, index)
    own.mkdir()
    names = list(images) if isinstance(images, Mapping) else None
    for number, array in enumerate(arrays_of(images)):
        np.save(own / f"images-{number}.npy", array)
    np.save(own / "labels.npy", labels)
    # names of inputs may be no names for files
    (own / "names.json").write_text(json.dumps(names))


def remove_batch(folder: Path, index: int) -> None:
    """Remove a batch; a worker that has mapped it keeps it."""
    shutil.rmtree(_batch_folder(folder, index))


def _read_batch(folder: Path, index: int) -> tuple[Samples, NDArray[Any]]:
    """Map what ``add_batch`` wrote."""
    own = _batch_folder(folder, index)
    names = json.loads((own / "names.json").read_text())
    labels = np.load(own / "labels.npy", mmap_mode="r")
    if names is None:
        return np.load(own / "images-0.npy", mmap_mode="r"), labels
    arrays = {name: np.load(own / f"images-{number}.npy", mmap_mode="r") for number, name in enumerate(names)}
    return arrays, labels


def _batch_folder(folder: Path, index: int) -> Path:
    return folder / f"batch-{index}"


def main(descriptor: int, folder: str) -> None:
    """Serve the parent at the other end of the connection until it says stop or ends."""
    for signum in (signal.SIGINT, signal.SIGTERM):  # they are for the parent, which then says stop
        signal.signal(signum, signal.SIG_IGN)
    connection: Connection[Any, Any] = Connection(descriptor)
    inbox = _Inbox(connection, Path(folder))
    try:
        _serve_or_report(connection, inbox, Path(folder))
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except ConnectionError:  # the parent was killed
        inbox.wait_for_the_end()


def _serve_or_report(connection: "Connection[Any, Any]", inbox: "_Inbox", folder: Path) -> None:
    try:
        _serve(connection, inbox, folder)
    except (MemoryError, ConnectionError):
        raise
    except Exception as error:  # also where another worker has removed the folder of a killed parent
        connection.send(Trouble.of(error))


def _serve(connection: "Connection[Any, Any]", inbox: "_Inbox", folder: Path) -> None:
    setup = Setup.load(folder)
    logger = logging.getLogger("ftonnx")
    logger.setLevel(setup.log_level)
    logger.addHandler(_ToParent(connection))
    session = setup.open(folder)
    connection.send(Ready())
    current: int | None = None
    for batch, units in inbox.assignments():
        if batch != current:
            images, labels = _read_batch(folder, batch)
            runner = setup.recipe.open_batch(session, images, labels)
            connection.send(Golden(batch, runner.golden))
            current = batch
        for unit in units:
            if inbox.stopping:
                return
            connection.send(runner.run(unit))


class _Inbox:
    """Receives in a thread of its own, so that a stop, or the parent's end, is noticed whatever runs meanwhile."""

    def __init__(self, connection: "Connection[Any, Any]", folder: Path) -> None:
        self.stopping = False
        self._connection, self._folder = connection, folder
        self._queue: SimpleQueue[Assignment | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def assignments(self) -> Iterator[Assignment]:
        """Yield what comes until the parent says stop."""
        while (assignment := self._queue.get()) is not None:
            yield assignment

    def wait_for_the_end(self) -> None:
        """Wait until the thread has noticed that the parent is gone, and ends the process."""
        self._thread.join()

    def _listen(self) -> None:
        assignment: Assignment | None = Assignment(-1, ())
        while assignment is not None:
            try:
                assignment = self._connection.recv()
            except (EOFError, OSError):  # the parent was killed, so nobody else tidies up
                shutil.rmtree(self._folder, ignore_errors=True)
                os._exit(1)
            self.stopping = assignment is None
            self._queue.put(assignment)


class _ToParent(QueueHandler):
    """Sends log records to the parent, whose handlers and levels count."""

    def __init__(self, connection: "Connection[Any, Any]") -> None:
        super().__init__(connection)  # type: ignore[arg-type]  # only emit uses it

    def emit(self, record: logging.LogRecord) -> None:
        """Send the record; a parent that is gone is met in ``main``, not printed as a logging error."""
        self.queue.send(self.prepare(record))  # type: ignore[attr-defined]
