"""What every fault model is: a value that says which bits flip, how often, and how it is asked for and written down."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Final, Self, final

import numpy as np

from ftonnx.errors import UsageError
from ftonnx.inject.fault_models.options import Option
from ftonnx.inject.fault_models.sampling import unit_rng
from ftonnx.inject.faults import Faults
from ftonnx.inject.model_file import OnnxModel
from ftonnx.inject.space import FaultSpace
from ftonnx.words import fields_of_json, json_fields

__all__ = ["MOST_FAULTS", "FaultModel", "Stream"]

MOST_FAULTS: Final = 2**40
"""No pattern is asked to have more."""

Stream = Callable[[float], np.random.Generator]
"""Returns a unit's random stream at a level."""


class FaultModel(ABC):
    """Which bits flip: a source of fault patterns.

    A leaf is a frozen dataclass that checks its own fields, names itself, tells its ``levels`` and makes patterns in
    ``_pattern``; everything else follows, and may be said otherwise. It is registered in the ``__init__`` beside it.

    At a *rate*, every batch of images meets a pattern of its own. Any other pattern is an *injection*, drawn once
    and met by every batch of the data set.

    Attributes:
        name: of the model, in files and messages.
        options: how the command line asks for it; the first one is always given.
        fresh_per_batch: whether every batch meets a pattern of its own; else patterns are injections.
        default_repeats: patterns per level (and batch) where nobody says how many.
        stream: of a unit's random streams the one that is drawn from, so that models which draw in different ways do
            not share numbers.
        covers_all: whether its patterns are all there are, so that nothing is random once all were run.
    """

    name: ClassVar[str]
    options: ClassVar[tuple[Option, ...]] = ()
    fresh_per_batch: ClassVar[bool] = False
    default_repeats: ClassVar[int] = 1000  # for 3 percentage points at 95 % confidence (Leveugle et al., DATE 2009)
    stream: ClassVar[int] = 0
    covers_all: ClassVar[bool] = False

    @abstractmethod
    def levels(self, space: FaultSpace) -> tuple[float, ...]:
        """Return the rates at which patterns are drawn, ascending, or the one level of injections.

        They are mean flips per bit, where a leaf says nothing else.

        Raises:
            UsageError: the patterns do not fit into the space.
            DataError: likewise, where they come from a file.
        """

    @abstractmethod
    def _pattern(self, space: FaultSpace, level: float, rng: np.random.Generator, index: int) -> Faults:
        """Make the pattern with the 0-based number ``index`` at a level."""

    @property
    def is_single_bit(self) -> bool:
        """Whether every pattern is one bit."""
        return False

    @property
    def is_an_upset(self) -> bool:
        """Whether the mean over its patterns is that of one upset, which hits every bit alike."""
        return False

    @property
    def note(self) -> str | None:
        """What is to be known of its flips besides how many there are; None where bits flip independently."""
        return None

    def caution(self, formats: Collection[str]) -> str | None:
        """Say what elements cannot become that they are asked to; None where they can.

        Args:
            formats: in which they are seen as bits, by name.
        """
        return None

    @property
    def chances(self) -> str:
        """Which of the counted bits change, and how probably each: a sentence below a list of them."""
        return "Every bit counted here flips with the same probability; nothing else does."

    @property
    def injected(self) -> str | None:
        """What every injection is, such as ``one bit stuck at 0``; None where it is as many flips as are counted."""
        return None

    @property
    def is_nested(self) -> bool:
        """Whether a pattern at a level holds what the pattern of the same unit at the level below came from."""
        return False

    def hours_at(self, level: float) -> float | None:
        """Return how long after loading the memory is read at a level; None where time plays no part."""
        return None

    @final
    def times_of(self, levels: Iterable[float]) -> dict[float, float]:
        """Return levels by how many hours after loading the memory is read at them; none where time plays no part."""
        return {hours: level for level in levels if (hours := self.hours_at(level)) is not None}

    def expected_faults(self, space: FaultSpace, level: float) -> float:
        """Return the mean number of faults in a pattern at a level: bits, where nothing else is said."""
        return level * space.bits

    @property
    def per_tensor(self) -> int | None:
        """How many patterns one after the other each stored tensor gets; None where they are not drawn by tensor."""
        return None

    def patterns(self, space: FaultSpace) -> int | None:
        """Return how many patterns the model defines; None where it can draw any number."""
        return None

    @property
    @final
    def is_endless(self) -> bool:
        """Whether it can draw any number of patterns; else ``patterns`` says how many there are."""
        return type(self).patterns is FaultModel.patterns

    @property
    def is_drawn(self) -> bool:
        """Whether its patterns are random, so that another seed has others."""
        return self.is_endless

    def has_patterns_of(self, other: "FaultModel") -> bool:
        """Whether all patterns of another model are among its own, so that a campaign of that one grows to its own."""
        return self.to_dict() == other.to_dict()

    def joined_with(self, other: "FaultModel") -> "FaultModel":
        """Return what has the patterns of both, where that can be; this one else."""
        return self

    def format_for(self, wanted: str) -> str:
        """Return how float tensors are seen as bits, given what is asked for.

        Raises:
            UsageError: the model's patterns mean other bits.
        """
        return wanted

    def check_model(self, model: OnnxModel) -> None:  # noqa: B027  # few leaves have something to refuse
        """Refuse a model to which the patterns cannot be meant to apply.

        Raises:
            ModelError: it is one.
        """

    @final
    def draw(
        self, space: FaultSpace, rng: np.random.Generator, index: int = 0, *, level: float | None = None
    ) -> Faults:
        """Draw the pattern with the 0-based number ``index``; at a level, where there are several.

        Raises:
            UsageError: there are several levels, and none is given; or as ``levels``.
        """
        known = self.levels(space)
        if level is None:
            if len(known) > 1:
                raise UsageError(f"{self!r} has {len(known)} levels: one of them was expected")
            level = known[0]
        return self._pattern(space, level, rng, index)

    @final
    def unit_pattern(self, space: FaultSpace, seed: int, *, level: float, repeat: int, batch: int) -> Faults:
        """Return the pattern of one unit of a campaign; it depends on nothing else.

        Args:
            space: the fault space, in which the levels were found to fit.
            seed: of the campaign.
            level: one of the levels.
            repeat: which pattern, from 0.
            batch: which batch of images, from 0; all batches meet the same injection.
        """

        def stream(at: float) -> np.random.Generator:
            return unit_rng(seed, at, repeat, batch if self.fresh_per_batch else 0, self.stream)

        return self._unit(space, level, stream, repeat)

    def _unit(self, space: FaultSpace, level: float, stream: Stream, index: int) -> Faults:
        """Make a unit's pattern, given its random stream at every level: from that of its own, unless it is nested."""
        return self._pattern(space, level, stream(level), index)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values from which ``fault_model_from_dict`` makes the same value; those of None are left out."""
        fields = json_fields(self)  # type: ignore[arg-type]  # leaves are dataclasses
        return {"name": self.name} | {name: value for name, value in fields.items() if value is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make the model from what ``to_dict`` wrote."""
        given = fields_of_json(values)
        given.pop("name", None)
        return cls(**given)

    @classmethod
    def from_options(cls, values: Mapping[str, Any]) -> Self:
        """Make the model from the values of its options by field; at least one option was given.

        Raises:
            UsageError: a value is missing or out of range.
        """
        given = [option.flag for option in cls.options if option.field in values]
        for option in cls.options:
            if option.field is not None and not option.optional and option.field not in values:
                raise UsageError(f"{option.flag} was expected too, beside {' and '.join(given)}")
        return cls(**values)

    def arguments(self) -> list[str]:
        """Return the command-line arguments that ask for the model."""
        return [word for option, value in self.given_options() for word in option.arguments(value)]

    def arguments_beside(self, asked: Collection[str]) -> list[str]:
        """Return those that belong to all levels, but for the options of these names, which are given otherwise."""
        beside = [each for each in self.given_options() if not each[0].repeated and each[0].name not in asked]
        return [word for option, value in beside for word in option.arguments(value)]

    @final
    def given_options(self) -> Iterator[tuple[Option, Any]]:
        """Yield the options that ask for the model with their values, None for a switch."""
        for option in self.options:
            value = None if option.field is None else getattr(self, option.field)
            # what has no value was not given
            if option.field is None or value is not None:
                yield option, value
