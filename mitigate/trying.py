"""Trying a threshold under faults: whole runs, or runs of the images that are asked for."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
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
        """Return what is found in the first of some cells of one group, in one of them at least.

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
        """Return the headline over all batches and patterns of the first cell."""
        return [self._headline(threshold, limit, self._patterns[places[0]])]

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


_Key = tuple[int, int, bytes]
"""A batch, an image of it, and what a threshold makes of what a pattern gives before it."""


class ByImage(Trying):
    """Runs of the images that are asked for, or where the model runs as a whole only, whole runs that are kept.

    What a threshold makes of an image is often the same for other thresholds and patterns: where no value lies between
    two thresholds, or all that a pattern changes is above. What comes behind is then run once.
    """

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
        self._keys: dict[tuple[float, int], _Key] = {}  # by threshold and cell
        self._hits: dict[_Key, bool] = {}
        self._batches: list[_Batch] = []
        faults = [pattern.faults for pattern in patterns]
        self._trials = search.session.trials(faults, varied, cells.together)
        if self._trials is not None and not self._hold(self._trials):
            self._trials = None
            self._batches.clear()

    def measure(self, threshold: float, limit: Arrays, places: Places) -> Sequence[float]:
        """Return 1 where an image is right, else 0, for so many cells as a run takes."""
        if self._trials is not None:
            try:
                answers = self._of_rows(self._trials, threshold, limit, places)
                return [float(answer) for answer in answers]
            except FaultyRunError as error:
                # whose values were refused, whole runs tell
                _logger.info("whole batches are run from now on: %s", error)
                self._trials = None
        found = []
        for place in places[: self._cells.together]:
            hits = self._of_whole(threshold, limit, int(self._cells.pattern[place]))
            found.append(float(hits[self._cells.image[place]]))
        return found

    def _of_rows(self, trials: Trials, threshold: float, limit: Arrays, places: Places) -> list[bool]:
        """Answer for the first cells, as many as a run takes; what of them is new is run, and others to fill it up."""
        shared = {**self._search.session.extra, **limit}
        asked = places[: trials.rows]
        keys: list[_Key | None] = []
        fresh: dict[_Key, Rows] = {}
        for key, row in self._varied(trials, threshold, shared, asked):
            keys.append(key)
            if key is not None and key not in self._hits:
                fresh[key] = row
        if fresh:
            # these are likely to be asked for soon
            for key, row in self._varied(trials, threshold, shared, places[trials.rows :]):
                if len(fresh) == trials.rows:
                    break
                if key is not None and key not in self._hits:
                    fresh[key] = row
            self._run(trials, shared, fresh)
        # a run that was refused gives no answer, so no right one
        return [key is not None and self._hits[key] for key in keys]

    def _varied(
        self, trials: Trials, threshold: float, shared: Arrays, places: Places
    ) -> Iterator[tuple[_Key | None, Rows]]:
        """Yield what the threshold makes of some cells, in order, and its key; no key where a run was refused.

        Of what is known already, the key alone.
        """
        for start in range(0, len(places), trials.rows):
            chosen = [int(place) for place in places[start : start + trials.rows]]
            missing = [place for place in chosen if self._keys.get((threshold, place)) not in self._hits]
            made = self._made(trials, shared, missing)
            for place in chosen:
                key, row = made.get(place, (None, {}))
                if key is not None:
                    self._keys[threshold, place] = key
                yield self._keys.get((threshold, place)), row

    def _made(self, trials: Trials, shared: Arrays, places: Sequence[int]) -> dict[int, tuple[_Key, Rows]]:
        """Return the keys of cells, and what the threshold makes of them; of what was refused, nothing."""
        before = {place: self._row_of(trials, place) for place in places}
        run = {place: row for place, row in before.items() if row is not None}
        if not run:
            return {}
        varied = trials.varied(_joined(list(run.values())), shared)
        made: dict[int, tuple[_Key, Rows]] = {}
        for number, (place, digest) in enumerate(zip(run, trials.keys(varied), strict=True)):
            key = (int(self._cells.group[place]), int(self._cells.image[place]), digest)
            made[place] = key, {name: array[number : number + 1] for name, array in varied.items()}
        return made

    def _row_of(self, trials: Trials, place: int) -> Rows | None:
        """Return what a cell's pattern gives of its image before the threshold; None where a run was refused."""
        rows = self._rows_of(trials, int(self._cells.pattern[place]))
        if rows is None:
            return None
        image = self._cells.image[place]
        return {name: array[image : image + 1] for name, array in rows.items()}

    def _run(self, trials: Trials, shared: Arrays, fresh: Mapping[_Key, Rows]) -> None:
        """Run what comes behind the threshold, and keep who is right."""
        outputs = trials.outputs(_joined(list(fresh.values())), shared)
        labels = [self._batches[batch].labels[image] for batch, image, _ in fresh]
        hits = self._judged(outputs, np.array(labels))
        self._hits.update(zip(fresh, hits.tolist(), strict=True))

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


def _joined(parts: Sequence[Rows]) -> Rows:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
