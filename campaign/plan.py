"""What a campaign does: its settings, and the units of work that follow from them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from ftonnx.campaign.fault_list import PublishedFaults, refuse_folded
from ftonnx.campaign.task import NAN_RULES, NanRule
from ftonnx.errors import UsageError
from ftonnx.inject import (
    BitFlipRate,
    EveryBit,
    FaultCount,
    FaultModel,
    Faults,
    FaultSpace,
    OnnxModel,
    PerLayer,
    unit_rng,
)
from ftonnx.runtime import STRATEGIES

__all__ = ["DEFAULT_INJECTIONS", "DEFAULT_REPEATS", "PAPER_RATES", "CampaignSettings", "Unit", "choose_repeats", "draw"]

PAPER_RATES: Final = (1e-8, 3e-8, 1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5)
"""The eight fault rates of the paper, section IV-D."""

DEFAULT_REPEATS: Final = 10
DEFAULT_INJECTIONS: Final = 1000
"""Enough for a margin of 3 percentage points at 95 % confidence (Leveugle et al., DATE 2009)."""

MOST_INJECTIONS: Final = 10**7
_WHAT_FLIPS: Final = ("rates", "faults_per_run", "exhaustive", "per_layer", "fault_list")


class Unit(NamedTuple):
    """The smallest piece of work: one fault pattern on one batch.

    At a fault rate, every batch of every repeat meets a pattern of its own. In a campaign of injections ``repeat``
    is the number of the injection, and all batches of it meet the same pattern.
    """

    rate: float
    repeat: int
    batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignSettings:
    """Everything that decides a campaign's counts, besides the model and the data.

    Exactly one of ``rates``, ``faults_per_run``, ``exhaustive``, ``per_layer`` and ``fault_list`` says what flips.
    All but the first make a campaign of *injections*: a pattern is drawn once, and the whole data set meets it.

    Attributes:
        rates: bit-fault rates (probability of a flip per bit), each in [0, 1]; kept sorted, without doubles.
        faults_per_run: this many distinct random bits per injection.
        exhaustive: every bit of the fault space in turn.
        per_layer: this many injections of one random bit in each stored tensor.
        fault_list: given single faults; the format is then ``ieee``.
        level: flips per bit in an injection; follows from the fault space, see ``resolved``.
        repeats: fault patterns per rate and batch, or number of injections (where it does not follow from the
            fault space or the list, see ``resolved``); an interval needs at least 2.
        batch_size: images that share one fault pattern.
        seed: of the fault patterns, 0 to 2**64 - 1.
        format: how float tensors are seen as bits: ``auto`` (= ``q15.16``), ``ieee`` or ``qM.N``.
        targets: roles that can flip, of weight, bias, scale, zero_point.
        include: patterns of tensor names; where given, only these are targets.
        exclude: patterns of tensor names that are no targets.
        bits: where given, only these bits of an element can flip, counted from the least significant.
        strategy: ``auto``, ``live`` or ``rebuild``.
        providers: execution providers in priority order, full or partial names.
        threads: intra-op threads; None leaves the choice to ONNX Runtime.
        nan: what an output with NaN or Inf counts as, ``due`` or ``argmax``, see ``Classification``.

    Raises:
        UsageError: a value is out of range.
    """

    rates: tuple[float, ...] = ()
    faults_per_run: int | None = None
    exhaustive: bool = False
    per_layer: int | None = None
    fault_list: PublishedFaults | None = None
    level: float | None = None
    repeats: int = DEFAULT_REPEATS
    batch_size: int = 128
    seed: int = 0
    format: str = "auto"
    targets: tuple[str, ...] = ("weight", "bias")
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    bits: tuple[int, ...] = ()
    strategy: str = "auto"
    providers: tuple[str, ...] = ("cpu",)
    threads: int | None = None
    nan: NanRule = "due"

    def __post_init__(self) -> None:
        """Check the ranges."""
        self._check_what_flips()
        object.__setattr__(self, "rates", tuple(sorted({float(rate) for rate in self.rates})))
        object.__setattr__(self, "bits", tuple(sorted(set(self.bits))))
        for name, low in (("repeats", 1), ("batch_size", 1), ("seed", 0), ("threads", 1)):
            value = getattr(self, name)
            if value is not None and value < low:
                raise UsageError(f"{name} must be {low} or more, got {value}")
        if self.seed >= 2**64:
            raise UsageError(f"seed must be below 2**64, got {self.seed}")
        if self.strategy not in STRATEGIES:
            raise UsageError(f"strategy {self.strategy!r} is not known: use {', '.join(STRATEGIES)}")
        if self.nan not in NAN_RULES:
            raise UsageError(f"nan {self.nan!r} is not known: use {' or '.join(NAN_RULES)}")

    def _check_what_flips(self) -> None:
        values = {name: getattr(self, name) for name in _WHAT_FLIPS}
        given = [name for name, value in values.items() if not (value is None or value is False or value == ())]
        if len(given) != 1:
            raise UsageError(
                f"exactly one of {', '.join(_WHAT_FLIPS)} says what flips; got {' and '.join(given) or 'none of them'}"
            )
        for rate in self.rates:
            BitFlipRate(rate)
        if self.faults_per_run is not None:
            FaultCount(self.faults_per_run)
        if self.per_layer is not None:
            PerLayer(self.per_layer)
        if self.fault_list is not None:
            if self.format not in ("auto", "ieee"):
                raise UsageError(f"a fault list flips bits of IEEE floats: format ieee was expected, got {self.format}")
            object.__setattr__(self, "format", "ieee")

    @property
    def injections(self) -> bool:
        """Whether a pattern is drawn once for the whole data set, and not anew for every batch."""
        return not self.rates

    @property
    def levels(self) -> tuple[float, ...]:
        """Flips per bit: the rates, or the one level of a (resolved) campaign of injections."""
        return self.rates if self.level is None else (self.level,)

    def fault_space(self, model: OnnxModel) -> FaultSpace:
        """Return the bits of ``model`` that can flip.

        Raises:
            ModelError: no tensor is left, see ``FaultSpace.of``; or the model cannot have the fault list's tensors.
            UsageError: a role, a bit or the format is not known.
        """
        if self.fault_list is not None:
            refuse_folded(model)
        return FaultSpace.of(
            model,
            format=self.format,
            roles=self.targets,
            include=self.include,
            exclude=self.exclude,
            bits=self.bits,
        )

    def resolved(self, space: FaultSpace) -> "CampaignSettings":
        """Return the settings with the level and the number of injections that follow from the fault space.

        Raises:
            UsageError: more injections or distinct bits are asked for than possible.
            DataError: the fault list names bits that the space does not have.
        """
        if not self.injections:
            return self
        model = self.fault_model(space, 0)
        repeats = model.patterns(space) or self.repeats
        if repeats > MOST_INJECTIONS:
            raise UsageError(
                f"at most {MOST_INJECTIONS:,} injections are run in one campaign, got {repeats:,}: choose fewer bits "
                "with --bits or --include, or a random sample of them with --faults-per-run 1"
            )
        return replace(self, level=model.expected_faults(space) / space.bits, repeats=repeats)

    def fault_model(self, space: FaultSpace, rate: float) -> FaultModel:
        """Return what draws the patterns of the units at ``rate``."""
        if self.faults_per_run is not None:
            return FaultCount(self.faults_per_run)
        if self.per_layer is not None:
            return PerLayer(self.per_layer)
        if self.fault_list is not None:
            return self.fault_list.located(space)
        return EveryBit() if self.exhaustive else BitFlipRate(rate)

    def batches(self, samples: int) -> int:
        """Return the number of batches for a data set of ``samples`` images."""
        return math.ceil(samples / self.batch_size)

    def units_of_batch(self, batch: int) -> Iterator[Unit]:
        """Yield all units of one batch; a campaign works batch by batch, so that one is held at a time."""
        for rate in self.levels:
            for repeat in range(self.repeats):
                yield Unit(rate, repeat, batch)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON values; ``rates`` holds the levels, ``fault_list`` the list's SHA-256."""
        return {
            "rates": list(self.levels),
            "faults_per_run": self.faults_per_run,
            "exhaustive": self.exhaustive,
            "per_layer": self.per_layer,
            "fault_list": None if self.fault_list is None else self.fault_list.sha256,
            "repeats": self.repeats,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "format": self.format,
            "targets": list(self.targets),
            "include": list(self.include),
            "exclude": list(self.exclude),
            "bits": list(self.bits),
            "strategy": self.strategy,
            "providers": list(self.providers),
            "threads": self.threads,
            "nan": self.nan,
        }

    def identity(self) -> dict[str, Any]:
        """Return what of the settings tells campaigns apart; without the usual ``nan``, which older folders lack."""
        found = self.to_dict()
        if self.nan == "due":
            del found["nan"]
        return found


def choose_repeats(wanted: int | None, *, faults_per_run: int | None, defined: bool, most: int | None = None) -> int:
    """Return the number of repeats or injections to ask for.

    Args:
        wanted: what the user says, if anything.
        faults_per_run: set in a campaign of randomly drawn injections.
        defined: the injections are defined by the fault space or a list.
        most: how many a campaign has at most that may end early, where nothing is wanted.

    Raises:
        UsageError: a number is wanted where it cannot be chosen.
    """
    if defined and wanted is not None:
        raise UsageError(
            "the number of injections follows from exhaustive, per-layer or fault-list; "
            f"no number of repeats was expected, got {wanted}"
        )
    if wanted is not None:
        return wanted
    return most or (DEFAULT_INJECTIONS if faults_per_run else DEFAULT_REPEATS)


def draw(model: FaultModel, space: FaultSpace, seed: int, unit: Unit) -> Faults:
    """Return a unit's fault pattern; it depends on nothing else."""
    batch = unit.batch if model.fresh_per_batch else 0
    return model.draw(space, unit_rng(seed, unit.rate, unit.repeat, batch), unit.repeat)
