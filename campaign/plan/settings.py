"""The settings of a campaign: everything besides model, data, faults and task, in one value."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Literal

import msgspec
import numpy as np

from ftonnx.campaign.plan.feeds import Feed
from ftonnx.campaign.plan.image_range import ImageRange
from ftonnx.campaign.plan.shard import Shard
from ftonnx.campaign.plan.share import Part
from ftonnx.campaign.plan.stopping import Budget, Stopping
from ftonnx.errors import UsageError
from ftonnx.inject import FaultSpace, OnnxModel, ProtectionPlan
from ftonnx.inject.activations import IMAGE, SCOPES
from ftonnx.runtime import STRATEGIES
from ftonnx.stats.betting import Question
from ftonnx.stats.estimate import CONFIDENCE
from ftonnx.words import json_fields, near, of_kind, real_number, text, texts, whole_number, whole_of

__all__ = [
    "DASK",
    "ENGINES",
    "LOCAL",
    "PAPER_IMAGES",
    "PAPER_RATES",
    "ImagesPerPattern",
    "Jobs",
    "Settings",
    "parse_images",
    "parse_jobs",
]

PAPER_RATES: Final = (1e-8, 3e-8, 1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5)
"""The eight fault rates of the paper, section IV-D."""

PAPER_IMAGES: Final = 128
"""Images that share a fault pattern in the paper: one batch."""

LOCAL: Final = "local"
DASK: Final = "dask"
ENGINES: Final = (LOCAL, DASK)

Jobs = int | Literal["auto"]
ImagesPerPattern = int | Literal["auto"]

_DECIDING: Final = (
    "repeats", "images_per_pattern", "batch_size", "seed", "output", "feeds", "format", "roles", "include", "exclude",
    "bits",
)  # fmt: skip
_OPENING: Final = ("strategy", "providers", "threads")
_RECORDED: Final = (*_DECIDING, *_OPENING)
_ACTIVATIONS_PER: Final = "activations_per"
_PROTECTION: Final = "protection"
_DECIDING_IF_GIVEN: Final = (_ACTIVATIONS_PER, _PROTECTION)
"""Decide too, and are only written where they are not the default: older folders do not have them."""

_WHOLE: Final = {
    "repeats": (1, 10**7),
    "batch_size": (1, 10**6),
    "seed": (0, 2**64 - 1),
    "threads": (1, 1024),
    "cache_memory": (0, 2**50),
}
"""Numbers and their limits, which belong to them."""

_MOST_JOBS: Final = 1024
_MOST_BIT: Final = 63
_MOST_IMAGES: Final = 10**6
_TEXTS: Final = ("output", "format", "strategy", "engine", "scheduler", "question", _ACTIVATIONS_PER)
_REALS: Final = ("precision", "began", "confidence", "unit_timeout")
_LONGEST_TIMEOUT: Final = 10.0**7  # seconds, four months
_SEQUENCES: Final = ("roles", "include", "exclude", "providers")


def parse_jobs(jobs: object) -> Jobs:
    """Read a number of processes, or ``auto``.

    Raises:
        UsageError: it is neither.

    >>> parse_jobs("2"), parse_jobs("auto")
    (2, 'auto')
    """
    if jobs == "auto":
        return "auto"
    number = _positive(jobs)
    if not 1 <= number <= _MOST_JOBS:
        raise UsageError(f"auto, or a number of processes from 1 to {_MOST_JOBS}, was expected as `jobs`; got {jobs!r}")
    return number


def parse_images(images: object) -> ImagesPerPattern:
    """Read a number of images that share a pattern: ``auto``, ``paper`` (128), or a number.

    Raises:
        UsageError: it is none of these.

    >>> parse_images("8"), parse_images("paper"), parse_images("auto")
    (8, 128, 'auto')
    """
    if images == "auto":
        return "auto"
    if images == "paper":
        return PAPER_IMAGES
    number = _positive(images)
    if not 1 <= number <= _MOST_IMAGES:
        expected = f"auto, paper, or a number from 1 to {_MOST_IMAGES:,}, was expected as `images_per_pattern`"
        raise UsageError(f"{expected}; got {images!r}")
    return number


def _positive(value: object) -> int:
    """Return a whole number, or what a text says of one; 0 for anything else.

    >>> _positive("12"), _positive(3), _positive(True), _positive(2.5)
    (12, 3, 0, 0)
    """
    if isinstance(value, str):
        return whole_of(value) or 0
    return int(value) if isinstance(value, int | np.integer) and not isinstance(value, bool) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a campaign is run and read.

    The first twelve, besides model, data, faults and task, decide every count; the next three decide how a session is
    opened, and are kept with the results; the others change neither counts nor what is kept of them.

    Attributes:
        repeats: fault patterns per rate that each image meets, or number of injections; an interval needs at least 2.
            None for the fault model's usual number, or, where the campaign may end early, 10,000.
        images_per_pattern: images that share a fault pattern at a rate: a number, ``paper`` (128, the paper's batch),
            or ``auto``, which measures the cheapest; None for 8 (a gate that draws: 2), or a larger batch.
        batch_size: images per run of the model, which are no more than share a pattern; None for all of these, or what
            the model insists on. In campaigns of injections, whose patterns all images meet, None is for 128.
        seed: of the fault patterns, 0 to 2**64 - 1.
        output: name of the model's output that is judged; None for the only one, or the only one that fits the task.
        feeds: values of inputs that take no data: ``{"sr": 16000}``, or texts ``NAME=VALUE`` and ``NAME=FILE.npy``.
            A number fills the input's shape, in which every open size is the batch size.
        format: how float tensors are seen as bits: ``auto`` (= ``q15.16``), ``ieee`` or ``qM.N``.
        roles: what can flip, of weight, bias, scale, zero_point, activation.
        include: patterns of tensor names; where given, only these can flip. ``PATTERN=ROLE`` adds stored tensors
            that are no targets by rule, and keeps no others out.
        exclude: patterns of tensor names that cannot flip.
        bits: where given, only these bits of an element can flip, counted from the least significant.
        protection: how the memory protects the model's bits, whose check bits and copies flip too; None for not at
            all.
        activations_per: whose activations are bits: with ``image``, N counts those of one image's inference, at a rate
            every image meets flips of its own, and an injection is met by every image at the same place; with
            ``batch``, those of a run of a batch.
        strategy: ``auto``, ``live``, ``packed`` or ``rebuild``.
        providers: execution providers in priority order, full or partial names.
        threads: intra-op threads; None leaves the choice to ONNX Runtime, or gives each of several processes its
            share of the cores.
        jobs: processes that do the work; 1 is this one, ``auto`` measures. The results do not depend on it.
        engine: ``local``, or ``dask`` for the workers of a Dask cluster. The results do not depend on it.
        scheduler: of the cluster, ``tcp://HOST:8786``, ``tls://HOST:8786`` or a scheduler file; None for a cluster of
            ``jobs`` processes on this machine.
        cache_memory: bytes that golden tensors may take, from which runs with few faults start; None for a quarter
            of the free memory, 0 for none.
        unit_timeout: seconds after which a run is ended: its unit counts as a detected error, and without faults the
            model is refused. None for 20 times the first batch's golden run, 60 at least; 600 without faults.
        durable: whether every transaction of the results folder waits until the disk has it, so that a power failure
            loses no more than a kill does. The results do not depend on it.
        precision: a rate is left once the half-width of its headline's interval is so small.
        budget: what may be spent, such as ``10min`` or ``500units``; what is done by then is the result.
        began: when the budget's time began, by ``time.monotonic()``; None for when the call did.
        question: ``these-images`` (intervals for these images) or ``new-images`` (for new images too).
        confidence: of intervals and verdicts.
        shard: which part of the campaign is done here, ``K/N`` of N equal parts; None for all of it. ``ftonnx.merge``
            puts the parts' results folders together.
        images: another way to say a part: the images ``A:B`` of the whole data set, B not among them, either of which
            may be left out. Both are multiples of the images that share a pattern; B may be the end.

    Raises:
        UsageError: a value is out of range.
    """

    repeats: int | None = None
    images_per_pattern: ImagesPerPattern | Literal["paper"] | None = None
    batch_size: int | None = None
    seed: int = 0
    output: str | None = None
    feeds: Sequence[Feed | str] | Mapping[str, float | str] = ()
    format: str = "auto"
    roles: Sequence[str] = ("weight", "bias")
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    bits: Sequence[int] = ()
    protection: ProtectionPlan | None = None
    activations_per: str = IMAGE
    strategy: str = "auto"
    providers: Sequence[str] = ("cpu",)
    threads: int | None = None
    jobs: Jobs = 1
    engine: str = LOCAL
    scheduler: str | None = None
    cache_memory: int | None = None
    unit_timeout: float | None = None
    durable: bool = False
    precision: float | None = None
    budget: Budget | str | None = None
    began: float | None = field(default=None, compare=False, repr=False)
    question: Question = "these-images"
    confidence: float = CONFIDENCE
    shard: Shard | str | None = None
    images: ImageRange | str | None = None

    def __post_init__(self) -> None:
        """Check the ranges, and make sequences tuples."""
        self._check_kinds()
        object.__setattr__(self, "feeds", Feed.several(self.feeds))
        object.__setattr__(self, "jobs", parse_jobs(self.jobs))
        if self.protection is not None:
            of_kind("protection", self.protection, ProtectionPlan, "a plan such as ProtectionPlan.read('plan.toml')")
        if not isinstance(self.budget, Budget | None):
            object.__setattr__(self, "budget", Budget.parse(text("budget", self.budget)))
        if self.images_per_pattern is not None:
            object.__setattr__(self, "images_per_pattern", parse_images(self.images_per_pattern))
        self._check_sizes()
        if self.unit_timeout is not None and not 0 < self.unit_timeout <= _LONGEST_TIMEOUT:
            limits = f"seconds above 0, and {_LONGEST_TIMEOUT:,.0f} at most, were expected"
            raise UsageError(f"`unit_timeout`: {limits}; got {self.unit_timeout}")
        if self.activations_per not in SCOPES:
            got = f"{self.activations_per!r}{near(str(self.activations_per), SCOPES)}"
            raise UsageError(f"`{_ACTIVATIONS_PER}`: {' or '.join(SCOPES)} was expected, got {got}")
        if self.strategy not in STRATEGIES:
            hint = near(str(self.strategy), STRATEGIES)
            raise UsageError(f"strategy {self.strategy!r} is not known: use {', '.join(STRATEGIES)}{hint}")
        self._check_engine()
        self._stopping()  # which checks the rest
        if not isinstance(self.shard, Shard | None):
            object.__setattr__(self, "shard", Shard.parse(text("shard", self.shard)))
        if not isinstance(self.images, ImageRange | None):
            object.__setattr__(self, "images", ImageRange.parse(text("images", self.images)))
        if self.is_part:
            self._check_part()

    def _check_kinds(self) -> None:
        """Refuse values of another kind, and numbers out of range, before anything is computed with them."""
        for name, (least, most) in _WHOLE.items():
            self._check(name, whole_number, least, most)
        for name in _TEXTS:
            self._check(name, text)
        for name in _REALS:
            self._check(name, real_number)
        for name in _SEQUENCES:
            self._check(name, texts)
        given = self.bits if isinstance(self.bits, Iterable) else [self.bits]
        bits = {whole_number("bits", bit, 0, _MOST_BIT) for bit in given}
        object.__setattr__(self, "bits", tuple(sorted(bits)))

    def _check(self, name: str, check: Callable[..., Any], *limits: int) -> None:
        """Put what a check makes of a setting in its place; None is none where nothing is."""
        value = getattr(self, name)
        if value is not None or self.__dataclass_fields__[name].default is not None:
            object.__setattr__(self, name, check(name, value, *limits))

    @classmethod
    def of(cls, settings: "Settings | None", options: Mapping[str, Any]) -> "Settings":
        """Return settings with some of them given by name, as the public functions take them.

        Raises:
            UsageError: there is no such setting, or a value is out of range.

        >>> Settings.of(None, {"seed": 3}).seed
        3
        >>> Settings.of(None, {"thread": 3})
        Traceback (most recent call last):
        ftonnx.errors.UsageError: thread is no setting; did you mean threads?
        """
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                raise UsageError(_unknown(name, known))
        if settings is None:
            return cls(**options)
        of_kind("settings", settings, cls, "Settings(...)")
        return replace(settings, **options)

    def begun(self) -> "Settings":
        """Return settings whose budget's time begins now, where they do not say when it began."""
        return self if self.began is not None else replace(self, began=time.monotonic())

    def _check_engine(self) -> None:
        if self.engine not in ENGINES:
            hint = near(str(self.engine), ENGINES)
            raise UsageError(f"`engine`: {' or '.join(ENGINES)} was expected, got {self.engine!r}{hint}")
        if self.scheduler is None:
            return
        if self.engine != DASK:
            raise UsageError(f"`scheduler` is one of Dask's: `engine=dask` was expected with it, got {self.engine!r}")
        if self.jobs != 1:
            raise UsageError("the workers of `scheduler` are as many as it has: no `jobs` was expected")

    def _check_part(self) -> None:
        """Refuse what machines that know nothing of each other would decide differently."""
        if self.shard is not None and self.images is not None:
            raise UsageError("the part that is done here is said once: either `shard` or `images` was expected")
        name = self.part.name
        if self.stopping is not None:
            raise UsageError(
                f"whoever ends early must see all units: no `{name}` was expected with `precision`, `budget` or a gate"
            )
        if self.images_per_pattern == "auto":
            raise UsageError(f"every part would measure another `images_per_pattern`: give a number with `{name}`")

    def _check_sizes(self) -> None:
        """Refuse runs of more images than share a pattern."""
        images = self.images_per_pattern
        if isinstance(images, int) and self.batch_size is not None and self.batch_size > images:
            raise UsageError(
                f"a run takes no more images than share a pattern: `batch_size={self.batch_size}` was asked for, and "
                f"`images_per_pattern={images}`"
            )

    @property
    def images_per_unit(self) -> int:
        """Images of a unit: those that share its pattern, or, where all images meet a pattern, those of a run."""
        images = self.images_per_pattern
        return images if isinstance(images, int) else self.batch_size or 1

    @property
    def is_part(self) -> bool:
        """Whether not all of the campaign is to be done here."""
        return self.shard is not None or self.images is not None

    @property
    def part(self) -> Part:
        """What is to be done here, read: the only shard where nothing was asked for."""
        if self.images is not None:
            return ImageRange.parse(self.images) if isinstance(self.images, str) else self.images
        if self.shard is None:
            return Shard(1, 1)
        return Shard.parse(self.shard) if isinstance(self.shard, str) else self.shard

    @property
    def constants(self) -> tuple[Feed, ...]:
        """The feeds, read."""
        return Feed.several(self.feeds)

    @property
    def stopping(self) -> Stopping | None:
        """When the campaign may end early; None where it may not."""
        if self.precision is None and self.budget is None:
            return None
        return self._stopping()

    @property
    def deadline(self) -> float | None:
        """When a budget of time is spent, by ``time.monotonic()``; None where there is none."""
        stopping = self.stopping
        seconds = None if stopping is None or stopping.budget is None else stopping.budget.seconds
        return None if seconds is None or self.began is None else self.began + seconds

    def _stopping(self) -> Stopping:
        budget = Budget.parse(self.budget) if isinstance(self.budget, str) else self.budget
        return Stopping(precision=self.precision, budget=budget, question=self.question, confidence=self.confidence)

    def fault_space(self, model: OnnxModel) -> FaultSpace:
        """Return the bits of ``model`` that can flip.

        Raises:
            ModelError: no tensor is left, see ``FaultSpace.of``.
            UsageError: a role, a bit or the format is not known.
        """
        return FaultSpace.of(
            model,
            format=self.format,
            roles=self.roles,
            include=self.include,
            exclude=self.exclude,
            bits=self.bits,
            activations_per=self.activations_per,
            batch_size=self.batch_size or 1,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return what is kept with the results, as JSON values; ``protection`` only where there is one."""
        written = json_fields(self)
        written["feeds"] = [json_fields(feed) for feed in self.constants]
        kept = {name: written[name] for name in _RECORDED}
        # folders that do without are what they always were
        if self.protection is not None:
            kept[_PROTECTION] = self.protection.to_dict()
        if self.activations_per != IMAGE:
            kept[_ACTIVATIONS_PER] = self.activations_per
        return kept

    def deciding(self) -> dict[str, Any]:
        """Return those that decide every count, as JSON values."""
        written = self.to_dict()
        return {name: written[name] for name in (*_DECIDING, *_DECIDING_IF_GIVEN) if name in written}

    def opening(self) -> dict[str, Any]:
        """Return those that decide how a session is opened, as JSON values."""
        written = self.to_dict()
        return {name: written[name] for name in _OPENING}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Settings":
        """Read back what ``to_dict`` returned."""
        given = {name: values[name] for name in _RECORDED}
        given[_ACTIVATIONS_PER] = values.get(_ACTIVATIONS_PER, IMAGE)
        given["feeds"] = msgspec.convert(values["feeds"], tuple[Feed, ...])
        if _PROTECTION in values:
            given[_PROTECTION] = ProtectionPlan.from_dict(values[_PROTECTION])
        return cls(**given)


def _unknown(name: str, known: Sequence[str]) -> str:
    hint = near(name, known) or f"; there are {', '.join(known)}"
    return f"{name} is no setting{hint}"
