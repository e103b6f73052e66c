"""A model cut into segments, so that a run with faults does only the work that the faults reach.

The golden run keeps the tensors at every cut. A run with faults takes them from there up to the
first segment that holds a flipped bit, and from there on again as soon as they agree bit for bit.
"""

import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnxruntime as ort
from numpy.typing import NDArray

from ftonnx.errors import ModelError
from ftonnx.runtime.reuse.cuts import Cut
from ftonnx.runtime.reuse.segments import Segment, segments_of
from ftonnx.runtime.strategies.base import Divisible, FaultyRunError, Part
from ftonnx.sessions import Arrays, Session, Values, as_values, run_values, same_value

__all__ = ["Chain", "Golden", "Work"]

_Tensors = dict[str, ort.OrtValue]


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

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors."""
        return sum(value.tensor_size_in_bytes() for value in self.tensors.values())


@dataclass(frozen=True, slots=True)
class _Run:
    """A run with faults, as far as it has come.

    Attributes:
        golden: the run without faults.
        arrays: names of the stored tensors that hold flipped bits now.
        given: the model's inputs.
        changed: names of those that are not the golden run's own.
        own: tensors that differ from the golden ones, by name.
    """

    golden: Golden
    arrays: Collection[str]
    given: Values
    changed: set[str]
    own: _Tensors

    @classmethod
    def of(cls, golden: Golden, arrays: Collection[str], inputs: Arrays, own: _Tensors) -> "_Run":
        return cls(
            golden=golden,
            arrays=arrays,
            given=as_values(inputs),
            changed=_changed([inputs], golden.inputs),
            own=own,
        )

    def tensors(self) -> _Tensors:
        """Return the tensors at every cut; where a run is at its end, they are all there."""
        return {**self.golden.tensors, **self.own}

    def differs_before(self, segment: Segment) -> bool:
        """Say whether a segment takes anything that is not the golden run's."""
        names = segment.inputs
        if not self.changed.isdisjoint(names):
            return True
        return not self.own.keys().isdisjoint(names)

    def inputs_of(self, segment: Segment) -> _Tensors:
        return _chosen(
            segment.inputs,
            self.own,  # first: it has the golden tensors' names
            self.golden.tensors,
            self.given,
        )

    def keep_differences(self, made: _Tensors) -> None:
        """Keep what a segment made, where it is not what the golden run made."""
        for name, value in made.items():
            expected = self.golden.tensors[name]
            # where a fault's effect has vanished, the later segments need not run
            if not same_value(value, expected):
                self.own[name] = value

    def forget(self, names: Collection[str]) -> None:
        """Drop tensors that nobody takes any more; their memory serves the next segment."""
        for name in names:
            self.own.pop(name, None)


