"""What is printed of questions: rates, failures, sizes of campaigns, verdicts, comparisons, reports."""

from typing import Literal

from msgspec import UNSET, UnsetType

from ftonnx.campaign.plan.injections import LayerPlan
from ftonnx.campaign.results.comparison import Outcome, Pairing
from ftonnx.environment.failures import FailureRate, MispredictionRate
from ftonnx.environment.radiation import Environment
from ftonnx.inject.left_out import LeftOut
from ftonnx.stats.differences import Difference
from json_outputs.base import Interval, Object, Question, Real, all_of
from json_outputs.campaigns import Budget, PlanCost

__all__ = [
    "Comparison",
    "Fit",
    "FitAtRates",
    "Gate",
    "InjectionPlan",
    "PopulationPlan",
    "Rate",
    "Report",
    "Space",
    "Value",
]

NotFlipped = all_of(LeftOut)
LayerNeeds = all_of(LayerPlan)
Place = all_of(Environment, without=("file",))
PairedDifference = all_of(Difference)


class Value(Object, frozen=True):
    """An input or output, as the file declares it.

    Attributes:
        name: of it.
        dtype: of its elements; the kind of value where it is no tensor.
        shape: its sizes, names of free ones among them; null where nothing is said.
    """

    name: str
    dtype: str
    shape: list[int | str] | None


class Target(Object, frozen=True):
    """A stored tensor whose bits can flip.

    Attributes:
        tensor: its name.
        role: weight, bias, scale or zero_point.
        node: name of the first node that it feeds.
        op_type: that node's operator.
        shape: of it.
        dtype: of its elements.
        format: how an element is seen as bits.
        bits: of it that can flip.
        flippable: numbers of an element's bits that can flip; left out where all can.
    """

    tensor: str
    role: str
    node: str
    op_type: str
    shape: list[int]
    dtype: str
    format: str
    bits: int
    flippable: list[int] | UnsetType = UNSET


class Space(Object, frozen=True):
    """What can flip in a model.

    Attributes:
        inputs: of the model.
        outputs: of the model.
        bits: that can flip, N.
        targets: that they are in, in the order of the graph.
        stored: stored elements of any kind, and computed ones where activations were asked for.
        left_out: what of them cannot flip.
    """

    inputs: list[Value]
    outputs: list[Value]
    bits: int
    targets: list[Target]
    stored: int
    left_out: list[NotFlipped]


class InjectionPlan(Object, frozen=True):
    """How many single faults must be injected into a model.

    Attributes:
        model: its name.
        margin: half the width of the interval.
        confidence: of the interval.
        proportion: expected share of critical faults.
        cutoff: normal cut-off in place of the confidence's; null for none.
        bits: that can flip, N.
        network_wise: injections for one share of the network.
        layer_wise: for one of each tensor.
        data_unaware: for one of each tensor and bit.
        layers: tensor by tensor.
        claim: share that is to be excluded; only with --claim.
        without_failure: injections without a critical one that exclude it.
    """

    model: str
    margin: float
    confidence: float
    proportion: float
    cutoff: float | None
    bits: int
    network_wise: int
    layer_wise: int
    data_unaware: int
    layers: list[LayerNeeds]
    claim: float | UnsetType = UNSET
    without_failure: int | UnsetType = UNSET


class PopulationPlan(Object, frozen=True):
    """How many single faults must be injected, of so many possible ones.

    Attributes:
        margin: half the width of the interval.
        confidence: of the interval.
        proportion: expected share of critical faults.
        cutoff: normal cut-off in place of the confidence's; null for none.
        population: possible faults.
        network_wise: injections.
        claim: share that is to be excluded; only with --claim.
        without_failure: injections without a critical one that exclude it.
    """

    margin: float
    confidence: float
    proportion: float
    cutoff: float | None
    population: Real
    network_wise: int
    claim: float | UnsetType = UNSET
    without_failure: int | UnsetType = UNSET


class ModelBits(Object, frozen=True):
    """A model's memory.

    Attributes:
        name: of the model.
        bits: that can flip, N.
    """

    name: str
    bits: int


class Rate(Object, frozen=True):
    """The bit-fault rate of an environment.

    Attributes:
        environment: what was said of it; its interval in hours.
        upsets_per_bit_hour: of it.
        fit_per_mbit: upsets per 1e9 hours and 1e6 bits.
        rate: flips per bit when the memory is read.
        plain_words: how long unprotected memory takes to collect as much.
        model: whose flips are counted; only with a model, as what follows.
        expected_flips: in its memory, when it is read.
        device_fit: upsets of its memory per 1e9 hours.
    """

    environment: Place
    upsets_per_bit_hour: float
    fit_per_mbit: float
    rate: float
    plain_words: str
    model: ModelBits | UnsetType = UNSET
    expected_flips: float | UnsetType = UNSET
    device_fit: float | UnsetType = UNSET


