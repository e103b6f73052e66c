"""What a worker of a Dask cluster does: it opens a campaign once for each of its threads, and runs groups of units.

Model and data are opened under the client's paths, where their hashes are the client's, and come from the client else.
"""

import logging
import pickle
import platform
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self

import onnx

from ftonnx.campaign.inputs import fitted
from ftonnx.campaign.plan.schedule import Schedule, Unit
from ftonnx.campaign.provenance import versions
from ftonnx.campaign.run.base import Work
from ftonnx.campaign.run.batch import BatchRunner, Recipe
from ftonnx.campaign.run.held_runners import HeldRunners
from ftonnx.campaign.run.messages import Item, Report, Trouble, batch_of
from ftonnx.campaign.run.user_task import UserTask
from ftonnx.campaign.run.wire import Missing, Reply, encoded
from ftonnx.datasets import Dataset, Preprocess, load_dataset
from ftonnx.datasets.base import Batch
from ftonnx.errors import DataError, ModelError, UsageError
from ftonnx.inject import OnnxModel, load_model
from ftonnx.runtime import FaultySession, cache_limit
from ftonnx.samples import part_of
from ftonnx.sessions import Arrays, exit_when_stuck, padded
from ftonnx.tasks import Task

_logger: Final = logging.getLogger(__name__)

