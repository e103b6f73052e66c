"""What is printed and kept of campaigns."""

from typing import Any, ClassVar

from msgspec import UNSET, UnsetType

from ftonnx.campaign.plan.feeds import Feed
from ftonnx.campaign.store import header
from ftonnx.campaign.store.seeds import SeedRepeats
from ftonnx.inject.left_out import Group
from json_outputs.base import Interval, Object, Question, Real, all_of

__all__ = [
    "Campaign",
    "CampaignFile",
    "DryRun",
    "LeftOutGroup",
    "Merged",
    "RecordedUnit",
    "ResultsCheck",
    "Task",
]

Model = all_of(header.ModelInfo)
DataWithSource = all_of(header.DataInfo)
Images = all_of(header.DataInfo, without=("source",))
Engine = all_of(header.EngineInfo)
Pilot = all_of(header.PilotInfo)
Part = all_of(header.PartInfo)
Tensor = all_of(header.TensorInfo)
Seed = all_of(SeedRepeats)
LeftOutGroup = all_of(Group)
FeedValue = all_of(Feed)


class Task(Object, frozen=True):
    """What outputs are worth; other keys are the settings of the task, which may be of your own.

    Attributes:
        name: of the task, such as classification.
    """

    name: str
    other_values: ClassVar[Any] = Any


class FaultModel(Object, frozen=True):
    """Which bits flip; what a fault model has no value for is left out.

    Attributes:
        name: rates, bursts, accumulation, stuck-rates, asymmetric, values, faults-per-run, stuck-per-run, exhaustive,
            per-layer, strata or fault-list.
        rates: flips per bit, of rates and bursts; stuck bits per bit, of stuck-rates; faults per element, of values.
        sizes: how many bits upsets flip, with their shares, of bursts and accumulation.
        along: which bits are neighbours, likewise.
        memory: the map of the memory, likewise.
        hours: since the memory was loaded, of accumulation.
        upsets_per_bit_day: that begin at each bit, of accumulation.
        scrub: hours between two loads of the memory, of accumulation.
        at: the value of stuck bits, 0, 1 or both, of stuck-rates and stuck-per-run.
        rates_1to0: flips per stored one, of asymmetric.
        rates_0to1: flips per stored zero, of asymmetric.
        value: what elements become, of values: zero, random or a number.
        count: of faults-per-run, stuck-per-run and per-layer.
        sha256: of a fault list.
        strata: of strata, as TENSOR:BITS:M.
    """

    name: str
    rates: list[float] | UnsetType = UNSET
    sizes: str | UnsetType = UNSET
    along: str | UnsetType = UNSET
    memory: str | UnsetType = UNSET
    hours: list[float] | UnsetType = UNSET
    upsets_per_bit_day: float | UnsetType = UNSET
    scrub: float | UnsetType = UNSET
    at: str | UnsetType = UNSET
    rates_1to0: list[float] | UnsetType = UNSET
    rates_0to1: list[float] | UnsetType = UNSET
    value: str | UnsetType = UNSET
    count: int | UnsetType = UNSET
    sha256: str | UnsetType = UNSET
    strata: list[str] | UnsetType = UNSET


class Guard(Object, frozen=True, kw_only=True):
    """What guards some tensors.

    Attributes:
        tensors: patterns of their names.
        by: parity, secded, tmr, duplication or range.
        bits: which bits of each element: all, sign, exponent, sign+exponent, or their numbers; left out of a range.
        on_detect: what is done where an error is only detected: zero, reload, stop or clamp; left out of tmr.
    """

    tensors: list[str]
    by: str
    bits: str | list[int] | UnsetType = UNSET
    on_detect: str | UnsetType = UNSET


class Protection(Object, frozen=True):
    """A protection plan, as its file has it.

    Attributes:
        format: of the file, 1.
        model: SHA-256 of the model that it was made for; left out where that is any.
        word_bits: data bits of a code word.
        interleave: words that take turns; 1 for none.
        guard: the guards.
    """

    format: int
    word_bits: int
    interleave: int
    guard: list[Guard]
    model: str | UnsetType = UNSET


class DecidingSettings(Object, frozen=True, kw_only=True):
    """The settings that decide every count.

    Attributes:
        repeats: fault patterns per rate and batch, or injections.
        images_per_pattern: images that share a pattern; null where all do.
        batch_size: images per run.
        seed: of the fault patterns.
        output: name of the output that is judged; null where the task chooses.
        feeds: constant inputs.
        format: how floats are seen as bits.
        roles: that can flip.
        include: patterns of tensors that can flip.
        exclude: patterns of those that cannot.
        bits: numbers of an element's bits that can flip; empty where all can.
        protection: how the memory protects them; left out where it does not.
        activations_per: ``batch`` where N counts the activations of a run; left out where it counts those of one image.
    """

    repeats: int | None
    images_per_pattern: int | str | None
    batch_size: int | None
    seed: int
    output: str | None
    feeds: list[FeedValue]
    format: str
    roles: list[str]
    include: list[str]
    exclude: list[str]
    bits: list[int]
    protection: Protection | UnsetType = UNSET
    activations_per: str | UnsetType = UNSET


