"""A test of what everything rests on, in seconds: that flips arrive, that memory is restored, that counts are right.

What is known was measured on the embedded model and data; other processors may round otherwise, so counts may differ by
a few images.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final

from numpy.typing import NDArray

from ftonnx.datasets import load_dataset
from ftonnx.files import scratch_folder
from ftonnx.inject import BitFlipRates, Faults, FaultSpace, OnnxModel, faulty_model, load_model
from ftonnx.runtime import FaultySession
from ftonnx.sessions import same_bits
from ftonnx.tasks import Classification

__all__ = ["Check", "self_test"]

_EMBEDDED: Final = "digits"
_RIGHT: Final = 353
"""Of 360 images, without faults."""

_RATE: Final = 3e-6
_FLIPS: Final = 5
_PLACES: Final = (35039, 107)
"""Sums of the known unit's elements and bits; what is drawn is the same on every processor."""

_SILENT: Final = 134
"""Images of the known unit that silently get another class."""

_OTHER_KERNELS: Final = 3
"""Images by which a processor may differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What one part of the test found.

    Attributes:
        name: what was tried.
        passed: whether it is as it should be.
        found: what was seen.
        seconds: that it took.
    """

    name: str
    passed: bool
    found: str
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def self_test() -> tuple[Check, ...]:
    """Try everything; what fails is told, whatever it is, and the rest is tried all the same."""
    tried = _Tried()
    parts: dict[str, Callable[[], tuple[bool, str]]] = {
        "temporary files are written and read": tried.files,
        "fault-free accuracy is the known one": tried.accuracy,
        "a known unit draws the known flips": tried.pattern,
        "flips arrive as in a session on a flipped file": tried.arrival,
        "memory is restored bit for bit": tried.restored,
        "the known unit has the known outcome": tried.outcome,
    }
    return tuple(_checked(name, part) for name, part in parts.items())


def _checked(name: str, part: Callable[[], tuple[bool, str]]) -> Check:
    start = time.perf_counter()
    try:
        passed, found = part()
    except Exception as error:  # a broken installation may raise anything, which is what is asked for here
        passed = False
        found = f"{type(error).__name__}: {error}"
    return Check(name=name, passed=passed, found=found, seconds=time.perf_counter() - start)


class _Tried:
    """The embedded model and images, and one session with a known pattern of flips."""

    @cached_property
    def _model(self) -> OnnxModel:
        return load_model(_EMBEDDED)

    @cached_property
    def _space(self) -> FaultSpace:
        return FaultSpace.of(self._model, format="q15.16")

    @cached_property
    def _batch(self) -> tuple[Any, NDArray[Any]]:
        data = load_dataset(_EMBEDDED, model_metadata=self._model.metadata)
        return next(data.batches(len(data)))

    @cached_property
    def _session(self) -> FaultySession:
        return FaultySession(self._model, self._space, threads=1, sample=self._batch[0])

    @cached_property
    def _golden(self) -> list[NDArray[Any]]:
        return self._session.golden(self._batch[0])

    @cached_property
    def _faults(self) -> Faults:
        return BitFlipRates(_RATE).unit_pattern(self._space, 0, level=_RATE, repeat=0, batch=0)

    @cached_property
    def _faulty(self) -> list[NDArray[Any]]:
        return self._session.run(self._batch[0], self._faults)

    def files(self) -> tuple[bool, str]:
        """Write a file and read it."""
        with scratch_folder() as folder:
            file = folder / "tried"
            file.write_bytes(b"1")
            return file.read_bytes() == b"1", str(folder.parent)

    def accuracy(self) -> tuple[bool, str]:
        """Count images that are right without faults."""
        _, labels = self._batch
        right = int((self._golden[0].argmax(axis=1) == labels).sum())
        return abs(right - _RIGHT) <= _OTHER_KERNELS, f"{right} of {len(labels)} images, {_RIGHT} known"

    def pattern(self) -> tuple[bool, str]:
        """Draw the flips of one rate, repeat and batch."""
        faults = self._faults
        places = int(faults.element.sum()), int(faults.bit.sum())
        passed = len(faults) == _FLIPS and places == _PLACES
        return passed, f"{len(faults)} flips, {_FLIPS} known"

    def arrival(self) -> tuple[bool, str]:
        """Compare with ONNX Runtime alone, on a file that carries the flips."""
        faulty = self._faulty
        flipped = faulty_model(self._model.proto, self._space, self._faults)
        reference = self._session.reference(flipped, self._batch[0])
        passed = same_bits(faulty, reference) and not same_bits(faulty, self._golden)
        return passed, f"strategy {self._session.strategy}"

    def restored(self) -> tuple[bool, str]:
        """Run without faults once more."""
        before = self._golden
        self._session.run(self._batch[0], self._faults)
        again = self._session.golden(self._batch[0])
        return same_bits(before, again), f"{self._space.bits:,} bits can flip"

    def outcome(self) -> tuple[bool, str]:
        """Count images that silently get another class."""
        _, labels = self._batch
        counts = Classification().count(self._faulty[0], self._golden[0], labels)
        passed = abs(counts.sdc1 - _SILENT) <= _OTHER_KERNELS
        return passed, f"{counts.sdc1} of {len(labels)} images get another class, {_SILENT} known"
