"""A model cut into segments, so that a run with faults does only the work that the faults reach.

The golden run keeps the tensors at every cut. A run with faults takes them from there up to the
first segment that holds a flipped bit, and from there on again as soon as they agree bit for bit.
"""

import itertools
import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from ftonnx.errors import ModelError
from ftonnx.runtime.cuts import Cut, used_by
from ftonnx.runtime.onnx_session import Arrays, FaultyRunError, Values, as_values, run_values

if TYPE_CHECKING:
    from ftonnx.runtime.strategies import Divisible

__all__ = ["Chain", "Golden", "Work"]

_COMPARED_AT_ONCE: Final = 1 << 18  # bytes; a difference is mostly found in the first piece


@dataclass(slots=True)
class Work:
    """What has been done, in numbers that do not depend on the machine.

    Attributes:
        full: runs of the whole model in one session, golden ones included.
        golden: golden runs segment by segment.
        segments: segments that were run because faults reach them.
        skipped: segments whose golden tensors were taken instead.
        sessions: sessions that were opened for segments.
    """

    full: int = 0
    golden: int = 0
    segments: int = 0
    skipped: int = 0
    sessions: int = 0


@dataclass(frozen=True, slots=True)
class Golden:
    """What a run without faults leaves at every cut.

    Attributes:
        inputs: the model's inputs.
        tensors: what the segments made, by name, the model's outputs included.
    """

    inputs: Arrays
    tensors: Values


@dataclass(frozen=True, slots=True)
class _Segment:
    """The nodes between two cuts.

    Attributes:
        inputs: names of the tensors it takes.
        outputs: names of the tensors it gives to later segments or the user.
        arrays: names of the stored tensors it reads that faults can reach.
        spent: names of the tensors that no later segment takes, model outputs aside.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    arrays: frozenset[str]
    spent: tuple[str, ...]


class Chain:
    """The segments of one model, each with an open session."""

    def __init__(self, strategy: "Divisible", cuts: Sequence[Cut], types: Mapping[str, int], work: Work) -> None:
        """Open a session for every segment.

        Args:
            strategy: opens the sessions; its memory is what faults flip.
            cuts: in order.
            types: ONNX element type of every tensor at the cuts.
            work: counts what is done.
        """
        model, reachable = strategy.memory.model, strategy.memory.arrays.keys()
        self._work = work
        self._outputs = [value.name for value in model.graph.output]
        self._segments = _segments(model.graph, cuts, reachable)
        self._parts = [
            strategy.part(_part(model, cut, segment, types), segment.arrays)
            for cut, segment in zip(_stretches(model.graph, cuts), self._segments, strict=True)
        ]
        self._seconds = [1.0] * len(self._parts)
        work.sessions += len(self._parts)

    def __len__(self) -> int:
        return len(self._segments)

    def skipped_share(self, names: Collection[str]) -> float:
        """Return the share of time before the first segment that reads any of the stored tensors or inputs."""
        return sum(self._seconds[: self._first(names)]) / sum(self._seconds)

    def measure(self, inputs: Arrays) -> tuple[list[float], dict[str, int]]:
        """Run twice without faults; return the shorter time of every segment, and the bytes of what they give."""
        given = as_values(inputs)
        sizes: dict[str, int] = {}
        self._seconds = [math.inf] * len(self)
        for _ in range(2):
            tensors: dict[str, ort.OrtValue] = {}
            for place, (segment, part) in enumerate(zip(self._segments, self._parts, strict=True)):
                taken = _chosen(segment.inputs, tensors, given)
                start = time.perf_counter()
                made = run_values(part.golden(), segment.outputs, taken)
                self._seconds[place] = min(self._seconds[place], time.perf_counter() - start)
                sizes |= {name: value.tensor_size_in_bytes() for name, value in made.items()}
                tensors |= made
                for name in segment.spent:
                    tensors.pop(name, None)
        return self._seconds, sizes

    def golden(self, inputs: Arrays) -> Golden:
        """Run without faults and keep the tensors at every cut.

        Raises:
            ModelError: ONNX Runtime refuses the inputs.
        """
        self._work.golden += 1
        given = as_values(inputs)
        tensors: dict[str, ort.OrtValue] = {}
        for segment, part in zip(self._segments, self._parts, strict=True):
            tensors |= run_values(part.golden(), segment.outputs, _chosen(segment.inputs, tensors, given))
        return Golden(inputs, tensors)

    def run(self, golden: Golden, arrays: Collection[str], inputs: Arrays) -> list[NDArray[Any]]:
        """Run the segments that the faults reach and return the model's outputs.

        Args:
            golden: the run without faults.
            arrays: names of the stored tensors that hold flipped bits now.
            inputs: the model's inputs; those that are not the golden run's own arrays count as changed.

        Raises:
            FaultyRunError: ONNX Runtime refused or aborted a segment because of the faults.
        """
        (outputs,) = self.run_each(golden, arrays, [inputs])
        return outputs

    def run_each(
        self, golden: Golden, arrays: Collection[str], variants: Sequence[Arrays]
    ) -> Iterator[list[NDArray[Any]]]:
        """Run as above for several variants of the inputs; what comes before the first difference is run once."""
        changed = {name for inputs in variants for name in inputs if inputs[name] is not golden.inputs[name]}
        split = self._first(changed) if len(variants) > 1 else 0
        begun = self._reached({}, range(split), golden, arrays, golden.inputs)
        for inputs in variants:
            own = self._reached(dict(begun), range(split, len(self)), golden, arrays, inputs)
            yield self.outputs({**golden.tensors, **own})

    def rebase(self, golden: Golden, inputs: Arrays) -> Golden:
        """Return the golden run for other inputs, doing only the work that the changed ones reach."""
        own = self._reached({}, range(len(self)), golden, (), inputs, keep=True)
        return Golden(inputs, {**golden.tensors, **own})

    def outputs(self, tensors: Values) -> list[NDArray[Any]]:
        """Return the model's outputs."""
        return [tensors[name].numpy() for name in self._outputs]

    def _first(self, names: Collection[str]) -> int:
        """Return the number of the first segment that reads any of the stored tensors or inputs."""
        reads = (not s.arrays.isdisjoint(names) or not set(s.inputs).isdisjoint(names) for s in self._segments)
        return next((place for place, hit in enumerate(reads) if hit), len(self))

    def _reached(
        self,
        own: dict[str, ort.OrtValue],
        places: range,
        golden: Golden,
        arrays: Collection[str],
        inputs: Arrays,
        *,
        keep: bool = False,
    ) -> dict[str, ort.OrtValue]:
        """Run those segments at ``places`` that the faults reach.

        Args:
            own: tensors so far that differ from the golden ones; the later ones are added.
            places: which segments.
            golden: the run without faults.
            arrays: names of the stored tensors that hold flipped bits now.
            inputs: of the model.
            keep: do not drop tensors that no later segment takes.
        """
        given = as_values(inputs)
        new = {name for name, array in inputs.items() if array is not golden.inputs[name]}
        for place in places:
            segment, part = self._segments[place], self._parts[place]
            flipped = not segment.arrays.isdisjoint(arrays)
            if not flipped and not any(name in own or name in new for name in segment.inputs):
                self._work.skipped += 1
                continue
            self._work.segments += 1
            taken = _chosen(segment.inputs, own, golden.tensors, given)
            try:
                made = run_values(part.flipped() if flipped else part.golden(), segment.outputs, taken)
            except ModelError as error:
                raise FaultyRunError(str(error)) from error
            own |= {n: value for n, value in made.items() if not same_value(value, golden.tensors[n])}
            for name in () if keep else segment.spent:
                own.pop(name, None)  # its memory serves the next segment
        return own


