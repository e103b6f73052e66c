"""The share of a campaign that one of several machines does: whole batches first, so that golden runs are paid once."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from ftonnx.campaign.plan.share import Part, Share
from ftonnx.errors import UsageError
from ftonnx.words import whole_of

__all__ = ["Shard"]

_FORM: Final = re.compile(r"([0-9]{1,18})/([0-9]{1,18})")
_SLURM: Final = "SLURM_ARRAY_TASK_ID"
_KUBERNETES: Final = "JOB_COMPLETION_INDEX"
_PBS: Final = "PBS_ARRAY_INDEX"


@dataclass(frozen=True, slots=True)
class Shard(Part):
    """One of several equal parts of a campaign.

    Attributes:
        number: of the part, from 1.
        of: number of parts.

    Raises:
        UsageError: there is no such part.
    """

    name: ClassVar[str] = "shard"

    number: int
    of: int

    def __post_init__(self) -> None:
        """Check the range."""
        if not 1 <= self.number <= self.of:
            raise UsageError(f"`shard`: K/N with K from 1 to N was expected, got {self}")

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read ``K/N``.

        Raises:
            UsageError: it is something else.

        >>> Shard.parse("3/16")
        Shard(number=3, of=16)
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise UsageError(f"`shard`: K/N such as 3/16, or auto, was expected, got {text!r}")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def of_environment(cls, variables: Mapping[str, str], shards: int | None = None) -> "Shard":
        """Read what the scheduler of a job array has set.

        Slurm says the number of tasks too (``SLURM_ARRAY_TASK_COUNT``, and ``_MIN`` and ``_STEP`` of their numbers);
        Kubernetes counts the pods of an Indexed Job from 0 (``JOB_COMPLETION_INDEX``), and PBS's jobs
        (``PBS_ARRAY_INDEX``) are expected from 1.

        Args:
            variables: of the environment.
            shards: number of parts, where the scheduler does not say it.

        Raises:
            UsageError: nothing is set, or what is set makes no sense, or contradicts ``shards``.

        >>> Shard.of_environment({"JOB_COMPLETION_INDEX": "2"}, 16)
        Shard(number=3, of=16)
        """
        if _SLURM in variables:
            return _of_slurm(variables, shards)
        for name, first in ((_KUBERNETES, 0), (_PBS, 1)):
            if name in variables:
                return _counted(name, _whole(variables, name) - first, shards, first)
        raise UsageError(
            f"`shard=auto` reads the number of a job array from {_SLURM}, {_KUBERNETES} or {_PBS}, and none is set: "
            "say K/N"
        )

    def share(self, *, samples: int, images_per_batch: int, units_per_batch: int) -> Share:
        """Return equally many whole batches for every part, and of those that are left, equally many units.

        See ``Part``.
        """
        batches = math.ceil(samples / images_per_batch)
        whole, left = divmod(batches, self.of)
        first_left = batches - left
        units_left = left * units_per_batch
        before, behind = ((self.number - 1) * units_left // self.of, self.number * units_left // self.of)
        return Share(
            whole=range((self.number - 1) * whole, self.number * whole),
            units_per_batch=units_per_batch,
            pieces=range(first_left * units_per_batch + before, first_left * units_per_batch + behind),
        )


def _of_slurm(variables: Mapping[str, str], shards: int | None) -> Shard:
    index = _whole(variables, _SLURM) - _whole(variables, "SLURM_ARRAY_TASK_MIN")
    step = _whole(variables, "SLURM_ARRAY_TASK_STEP") if "SLURM_ARRAY_TASK_STEP" in variables else 1
    count = _whole(variables, "SLURM_ARRAY_TASK_COUNT")
    if shards is not None and shards != count:
        raise UsageError(f"`shards={shards}` was asked for, and the job array has {count} tasks")
    if step < 1 or index % step or not 0 <= index // step < count:
        raise UsageError(
            f"{_SLURM}={variables[_SLURM]} is none of {count} tasks numbered in equal steps, such as 1 to {count}"
        )
    return Shard(index // step + 1, count)


def _counted(name: str, index: int, shards: int | None, first: int) -> Shard:
    if shards is None:
        raise UsageError(f"{name} says which part this is, not of how many: say `shards` too")
    if not 0 <= index < shards:
        last = first + shards - 1
        raise UsageError(f"{name}={index + first} was found; from {first} to {last} was expected for {shards} shards")
    return Shard(index + 1, shards)


def _whole(variables: Mapping[str, str], name: str) -> int:
    text = variables.get(name, "")
    number = whole_of(text)
    if number is None:
        raise UsageError(f"{name}: a number was expected in the environment, got {text!r}")
    return number
