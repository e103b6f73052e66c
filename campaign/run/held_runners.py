"""The batches' runners with their golden runs, as many as fit into memory."""

from ftonnx.campaign.run.batch import BatchRunner

__all__ = ["HeldRunners"]


class HeldRunners:
    """Runners by their batches' numbers, as many as fit into a given memory: the first come stay."""

    def __init__(self, memory: int) -> None:
        """Hold none.

        Args:
            memory: bytes that they may take.
        """
        self._memory = memory
        self._held: dict[int, BatchRunner] = {}
        self._nbytes: dict[int, int] = {}
        self._sum = 0

    def __contains__(self, number: int) -> bool:
        return number in self._held

    def __getitem__(self, number: int) -> BatchRunner:
        return self._held[number]

    def keep(self, number: int, runner: BatchRunner) -> bool:
        """Keep a runner, whose size may have changed, if it fits beside the others; say whether it did."""
        self.drop(number)
        size = runner.nbytes
        if self._sum + size > self._memory:
            return False
        self._held[number] = runner
        self._nbytes[number] = size
        self._sum += size
        return True

    def drop(self, number: int) -> None:
        """Let go of a runner, if it is held."""
        if self._held.pop(number, None) is not None:
            self._sum -= self._nbytes.pop(number)

    def clear(self) -> None:
        """Let go of all."""
        self._held.clear()
        self._nbytes.clear()
        self._sum = 0