Fit = all_of(
    FailureRate,
    bits=int,
    sdc=float,
    coverage=float,
    mttf_hours=Real,
    flips_at_a_time=float | None,
    note=str | None,
    command=str | None,
    warnings=list[str],
)
FitAtRates = all_of(
    MispredictionRate,
    rate=float,
    tested_rate=float,
    factor=Real,
    inferences_per_hour=float,
    hours_between=Real,
    measured=bool,
    note=str | None,
    command=str | None,
    warnings=list[str],
)


class GoalVerdict(Object, frozen=True):
    """What was found of one goal.

    Attributes:
        kind: of the goal.
        bound: of the goal, a fraction.
        rate: flips per bit.
        name: of the goal.
        verdict: of the goal.
        estimate: what was found; null where nothing was run.
        rounds: patterns on every batch.
        patterns: fault patterns in all.
        message: the evidence in words.
    """

    kind: Literal["min_accuracy", "max_drop", "max_sdc"]
    bound: float
    rate: float
    name: str
    verdict: Literal["PASS", "FAIL", "INCONCLUSIVE"]
    estimate: Interval | None
    rounds: int
    patterns: int
    message: str


class GateRun(Object, frozen=True):
    """How and where a verdict came about.

    Attributes:
        results: the folder.
        seconds: that it took.
        goal_seconds: that each goal took.
        warnings: about the processor.
    """

    results: str
    seconds: float
    goal_seconds: list[float]
    warnings: list[str]


class Gate(Object, frozen=True):
    """A verdict; all but ``run`` is a function of what was asked and of the counts.

    Attributes:
        verdict: PASS where every goal is reached, FAIL where one is not, INCONCLUSIVE where the budget was spent.
        goals: one by one.
        golden: the headline without faults; null where nothing was run.
        golden_images: that it is of; null likewise.
        model: its name.
        data: name of the data set.
        question: what the verdict is about.
        confidence: of every goal's verdict.
        interval: the kind of limits.
        budget: that might be spent.
        units: that were run.
        faults: how flips come, where they do in bursts; left out elsewhere.
        warnings: what a reader must know first.
        run: how and where.
        protection: what the protection of the memory costs; left out where there is none.
    """

    verdict: Literal["PASS", "FAIL", "INCONCLUSIVE"]
    goals: list[GoalVerdict]
    golden: float | None
    golden_images: int | None
    model: str
    data: str
    question: Question
    confidence: float
    interval: str
    budget: Budget
    units: int
    warnings: list[str]
    run: GateRun
    faults: str | UnsetType = UNSET
    protection: PlanCost | UnsetType = UNSET


class Baseline(Object, frozen=True):
    """What the others are compared with.

    Attributes:
        model: its name.
        results: its folder.
        golden: its headline without faults.
    """

    model: str
    results: str
    golden: float


class RateComparison(Object, frozen=True):
    """Two models at one rate.

    Attributes:
        rate: flips per bit.
        baseline: headline of the first model.
        accuracy: headline of the other one.
        difference: accuracy minus baseline.
        p_holm: the p-value, corrected for all that were compared; null with one pattern.
        outcome: in words.
        interval: fixed-n, or anytime-valid where a campaign could end early.
        hours: since the memory was loaded, where upsets accumulate; left out elsewhere.
        other_rate: the other model's flips per bit at that time, where they differ; left out elsewhere.
    """

    rate: float
    baseline: float
    accuracy: float
    difference: PairedDifference
    p_holm: float | None
    outcome: Outcome
    interval: str
    hours: float | UnsetType = UNSET
    other_rate: float | UnsetType = UNSET


class AreaComparison(Object, frozen=True):
    """Two models over all common rates, or over time.

    Attributes:
        baseline: area under the first model's curve; or its mean since loading.
        area: under the other one's.
        difference: area minus baseline.
        outcome: in words.
    """

    baseline: float
    area: float
    difference: Interval
    outcome: Outcome


class ModelComparison(Object, frozen=True):
    """One model against the first.

    Attributes:
        model: its name.
        results: its folder.
        golden: its headline without faults.
        pairing: what both campaigns share.
        why: fault patterns are not shared; null where they are.
        rates: that both have, ascending.
        auc: over these; null with fewer than two, or where the rates of one time differ.
        over_time: from loading to the last common time, where upsets accumulate; left out elsewhere.
    """

    model: str
    results: str
    golden: float
    pairing: Pairing
    why: str | None
    rates: list[RateComparison]
    auc: AreaComparison | None
    over_time: AreaComparison | UnsetType = UNSET


class Comparison(Object, frozen=True):
    """Several models against the first.

    Attributes:
        baseline: the first.
        data: name of the data set.
        question: what intervals are about.
        confidence: of intervals, and of all verdicts together.
        models: the others.
        warnings: what a reader must know first.
        faults: what every run meets, of campaigns of injections; left out at fault rates.
    """

    baseline: Baseline
    data: str
    question: Question
    confidence: float
    models: list[ModelComparison]
    warnings: list[str]
    faults: str | UnsetType = UNSET


class Report(Object, frozen=True):
    """A report that was written.

    Attributes:
        verdict: in words.
        warnings: what a reader must know first.
        files: that were written, the page first.
    """

    verdict: str
    warnings: list[str]
    files: list[str]
