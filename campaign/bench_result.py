"""What campaigns cost on a machine, as plain values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["BenchResult", "Comparison", "Configuration", "StrategyTime"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyTime:
    """How long one strategy takes for a batch.

    Attributes:
        name: ``live``, ``packed`` or ``rebuild``.
        chosen: whether ``--strategy auto`` takes it.
        fault_free_ms: median time of a run without faults in its session.
        faulty_ms: median time of a unit: draw, flip, run, restore, count, record.
        ratio: a unit's time over that of a fault-free run of an ordinary session.
        note: why it is not the strategy that was asked for; None where it is.
    """

    name: str
    chosen: bool
    fault_free_ms: float
    faulty_ms: float
    ratio: float
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Strategies on batches of one size.

    Attributes:
        batch_size: images per batch.
        ordinary_ms: median time of a fault-free run of an ordinary session with default options.
        strategies: the chosen one first.
    """

    batch_size: int
    ordinary_ms: float
    strategies: tuple[StrategyTime, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Throughput with some processes, threads in each, and images per batch.

    Attributes:
        jobs: processes; 1 is the campaign's own.
        threads: per process.
        batch_size: images that share a fault pattern.
        units_per_hour: fault patterns met by a batch.
        images_per_second: images classified with faults.
    """

    jobs: int
    threads: int
    batch_size: int
    units_per_hour: float
    images_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """What was measured.

    Attributes:
        model: name, SHA-256, and number of bits that can flip.
        data: name of the images.
        machine: processor, cores that may be used, versions.
        rate: bit-fault rate of the units.
        expected_faults: flips per unit, N times the rate.
        batch_size: images per batch in the comparison of strategies.
        threads: of each session there.
        ordinary_ms: median time of a fault-free run of an ordinary session with default options.
        strategies: the chosen one first.
        why: why it was chosen.
        one_image: the same comparison for batches of one image; None where the model insists on more.
        configurations: in the order in which they were measured.
        left_out: what was not measured, and why.
        best: the fastest configuration; of equally fast ones (within 3 %) the one that was measured first.
        warnings: what is wrong with the model or the data, by the first batch.
    """

    model: Mapping[str, Any]
    data: str
    machine: Mapping[str, Any]
    rate: float
    expected_faults: float
    batch_size: int
    threads: int
    ordinary_ms: float
    strategies: tuple[StrategyTime, ...]
    why: str
    one_image: Comparison | None
    configurations: tuple[Configuration, ...]
    left_out: tuple[str, ...]
    best: Configuration
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"schema_version": 1} | asdict(self)