class AllSettings(DecidingSettings, frozen=True):
    """The settings that a results folder keeps.

    Attributes:
        strategy: that was asked for.
        providers: that were asked for.
        threads: per session; null for ONNX Runtime's choice.
    """

    strategy: str
    providers: list[str]
    threads: int | None


class OpeningSettings(Object, frozen=True):
    """The settings that decide how sessions are opened.

    Attributes:
        strategy: that was asked for.
        providers: that were asked for.
        threads: per session; null for ONNX Runtime's choice.
    """

    strategy: str
    providers: list[str]
    threads: int | None


class SpaceSizes(Object, frozen=True):
    """How many bits can flip.

    Attributes:
        bits: N.
        elements: stored or computed elements that they are in.
        stored: stored elements of any kind, and computed ones where activations were asked for.
        tensors: that they are in.
        formats: how their elements are seen as bits.
    """

    bits: int
    elements: int
    stored: int
    tensors: int
    formats: list[str]


class Budget(Object, frozen=True):
    """What may be spent.

    Attributes:
        seconds: null for any time.
        units: null for any number.
    """

    seconds: float | None
    units: int | None


class Stopping(Object, frozen=True):
    """When a campaign may end before its last repeat.

    Attributes:
        precision: half-width of the interval that ends it; null for none.
        budget: that ends it; null for none.
        question: what the interval is about.
        ended: whether it has ended.
    """

    precision: float | None
    budget: Budget | None
    question: Question
    ended: bool


class RateOutcomes(Object, frozen=True):
    """What was found at one rate; other keys are the fractions of the task, such as top1, sdc1 and due.

    Attributes:
        rate: flips per bit.
        units: fault patterns.
        faults_mean: mean number of flipped bits per pattern.
        interval: fixed-n, or anytime-valid where the campaign could end early.
        hours: since the memory was loaded, where upsets accumulate; left out elsewhere.
        figures: what else the task tells, by name; left out where that is nothing.
    """

    rate: float
    units: int
    faults_mean: float
    interval: str
    hours: float | UnsetType = UNSET
    figures: dict[str, Real] | UnsetType = UNSET
    other_values: ClassVar[Any] = Interval


class Vulnerability(Object, frozen=True):
    """What single faults in one bit of a tensor did; other keys are the task's counts, such as sdc1 and due.

    Attributes:
        tensor: its name.
        bit: number of the bit, 0 is the lowest.
        injections: that hit it.
        images: that met them.
        critical: images that the task calls harmed.
        low: lower limit of the share of critical images; null where there is none.
        high: upper limit, likewise.
    """

    tensor: str
    bit: int
    injections: int
    images: int
    critical: int
    low: float | None
    high: float | None
    other_values: ClassVar[Any] = int


class Layer(Object, frozen=True):
    """What single faults in one tensor did; other keys are the main fractions of the task.

    Attributes:
        tensor: its name.
        weight: its share of the bits that can flip.
        injections: that hit it.
    """

    tensor: str
    weight: float
    injections: int
    other_values: ClassVar[Any] = Interval


class TimeStep(Object, frozen=True):
    """Two times, one after the other.

    Attributes:
        start: hours since loading, of the first.
        end: of the second.
        difference: the headline at the second minus that at the first, by the same histories.
        histories: how many these are, each on the images of a batch.
    """

    start: float
    end: float
    difference: Interval
    histories: int


class OverTime(Object, frozen=True):
    """What histories of a memory tell.

    Attributes:
        steps: from each time to the next.
        mean: the headline's mean from loading to the last time, by trapezoids between the times.
        hours: the last time.
    """

    steps: list[TimeStep]
    mean: Interval
    hours: float


class Run(Object, frozen=True):
    """How and where the counts came about.

    Attributes:
        results: the folder.
        engine: what ran the units.
        settings: how sessions were opened.
        pilot: what chose the number of images per pattern; null where it was given.
        warnings: about the processor.
    """

    results: str
    engine: Engine
    settings: OpeningSettings
    pilot: Pilot | None
    warnings: list[str]


class GuardCost(Guard, frozen=True, kw_only=True):
    """What a guard costs.

    Attributes:
        tensors: names of what it guards.
        guarded_bits: bits of the model that it guards.
        check_bits: bits that it stores besides.
        share: of these in the bits that the tensors store.
    """

    tensors: list[str]
    guarded_bits: int
    check_bits: int
    share: float


