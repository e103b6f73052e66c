"""The batches that lie where workers find them."""

from collections.abc import Iterator
from pathlib import Path

from ftonnx.campaign.run.ledger import PendingBatch
from ftonnx.campaign.run.worker_files import add_batch, remove_batch
from ftonnx.samples import bytes_of

__all__ = ["PlacedBatches"]


class PlacedBatches:
    """Batches in a folder: those in use, and of the others as many as a given memory allows."""

    def __init__(self, folder: Path, memory: int) -> None:
        """Begin with none.

        Args:
            folder: where workers look.
            memory: bytes of images that may lie there unused.
        """
        self._folder = folder
        self._memory = memory
        self._in_use: dict[int, int] = {}  # their bytes
        self._kept: dict[int, int] = {}
        self._kept_bytes = 0

    def __contains__(self, number: int) -> bool:
        return number in self._in_use or number in self._kept

    @property
    def in_use(self) -> int:
        """Number of batches that are in use and may not be kept."""
        return len(self._in_use)

    @property
    def nbytes_in_use(self) -> int:
        """Bytes of their images."""
        return sum(self._in_use.values())

    def kept(self) -> Iterator[int]:
        """Yield the batches that stay."""
        return iter(self._kept)

    def place(self, batch: PendingBatch) -> None:
        """Write a batch.

        Raises:
            OSError: there is no room.
        """
        add_batch(self._folder, batch.number, batch.images, batch.labels)
        self._in_use[batch.number] = bytes_of(batch.images)

    def release(self, number: int) -> None:
        """Note that nothing of a batch is left to do: it stays if it fits beside the others, and goes else."""
        if number in self._kept:
            return
        size = self._in_use.pop(number)
        if self._kept_bytes + size <= self._memory:
            self._kept[number] = size
            self._kept_bytes += size
        else:
            remove_batch(self._folder, number)
