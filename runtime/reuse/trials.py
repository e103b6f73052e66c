"""Runs of chosen images whose faults lie before an input that is varied, such as a threshold, and none behind it.

The model is cut before the first node that the faults reach, and before the one that takes the varied input. A pattern
of faults is run once up to there; behind it lies a stretch without faults, which takes rows of any of the patterns. Of
that, the part up to the next stored tensor costs little, and what it makes of an image is often the same for several
values and patterns: `keys` tells, so that what follows is run once for all of them.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from ftonnx.errors import ModelError
from ftonnx.graphs import used_by
from ftonnx.inject import Faults
from ftonnx.runtime.reuse.cuts import cut_at
from ftonnx.runtime.reuse.segments import Segment, element_types, segments_of
from ftonnx.runtime.strategies.base import Divisible, FaultyRunError
from ftonnx.sessions import Arrays, Session, Values, as_values, run_values, same_bits

__all__ = ["Rows", "Trials"]

Rows = dict[str, NDArray[Any]]
"""What a run has made up to a cut, by name, one row per image."""


class Trials:
    """A model cut for one varied input.

    Attributes:
        rows: images per run behind the cut.
    """

    def __init__(
        self,
        divisible: Divisible,
        arrays: Collection[str],
        varied: str,
        shared: Collection[str],
        rows: int,
    ) -> None:
        """Cut the model, and open its pieces.

        Args:
            divisible: the model.
            arrays: stored tensors that faults may reach.
            varied: name of the input.
            shared: names of the inputs that all images share, the varied one among them.
            rows: images per run behind the cut.

        Raises:
            ModelError: faults reach what lies behind the varied input, or the model cannot be cut there.
        """
        graph = divisible.model.graph
        last = _first_reader(graph, [varied])
        # where nothing flips, all that lies before the input stays golden
        first = _first_reader(graph, arrays) if arrays else 0
        end = _next_stored(divisible, varied)
        cuts = [cut_at(graph, place) for place in (first, last, end) if place]
        types = element_types(divisible, cuts)
        alive = {name for cut in cuts for name in cut.tensors}
        if not first < last < end or not types.keys() >= alive:
            raise ModelError(f"the model cannot be cut before and behind {varied!r}")
        *before, varying, behind = segments_of(divisible, cuts, types)
        if not (varying.arrays | behind.arrays).isdisjoint(arrays):
            raise ModelError(f"faults reach what lies behind {varied!r}")
        self.rows = rows
        self._divisible = divisible
        self._outputs = [value.name for value in graph.output]
        self._before = [(segment, divisible.part(segment.model, segment.arrays)) for segment in before]
        self._varying = varying
        self._varying_part = divisible.part(varying.model, varying.arrays)
        self._behind = behind
        self._part = divisible.part(behind.model, behind.arrays)
        # outputs that are made before a cut cross it too
        needed = {*behind.inputs, *self._outputs}.difference(shared, behind.outputs)
        self._taken = sorted(needed)
        self._crossing = sorted({*varying.inputs, *needed}.difference(shared, varying.outputs))
        # what lies before the faults is the same for all patterns
        golden = set(before[0].outputs) if first else set()
        self._told_apart = [name for name in self._taken if name not in golden]

    def golden(self, feeds: Arrays) -> Values:
        """Run up to the varied input without faults, and keep what lies at the cuts."""
        tensors = as_values(feeds)
        for segment, part in self._before:
            tensors |= _run(segment, part.golden(), tensors)
        return tensors

    def check(self, golden: Values) -> list[NDArray[Any]]:
        """Run what lies behind, and return the model's outputs for all images.

        Raises:
            ModelError: those of some of the images alone are others.
        """
        varied = {**golden, **_run(self._varying, self._varying_part.golden(), golden)}
        tensors = {**varied, **_run(self._behind, self._part.golden(), varied)}
        outputs = [tensors[name].numpy() for name in self._outputs]
        rows = self._rows_of(tensors)
        taken = [tensors[name].numpy() for name in self._taken]
        images = {array.shape[:1] for array in (*rows.values(), *taken, *outputs)}
        if len(images) != 1 or () in images:
            raise ModelError("the model has tensors without a row per image")
        first = {name: array[: self.rows] for name, array in rows.items()}
        shared = {name: value.numpy() for name, value in golden.items() if name not in self._crossing}
        found = self.outputs(self.varied(first, shared), shared)
        if not same_bits(found, [output[: self.rows] for output in outputs]):
            raise ModelError("outputs of some images alone are not those of all of them")
        return outputs

    def bytes_per_pattern(self, golden: Values) -> int:
        """Return the bytes of what a pattern of faults leaves before the varied input."""
        return sum(golden[name].tensor_size_in_bytes() for name in self._crossing)

    def faulty(self, golden: Values, faults: Faults) -> Rows:
        """Run up to the varied input with faults in memory.

        Raises:
            FaultyRunError: ONNX Runtime refused or aborted the run because of the faults.
        """
        tensors = dict(golden)
        reached = self._divisible.reached(faults)
        with self._divisible.flipped(faults):
            for segment, part in self._before:
                # what comes before the first of them is golden
                if segment.arrays.isdisjoint(reached):
                    continue
                try:
                    tensors |= _run(segment, part.flipped(), tensors)
                except ModelError as error:
                    raise FaultyRunError(str(error)) from error
        return self._rows_of(tensors)

    def varied(self, rows: Rows, shared: Arrays) -> Rows:
        """Return what the varied input makes of rows of what lies before it, which may be of several patterns.

        Args:
            rows: at most ``self.rows`` of them.
            shared: the inputs that all images share, the varied one among them.

        Raises:
            FaultyRunError: ONNX Runtime refused or aborted the run.
        """
        return self._run_rows(self._varying, self._varying_part.golden(), rows, shared, self._taken)

    def keys(self, varied: Rows) -> list[bytes]:
        """Return for each row of what ``varied`` gives what it has in common with equal ones of the same image."""
        found = []
        for row in range(_count(varied)):
            digest = hashlib.sha1(usedforsecurity=False)
            for name in self._told_apart:
                # not every number type has a buffer
                digest.update(varied[name][row].tobytes())
            found.append(digest.digest())
        return found

    def outputs(self, varied: Rows, shared: Arrays) -> list[NDArray[Any]]:
        """Return the model's outputs for rows of what ``varied`` gives, which may be of several patterns.

        Args:
            varied: at most ``self.rows`` of them.
            shared: the inputs that all images share.

        Raises:
            FaultyRunError: ONNX Runtime refused or aborted the run.
        """
        made = self._run_rows(self._behind, self._part.golden(), varied, shared, self._outputs)
        return [made[name] for name in self._outputs]

    def _run_rows(self, segment: Segment, session: Session, rows: Rows, shared: Arrays, names: Sequence[str]) -> Rows:
        """Run a segment for some rows, and return what was asked for, made here or before."""
        count = _count(rows)
        filled = rows
        # always as many, since kernels, and with them the last bits, may depend on the number
        if count < self.rows:
            places = np.arange(self.rows) % count
            filled = {name: array[places] for name, array in rows.items()}
        try:
            made = _run(segment, session, as_values({**_chosen(shared, segment.inputs), **filled}))
        except ModelError as error:
            raise FaultyRunError(str(error)) from error
        found = {}
        for name in names:
            whole = made[name].numpy() if name in made else filled[name]
            found[name] = whole[:count]
        return found

    def _rows_of(self, tensors: Values) -> Rows:
        return {name: tensors[name].numpy() for name in self._crossing}


def _run(segment: Segment, session: Session, tensors: Values) -> dict[str, ort.OrtValue]:
    return run_values(session, segment.outputs, _chosen(tensors, segment.inputs))


def _chosen(values: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def _count(rows: Rows) -> int:
    return len(next(iter(rows.values())))


def _next_stored(divisible: Divisible, varied: str) -> int:
    """Return the number of the first node behind all readers of an input that reads a stored tensor, or of the last."""
    nodes = divisible.model.graph.node
    stored = {tensor.name for tensor in divisible.model.graph.initializer} | divisible.sizes.keys()
    last = max((place for place, node in enumerate(nodes) if varied in used_by(node)), default=-1)
    for place in range(last + 1, len(nodes)):
        if not stored.isdisjoint(used_by(nodes[place])):
            return place
    return len(nodes) - 1


def _first_reader(graph: onnx.GraphProto, names: Collection[str]) -> int:
    wanted = set(names)
    for place, node in enumerate(graph.node):
        if not wanted.isdisjoint(used_by(node)):
            return place
    raise ModelError(f"no node reads {', '.join(sorted(wanted))}")
