"""What every task is: a value that names its counts, judges runs, and says which fractions of them mean what."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import ModelError, UsageError
from ftonnx.words import fields_of_json, json_fields

__all__ = ["SIZE", "Columns", "Counts", "Fraction", "Judge", "MisfitError", "Outputs", "Task", "per_batch"]

SIZE: Final = "n"
"""The count that every task has: how many images (or whatever it counts) a run was judged on."""

_TAKEN: Final = frozenset(
    {"rate", "repeat", "batch", "n_faults", "wall_ns", "injection", "target", "element", "bit", "check"}
)
"""Names of what is recorded besides a task's counts."""


Columns = Mapping[str, NDArray[np.int64]]
"""Counts by name, each (batches,) or (batches, patterns)."""


class Counts(Mapping[str, int]):
    """How many images of one run had which outcome, by the task's names; a name can be read as an attribute too.

    >>> found = Counts(n=8, correct1=7)
    >>> found["n"], found.correct1, found + Counts(n=2, correct1=1)
    (8, 7, Counts(n=10, correct1=8))
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, int] | None = None, /, **named: int) -> None:
        self._values = named if values is None else dict(values)

    def __getitem__(self, name: str) -> int:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> int:
        """Return a count by its name."""
        if not name.startswith("_") and name in self._values:
            return self._values[name]
        raise AttributeError(f"there is no count {name!r}")

    def __add__(self, other: "Counts") -> "Counts":
        return Counts({name: value + other[name] for name, value in self._values.items()})

    @staticmethod
    def total(found: "Iterable[Counts]") -> "Counts":
        """Return the sum of one or more.

        >>> Counts.total([Counts(n=8), Counts(n=2)])
        Counts(n=10)
        """
        first, *others = found
        total = first
        for each in others:
            total += each
        return total

    @staticmethod
    def column(found: "Iterable[Counts]", name: str) -> NDArray[np.int64]:
        """Return one of the counts of each.

        >>> Counts.column([Counts(n=8), Counts(n=2)], "n")
        array([8, 2])
        """
        return np.array([counts[name] for counts in found], np.int64)

    def __reduce__(self) -> tuple[type["Counts"], tuple[dict[str, int]]]:
        return Counts, (self._values,)

    def __repr__(self) -> str:
        named = ", ".join(f"{name}={value}" for name, value in self._values.items())
        return f"Counts({named})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fraction:
    """A share of the images: one count over another.

    Attributes:
        count: what is counted.
        label: for people, such as ``top-1``.
        title: the same where there is room, such as ``top-1 accuracy``; the label by default.
        says: what happens to that share of the images, such as ``are classified correctly``.
        whole: the count that it is a share of.
    """

    count: str
    label: str
    says: str
    whole: str = SIZE
    title: str = ""

    def __post_init__(self) -> None:
        """Fill in the title."""
        if not self.title:
            object.__setattr__(self, "title", self.label)

    def of(self, counts: Mapping[str, int]) -> float:
        """Return the fraction in some counts; 0 where there is nothing to be a share of.

        >>> Fraction(count="correct1", label="top-1", says="are right").of(Counts(n=8, correct1=6))
        0.75
        """
        whole = counts[self.whole]
        return counts[self.count] / whole if whole else 0.0

    def is_known(self, counts: Mapping[str, int]) -> bool:
        """Say whether there is anything to be a share of."""
        return counts[self.whole] > 0

    @property
    def names(self) -> tuple[str, ...]:
        """The counts that it is made of."""
        return self.count, self.whole

    def columns(self, found: Sequence[Counts]) -> Columns:
        """Return what it needs of the counts of some batches, and their images, each (batches,)."""
        return {name: Counts.column(found, name) for name in (SIZE, *self.names)}

    def weights(self, golden: Columns) -> NDArray[Any]:
        """Return how much the fraction of each batch weighs in that of all, (batches,).

        What a fraction is a share of is the same with faults and without, so that the fraction of all batches is a
        mean of theirs with weights that are known.
        """
        return golden[self.whole]

    def by_batch(self, counts: Columns, golden: Columns) -> NDArray[np.float64]:
        """Return the fraction of each batch, (batches, ...) as the counts; 0 where there is nothing to be a share of.

        Args:
            counts: of the batches.
            golden: without faults, (batches,).

        >>> half = Fraction(count="right", label="right", says="are right")
        >>> half.by_batch({"right": np.array([[3, 2], [1, 0]])}, {"n": np.array([4, 2])}).tolist()
        [[0.75, 0.5], [0.5, 0.0]]
        """
        counted = counts[self.count]
        divisors = np.maximum(golden[self.whole], 1)
        shares: NDArray[np.float64] = counted / per_batch(divisors, counted)
        return shares


def per_batch(numbers: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:
    """Return numbers (batches,) in a shape that goes with counts (batches, ...)."""
    return numbers.reshape(-1, *[1] * (like.ndim - 1))


Outputs = Mapping[str, Any]
"""What a run gives, by the outputs' names: arrays, one row per image, or lists of one map per image."""