def same_value(left: ort.OrtValue, right: ort.OrtValue) -> bool:
    """Say whether two tensors agree in every bit."""
    if left.shape() != right.shape():
        return False
    a, b = (np.atleast_1d(value.numpy()).reshape(-1).view(np.uint8) for value in (left, right))
    pieces = (slice(start, start + _COMPARED_AT_ONCE) for start in range(0, len(a), _COMPARED_AT_ONCE))
    return all(np.array_equal(a[piece], b[piece]) for piece in pieces)


def _chosen(names: Collection[str], *sources: Values) -> dict[str, ort.OrtValue]:
    """Return the values of some names, each from the first source that has it."""
    return {name: next(source[name] for source in sources if name in source) for name in names}


def _stretches(graph: onnx.GraphProto, cuts: Sequence[Cut]) -> Iterator[Sequence[onnx.NodeProto]]:
    bounds = [0, *(cut.node for cut in cuts), len(graph.node)]
    for first, end in itertools.pairwise(bounds):
        yield graph.node[first:end]


def _segments(graph: onnx.GraphProto, cuts: Sequence[Cut], reachable: Collection[str]) -> list[_Segment]:
    stored = {tensor.name for tensor in graph.initializer}
    ends = [*(set(cut.tensors) for cut in cuts), {value.name for value in graph.output}]
    segments = []
    before: set[str] = set()
    for nodes, behind in zip(_stretches(graph, cuts), ends, strict=True):
        used = {name for node in nodes for name in used_by(node) if name}
        made = {name for node in nodes for name in node.output}
        segments.append(
            _Segment(
                inputs=tuple(sorted(used - made - stored)),
                outputs=tuple(sorted(made & behind)),
                arrays=frozenset(used.intersection(reachable)),
                spent=tuple(sorted(before - behind)),
            )
        )
        before = behind
    return segments


def _part(
    model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], segment: _Segment, types: Mapping[str, int]
) -> onnx.ModelProto:
    """Return a segment as a model of its own."""
    graph = model.graph
    known = {value.name: value for value in (*graph.input, *graph.output)}
    used = {name for node in nodes for name in used_by(node)}
    part = onnx.ModelProto(ir_version=model.ir_version)
    part.opset_import.extend(model.opset_import)
    part.functions.extend(model.functions)
    part.graph.name = graph.name
    part.graph.node.extend(nodes)
    part.graph.initializer.extend(tensor for tensor in graph.initializer if tensor.name in used)
    for names, values in ((segment.inputs, part.graph.input), (segment.outputs, part.graph.output)):
        values.extend(known.get(name) or onnx.helper.make_tensor_value_info(name, types[name], None) for name in names)
    return part
