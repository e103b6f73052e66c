"""Batches that other processes make while a network learns from the ones before."""

import os
from collections.abc import Callable, Iterator
from typing import Any, Final, Generic, TypeVar

import torch
from torch.utils import data as torch_data

from ftonnx.errors import DataError

__all__ = ["made", "processes_beside"]

_MOST_PROCESSES: Final = 8

_B = TypeVar("_B")


def processes_beside(device: torch.device) -> int:
    """Return how many processes make batches for a network on a device.

    On the CPU it is none: they would take from the network what they give.
    """
    return 0 if device.type == "cpu" else min(_MOST_PROCESSES, os.cpu_count() or 1)


def made(make: Callable[[int], _B], count: int, processes: int) -> Iterator[_B]:
    """Yield what a function makes of 0, 1, and so on, in this order.

    Args:
        make: Gives a tuple or a list of tensors, which reach this process in shared memory.
        count: How many numbers.
        processes: That it runs in beside this one; 0 runs it here, when its turn has come.

    Raises:
        DataError: It does.
    """
    loader: torch_data.DataLoader[Any] = torch_data.DataLoader(
        _Made(make, count),
        # what is made is a batch already
        batch_size=None,
        num_workers=processes,
        # it seeds its processes, which nobody uses; torch's own generator is left as it is
        generator=torch.Generator(),
    )
    for batch in loader:
        if isinstance(batch, DataError):
            raise batch
        yield batch


class _Made(torch_data.Dataset[Any], Generic[_B]):
    """What torch's loader asks; errors are values, since it would put a traceback into their texts."""

    def __init__(self, make: Callable[[int], _B], count: int) -> None:
        self._make = make
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> _B | DataError:
        """Return what is made of a number, or why there is nothing."""
        try:
            return self._make(number)
        except DataError as error:
            return error