class MisfitError(ModelError):
    """A model's outputs are not what a task judges: it may be another task's model."""


class Judge(ABC):
    """Counts the outcomes of runs of one batch, whose golden run it knows."""

    @abstractmethod
    def count(self, outputs: Outputs) -> Counts:
        """Count the outcomes of one run."""

    @abstractmethod
    def crashed(self) -> Counts:
        """Return the outcomes of a run that gave no outputs."""


class Task(ABC):
    """Turns outputs and labels into counts, and says what they mean.

    A leaf is a frozen dataclass that names its counts and fractions, and is listed in ``registry``.

    Attributes:
        name: of the task, in files and on the command line.
        counts: what it counts, by name; the first is ``n``.
        fractions: what is estimated, by name.
        headline: the fraction that models are compared by, of which more is better.
        harm: the fraction that says how often a fault did unnoticed harm.
        shown: the fractions of short tables, the headline first.
        golden: the fractions that are told of fault-free runs.
        outcomes: the fractions that say what becomes of images besides.
        per_fault: the counts that tables of single faults show beside the harm.
        per_fault_brief: those of them in short tables, the harm behind the first.
        judges_images: whether the headline is a share of images, each of which ``hits`` judges alone.
        parts: what can become of an image, see ``shares``.
        compares_images: whether images are judged beside others of their batch, which then must not be a few.
    """

    name: ClassVar[str]
    counts: ClassVar[tuple[str, ...]]
    fractions: ClassVar[Mapping[str, Fraction]]
    headline: ClassVar[str]
    harm: ClassVar[str]
    shown: ClassVar[tuple[str, ...]]
    golden: ClassVar[tuple[str, ...]]
    outcomes: ClassVar[tuple[str, ...]] = ()
    per_fault: ClassVar[tuple[str, ...]] = ()
    per_fault_brief: ClassVar[tuple[str, ...]] = ()
    judges_images: ClassVar[bool] = False
    parts: ClassVar[tuple[str, ...]] = ("harmed", "not harmed")
    compares_images: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        """Find contradictions where a task is written, not in the middle of a campaign."""
        super().__init_subclass__()
        # a property is made of settings, which are not known yet
        if not isinstance(cls.__dict__.get("counts"), tuple):
            return
        wrong = [name for name in cls.counts if not name.isidentifier() or name in _TAKEN]
        if wrong or SIZE not in cls.counts:
            raise TypeError(f"{cls.__name__}: counts are names, {SIZE} among them, and none of {sorted(_TAKEN)}")
        for name in (cls.headline, cls.harm, *cls.shown, *cls.golden):
            if name not in cls.fractions:
                raise TypeError(f"{cls.__name__}: {name!r} is none of its fractions")
        for fraction in cls.fractions.values():
            if not {fraction.count, fraction.whole} <= set(cls.counts):
                raise TypeError(f"{cls.__name__}: {fraction} is not of its counts")

    @abstractmethod
    def check(self, outputs: Outputs, labels: NDArray[Any], classes: int | None) -> None:
        """Refuse golden outputs or labels that do not fit the task.

        Args:
            outputs: of a run without faults.
            labels: of its images.
            classes: that the data know; None where labels are no class numbers.

        Raises:
            MisfitError: the outputs do not fit.
            DataError: the labels do not.
        """

    @abstractmethod
    def judge(self, golden: Outputs, labels: NDArray[Any]) -> Judge:
        """Return what counts the outcomes of all runs of one batch."""

    def hits(self, outputs: Outputs, labels: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Say of every image whether the headline counts it; None where the task does not judge images alone."""
        return None

    def decisions(self, outputs: Outputs) -> NDArray[Any] | None:
        """Return what every image is taken for, (images, ...), such as its class; None where the task does not say."""
        return None

    def count(self, outputs: Outputs, golden: Outputs, labels: NDArray[Any]) -> Counts:
        """Count the outcomes of one run."""
        return self.judge(golden, labels).count(outputs)

    def choose(self, outputs: Outputs, labels: NDArray[Any], classes: int | None) -> str | None:
        """Return the name of the one output that is judged; None where all of them are.

        Asked of models with several outputs of which nobody has named one, with the golden outputs of the first batch.

        Raises:
            MisfitError: none or several fit.
        """
        return None

    def settled(self, outputs: Outputs, labels: NDArray[Any]) -> Self:
        """Return the task with what was left open decided.

        Args:
            outputs: golden ones of the first batch.
            labels: all that the data have.
        """
        return self

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left open that golden outputs decide."""
        return True

    @property
    def main(self) -> Fraction:
        """The headline."""
        return self.fractions[self.headline]

    @property
    def meaning(self) -> str:
        """What ``parts`` and the fractions mean, a paragraph."""
        return ""

    def clean_words(self, share: str, images: str) -> str:
        """Say how a model does without faults, as in ``M classifies 98 % of 360 images correctly``, without the M."""
        return f"reaches {share} {self.main.title} on {images} images"

    def outcome_words(self, shares: Mapping[str, str]) -> str:
        """Say what becomes of images, given the fractions as texts."""
        return ", ".join(f"{shares[name]} of the images {self.fractions[name].says}" for name in self.shown)

    def counts_words(self, counts: Mapping[str, int]) -> str:
        """Say what one run's counts are."""
        found = [f"{counts[self.fractions[name].count]} {self.fractions[name].says}" for name in self.shown]
        return f"of {counts[SIZE]} images {', '.join(found)}"

    def figures(self, counts: Mapping[str, int]) -> dict[str, float]:
        """Return what else counts amount to, such as a mean error: numbers for tables, without intervals."""
        return {}

    def golden_fractions(self, golden: Mapping[str, int]) -> dict[str, float]:
        """Return what is told of fault-free runs, given their counts."""
        return {name: self.fractions[name].of(golden) for name in self.golden}

    def shares(self, fractions: Mapping[str, float]) -> tuple[float, ...]:
        """Return the shares of images that ``parts`` names, which sum to 1, given the fractions."""
        harmed = fractions[self.harm]
        return harmed, 1 - harmed

    def caution(self, golden: float, classes: int | None, *, of: str = "") -> str | None:
        """Say what a reader must know first, given the fault-free headline; None where there is nothing.

        Args:
            golden: the headline without faults.
            classes: that the data know; None where that is not known.
            of: whose headline, where it is not that of all images, such as `` of the first 128 images``.
        """
        return None

    @property
    def text(self) -> str:
        """The task as ``parse_task`` reads it: its name, and its settings behind a colon."""
        settings = self.to_dict()
        name = settings.pop("name")
        listed = [f"{key}={value}" for key, value in settings.items() if value is not None]
        return ":".join(filter(None, (name, ",".join(listed))))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values from which ``task_from_dict`` makes the same value."""
        return {"name": self.name} | json_fields(self)  # type: ignore[arg-type]  # leaves are dataclasses

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make the task from what ``to_dict`` wrote.

        Raises:
            UsageError: it has no such settings.
        """
        given = fields_of_json(values)
        given.pop("name", None)
        try:
            return cls(**given)
        except TypeError:
            raise UsageError(f"task {cls.name} has no settings {', '.join(given)}") from None