__all__ = ["Kit", "Place", "packed_model", "run_items"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """What a worker needs to know of a campaign, besides images.

    Attributes:
        model: the model; one from a file is read from the same path.
        schedule: what the campaign runs.
        task: counts outcomes.
        classes: of the data set.
        unit_seconds: that a run of a unit may take.
        extra: values of the model's inputs that take no data, by name.
        strategy: the campaign's.
        batch_size: that the model insists on; None where any will do.
        threads: intra-op threads of each session.
        source: what the data set was asked for, where workers may read the images themselves; else None.
        fingerprint: of the data set.
    """

    model: OnnxModel
    schedule: Schedule
    task: Task | UserTask
    classes: int | None
    unit_seconds: float | None
    extra: Arrays
    strategy: str
    batch_size: int | None
    threads: int
    source: Mapping[str, Any] | None
    fingerprint: str

    @classmethod
    def of(cls, work: Work, threads: int, *, reads: bool) -> Self:
        """Return what is to be known of a campaign.

        Args:
            work: it.
            threads: intra-op threads of each session.
            reads: workers may read the images themselves.

        Raises:
            UsageError: the task is defined where another process cannot import it.
        """
        return cls(
            model=work.recipe.model,
            schedule=work.recipe.schedule,
            task=UserTask.where_needed(work.recipe.task),
            classes=work.recipe.classes,
            unit_seconds=work.recipe.unit_seconds,
            extra=work.session.extra,
            strategy=work.session.strategy,
            batch_size=work.session.batch_size,
            threads=threads,
            source=dict(work.data.source) if reads else None,
            fingerprint=work.data.fingerprint,
        )

    def data(self, model: OnnxModel) -> Dataset | None:
        """Open the data set under the client's paths; None where something else, or nothing, is there."""
        if self.source is None:
            return None
        constants = [feed.name for feed in self.schedule.settings.constants]
        asked = {name: value for name, value in self.source.items() if name not in ("data", "preprocess")}
        try:
            found = load_dataset(self.source["data"], preprocess=Preprocess(**self.source["preprocess"]), **asked)
            data = fitted(found, model, constants)
            is_the_same = data.fingerprint == self.fingerprint
        except (DataError, UsageError) as error:
            _logger.info("%s", error)
            return None
        return data if is_the_same else None

    def recipe(self, model: OnnxModel) -> Recipe:
        """Return how units are run; a task of the user's own is defined by running its file."""
        task = self.task.made() if isinstance(self.task, UserTask) else self.task
        return Recipe(
            model=model,
            schedule=self.schedule.reading(model),
            task=task,
            classes=self.classes,
            unit_seconds=self.unit_seconds,
        )

    def open(self, model: OnnxModel, batch: Batch) -> FaultySession:
        """Open a session as the campaign's own is, proved on images of this batch."""
        images = part_of(batch[0], slice(self.schedule.settings.batch_size))
        return FaultySession(
            model,
            self.schedule.model_space,
            providers=self.schedule.settings.providers,
            threads=self.threads,
            strategy=self.strategy,
            sample=padded(images, self.batch_size),
            extra=self.extra,
            cache_memory=self.schedule.settings.cache_memory,
        )


def packed_model(model: OnnxModel) -> bytes:
    """Return a model in one piece, for workers that do not have its file.

    Raises:
        ModelError: it is over 2 GiB.
    """
    content: bytes = model.proto.SerializeToString(deterministic=True)
    model.release()
    return content


def run_items(place: "Place", work: bytes, model: bytes | None) -> bytes:
    """Run units of some batches, and golden runs; this is a task of Dask's.

    Args:
        place: this worker's.
        work: what is to be done, in this order, and the batches by number, None for those to be read; pickled.
        model: the model in one piece; None where its file is expected here.

    Returns:
        The ``Reply`` as bytes; an exception is one too.

    Raises:
        MemoryError: as if the worker had died.
    """
    exit_when_stuck()  # what is lost with this process is run elsewhere
    try:
        return encoded(place.run(work, model))
    except MemoryError:
        raise
    except Exception as error:  # the client says it as its own
        return encoded(Trouble.of(error))


class Place:
    """A campaign on one worker, with a session for each thread; it ends when Dask forgets it.

    Dask hands it from worker to worker without its sessions.
    """

    def __init__(self, wanted: Mapping[str, str], kit: bytes) -> None:
        """Open nothing yet.

        Args:
            wanted: the client's versions.
            kit: its ``Kit``, pickled, which other versions may not be able to read.
        """
        self._wanted = wanted
        self._packed_kit = kit
        self._kit: Kit | None = None
        self._desks: dict[int, _Desk] = {}
        self._lock = threading.Lock()
        self._data: Dataset | None = None
        self._looked = False

    def __reduce__(self) -> tuple[type["Place"], tuple[Mapping[str, str], bytes]]:
        return Place, (self._wanted, self._packed_kit)

    def run(self, work: bytes, model: bytes | None) -> Reply:
        """See ``run_items``."""
        kit = self._read_kit()
        items, batches = pickle.loads(work)
        thread = threading.get_ident()
        if thread in self._desks:
            found = kit.model
        else:
            found = kit.model if model is None else load_model(onnx.ModelProto.FromString(model), name=kit.model.name)
            if model is None and not _is_here(found):
                return Missing.MODEL
        if None in batches.values() and not self._can_read(kit, found):
            return Missing.IMAGES
        read = partial(self._batch, kit, batches)
        if thread not in self._desks:
            session = kit.open(found, read(batch_of(items[0])))
            self._desks[thread] = _Desk(kit.recipe(found), session)
            found.release()
        return self._desks[thread].run(items, read)

    def _can_read(self, kit: Kit, model: OnnxModel) -> bool:
        """Say whether the client's images lie here under the same path; all are read once to find out."""
        with self._lock:
            if self._data is None and not self._looked:
                self._data = kit.data(model)
                self._looked = True
        return self._data is not None

    def _batch(self, kit: Kit, sent: Mapping[int, Batch | None], number: int) -> Batch:
        """Return a batch that was sent, or read it."""
        batch = sent[number]
        if batch is not None:
            return batch
        assert self._data is not None
        with self._lock:
            return next(self._data.batches(kit.schedule.images_per_unit, [number]))

    def _read_kit(self) -> Kit:
        """Return what is to be known, read once where the versions are the client's.

        Raises:
            UsageError: they differ.
        """
        with self._lock:
            if self._kit is None:
                self._check_versions()
                self._kit = pickle.loads(self._packed_kit)
            return self._kit

    def _check_versions(self) -> None:
        """Refuse to compute with other versions than the client's.

        Raises:
            UsageError: they differ.
        """
        here = versions()
        for name, wanted in self._wanted.items():
            if here[name] != wanted:
                raise UsageError(
                    f"the Dask worker on {platform.node()} has {name} {here[name]}, and the client {wanted}: "
                    "the same versions were expected; install them there"
                )


class _Desk:
    """Runs what one thread is given, with the batches that it holds from one task to the next."""

    def __init__(self, recipe: Recipe, session: FaultySession) -> None:
        self._recipe = recipe
        self._session = session
        self._held = HeldRunners(cache_limit(recipe.schedule.settings.cache_memory))

    def run(self, items: Sequence[Item], read: Callable[[int], Batch]) -> Report:
        golden = {}
        records = []
        current: tuple[int, BatchRunner] | None = None
        for item in items:
            number = batch_of(item)
            if current is None or current[0] != number:
                current = number, self._runner(number, read)
                golden[number] = current[1].golden_run
            if isinstance(item, Unit):
                records.append(current[1].run(item))
        if current is not None:
            # the next task is likely to go on with it
            self._held.clear()
            self._held.keep(*current)
        return Report(len(items), golden, records, [])

    def _runner(self, number: int, read: Callable[[int], Batch]) -> BatchRunner:
        if number in self._held:
            return self._held[number]
        return self._recipe.open_batch(self._session, *read(number))


def _is_here(model: OnnxModel) -> bool:
    """Say whether a model's file is the one that the client has read."""
    if model.path is None:
        return True
    try:
        model.check_unchanged()
    except ModelError:
        return False
    return True