class PlanCost(Object, frozen=True):
    """What a protection costs in memory.

    Attributes:
        stored_bits: bits of the tensors that can flip.
        check_bits: bits that are stored besides.
        share: of these in those.
        guards: one by one.
    """

    stored_bits: int
    check_bits: int
    share: float
    guards: list[GuardCost]


class GuardedRuns(Object, frozen=True):
    """What guards did at a rate, by drawing patterns again; means per run.

    Attributes:
        rate: flips per bit.
        patterns: that were drawn again.
        corrected: words that are right again.
        detected: words whose errors were seen and not corrected.
        reloaded: words whose errors were seen, and that were read again from a copy without faults.
        miscorrected: words that were taken for corrected, and are wrong.
        missed: words that are wrong, of which nothing was seen.
        stopped: share of the runs that a guard has ended.
    """

    rate: float
    patterns: int
    corrected: float
    detected: float
    reloaded: float
    miscorrected: float
    missed: float
    stopped: float


class GuardedCampaign(Object, frozen=True):
    """What a protection costs, and what it did.

    Attributes:
        cost: in memory.
        runs: at each rate; empty where nothing was run.
    """

    cost: PlanCost
    runs: list[GuardedRuns]


class Campaign(Object, frozen=True):
    """What a campaign found; all but ``run`` is a function of what was asked and of the counts.

    Attributes:
        schema_version: of this object.
        model: that ran.
        data: that it ran on.
        fault_space: how many bits can flip.
        faults: which bits flip.
        task: what outputs are worth.
        settings: that decide the counts.
        seeds: of the fault patterns.
        golden: the task's fractions without faults.
        warnings: what a reader must know first.
        question: what the intervals are about.
        stopping: when it may end early; null where it may not.
        rates: one entry per rate; one in all for injections.
        over_time: of histories; left out elsewhere.
        complete: whether all units are there.
        vulnerability: of single faults, one entry per tensor and bit that was hit.
        layers: of single faults per tensor, one entry per tensor.
        run: how and where.
        protection: what protects the bits; left out where nothing does.
    """

    schema_version: int
    model: Model
    data: Images
    fault_space: SpaceSizes
    faults: FaultModel
    task: Task
    settings: DecidingSettings
    seeds: list[Seed]
    golden: dict[str, float]
    warnings: list[str]
    question: Question
    stopping: Stopping | None
    rates: list[RateOutcomes]
    complete: bool
    vulnerability: list[Vulnerability]
    layers: list[Layer]
    run: Run
    protection: GuardedCampaign | UnsetType = UNSET
    over_time: OverTime | UnsetType = UNSET


class ExpectedFaults(Object, frozen=True):
    """How many faults there are at a rate: bits, or the elements that get other values.

    Attributes:
        rate: flips per bit.
        faults: the mean of a unit.
    """

    rate: float
    faults: float


class DryRun(Object, frozen=True):
    """What a campaign would do.

    Attributes:
        bits: that can flip, N.
        units: that would be run.
        batches: of images.
        strategy: that would run them.
        expected_faults: per unit, at each rate.
        seconds: that it would take.
        warnings: what a reader must know first.
        protection: what protects the bits; left out where nothing does.
    """

    bits: int
    units: int
    batches: int
    strategy: str
    expected_faults: list[ExpectedFaults]
    seconds: float
    warnings: list[str]
    protection: GuardedCampaign | UnsetType = UNSET


class UnitName(Object, frozen=True):
    """Which unit.

    Attributes:
        rate: flips per bit.
        repeat: from 0.
        batch: from 0.
        n_faults: bits that it flipped.
    """

    rate: float
    repeat: int
    batch: int
    n_faults: int


class Fault(Object, frozen=True):
    """A flipped bit.

    Attributes:
        tensor: that it is in.
        index: of the element, flat, in C order; in a computed tensor, through all images that have flips of their own.
        bit: its number, 0 is the lowest.
        before: the element's value; null of a computed tensor, whose values nobody knows before the run.
        after: its value with the bit flipped; likewise.
    """

    tensor: str
    index: int
    bit: int
    before: Real | None
    after: Real | None


class MemoryFlip(Object, frozen=True):
    """A bit that flipped in a protected memory.

    Attributes:
        tensor: a stored tensor, or the check bits or a copy of one, such as conv1.weight (secded).
        index: of the element, flat, in C order.
        bit: its number, 0 is the lowest.
    """

    tensor: str
    index: int
    bit: int


