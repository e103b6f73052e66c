"""Fault-free runs of as many images as there is time for, and what the model says of some of them read otherwise."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.judging import Judging
from ftonnx.campaign.readiness.pixels import PixelRanges
from ftonnx.campaign.readiness.readings import Reading, image_readings, label_readings
from ftonnx.campaign.readiness.repeats import Repeats
from ftonnx.campaign.readiness.result import FaultFreeRuns
from ftonnx.datasets import Dataset
from ftonnx.runtime import PlainSession
from ftonnx.samples import bytes_of
from ftonnx.stats import Estimate, clopper_pearson
from ftonnx.tasks import SIZE, Classification, Counts, Outputs

__all__ = ["GoldenLook"]

_READ_OTHERWISE: Final = 1024  # images at most; they are run once for every reading
_MOST_BYTES: Final = 128 << 20  # of these images, of which readings make copies
_READINGS: Final = 8  # about so many
_LEAST: Final = 8  # images, of fewer nothing can be told


class GoldenLook:
    """Runs images without faults, adds up what they give, and keeps some of them to read otherwise.

    Attributes:
        pixels: what was fed.
        repeats: of images.
    """

    def __init__(self, session: PlainSession, judging: Judging, data: Dataset, batch_size: int) -> None:
        """Run nothing yet.

        Args:
            session: of the model.
            judging: what of its outputs is judged, by which task.
            data: the images, prepared as the model takes them.
            batch_size: images per run.
        """
        self.pixels = PixelRanges()
        self.repeats = Repeats()
        self._session = session
        self._task = judging.task
        self._names = None if judging.output is None else [judging.output]
        self._data = data
        self._batch_size = batch_size
        self._counts: Counts | None = None
        self._kept: list[tuple[NDArray[Any], NDArray[Any]]] = []
        self._most_kept = 0
        self._decisions: list[NDArray[Any]] = []
        self._labels: list[NDArray[Any]] = []
        self._scored: int | None = None

    def run(self, seconds: float) -> None:
        """Run batches from all over the data for about so long, the first one in any case.

        Raises:
            ModelError: the model cannot run, or its outputs do not fit the task.
            DataError: the images or labels do not fit it.
        """
        start = time.perf_counter()
        samples, labels = next(self._data.batches(self._batch_size))
        self._take(samples, labels)
        spent = time.perf_counter() - start
        batches = -(-len(self._data) // self._batch_size)
        fitting = int(seconds / 2 / spent)
        in_time = max(_LEAST, fitting * self._batch_size // _READINGS)
        self._most_kept = min(_READ_OTHERWISE, in_time, _MOST_BYTES * len(labels) // bytes_of(samples))
        self._restart()
        numbers = np.linspace(0, batches - 1, min(batches, max(1, fitting))).round().astype(int)
        for samples, labels in self._data.batches(self._batch_size, only=numbers.tolist()):
            self._take(samples, labels)

    def _restart(self) -> None:
        """Forget the first batch, which told how long one takes."""
        self.pixels = PixelRanges()
        self.repeats = Repeats()
        self._counts = None
        self._decisions.clear()
        self._labels.clear()

    def _take(self, samples: Any, labels: NDArray[Any]) -> None:
        """Run a batch, and take in what it gives."""
        outputs = self._session.run(samples, self._names)
        self._task.check(outputs, labels, self._data.classes)
        found = self._task.count(outputs, outputs, labels)
        self._counts = found if self._counts is None else self._counts + found
        self.pixels.add(samples, len(labels))
        self.repeats.add(samples, labels)
        if isinstance(self._task, Classification):
            self._take_classes(outputs, labels)
        kept = sum(len(each) for _, each in self._kept)
        wanted = self._most_kept - kept
        if wanted > 0 and not isinstance(samples, Mapping):
            self._kept.append((samples[:wanted], labels[:wanted]))

    def _take_classes(self, outputs: Outputs, labels: NDArray[Any]) -> None:
        """Take in which class the model says of every image."""
        decisions = self._task.decisions(outputs)
        scores = Classification().arranged(next(iter(outputs.values())))
        if decisions is None or scores is None:
            return
        self._scored = scores.shape[1]
        self._decisions.append(decisions)
        self._labels.append(labels)

    @property
    def outcome(self) -> FaultFreeRuns:
        """What the model does without faults."""
        counts = self._counts or Counts(n=0)
        main = self._task.main
        headline = Estimate(main.of(counts), None, None)
        if self._task.judges_images and main.whole == SIZE:
            headline = clopper_pearson(counts[main.count], counts[SIZE])
        classes = self._data.classes
        guesses = isinstance(self._task, Classification) and classes is not None and classes > 1
        frequencies = self._data.counts()
        return FaultFreeRuns(
            images=counts[SIZE],
            headline=headline,
            fractions=self._task.golden_fractions(counts),
            chance=1 / classes if guesses and classes else None,
            majority=float(frequencies.max() / frequencies.sum()) if guesses else None,
            scored=self._scored,
        )

    def readings(self) -> list[Reading]:
        """Return what the model is worth under other readings of images and labels; none where nobody can tell."""
        found = list(self._of_images())
        if self._decisions and self._scored is not None:
            decisions = np.concatenate(self._decisions)
            labels = np.concatenate(self._labels)
            found += label_readings(decisions, labels, self._scored)
        return found

    def _of_images(self) -> Iterator[Reading]:
        if not self._kept or self._task.compares_images:
            return
        images = np.concatenate([each for each, _ in self._kept])
        labels = np.concatenate([each for _, each in self._kept])
        base = self._scores(images, labels)
        for name, advice, fed in image_readings(images, self._data):
            yield Reading.of(name, self._scores(fed, labels), base, advice)

    def _scores(self, images: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.float64]:
        """Return the headline of every image, (images,)."""
        found: list[float] = []
        for start in range(0, len(labels), self._batch_size):
            rows = slice(start, start + self._batch_size)
            outputs = self._session.run(np.ascontiguousarray(images[rows]), self._names)
            own = labels[rows]
            hits = self._task.hits(outputs, own)
            if hits is None:
                found += [self._score(outputs, own, slice(row, row + 1)) for row in range(len(own))]
            else:
                found += hits.astype(float).tolist()
        return np.array(found)

    def _score(self, outputs: Outputs, labels: NDArray[Any], row: slice) -> float:
        """Return the headline of one image."""
        one = {name: value[row] for name, value in outputs.items()}
        return self._task.main.of(self._task.count(one, one, labels[row]))
