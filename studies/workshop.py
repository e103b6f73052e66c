"""What the steps of a study work with: its images, its folder, and who asked to stop."""

import hashlib
import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol

from ftonnx.campaign.inputs import fitted
from ftonnx.campaign.run.signals import StopRequest
from ftonnx.datasets import Dataset, load_dataset
from ftonnx.datasets.kinds import parse_spec
from ftonnx.errors import StoreError, UsageError
from ftonnx.files import reason_of
from ftonnx.inject import OnnxModel
from ftonnx.studies.schema import DataTable, Images
from ftonnx.studies.study import Study

__all__ = ["Purpose", "StepWatcher", "Workshop", "key_of"]

Purpose = Literal["test", "activations", "tuning", "training"]
"""What images are for: campaigns; distributions of activations; thresholds and the best epoch; ranges and weights."""

_USUAL_SPLITS: Final[Mapping[Purpose, str]] = {"tuning": "val", "training": "train"}
"""What the commands take where the data has splits and none is named."""


def key_of(about: Mapping[str, Any]) -> str:
    """Return a digest of JSON values, whatever the order of their keys.

    >>> key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
    True
    """
    text = json.dumps(about, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class _Known(NamedTuple):
    """What is remembered of images."""

    fingerprint: str
    images: int


class StepWatcher(Protocol):
    """Is told how far the making of model files is."""

    def make(self, name: str) -> None:
        """A file is made now."""

    def step(self, done: int, total: int) -> None:
        """So much of it is done."""


class Workshop:
    """A study's images and folder.

    Attributes:
        study: the study.
        folder: where everything is kept.
        stop: whether a signal has come.
        keys: digests of what decides the content of files, by file.
    """

    def __init__(self, study: Study, folder: Path, stop: StopRequest) -> None:
        self.study = study
        self.folder = folder
        self.stop = stop
        self.keys: dict[Hashable, str] = {}
        self._seen: dict[tuple[str, Purpose], _Known] = {}
        self._watcher: StepWatcher | None = None

    def watch(self, watcher: StepWatcher) -> None:
        """Tell someone of the steps from now on."""
        self._watcher = watcher

    def begin(self, name: str) -> None:
        """Tell that a model file is made now."""
        if self._watcher is not None:
            self._watcher.make(name)

    def images(self, data: str, purpose: Purpose, model: OnnxModel) -> Dataset:
        """Open images as a model takes them.

        Raises:
            UsageError: an entry of the data makes no sense for its spec.
            DataError: they cannot be read, or do not fit.
        """
        return fitted(self._opened(data, purpose, model.metadata), model)

    def fingerprint(self, data: str, purpose: Purpose) -> str:
        """Return the digest of images before any model has its say.

        Raises:
            UsageError: an entry of the data makes no sense for its spec.
            DataError: they cannot be read.
        """
        return self._known(data, purpose).fingerprint

    def count(self, data: str) -> int:
        """Return how many images campaigns run on.

        Raises:
            UsageError: an entry of the data makes no sense for its spec.
            DataError: they cannot be read.
        """
        return self._known(data, "test").images

    def _known(self, data: str, purpose: Purpose) -> _Known:
        """Read images once for what does not depend on a model; they are not held."""
        asked = (data, purpose)
        if asked not in self._seen:
            opened = self._opened(data, purpose, None)
            self._seen[asked] = _Known(opened.fingerprint, len(opened))
        return self._seen[asked]

    def require_validation(self, data: str) -> None:
        """Refuse to choose the best epoch by the images that it was trained on.

        Raises:
            UsageError: nothing says which others there are.
        """
        table = self.study.data[data]
        if table.tuning is None and not self._has_splits(table, table.spec):
            raise UsageError(
                f"data.{data}: images that say which epoch is best were expected as its tuning, got no splits"
            )

    def check_stop(self, *progress: int) -> None:
        """Raise Interrupted where a signal has come; it takes what callbacks of progress are called with."""
        self.stop.raise_if_asked("every finished step is kept, and the same command goes on from there")
        if self._watcher is not None and progress:
            done, total = progress
            self._watcher.step(done, total)

    def make_folder(self, folder: Path) -> None:
        """Make a folder below the study's.

        Raises:
            StoreError: it cannot be made.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{folder} cannot be made: {reason_of(error, folder)}") from error

    def _opened(self, data: str, purpose: Purpose, metadata: Mapping[str, str] | None) -> Dataset:
        table = self.study.data[data]
        chosen = self._chosen(table, purpose)
        return load_dataset(
            chosen.spec,
            split=chosen.split or self._usual_split(table, chosen.spec, purpose),
            limit=chosen.limit,
            model_metadata=metadata,
            class_names=table.class_names,
            splits=table.splits,
        )

    def _chosen(self, table: DataTable, purpose: Purpose) -> Images:
        tested = Images(spec=table.spec, split=table.split, limit=table.limit or self.study.limit)
        if purpose == "test":
            return tested
        if purpose == "activations":
            return self._measured(tested)
        said = table.tuning if purpose == "tuning" else table.training
        return said or Images(spec=table.spec)

    def _measured(self, tested: Images) -> Images:
        """Return the first images of campaigns, as many as activations are measured on."""
        assert self.study.activations is not None  # nobody asks for them otherwise
        most = self.study.activations.images
        limit = most if tested.limit is None else min(most, tested.limit)
        return Images(spec=tested.spec, split=tested.split, limit=limit)

    def _usual_split(self, table: DataTable, spec: str, purpose: Purpose) -> str | None:
        return _USUAL_SPLITS.get(purpose) if self._has_splits(table, spec) else None

    def _has_splits(self, table: DataTable, spec: str) -> bool:
        return table.splits is not None or parse_spec(spec).has_splits