class Chain:
    """The segments of one model, each with an open session."""

    def __init__(self, divisible: Divisible, cuts: Sequence[Cut], types: Mapping[str, int], work: Work) -> None:
        """Open a session for every segment.

        Args:
            divisible: opens the sessions; its memory is what faults flip.
            cuts: in order.
            types: ONNX element type of every tensor at the cuts.
            work: counts what is done.
        """
        self._work = work
        graph = divisible.model.graph
        self._outputs = [value.name for value in graph.output]
        self._segments = segments_of(divisible, cuts, types)
        self._parts: list[Part] = []
        for segment in self._segments:
            part = divisible.part(segment.model, segment.arrays)
            self._parts.append(part)
        # until they are measured, all count the same
        self._seconds = [1.0] * len(self._parts)
        work.sessions += len(self._parts)

    def __len__(self) -> int:
        return len(self._segments)

    def first_reader(self, names: Collection[str]) -> int:
        """Return the number of the first segment that reads any of the stored tensors or inputs."""
        for place, segment in enumerate(self._segments):
            if segment.reads(names):
                return place
        return len(self)

    def skipped_share(self, names: Collection[str]) -> float:
        """Return the share of time before the first segment that reads any of the stored tensors or inputs."""
        first = self.first_reader(names)
        before = sum(self._seconds[:first])
        return before / sum(self._seconds)

    def measure(self, inputs: Arrays) -> tuple[list[float], dict[str, int]]:
        """Run twice without faults; return the shorter time of every segment, and the bytes of what they give."""
        given = as_values(inputs)
        self._seconds = [math.inf] * len(self)
        # the first run of a session allocates, and is slower than all that follow
        self._timed_run(given)
        sizes = self._timed_run(given)
        return self._seconds, sizes

    def measure_again(self, inputs: Arrays) -> None:
        """Run once more without faults, and keep the shorter time of every segment."""
        self._timed_run(as_values(inputs))

    def _timed_run(self, given: Values) -> dict[str, int]:
        """Run without faults, note shorter times, and return the bytes of what the segments give."""
        sizes: dict[str, int] = {}
        tensors: _Tensors = {}
        for place, (segment, part) in enumerate(self._stretch(0)):
            taken = _chosen(segment.inputs, tensors, given)
            session = part.golden()
            start = time.perf_counter()
            made = run_values(session, segment.outputs, taken)
            end = time.perf_counter()
            shortest = min(self._seconds[place], end - start)
            self._seconds[place] = shortest
            for name, value in made.items():
                sizes[name] = value.tensor_size_in_bytes()
            tensors |= made
            # not kept to the end: the candidates' tensors together may not fit into memory
            for name in segment.spent:
                tensors.pop(name, None)
        return sizes

    def golden(self, inputs: Arrays) -> Golden:
        """Run without faults and keep the tensors at every cut.

        Raises:
            ModelError: ONNX Runtime refuses the inputs.
        """
        self._work.golden += 1
        given = as_values(inputs)
        tensors: _Tensors = {}
        for segment, part in self._stretch(0):
            taken = _chosen(segment.inputs, tensors, given)
            tensors |= run_values(part.golden(), segment.outputs, taken)
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
        split = 0
        begun: _Tensors = {}
        if len(variants) > 1:
            changed = _changed(variants, golden.inputs)
            split = self.first_reader(changed)
            common = _Run.of(golden, arrays, golden.inputs, begun)
            self._continue(common, self._stretch(0, split))
        for inputs in variants:
            # each goes on from there on its own
            own = dict(begun)
            run = _Run.of(golden, arrays, inputs, own)
            self._continue(run, self._stretch(split))
            yield self.outputs(run.tensors())

    def run_all(self, goldens: Sequence[Golden], arrays: Collection[str]) -> Iterator[list[NDArray[Any]]]:
        """Run as above for several golden runs, one after the other, each on its own inputs."""
        once = [_OpenedOnce(part) for part in self._parts]
        for golden in goldens:
            run = _Run.of(golden, arrays, golden.inputs, {})
            self._continue(run, zip(self._segments, once, strict=True))
            yield self.outputs(run.tensors())

    def rebase(self, golden: Golden, inputs: Arrays) -> Golden:
        """Return the golden run for other inputs, doing only the work that the changed ones reach."""
        no_arrays = ()
        run = _Run.of(golden, no_arrays, inputs, {})
        self._continue(run, self._stretch(0), keep=True)
        return Golden(inputs, run.tensors())

    def outputs(self, tensors: Values) -> list[NDArray[Any]]:
        """Return the model's outputs."""
        return [tensors[name].numpy() for name in self._outputs]

    def _stretch(self, first: int, end: int | None = None) -> Iterator[tuple[Segment, Part]]:
        """Return the segments from number ``first`` to before number ``end``, with what runs them."""
        segments = self._segments[first:end]
        parts = self._parts[first:end]
        return zip(segments, parts, strict=True)

    def _continue(self, run: _Run, stretch: Iterator[tuple[Segment, Part]], *, keep: bool = False) -> None:
        """Run those segments of a stretch that the faults reach.

        Args:
            run: how far it has come.
            stretch: the next segments.
            keep: do not drop tensors that no later segment takes.
        """
        for segment, part in stretch:
            flipped = not segment.arrays.isdisjoint(run.arrays)
            # with the same inputs and weights it would give the golden tensors again
            if not flipped and not run.differs_before(segment):
                self._work.skipped += 1
                continue
            self._work.segments += 1
            made = _made(segment, part, run, flipped=flipped)
            run.keep_differences(made)
            if not keep:
                run.forget(segment.spent)


class _OpenedOnce:
    """A part for as long as the same faults are in memory: what opens a session on them, opens one."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._flipped: Session | None = None

    def golden(self) -> Session:
        return self._part.golden()

    def flipped(self) -> Session:
        if self._flipped is None:
            self._flipped = self._part.flipped()
        return self._flipped


def _made(segment: Segment, part: Part, run: _Run, *, flipped: bool) -> _Tensors:
    """Run one segment.

    Raises:
        FaultyRunError: ONNX Runtime refused or aborted it.
    """
    taken = run.inputs_of(segment)
    try:
        # flipped values may be refused when a session is opened on them, or later
        session = part.flipped() if flipped else part.golden()
        return run_values(session, segment.outputs, taken)
    except ModelError as error:
        raise FaultyRunError(str(error)) from error


def _changed(variants: Sequence[Arrays], golden: Arrays) -> set[str]:
    """Return the names of the inputs that are not the golden run's own in any of the variants."""
    names: set[str] = set()
    for inputs in variants:
        for name, array in inputs.items():
            # identity will do: whoever has equal values passes the golden run's own array
            if array is not golden[name]:
                names.add(name)
    return names


def _chosen(names: Collection[str], *sources: Values) -> _Tensors:
    """Return the values of some names, each from the first source that has it."""
    chosen: _Tensors = {}
    for name in names:
        for source in sources:
            if name in source:
                chosen[name] = source[name]
                break
        else:
            raise KeyError(name)
    return chosen
