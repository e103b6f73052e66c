"""How activations are distributed, with and without faults (the paper's figures 5, 8, 9 and 10).

Streamed in two passes: the first finds each activation's range, the second fills a histogram over it,
from which median and quartiles are read. Memory does not grow with the data.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets import Dataset
from ftonnx.export import Activation, with_outputs
from ftonnx.inject import BitFlipRate, FaultSpace, OnnxModel, unit_rng
from ftonnx.runtime import FaultySession, fixed_batch, padded, unpadded

__all__ = ["Distribution", "activation_distributions"]

_BINS: Final = 2048
_SHOWN_BINS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """The values of one activation at one fault rate.

    Attributes:
        activation: its name.
        rate: bit-fault rate; 0 is fault-free.
        count: number of values.
        not_finite: share of NaN and infinities.
        minimum, maximum, mean: of the finite values; NaN where there are none.
        quartile1, median, quartile3: of the finite values, read from a histogram of 2,048 bins, so exact to a bin.
        sparsity: share of exact zeros.
        above: share that is not at or below the threshold, NaN and +Inf included; None without a threshold.
        edges, histogram: 64 bins between minimum and maximum, and the finite values in each.
    """

    activation: str
    rate: float
    count: int
    not_finite: float
    minimum: float
    maximum: float
    mean: float
    quartile1: float
    median: float
    quartile3: float
    sparsity: float
    above: float | None
    edges: tuple[float, ...]
    histogram: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


@dataclass(slots=True)
class _Tally:
    """Sums over the values seen so far; ``histogram`` is filled in the second pass."""

    count: int = 0
    finite: int = 0
    zeros: int = 0
    above: int = 0
    low: float = float("inf")
    high: float = float("-inf")
    total: float = 0.0
    histogram: NDArray[np.int64] | None = None

    def measure(self, values: NDArray[Any]) -> None:
        finite = values[np.isfinite(values)].astype(np.float64)
        self.count += values.size
        self.finite += finite.size
        self.zeros += values.size - int(np.count_nonzero(values))
        if finite.size:
            self.low, self.high = min(self.low, float(finite.min())), max(self.high, float(finite.max()))
            self.total += float(finite.sum())

    def compare(self, values: NDArray[Any], threshold: NDArray[np.float32]) -> None:
        self.above += int(np.count_nonzero(~(values <= threshold)))

    def fill(self, values: NDArray[Any]) -> None:
        finite = values[np.isfinite(values)].astype(np.float64)
        counts = np.histogram(finite, bins=_BINS, range=self.range())[0]
        self.histogram = counts if self.histogram is None else self.histogram + counts

    def range(self) -> tuple[float, float]:
        if not self.finite:
            return 0.0, 1.0
        return (self.low, self.high if self.high > self.low else self.low + max(1.0, abs(self.low)))


def activation_distributions(
    model: OnnxModel,
    data: Dataset,
    activations: Sequence[Activation],
    *,
    rates: Sequence[float] = (0.0,),
    thresholds: Mapping[str, NDArray[np.float32]] | None = None,
    batch_size: int = 128,
    seed: int = 0,
) -> Iterator[Distribution]:
    """Yield the distribution of every activation at every rate, one fault pattern per batch.

    Args:
        model: the model.
        data: images.
        activations: which activations; their outputs are measured.
        rates: bit-fault rates; 0 is fault-free.
        thresholds: T per activation name; the share of values above it is taken before clipping.
        batch_size: images per run and fault pattern.
        seed: of the fault patterns.
    """
    data = data.completed(model.metadata)
    names = list(dict.fromkeys(name for a in activations for name in (a.output, a.observed)))
    observed = model.with_proto(with_outputs(model.proto, names))
    space = FaultSpace.of(observed)
    fixed = fixed_batch(model.proto)
    sample = padded(next(data.batches(batch_size))[0], fixed)
    session = FaultySession(observed, space, strategy="live", sample=sample)  # one kind: the last bits depend on it
    limits = thresholds or {}

    def runs(rate: float) -> Iterator[dict[str, NDArray[Any]]]:
        for batch, (images, _) in enumerate(data.batches(batch_size)):
            faults = BitFlipRate(rate).draw(space, unit_rng(seed, rate, 0, batch))
            outputs = session.run(padded(images, fixed), faults)[-len(names) :]
            yield {name: unpadded(value, len(images), fixed) for name, value in zip(names, outputs, strict=True)}

    for rate in rates:
        tallies = [_Tally() for _ in activations]
        for tensors in runs(rate):
            for tally, activation in zip(tallies, activations, strict=True):
                tally.measure(tensors[activation.output])
                if activation.name in limits:
                    tally.compare(tensors[activation.observed], limits[activation.name])
        for tensors in runs(rate):
            for tally, activation in zip(tallies, activations, strict=True):
                tally.fill(tensors[activation.output])
        for activation, tally in zip(activations, tallies, strict=True):
            yield _distribution(activation.name, rate, tally, activation.name in limits)


def _distribution(name: str, rate: float, tally: _Tally, has_threshold: bool) -> Distribution:
    histogram = np.zeros(_BINS, np.int64) if tally.histogram is None else tally.histogram
    edges = np.linspace(*tally.range(), _BINS + 1)
    quartiles = [_quantile(histogram, edges, q) for q in (0.25, 0.5, 0.75)]
    nan = float("nan")
    return Distribution(
        activation=name,
        rate=rate,
        count=tally.count,
        not_finite=1 - tally.finite / tally.count,
        minimum=tally.low if tally.finite else nan,
        maximum=tally.high if tally.finite else nan,
        mean=tally.total / tally.finite if tally.finite else nan,
        quartile1=quartiles[0],
        median=quartiles[1],
        quartile3=quartiles[2],
        sparsity=tally.zeros / tally.count,
        above=tally.above / tally.count if has_threshold else None,
        edges=tuple(edges[:: _BINS // _SHOWN_BINS].tolist()),
        histogram=tuple(histogram.reshape(_SHOWN_BINS, -1).sum(axis=1).tolist()),
    )


def _quantile(histogram: NDArray[np.int64], edges: NDArray[np.float64], q: float) -> float:
    """Return the left edge of the bin in which the q-quantile lies."""
    total = int(histogram.sum())
    if not total:
        return float("nan")
    return float(edges[int(np.searchsorted(np.cumsum(histogram), q * total))])
