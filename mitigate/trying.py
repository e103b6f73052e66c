"""Trying a threshold under faults: whole runs, or runs of the images that are asked for."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import ModelError
from ftonnx.mitigate.cells import Cells, Pattern
from ftonnx.runtime import FaultyRunError, Rows, Trials
from ftonnx.sessions import Arrays, Values, unpadded
from ftonnx.tasks import Counts

if TYPE_CHECKING:
    from ftonnx.mitigate.refinement import Judged, Search

__all__ = ["ByImage", "ByRate", "Trying"]

_logger: Final = logging.getLogger(__name__)

Hits = NDArray[np.bool_]
Places = NDArray[np.intp]


class Trying(ABC):
    """Measures cells of one activation at a threshold."""

    @abstractmethod
    def measure(self, threshold: float, limit: Arrays, places: Places) -> Sequence[float]:
        """Return what is found in some cells of one group.

        Args:
            threshold: the point of the search.
            limit: the value of the model's input that belongs to it.
            places: numbers of the cells.
        """


class ByRate(Trying):
    """Whole runs, judged together: for tasks that do not judge an image alone."""

    def __init__(self, search: "Search", patterns: Sequence[Sequence[Pattern]]) -> None:
        """Take the patterns of each of the cells."""
        self._search = search
        self._patterns = patterns
        self._unharmed: dict[tuple[float, int], Counts] = {}

    def measure(self, threshold: float, limit: Arrays, places: Places) -> Sequence[float]:
        """Return the headline over all batches and patterns of the cells."""
        return [self._headline(threshold, limit, self._patterns[place]) for place in places]

    def _headline(self, threshold: float, limit: Arrays, patterns: Sequence[Pattern]) -> float:
        found = [self._found(threshold, limit, pattern) for pattern in patterns]
        return self._search.judging.task.main.of(Counts.total(found))

    def _found(self, threshold: float, limit: Arrays, pattern: Pattern) -> Counts:
        """Return the outcomes of one run; without faults they are the same for all rates and repeats."""
        place = (threshold, pattern.batch)
        if not len(pattern.faults) and place in self._unharmed:
            return self._unharmed[place]
        judged = self._search.batches.judged(pattern.batch)
        try:
            (outputs,) = judged.held.run_each(pattern.faults, [limit])
            found = judged.judge.count(outputs)
        except FaultyRunError:
            found = judged.judge.crashed()
        if not len(pattern.faults):
            self._unharmed[place] = found
        return found


class _Batch(NamedTuple):
    """A batch in pieces."""

    golden: Values
    labels: NDArray[Any]


class ByImage(Trying):
    """Runs of the images that are asked for, or where the model runs as a whole only, whole runs that are kept."""

    def __init__(self, search: "Search", varied: str, cells: Cells, patterns: Sequence[Pattern]) -> None:
        """Cut the model for one threshold, where that is possible and fits into memory.

        Args:
            search: what the activations share.
            varied: the model's input that holds the threshold.
            cells: the cells.
            patterns: their patterns.
        """
        self._search = search
        self._cells = cells
        self._patterns = patterns
        self._whole: dict[tuple[float, int], Hits] = {}
        self._rows: dict[int, Rows | None] = {}
        self._batches: list[_Batch] = []
        faults = [pattern.faults for pattern in patterns]
        self._trials = search.session.trials(faults, varied, cells.together)
        if self._trials is not None and not self._hold(self._trials):
            self._trials = None
            self._batches.clear()

    def measure(self, threshold: float, limit: Arrays, places: Places) -> Sequence[float]:
        """Return 1 where an image is right, else 0."""
        if self._trials is not None:
            try:
                hits = self._of_rows(self._trials, limit, places)
                return [float(hit) for hit in hits]
            except FaultyRunError as error:
                # whose values were refused, whole runs tell
                _logger.info("whole batches are run from now on: %s", error)
                self._trials = None
        found = []
        for place in places:
            hits = self._of_whole(threshold, limit, int(self._cells.pattern[place]))
            found.append(float(hits[self._cells.image[place]]))
        return found

    def _of_rows(self, trials: Trials, limit: Arrays, places: Places) -> Hits:
        """Run nothing but the images that are asked for."""
        hits = np.zeros(len(places), np.bool_)
        pattern = self._cells.pattern[places]
        image = self._cells.image[places]
        parts = []
        order = []
        for number in np.unique(pattern):
            chosen = np.flatnonzero(pattern == number)
            rows = self._rows_of(trials, int(number))
            # a run that was refused gives no answer, so no right one
            if rows is not None:
                parts.append({name: array[image[chosen]] for name, array in rows.items()})
                order.append(chosen)
        if not parts:
            return hits
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        asked = np.concatenate(order)
        outputs = trials.outputs(joined, {**self._search.session.extra, **limit})
        batch = self._patterns[int(pattern[0])].batch
        labels = self._batches[batch].labels[image[asked]]
        hits[asked] = self._judged(outputs, labels)
        return hits

    def _rows_of(self, trials: Trials, number: int) -> Rows | None:
        """Return what a pattern gives before the threshold; None where ONNX Runtime refused it."""
        if number not in self._rows:
            pattern = self._patterns[number]
            try:
                rows: Rows | None = trials.faulty(self._batches[pattern.batch].golden, pattern.faults)
            except FaultyRunError:
                rows = None
            self._rows[number] = rows
        return self._rows[number]

    def _of_whole(self, threshold: float, limit: Arrays, number: int) -> Hits:
        """Run a whole batch, once."""
        place = (threshold, number)
        if place not in self._whole:
            pattern = self._patterns[number]
            judged = self._search.batches.judged(pattern.batch)
            self._whole[place] = self._hits_of(judged, pattern, limit)
        return self._whole[place]

    def _hits_of(self, judged: "Judged", pattern: Pattern, limit: Arrays) -> Hits:
        try:
            (outputs,) = judged.held.run_each(pattern.faults, [limit])
        except FaultyRunError:
            return np.zeros(pattern.images, np.bool_)
        size = self._search.session.batch_size
        own = [unpadded(value, pattern.images, size) for value in outputs]
        return self._judged(own, judged.labels)

    def _judged(self, outputs: Sequence[Any], labels: NDArray[Any]) -> Hits:
        hits = self._search.judging.task.hits(self._judged_outputs(outputs), labels)
        if hits is None:
            raise ModelError(f"{self._search.judging.task} gives no outcome per image")
        return hits

    def _judged_outputs(self, outputs: Sequence[Any]) -> Mapping[str, Any]:
        wanted = self._search.judging.output
        names = self._search.session.outputs
        return {name: value for name, value in zip(names, outputs, strict=True) if wanted in (None, name)}

    def _fits(self, trials: Trials, golden: Values, labels: NDArray[Any], batch: int) -> bool:
        """Say whether a batch can be judged image by image; later activations have less of the model behind them."""
        checked = self._search.checked
        if batch in checked:
            return checked[batch]
        try:
            outputs = trials.check(golden)
        except ModelError as error:
            _logger.info("runs of chosen images are not possible: %s", error)
            checked[batch] = False
            return False
        task = self._search.judging.task
        task.check(self._judged_outputs(outputs), labels, self._search.data.classes)
        checked[batch] = True
        return True

    def _hold(self, trials: Trials) -> bool:
        """Run all batches without faults, and say whether all that is kept of them fits into memory."""
        search = self._search
        taken = 0
        for number, (samples, labels) in enumerate(search.batches.samples()):
            golden = trials.golden(search.session.feeds(samples))
            if not self._fits(trials, golden, labels, number):
                return False
            patterns = sum(pattern.batch == number for pattern in self._patterns)
            taken += sum(value.tensor_size_in_bytes() for value in golden.values())
            taken += patterns * trials.bytes_per_pattern(golden)
            if taken > search.memory:
                return False
            self._batches.append(_Batch(golden, labels))
        return True
