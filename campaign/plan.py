"""What a campaign does: its settings, and the units of work that follow from them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ftonnx.errors import UsageError
from ftonnx.inject import BitFlipRate
from ftonnx.runtime import STRATEGIES

__all__ = ["PAPER_RATES", "CampaignSettings", "Unit"]

PAPER_RATES: Final = (1e-8, 3e-8, 1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5)
"""The eight fault rates of the paper, section IV-D."""


class Unit(NamedTuple):
    """The smallest piece of work and of randomness: one fault pattern on one batch."""

    rate: float
    repeat: int
    batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignSettings:
    """Everything that decides a campaign's counts, besides the model and the data.

    Attributes:
        rates: bit-fault rates (probability of a flip per bit), each in [0, 1]; kept sorted, without doubles.
        repeats: fault patterns per rate and batch; an interval needs at least 2.
        batch_size: images that share one fault pattern.
        seed: of the fault patterns, 0 to 2**64 - 1.
        format: how float tensors are seen as bits: ``auto`` (= ``q15.16``), ``ieee`` or ``qM.N``.
        targets: roles that can flip, of weight, bias, scale, zero_point.
        include: patterns of tensor names; where given, only these are targets.
        exclude: patterns of tensor names that are no targets.
        strategy: ``auto``, ``live`` or ``rebuild``.
        providers: execution providers in priority order, full or partial names.
        threads: intra-op threads; None leaves the choice to ONNX Runtime.

    Raises:
        UsageError: a value is out of range.
    """

    rates: tuple[float, ...]
    repeats: int = 10
    batch_size: int = 128
    seed: int = 0
    format: str = "auto"
    targets: tuple[str, ...] = ("weight", "bias")
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    strategy: str = "auto"
    providers: tuple[str, ...] = ("cpu",)
    threads: int | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not self.rates:
            raise UsageError("at least one fault rate was expected")
        for rate in self.rates:
            BitFlipRate(rate)
        object.__setattr__(self, "rates", tuple(sorted({float(rate) for rate in self.rates})))
        for name, low in (("repeats", 1), ("batch_size", 1), ("seed", 0), ("threads", 1)):
            value = getattr(self, name)
            if value is not None and value < low:
                raise UsageError(f"{name} must be {low} or more, got {value}")
        if self.seed >= 2**64:
            raise UsageError(f"seed must be below 2**64, got {self.seed}")
        if self.strategy not in STRATEGIES:
            raise UsageError(f"strategy {self.strategy!r} is not known: use {', '.join(STRATEGIES)}")

    def batches(self, samples: int) -> int:
        """Return the number of batches for a data set of ``samples`` images."""
        return math.ceil(samples / self.batch_size)

    def units_of_batch(self, batch: int) -> Iterator[Unit]:
        """Yield all units of one batch; a campaign works batch by batch, so that one is held at a time."""
        for rate in self.rates:
            for repeat in range(self.repeats):
                yield Unit(rate, repeat, batch)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return {
            "rates": list(self.rates),
            "repeats": self.repeats,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "format": self.format,
            "targets": list(self.targets),
            "include": list(self.include),
            "exclude": list(self.exclude),
            "strategy": self.strategy,
            "providers": list(self.providers),
            "threads": self.threads,
        }
