"""What lies in the folder that a worker process and its parent share: the setup, the weights, images, and progress."""

import json
import mmap
import pickle
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.run.batch import Recipe
from ftonnx.campaign.run.user_task import check_importable
from ftonnx.errors import StoreError
from ftonnx.files import UserFunction
from ftonnx.runtime import FaultySession
from ftonnx.samples import Samples, arrays_of
from ftonnx.sessions import Arrays
from ftonnx.tasks import task_of_file

__all__ = ["Begun", "Progress", "Setup", "add_batch", "read_batch", "remove_batch", "temporary_files"]

_SETUP: Final = "setup.pickle"
_SHARED: Final = "shared"
_TASK: Final = "task.json"
_PROGRESS_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a worker needs to know besides the weights and the images.

    Attributes:
        recipe: how units are run.
        extra: values of the model's inputs that take no data, by name.
        threads: intra-op threads of the worker's session.
        cache_memory: bytes of golden tensors that the worker may keep.
        memory: bytes that batches and their golden runs may take in the worker from one round to the next.
        log_level: records below it are not sent.
    """

    recipe: Recipe
    extra: Arrays
    threads: int
    cache_memory: int
    memory: int
    log_level: int

    def save(self, folder: Path, session: FaultySession) -> None:
        """Write the setup and the session's weights where workers find them.

        Raises:
            UsageError: the task is defined where another process cannot import it.
        """
        check_importable(self.recipe.task)
        kind = type(self.recipe.task)
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
            self.recipe.schedule.model_space,
            providers=self.recipe.schedule.settings.providers,
            threads=self.threads,
            extra=self.extra,
            cache_memory=self.cache_memory,
        )


class Begun(NamedTuple):
    """How far a worker has come.

    Attributes:
        items: number of items that it has begun in its life.
        golden: whether it is at a golden run that the last of them needs.
    """

    items: int
    golden: bool


class Progress:
    """How far a worker has come, in memory that outlives it: what it has not reported when it dies is known so."""

    def __init__(self, path: Path) -> None:
        """Map the file, which is made where it is missing."""
        with path.open("a+b") as file:
            if not file.tell():
                # not a hole: to write into one when the disk is full would end the process
                file.write(bytes(_PROGRESS_BYTES))
                file.flush()
            self._numbers = memoryview(mmap.mmap(file.fileno(), _PROGRESS_BYTES)).cast("q")

    def begin(self) -> None:
        """Note the begin of an item."""
        self._numbers[0] += 1

    def set_golden(self, golden: bool) -> None:
        """Note whether a golden run is in work."""
        self._numbers[1] = golden

    def read(self) -> Begun:
        """Return what is noted."""
        return Begun(self._numbers[0], bool(self._numbers[1]))


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


def read_batch(folder: Path, index: int) -> tuple[Samples, NDArray[Any]]:
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


@contextmanager
def temporary_files() -> Iterator[None]:
    """Turn what goes wrong when writing for the workers into one clear line."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{tempfile.gettempdir()} cannot hold the model and images for worker processes ({error}); "
            "free some space, set TMPDIR to another folder, or use `jobs=1`"
        ) from error
