"""The points of a ClipAct search: its settings, and thresholds measured as far as was needed."""

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Self

from ftonnx.errors import UsageError
from ftonnx.export import check_on_exceed
from ftonnx.inject import BitFlipRates
from ftonnx.stats.curves import AUC_AXES, auc, auc_weights
from ftonnx.tasks import Task, task_from_dict
from ftonnx.words import fields_of_json, json_fields, near

__all__ = ["SUBINTERVALS", "ClipActSettings", "Evaluation", "Key", "Log"]

SUBINTERVALS: Final = 3

Key = tuple[str, int, float]
"""Activation, round, threshold; rounds differ only where every iteration draws its own images."""


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
        on_exceed: what a value above a threshold becomes: ``zero``, or the threshold (``clamp``).
        task: what outputs are worth, whose headline makes the curve; what they look like by default.
        output: name of the output that is judged; the one that fits the task by default.

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
    on_exceed: str = "zero"
    task: Task | None = None
    output: str | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("iterations", "repeats", "batch_size"):
            value = getattr(self, name)
            if value < 1:
                raise UsageError(f"{name} must be 1 or more, got {value}")
        check_on_exceed(self.on_exceed)
        if self.auc_axis not in AUC_AXES:
            hint = near(str(self.auc_axis), AUC_AXES)
            raise UsageError(f"AUC axis {self.auc_axis!r} is not known: use {', '.join(AUC_AXES)}{hint}")
        if not 0 <= self.include_clean < 1:
            raise UsageError(f"the weight of the fault-free accuracy must be in [0, 1), got {self.include_clean}")
        # the fault model refuses what is no probability, and sorts
        rates = BitFlipRates(self.rates).rates if self.rates else ()
        if not 0 <= self.seed < 2**64:
            raise UsageError(f"the seed must be from 0 to 2^64 - 1, got {self.seed}")
        resample = self.resample
        if resample is not None and resample < 1:
            raise UsageError(f"resample must be 1 or more, got {self.resample}")
        zero_on_log = self.auc_axis == "log" and 0 in rates
        if len(rates) < 2 or zero_on_log:
            raise UsageError(f"an area needs two or more rates, above 0 on a log axis; got {self.rates}")
        object.__setattr__(self, "rates", rates)

    @property
    def most_evaluations(self) -> int:
        """How many thresholds are tried per activation at most: both ends of an interval may be known already."""
        first = SUBINTERVALS + 1
        # on new images the ends that are known from others are tried again
        later = SUBINTERVALS + 1 if self.resample else SUBINTERVALS - 1
        return first + later * (self.iterations - 1)

    @property
    def columns(self) -> tuple[float, ...]:
        """The rates that a threshold is measured at: those of the curve, then 0 where it has weight."""
        if self.include_clean:
            return (*self.rates, 0.0)
        return self.rates

    @property
    def weights(self) -> tuple[float, ...]:
        """What the accuracy at each of the columns adds to a score; they sum to 1."""
        area = auc_weights(self.rates, self.auc_axis)
        weights = ((1 - self.include_clean) * area).tolist()
        if self.include_clean:
            weights.append(self.include_clean)
        return tuple(weights)

    def score(self, accuracy: Sequence[float]) -> float:
        """Return a threshold's worth from its accuracies at the columns.

        Rounding is monotone, so a larger accuracy never gives a smaller score, not even in the last bit.

        >>> ClipActSettings(rates=(1e-6, 1e-5), include_clean=0.5).score([0.75, 0.25, 1.0])
        0.75
        """
        at_rates = accuracy[: len(self.rates)]
        area = auc(self.rates, at_rates, self.auc_axis)
        if not self.include_clean:
            return area
        fault_free = accuracy[-1]
        under_faults = (1 - self.include_clean) * area
        return under_faults + self.include_clean * fault_free

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        task = None if self.task is None else self.task.to_dict()
        return json_fields(self) | {"task": task}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the settings of which these are the JSON values."""
        known = fields_of_json(values)
        task = known.get("task")
        if task is not None:
            known["task"] = task_from_dict(task)
        return cls(**known)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One threshold that was tried, measured as far as was needed.

    Attributes:
        activation: its name.
        iteration: from 0.
        threshold: T, or the fraction of every channel's largest value.
        score: the area under the curve, with the fault-free accuracy mixed in where asked for; None where
            a part of it was not needed, since the threshold could not be the best any more.
        accuracy: top-1 accuracy per rate; None where it was not needed.
        at_most: the score, with every answer right that is missing.
        clean: fault-free top-1 accuracy; None where it has no weight or was not needed.
        images: what is known of every image under every pattern: ``1`` right, ``0`` wrong, ``?`` not measured; empty
            where the task does not judge images alone.
    """

    activation: str
    iteration: int
    threshold: float
    score: float | None
    accuracy: tuple[float | None, ...]
    at_most: float
    clean: float | None = None
    images: str = ""

    @classmethod
    def unmeasured(cls, settings: ClipActSettings, key: Key, iteration: int) -> Self:
        """Return a point of which nothing is known yet."""
        # what is not measured counts as 1, which bounds the score from above
        perfect = [1.0] * len(settings.columns)
        return cls(
            activation=key[0],
            iteration=iteration,
            threshold=key[2],
            score=None,
            accuracy=(None,) * len(settings.rates),
            at_most=settings.score(perfect),
        )

    @property
    def columns(self) -> tuple[float | None, ...]:
        """Accuracies at the rates, then the fault-free one."""
        return (*self.accuracy, self.clean)

    @property
    def worth(self) -> tuple[float, float]:
        """What the best point has most of: the score, or what it can be; of equal ones the larger threshold."""
        return self.at_most, self.threshold

    def bounded(
        self,
        settings: ClipActSettings,
        at_most: Sequence[float],
        complete: Sequence[bool],
        images: str,
    ) -> Self:
        """Return the point with what is known of it now.

        Args:
            settings: of the search.
            at_most: per column, what its accuracy is at most.
            complete: per column, whether it is that.
            images: what is known of images.
        """
        columns = [value if whole else None for value, whole in zip(at_most, complete, strict=True)]
        bound = settings.score(at_most)
        return replace(
            self,
            score=bound if all(complete) else None,
            accuracy=tuple(columns[: len(settings.rates)]),
            clean=columns[-1] if settings.include_clean else None,
            at_most=bound,
            images=images,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values, without what is known of images."""
        values = asdict(self)
        del values["images"]
        return values


Log = MutableMapping[Key, Evaluation]
"""Evaluations by key; one that outlives the process makes a search resumable."""
