"""The units of work of a campaign, which follow from its faults and settings."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from ftonnx.campaign.plan.settings import Settings
from ftonnx.campaign.plan.share import Share
from ftonnx.campaign.plan.sharing import sized
from ftonnx.campaign.plan.stopping import MOST_ROUNDS
from ftonnx.errors import UsageError
from ftonnx.inject import FaultModel, Faults, FaultSpace, GuardedMemory, OnnxModel
from ftonnx.runtime import FaultyRunError

__all__ = ["MOST_INJECTIONS", "Schedule", "Unit"]

MOST_INJECTIONS: Final = 10**7


class Unit(NamedTuple):
    """The smallest piece of work: one fault pattern on one batch, the images that share it.

    At a fault rate, every batch of every repeat meets a pattern of its own. In a campaign of injections ``rate`` is
    their one level (flips per bit), ``repeat`` the number of the injection, and all batches of it meet the same
    pattern. One run of the model may take fewer images than a batch has; then the pattern is held for several runs.
    """

    rate: float
    repeat: int
    batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What a campaign runs, unit by unit.

    Attributes:
        faults: the fault model.
        space: the bits that can flip.
        levels: flips per bit at which patterns are drawn.
        settings: with the number of repeats, the images per pattern and per run, and the format that are used.
        repeats: fault patterns per level (and batch).
        memory: what protects the model's bits, whose check bits are in the space too; None where nothing does.
    """

    faults: FaultModel
    space: FaultSpace
    levels: tuple[float, ...]
    settings: Settings
    repeats: int
    memory: GuardedMemory | None = None

    @classmethod
    def of(cls, model: OnnxModel, faults: FaultModel, settings: Settings) -> "Schedule":
        """Work out what a campaign runs on a model.

        Raises:
            UsageError: a setting contradicts the faults, or more are asked for than there can be.
            DataError: a fault list names bits that the model does not have.
            ModelError: nothing can flip, or the model is not one that the faults are meant for.
        """
        faults.check_model(model)
        if settings.protection is not None:
            settings.protection.check_model(model.name, model.sha256)
        sizes = sized(settings, model, pooled=not faults.fresh_per_batch)
        used = replace(sizes, format=faults.format_for(settings.format))
        return cls.on(used.fault_space(model), faults, used)

    @classmethod
    def on(cls, space: FaultSpace, faults: FaultModel, settings: Settings) -> "Schedule":
        """Work out what a campaign runs on a model's fault space; the settings say the sizes and the format.

        Raises:
            UsageError: as ``of``.
            DataError: as ``of``.
        """
        memory = None
        if settings.protection is not None:
            memory = GuardedMemory(settings.protection, space)
            space = memory.space
        levels = faults.levels(space)
        repeats = _repeats(faults, space, settings)
        return cls(
            faults=faults,
            space=space,
            levels=levels,
            settings=replace(settings, repeats=repeats),
            repeats=repeats,
            memory=memory,
        )

    @property
    def pooled(self) -> bool:
        """Whether a pattern is drawn once for the whole data set, and not anew for every batch."""
        return not self.faults.fresh_per_batch

    @property
    def images_per_unit(self) -> int:
        """Images of a batch, which share the unit's pattern."""
        return self.settings.images_per_unit

    def batches(self, samples: int) -> int:
        """Return the number of batches for a data set of ``samples`` images."""
        return math.ceil(samples / self.images_per_unit)

    @property
    def units_per_batch(self) -> int:
        """Number of units of every batch."""
        return len(self.levels) * self.repeats

    def units(self, samples: int) -> int:
        """Return the number of units for a data set of ``samples`` images."""
        return self.batches(samples) * self.units_per_batch

    def share(self, samples: int) -> Share:
        """Return what is to be done here of a campaign on ``samples`` images: a part, or all of it.

        Raises:
            UsageError: a campaign on so many images has no such part.
        """
        return self.settings.part.share(
            samples=samples,
            images_per_batch=self.images_per_unit,
            units_per_batch=self.units_per_batch,
        )

    def units_of_batch(self, batch: int, numbers: range) -> Iterator[Unit]:
        """Yield some units of one batch, by their numbers; a campaign works batch by batch, so that one is held."""
        for number in numbers:
            level, repeat = divmod(number, self.repeats)
            yield Unit(self.levels[level], repeat, batch)

    @property
    def model_space(self) -> FaultSpace:
        """The bits that the model itself stores: the space without what a protection adds."""
        return self.space if self.memory is None else self.memory.stored

    def reading(self, model: OnnxModel) -> "Schedule":
        """Return this schedule with stored bits read from a copy of the model, as where the file is not."""
        space = self.model_space.reading(model)
        if self.memory is None:
            return replace(self, space=space)
        memory = GuardedMemory(self.memory.plan, space)
        return replace(self, space=memory.space, memory=memory)

    def pattern(self, unit: Unit) -> Faults:
        """Return a unit's fault pattern; it depends on nothing else."""
        return self.faults.unit_pattern(
            self.space, self.settings.seed, level=unit.rate, repeat=unit.repeat, batch=unit.batch
        )

    def reaching(self, pattern: Faults) -> Faults:
        """Return what of a pattern reaches the model, in its own space: all of it, where nothing protects its bits.

        Raises:
            FaultyRunError: a guard that stops has detected an error.
        """
        if self.memory is None:
            return pattern
        decoded = self.memory.decode(pattern)
        if decoded.stopped:
            raise FaultyRunError("a guard has detected an error that it cannot correct, and stops")
        return decoded.faults

    def is_quiet(self, unit: Unit) -> bool:
        """Say whether a unit's pattern has no flip, so that its outcome is that of the batch without faults."""
        return not len(self.pattern(unit))


def _repeats(faults: FaultModel, space: FaultSpace, settings: Settings) -> int:
    """Return the number of patterns per level.

    Raises:
        UsageError: a number is wanted where it cannot be chosen, or there are too many.
    """
    defined = faults.patterns(space)
    if defined is None:
        usual = faults.default_repeats if settings.stopping is None else MOST_ROUNDS
        repeats = settings.repeats or usual
    elif settings.repeats not in (None, defined):
        raise UsageError(
            f"the number of injections follows from {faults.name}; "
            f"no number of repeats was expected, got {settings.repeats}"
        )
    else:
        repeats = defined
    if not faults.fresh_per_batch and repeats > MOST_INJECTIONS:
        raise UsageError(
            f"at most {MOST_INJECTIONS:,} injections are run in one campaign, got {repeats:,}: choose fewer bits "
            "with `bits` or `include`, or a random sample of them with `faults=FaultCount(1)`"
        )
    return repeats
