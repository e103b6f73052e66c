"""What is kept of a batch's golden run, so that those of other machines can be told from it."""

import hashlib
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ftonnx.tasks import Counts, Outputs, Task

__all__ = ["GoldenRun"]

_DIGEST_BYTES: Final = 8
_BYTES_PER_IMAGE: Final = 4


class GoldenRun(NamedTuple):
    """The fault-free run of one batch.

    Attributes:
        outcomes: its counts.
        digest: equal for outputs that are equal in every bit.
        decided: four bytes per image, equal where the task takes an image for the same; empty for a task that decides
            nothing about single images.
    """

    outcomes: Counts
    digest: bytes
    decided: bytes

    @classmethod
    def of(cls, outcomes: Counts, task: Task, outputs: Outputs) -> Self:
        """Sum up the outputs that are judged."""
        decisions = task.decisions(outputs)
        return cls(outcomes, _digest(outputs), b"" if decisions is None else _per_image(decisions))

    def images_that_differ(self, other: "GoldenRun") -> int | None:
        """Return how many images are taken for something else in another run of the batch; None where nobody knows."""
        if not self.decided or len(self.decided) != len(other.decided):
            return None
        ours, theirs = (np.frombuffer(run.decided, np.uint32) for run in (self, other))
        return int((ours != theirs).sum())


def _digest(outputs: Outputs) -> bytes:
    found = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for name, value in outputs.items():
        found.update(f"{name} {getattr(value, 'dtype', '')} {np.shape(value)}".encode())
        # the memory of an array of texts would be addresses
        is_numbers = isinstance(value, np.ndarray) and value.dtype != object
        found.update(np.ascontiguousarray(value).data.cast("B") if is_numbers and value.size else repr(value).encode())
    return found.digest()


def _per_image(decisions: NDArray[Any]) -> bytes:
    rows = (hashlib.blake2b(row.tobytes(), digest_size=_BYTES_PER_IMAGE).digest() for row in decisions)
    return b"".join(rows)