class ReplayedProtection(Object, frozen=True):
    """What guards did in a unit.

    Attributes:
        words: corrected, detected, reloaded, miscorrected and missed.
        stopped: whether a guard has ended the run.
        flips: in the memory, check bits and copies included.
    """

    words: dict[str, int]
    stopped: bool
    flips: list[MemoryFlip]


class RecordedUnit(Object, frozen=True):
    """A recorded unit, with its faults.

    Attributes:
        unit: which one.
        recorded: the task's counts.
        warnings: what a reader must know first.
        faults: in the model, in the order of the fault space.
        protection: what guards did; left out where nothing protected the bits.
    """

    unit: UnitName
    recorded: dict[str, int]
    warnings: list[str]
    faults: list[Fault]
    protection: ReplayedProtection | UnsetType = UNSET


class MissingUnits(Object, frozen=True):
    """Units that are in no part.

    Attributes:
        batch: of images, from 0.
        units: of it that are missing.
    """

    batch: int
    units: int


class Merged(Object, frozen=True):
    """A folder that several were put together in.

    Attributes:
        results: the folder.
        units: in it.
        missing: units that are in no part.
        missing_by_batch: the same, batch by batch.
        seeds: of the fault patterns.
        warnings: what a reader of its numbers must know.
        parts: the folders.
    """

    results: str
    units: int
    missing: int
    missing_by_batch: list[MissingUnits]
    seeds: list[Seed]
    warnings: list[str]
    parts: list[Part]


class CheckedTable(Object, frozen=True):
    """A table of a results folder.

    Attributes:
        table: its name.
        whole: whether all that was recorded is there, and nothing else.
        good: rows that are as they were recorded.
        damaged: rows that are not.
        recorded: rows that there should be; null where that is not known.
    """

    table: str
    whole: bool
    good: int
    damaged: int
    recorded: int | None


class ResultsCheck(Object, frozen=True):
    """What was found in a results folder.

    Attributes:
        results: the folder.
        whole: whether nothing is damaged.
        repaired: whether what was damaged is dropped now.
        units: that are good.
        tables: one by one.
    """

    results: str
    whole: bool
    repaired: bool
    units: int
    tables: list[CheckedTable]


class PooledSeeds(Object, frozen=True):
    """Seeds whose patterns are together.

    Attributes:
        seeds: with the repeats of each.
        groups: into how many equal ones each seed's repeats fall.
    """

    seeds: list[Seed]
    groups: int


class Identity(Object, frozen=True):
    """What decides the counts.

    Attributes:
        model: SHA-256 of its file.
        data: SHA-256 of the images.
        fault_space: SHA-256 of what can flip.
        faults: which bits flip.
        task: what outputs are worth.
        settings: of the campaign.
        versions: of what the counts depend on.
        pooled: seeds that were put together; null where there is one.
    """

    model: str
    data: str
    fault_space: str
    faults: FaultModel
    task: Task
    settings: AllSettings
    versions: dict[str, str]
    pooled: PooledSeeds | None


class Coverage(Object, frozen=True):
    """How much of what a model stores can flip.

    Attributes:
        elements: stored elements of any kind, and computed ones where activations were asked for.
        left_out: those that cannot flip, by reason.
    """

    elements: int
    left_out: list[LeftOutGroup]


class FaultSpace(Object, frozen=True):
    """The bits that can flip.

    Attributes:
        bits: N.
        elements: stored or computed elements that they are in.
        stored: stored elements of any kind, and computed ones where activations were asked for.
        tensors: that they are in, in the order of the graph.
        formats: how their elements are seen as bits.
        sha256: equal for models that meet the same flips.
        coverage: what is left out.
    """

    bits: int
    elements: int
    stored: int
    tensors: list[Tensor]
    formats: list[str]
    sha256: str
    coverage: Coverage


class CampaignFile(Object, frozen=True):
    """What stands beside the table of units.

    Attributes:
        schema_version: of this file.
        identity: what decides the counts.
        model: that ran.
        data: that it ran on, and how it was opened.
        fault_space: the bits that can flip.
        levels: flips per bit.
        engine: what ran the units.
        machine: where: python, onnx, platform, cpu, host.
        stopping: when it may end early; null where it may not.
        pilot: what chose the number of images per pattern; null where it was given.
        parts: folders that were merged in this one.
        begun_as: fingerprint of the smaller campaign that the folder began as; null where it has not grown, and left
            out by older versions.
        check: of all other values, by which damage is noticed.
    """

    schema_version: int
    identity: Identity
    model: Model
    data: DataWithSource
    fault_space: FaultSpace
    levels: list[float]
    engine: Engine
    machine: dict[str, str]
    stopping: Stopping | None
    pilot: Pilot | None
    parts: list[Part]
    check: str
    begun_as: str | UnsetType | None = UNSET
