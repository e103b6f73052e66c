"""ClipAct: the interval search for clipping thresholds (paper, section III-B).

Per activation, in graph order, with the thresholds found so far in place: the interval from 0 to the
activation's largest value is cut in three, the four ends are tried, and the ends beside the best one
become the next interval. A threshold's worth is the area under the accuracy over fault rates, with
faults in the weights that feed this activation only.
"""

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign import Classification
from ftonnx.datasets import Dataset, stratified_subset
from ftonnx.errors import UsageError
from ftonnx.export import Activation, clip_activations, feeding_tensors, thresholds_as_inputs
from ftonnx.inject import BitFlipRate, Faults, FaultSpace, OnnxModel, unit_rng
from ftonnx.runtime import FaultyRunError, FaultySession, fixed_batch, padded

__all__ = ["AUC_AXES", "ClipActSettings", "Evaluation", "Log", "auc_weights", "search_thresholds"]

AUC_AXES: Final = ("log", "linear", "index")
_SUBINTERVALS: Final = 3
_TASK: Final = Classification()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipActSettings:
    """How ClipAct searches.

    Attributes:
        iterations: interval refinements per activation.
        rates: bit-fault rates of the curve, ascending (default: paper, section IV-E).
        repeats: fault patterns per rate and batch; all thresholds meet the same ones.
        auc_axis: ``log`` (log10 of the rate), ``linear``, or ``index`` (equally spaced).
        include_clean: weight in [0, 1) of the fault-free accuracy in a threshold's worth.
        resample: images drawn anew, stratified by class, for every iteration; None uses all of them.
        batch_size: images that share a fault pattern.
        seed: of fault patterns and resampling.

    Raises:
        UsageError: a value is out of range.
    """

    iterations: int = 10
    rates: tuple[float, ...] = (1e-7, 1e-6, 3e-6, 1e-5, 3e-5)
    repeats: int = 1
    auc_axis: str = "log"
    include_clean: float = 0.0
    resample: int | None = None
    batch_size: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("iterations", "repeats", "batch_size"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.auc_axis not in AUC_AXES:
            raise UsageError(f"AUC axis {self.auc_axis!r} is not known: use {', '.join(AUC_AXES)}")
        if not 0 <= self.include_clean < 1:
            raise UsageError(f"the weight of the fault-free accuracy must be in [0, 1), got {self.include_clean}")
        rates = tuple(sorted({BitFlipRate(rate).rate for rate in self.rates}))
        if not 0 <= self.seed < 2**64:
            raise UsageError(f"the seed must be from 0 to 2^64 - 1, got {self.seed}")
        if self.resample is not None and self.resample < 1:
            raise UsageError(f"resample must be 1 or more, got {self.resample}")
        if len(rates) < 2 or (self.auc_axis == "log" and rates[0] == 0):
            raise UsageError(f"an area needs two or more rates, above 0 on a log axis; got {self.rates}")
        object.__setattr__(self, "rates", rates)

    @property
    def most_evaluations(self) -> int:
        """How many thresholds are tried per activation at most: both ends of an interval may be known already."""
        again = _SUBINTERVALS + 1 if self.resample else _SUBINTERVALS - 1
        return _SUBINTERVALS + 1 + again * (self.iterations - 1)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def auc_weights(rates: Sequence[float], axis: str) -> NDArray[np.float64]:
    """Return the trapezoid weights of accuracies at ascending ``rates``; they sum to 1.

    >>> auc_weights([1e-7, 1e-6, 3e-6, 1e-5, 3e-5], "index").tolist()
    [0.125, 0.25, 0.25, 0.25, 0.125]
    >>> auc_weights([1e-7, 1e-6, 3e-6, 1e-5, 3e-5], "log").round(4).tolist()
    [0.2018, 0.2982, 0.2018, 0.2018, 0.0963]
    """
    if axis == "index":
        places = np.arange(len(rates), dtype=np.float64)
    else:
        places = np.log10(rates) if axis == "log" else np.asarray(rates, np.float64)
    steps = np.diff(places)
    weights: NDArray[np.float64] = (np.append(steps, 0) + np.append(0, steps)) / 2 / (places[-1] - places[0])
    return weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One threshold that was tried.

    Attributes:
        activation: its name.
        iteration: from 0.
        threshold: T, or the fraction of every channel's largest value.
        score: the area under the curve, with the fault-free accuracy mixed in where asked for.
        accuracy: top-1 accuracy per rate.
        clean: fault-free top-1 accuracy; None where it has no weight.
    """

    activation: str
    iteration: int
    threshold: float
    score: float
    accuracy: tuple[float, ...]
    clean: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


Log = MutableMapping[tuple[str, int, float], Evaluation]
"""Evaluations by (activation, round, threshold); one that outlives the process makes a search resumable."""


@dataclass(slots=True)
class _Search:
    """The state of one search: a session whose thresholds are inputs, and what was evaluated so far."""

    settings: ClipActSettings
    data: Dataset
    session: FaultySession
    space: FaultSpace
    log: Log

    def points(self, activation: Activation, part: FaultSpace, largest: NDArray[np.float32]) -> Iterator[Evaluation]:
        """Refine the interval of one activation and yield each point that is evaluated, once."""
        low, high = 0.0, _ceiling(largest)
        for iteration in range(self.settings.iterations):
            data, points = self.sample(iteration), []
            for threshold in (grid := _grid(low, high)):
                key = (activation.name, iteration if self.settings.resample else 0, threshold)
                if key not in self.log:
                    self.session.extra[f"{activation.name}.threshold"] = _at(threshold, largest)
                    self.log[key] = self.evaluate(data, part, activation.name, iteration, threshold)
                if self.log[key].iteration == iteration and self.log[key] not in points:
                    yield self.log[key]
                points.append(self.log[key])
            best = points.index(max(points, key=_worth))
            low, high = grid[max(best - 1, 0)], grid[min(best + 1, _SUBINTERVALS)]

    def sample(self, iteration: int) -> Dataset:
        """Return the images of one iteration."""
        if self.settings.resample is None:
            return self.data
        return stratified_subset(self.data, self.settings.resample, seed=(self.settings.seed, iteration))

    def evaluate(self, data: Dataset, part: FaultSpace, name: str, iteration: int, threshold: float) -> Evaluation:
        """Measure the curve of accuracy over fault rates with faults in ``part``, and its worth."""
        settings = self.settings
        accuracy = tuple(self.accuracy(data, part, rate) for rate in settings.rates)
        area = float(np.dot(auc_weights(settings.rates, settings.auc_axis), accuracy))
        clean = self.accuracy(data, part, 0.0) if settings.include_clean else None
        score = area if clean is None else (1 - settings.include_clean) * area + settings.include_clean * clean
        return Evaluation(
            activation=name, iteration=iteration, threshold=threshold, score=score, accuracy=accuracy, clean=clean
        )

    def accuracy(self, data: Dataset, part: FaultSpace, rate: float) -> float:
        """Return top-1 accuracy over all batches and repeats at one rate; rate 0 is one fault-free pass."""
        correct = total = 0
        for batch, (images, labels) in enumerate(data.batches(self.settings.batch_size)):
            for repeat in range(self.settings.repeats if rate else 1):
                faults = BitFlipRate(rate).draw(part, unit_rng(self.settings.seed, rate, repeat, batch))
                correct += self.correct(images, labels, self.space.widen(faults, part))
                total += len(labels)
        return correct / total

    def correct(self, images: NDArray[np.float32], labels: NDArray[np.int64], faults: Faults) -> int:
        """Return how many images are classified right; none where ONNX Runtime refuses the flipped model."""
        try:
            outputs = self.session.run(padded(images, self.session.batch_size), faults)[0][: len(images)]
        except FaultyRunError:
            return 0
        return _TASK.count(outputs, outputs, labels).correct1


def search_thresholds(
    model: OnnxModel,
    data: Dataset,
    activations: Sequence[Activation],
    largest: Mapping[str, NDArray[np.float32]],
    settings: ClipActSettings,
    *,
    log: Log | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, NDArray[np.float32]], list[Evaluation]]:
    """Search a threshold for every activation.

    Args:
        model: the unprotected model.
        data: labelled images.
        activations: in graph order.
        largest: per activation, the upper end of its first interval (ActMax).
        settings: how to search.
        log: evaluations that are known already; new ones are added to it.
        progress: called after every evaluation with (done, at most).

    Returns:
        The thresholds: per activation the one with the largest score, of equal ones the largest, and
        the evaluations in order. An activation that no weights feed keeps its largest value.

    Raises:
        ModelError: the model is no classifier.
        DataError: the images or labels do not fit it.
    """
    exposed, inputs = thresholds_as_inputs(clip_activations(model.proto, largest)[0])
    opened = replace(model, proto=exposed)
    space = FaultSpace.of(opened)
    session = _session(opened, space, data, settings, inputs)
    search = _Search(settings=settings, data=data, session=session, space=space, log={} if log is None else log)
    thresholds = {name: np.asarray(value, np.float32) for name, value in largest.items()}
    evaluations: list[Evaluation] = []
    for activation in activations:
        part = space.only(feeding_tensors(model.proto, activation))
        tried: list[Evaluation] = []
        for evaluation in search.points(activation, part, largest[activation.name]) if part else ():
            tried.append(evaluation)
            if progress is not None:
                progress(len(evaluations) + len(tried), len(activations) * settings.most_evaluations)
        if tried:
            best = max(tried, key=_worth)
            thresholds[activation.name] = _at(best.threshold, largest[activation.name])
            search.session.extra[f"{activation.name}.threshold"] = thresholds[activation.name]
        evaluations += tried
    return thresholds, evaluations


def _session(
    model: OnnxModel, space: FaultSpace, data: Dataset, settings: ClipActSettings, extra: Mapping[str, NDArray[Any]]
) -> FaultySession:
    """Open a session; always of one kind, since the last bits, and so a threshold, may depend on it."""
    images, _ = next(data.batches(settings.batch_size))
    images = padded(images, fixed_batch(model.proto))
    session = FaultySession(model, space, strategy="live", sample=images, extra=extra)
    _TASK.check(session.golden(images)[0], len(images), data.classes)
    return session


def _worth(evaluation: Evaluation) -> tuple[float, float]:
    return evaluation.score, evaluation.threshold


def _ceiling(largest: NDArray[np.float32]) -> float:
    """Return the upper end of the first interval: T itself, or 1 as a fraction of every channel's largest value."""
    return float(largest) if largest.ndim == 0 else 1.0


def _at(threshold: float, largest: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.float32(threshold)) if largest.ndim == 0 else largest * np.float32(threshold)


def _grid(low: float, high: float) -> list[float]:
    """Cut an interval in three; inner ends are rounded to float32, the outer ones stay as they are.

    >>> _grid(0.0, 3.0)
    [0.0, 1.0, 2.0, 3.0]
    """
    step = (high - low) / _SUBINTERVALS
    inner = [float(np.float32(low + step * k)) for k in range(1, _SUBINTERVALS)]
    return [low, *inner, high]
