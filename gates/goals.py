"""What a gate asks for: goals, from Python, from the command line, and from a TOML file."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

from ftonnx.environment.radiation import Environment
from ftonnx.errors import UsageError
from ftonnx.tasks import Fraction, Task, default_task
from ftonnx.words import is_number, near, of_kind

__all__ = ["Goal", "resolve_goals"]

Kind = Literal["min_accuracy", "max_drop", "max_sdc"]
_KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_LIMITS: Final = {"min_accuracy": "at least", "max_drop": "lost at most", "max_sdc": "at most"}
_PER_CENT: Final = 100
_ENVIRONMENT: Final = "env"
_TEXT: Final = re.compile(r"\s*(?:--)?([a-z_-]+)[\s=]+(\S+)\s*")


@dataclass(frozen=True, slots=True)
class Goal:
    """One limit at one fault rate.

    Attributes:
        kind: ``min_accuracy`` of the task's headline (top-1), ``max_drop`` (that without faults minus that with them),
            ``max_sdc`` of the task's harm (SDC-1).
        bound: the limit, a fraction strictly between 0 and 1.
        rate: flips per bit, above 0; None stands for the environment's.

    Raises:
        UsageError: a value is out of range.

    >>> Goal("min_accuracy", 0.9, 1e-6).name
    'top-1 accuracy at least 90 % at 1e-06'
    """

    kind: Kind
    bound: float
    rate: float | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.kind not in _KINDS:
            raise UsageError(f"goal {self.kind!r} is not known: use {', '.join(_KINDS)}{near(str(self.kind), _KINDS)}")
        if not (is_number(self.bound) and 0 < self.bound < 1):
            raise UsageError(
                f"{self.kind}: a fraction strictly between 0 and 1 was expected, got {self.bound!r}{_meant(self.bound)}"
            )
        if self.rate is not None and not (is_number(self.rate) and 0 < self.rate <= 1):
            raise UsageError(f"{self.kind}: a fault rate above 0 and up to 1 was expected, got {self.rate!r}")
        # whatever reaches so little would pass
        if self.kind == "min_accuracy" and self.rate is not None and self.bound < self.rate:
            raise UsageError(
                f"{self.kind}: a rate and then an accuracy were expected, such as 1e-6:0.90; got an accuracy of "
                f"{self.bound:g} at a rate of {self.rate:g}: are they swapped?"
            )

    @classmethod
    def parse(cls, kind: str, text: str) -> "Goal":
        """Read a goal from its kind and ``RATE:LIMIT``; ``env:LIMIT`` or ``LIMIT`` is at the environment's rate.

        Raises:
            UsageError: the text is something else.

        >>> Goal.parse("max-sdc", "1e-7:0.01"), Goal.parse("min-accuracy", "env:0.9")
        (Goal(kind='max_sdc', bound=0.01, rate=1e-07), Goal(kind='min_accuracy', bound=0.9, rate=None))
        """
        name = kind.replace("-", "_")
        rate, colon, bound = text.rpartition(":")
        try:
            at = float(rate) if colon and rate != _ENVIRONMENT else None
            limit = float(bound)
        except ValueError:
            raise UsageError(
                f"{kind}: RATE:LIMIT such as 1e-6:0.90, or env:LIMIT, was expected, got {text!r}"
            ) from None
        return cls(name, limit, at)  # type: ignore[arg-type]  # checked by the class

    @classmethod
    def of(cls, goal: "Goal | str | Mapping[str, Any]") -> "Goal":
        """Return a goal, read from a text such as ``min-accuracy 1e-6:0.90`` or a table of a gate's file.

        Raises:
            UsageError: the text or the table is no goal.

        >>> Goal.of("max-drop 1e-6:0.02")
        Goal(kind='max_drop', bound=0.02, rate=1e-06)
        """
        if isinstance(goal, Goal):
            return goal
        if isinstance(goal, Mapping):
            return _goal_of(goal)
        of_kind("goals", goal, str, "a list of goals such as 'min-accuracy 1e-6:0.90'")
        match = _TEXT.fullmatch(goal)
        if match is None:
            raise UsageError(f"a goal such as 'min-accuracy 1e-6:0.90' was expected, got {goal!r}")
        return cls.parse(match[1], match[2])

    def fraction(self, task: Task) -> Fraction:
        """Return what the goal limits."""
        return task.fractions[task.harm] if self.kind == "max_sdc" else task.main

    def words(self, task: Task) -> str:
        """Return the goal in words of a task."""
        what = self.fraction(task).title
        at = "the environment's rate" if self.rate is None else f"{self.rate:.4g}"
        return f"{what} {_LIMITS[self.kind]} {100 * self.bound:g} % at {at}"

    @property
    def name(self) -> str:
        """The goal in words of the usual task."""
        return self.words(default_task())

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"kind": self.kind, "bound": self.bound, "rate": self.rate}


def _meant(bound: Any) -> str:
    """Return the fraction that per cent probably mean; empty for what are none.

    >>> _meant(90), _meant(-0.5)
    ('; 90 % is 0.9', '')
    """
    if not is_number(bound) or not 1 < bound <= _PER_CENT:
        return ""
    return f"; {bound:g} % is {bound / _PER_CENT:g}"


def _goal_of(table: Mapping[str, Any]) -> Goal:
    """Return the goal of a TOML table.

    >>> _goal_of({"max_sdc": 0.01, "rate": 1e-7})
    Goal(kind='max_sdc', bound=0.01, rate=1e-07)
    """
    _refuse_unknown(table, (*_KINDS, "rate"), "a goal")
    kinds = [kind for kind in _KINDS if kind in table]
    if len(kinds) != 1:
        raise UsageError(f"exactly one of {', '.join(_KINDS)} was expected in a goal, got {', '.join(kinds) or 'none'}")
    rate = table.get("rate")
    return Goal(kinds[0], table[kinds[0]], None if rate == _ENVIRONMENT else rate)


def _refuse_unknown(found: Mapping[str, Any], keys: Sequence[str], what: str) -> None:
    unknown = sorted(found.keys() - set(keys))
    if unknown:
        raise UsageError(f"{unknown[0]} is not known; {what} has {', '.join(keys)}{near(unknown[0], keys)}")


def resolve_goals(goals: Sequence[Goal | str], environment: Environment | None) -> tuple[Goal, ...]:
    """Return the goals, without doubles, with the environment's rate where they leave it open.

    Raises:
        UsageError: there is no goal; or an environment is missing, or not asked for by any goal.

    >>> resolve_goals(["min-accuracy 0.9"], Environment(upsets_per_bit_day=1e-7, interval=24))
    (Goal(kind='min_accuracy', bound=0.9, rate=9.999...e-08),)
    """
    of_kind("goals", goals, (list, tuple, set, frozenset), "a list of goals such as ['min-accuracy 1e-6:0.90']")
    found = tuple(dict.fromkeys(Goal.of(goal) for goal in goals))
    if not found:
        raise UsageError("a gate needs a goal: min-accuracy, max-drop or max-sdc, such as 1e-6:0.90; got none")
    without = [goal for goal in found if goal.rate is None]
    if without and environment is None:
        raise UsageError(f"{without[0].name}: a rate was expected, as in 1e-6:{without[0].bound}, or an environment")
    if environment is None:
        return found
    if not without:
        raise UsageError("an environment is given, but every goal has its own rate: write env:LIMIT, or leave it out")
    return tuple(replace(goal, rate=environment.rate) if goal.rate is None else goal for goal in found)
