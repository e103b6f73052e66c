"""How activations are distributed, with and without faults (the paper's figures 5, 8, 9 and 10).

Streamed in two passes: the first finds each activation's range, the second fills a histogram over it,
from which median and quartiles are read. Memory does not grow with the data.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.inputs import fitted
from ftonnx.datasets import Dataset
from ftonnx.export import Activation, with_outputs
from ftonnx.inject import BitFlipRates, FaultSpace, OnnxModel, unit_rng
from ftonnx.mitigate.inputs import require_data_for_inputs
from ftonnx.runtime import FaultySession
from ftonnx.samples import count_of
from ftonnx.sessions import fixed_batch, padded, unpadded

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
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, np.int64))

    def measure(self, values: NDArray[Any]) -> None:
        """Take a batch into everything but the histogram."""
        finite = _finite(values)
        self.count += values.size
        self.finite += finite.size
        others = int(np.count_nonzero(values))
        self.zeros += values.size - others
        if finite.size:
            low = float(finite.min())
            high = float(finite.max())
            self.low = min(self.low, low)
            self.high = max(self.high, high)
            self.total += float(finite.sum())

    def compare(self, values: NDArray[Any], threshold: NDArray[np.float32]) -> None:
        """Count the values above the threshold; NaN, of which no comparison holds, is one."""
        passed = values <= threshold
        self.above += int(np.count_nonzero(~passed))

    def fill(self, values: NDArray[Any]) -> None:
        """Take a batch into the histogram; the range is known by now."""
        finite = _finite(values)
        found = np.histogram(finite, bins=_BINS, range=self.range())
        self.histogram += found[0]

    def range(self) -> tuple[float, float]:
        """Return the range of the histogram, which is never empty."""
        if not self.finite:
            return 0.0, 1.0
        if self.high > self.low:
            return self.low, self.high
        # one value only: a range wide enough to be told from it in floating point
        width = max(1.0, abs(self.low))
        return self.low, self.low + width


def _finite(values: NDArray[Any]) -> NDArray[np.float64]:
    # in float64, since float32 sums of millions of values drift
    kept: NDArray[Any] = values[np.isfinite(values)]
    wide: NDArray[np.float64] = kept.astype(np.float64)
    return wide


@dataclass(frozen=True, slots=True, kw_only=True)
class _Probe:
    """A session whose last outputs are the tensors in question, and the images that go through it."""

    session: FaultySession
    space: FaultSpace
    data: Dataset
    names: tuple[str, ...]
    batch_size: int
    fixed: int | None
    seed: int

    def runs(self, rate: float) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield the tensors of every batch; the same rate gives the same faults again."""
        model = BitFlipRates(rate)
        batches = self.data.batches(self.batch_size)
        for batch, (images, _) in enumerate(batches):
            rng = unit_rng(self.seed, rate, 0, batch)
            faults = model.draw(self.space, rng)
            filled = padded(images, self.fixed)
            outputs = self.session.run(filled, faults)
            # the model's own outputs come first
            values = outputs[-len(self.names) :]
            tensors = {}
            for name, value in zip(self.names, values, strict=True):
                tensors[name] = unpadded(value, count_of(images), self.fixed)
            yield tensors


def activation_distributions(
    model: OnnxModel,
    data: Dataset,
    activations: Sequence[Activation],
    *,
    rates: Sequence[float] = (0.0,),
    thresholds: Mapping[str, NDArray[np.float32]] | None = None,
    batch_size: int = 128,
    seed: int = 0,
    space: FaultSpace | None = None,
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
        space: the bits that can flip; ``FaultSpace.of(model)`` by default.
    """
    completed = fitted(data, model)
    require_data_for_inputs(model, completed)
    probe = _open(model, completed, activations, space or FaultSpace.of(model), batch_size, seed)
    limits = thresholds or {}
    for rate in rates:
        tallies = _tallies(probe, rate, activations, limits)
        for activation, tally in zip(activations, tallies, strict=True):
            has_threshold = activation.name in limits
            yield _distribution(activation.name, rate, tally, has_threshold)


def _open(
    model: OnnxModel,
    data: Dataset,
    activations: Sequence[Activation],
    space: FaultSpace,
    batch_size: int,
    seed: int,
) -> _Probe:
    names: dict[str, None] = {}
    for activation in activations:
        names[activation.output] = None
        names[activation.observed] = None
    exposed = with_outputs(model.proto, list(names))
    observed = model.with_proto(exposed)
    fixed = fixed_batch(model.proto)
    batch = next(data.batches(batch_size))
    sample = padded(batch[0], fixed)
    # always one kind of session, since the last bits depend on it
    session = FaultySession(observed, space, strategy="live", sample=sample)
    return _Probe(
        session=session,
        space=space,
        data=data,
        names=tuple(names),
        batch_size=batch_size,
        fixed=fixed,
        seed=seed,
    )


def _tallies(
    probe: _Probe,
    rate: float,
    activations: Sequence[Activation],
    limits: Mapping[str, NDArray[np.float32]],
) -> list[_Tally]:
    """Run twice: for the ranges, then for the histograms over them."""
    tallies = [_Tally() for _ in activations]
    for tensors in probe.runs(rate):
        for tally, activation in zip(tallies, activations, strict=True):
            tally.measure(tensors[activation.output])
            limit = limits.get(activation.name)
            if limit is not None:
                tally.compare(tensors[activation.observed], limit)
    for tensors in probe.runs(rate):
        for tally, activation in zip(tallies, activations, strict=True):
            tally.fill(tensors[activation.output])
    return tallies


def _distribution(name: str, rate: float, tally: _Tally, has_threshold: bool) -> Distribution:
    histogram = tally.histogram
    edges = np.linspace(*tally.range(), _BINS + 1)
    # charts need fewer bins than quartiles
    coarse = histogram.reshape(_SHOWN_BINS, -1).sum(axis=1)
    coarse_edges = edges[:: _BINS // _SHOWN_BINS]
    minimum = maximum = mean = float("nan")
    if tally.finite:
        minimum = tally.low
        maximum = tally.high
        mean = tally.total / tally.finite
    return Distribution(
        activation=name,
        rate=rate,
        count=tally.count,
        not_finite=1 - tally.finite / tally.count,
        minimum=minimum,
        maximum=maximum,
        mean=mean,
        quartile1=_quantile(histogram, edges, 0.25),
        median=_quantile(histogram, edges, 0.5),
        quartile3=_quantile(histogram, edges, 0.75),
        sparsity=tally.zeros / tally.count,
        above=tally.above / tally.count if has_threshold else None,
        edges=tuple(coarse_edges.tolist()),
        histogram=tuple(coarse.tolist()),
    )


def _quantile(histogram: NDArray[np.int64], edges: NDArray[np.float64], q: float) -> float:
    """Return the left edge of the bin in which the q-quantile lies."""
    total = int(histogram.sum())
    if not total:
        return float("nan")
    below = np.cumsum(histogram)
    place = below.searchsorted(q * total)
    return float(edges[place])
