"""The tables of docs/statistics.md on campaigns that end by themselves: how often they are right when they do.

    python docs/stopping_study.py

The rules are those of `ftonnx inject --precision` and `ftonnx gate`; only the counts are simulated: 45 batches of 8
images, right in 95 % without faults. Seeds are fixed. Prints Markdown.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.plan.order import Draws
from ftonnx.campaign.plan.stopping import Stopping
from ftonnx.campaign.run.rounds import PrecisionRule
from ftonnx.gates import Goal, GoalVerdict
from ftonnx.gates.decide import GateRule
from ftonnx.stats.betting import anytime_mean
from ftonnx.stats.patterns import stratified_mean
from ftonnx.tasks import Classification, Counts

BATCHES: Final = 45
SHARING: Final = 8
IMAGES: Final = BATCHES * SHARING
RATE: Final = 1e-6
MOST_ROUNDS: Final = 400
MOST_DRAWS: Final = 1000
TASK: Final = Classification()
SIZES: Final = np.full(BATCHES, SHARING)
GOLDEN: Final = np.random.default_rng(0).binomial(SHARING, 0.95, BATCHES)
Draw = Callable[[np.random.Generator, NDArray[np.int64]], NDArray[np.int64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """What patterns do.

    Attributes:
        name: in the tables.
        draw: returns the right images under faults, given those without, an entry per pattern.
        kept: mean share of the right images that stay right.
    """

    name: str
    draw: Draw
    kept: float

    @property
    def truth(self) -> float:
        """Mean accuracy of these images over all patterns."""
        return self.kept * float(GOLDEN.sum()) / IMAGES


def ruin(share: float) -> Population:
    """Return patterns of which a share loses every image, and the others none."""

    def draw(rng: np.random.Generator, right: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.where(rng.random(len(right)) < share, 0, right)

    return Population(name=f"{100 * share:g} % lose all", draw=draw, kept=1 - share)


def spread(kept: float, rho: float) -> Population:
    """Return patterns that each have a share of their own to keep, so that images correlate by ``rho``."""
    heap = (1 - rho) / rho

    def draw(rng: np.random.Generator, right: NDArray[np.int64]) -> NDArray[np.int64]:
        return rng.binomial(right, rng.beta(kept * heap, (1 - kept) * heap, len(right)))

    return Population(name=f"{100 * kept:g} % stay, rho = {rho:g}", draw=draw, kept=kept)


POPULATIONS: Final = (ruin(0.01), ruin(0.1), ruin(0.4), spread(0.9, 0.3), spread(0.5, 0.3))


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--campaigns", type=int, default=150, help="that end at a precision, per row")
    parser.add_argument("--gates", type=int, default=400, help="per row")
    options = parser.parse_args()
    print_head("patterns", "precision, points", "coverage", "patterns met, median", "with fixed repeats")
    for population in POPULATIONS:
        for precision in (0.05, 0.03):
            print(precision_row(population, precision, options.campaigns), flush=True)
    print()
    print_head("patterns", "limit", "PASS", "FAIL", "open", "limits cover", "patterns met, median")
    for population in POPULATIONS:
        for distance in (0.0, 0.05, -0.05):
            print(gate_row(population, distance, options.gates), flush=True)


def print_head(*columns: str) -> None:
    """Print the first two lines of a table."""
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")


def precision_row(population: Population, precision: float, runs: int) -> str:
    """Return how campaigns that end at a precision do."""
    rng = np.random.default_rng(1)
    covered = 0
    patterns = []
    for _ in range(runs):
        found = ended_at(population, precision, rng)
        interval = anytime_mean(found / SHARING, SIZES, golden=GOLDEN / SHARING)
        assert interval.low is not None
        assert interval.high is not None
        covered += interval.low <= population.truth <= interval.high
        patterns.append(found.size)
    fixed = fixed_patterns(population, precision)
    cells = (f"{100 * precision:g}", f"{100 * covered / runs:.1f} %", f"{np.median(patterns):,.0f}", f"{fixed:,}")
    return f"| {population.name} | {' | '.join(cells)} |"


def ended_at(population: Population, precision: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the right images of the rounds after which the rule is content, (rounds, batches)."""
    rule = PrecisionRule([RATE], Stopping(precision=precision), TASK.main, pooled=False)
    golden = counts(GOLDEN)
    rounds: list[NDArray[np.int64]] = []
    while rule.open_rates and len(rounds) < MOST_ROUNDS:
        rounds.append(population.draw(rng, GOLDEN))
        rule.add(RATE, counts(rounds[-1]), golden)
    return np.array(rounds)


def fixed_patterns(population: Population, precision: float) -> int:
    """Return how many patterns make the interval of a fixed number of repeats as narrow, in one campaign."""
    rng = np.random.default_rng(2)
    rounds = [population.draw(rng, GOLDEN) for _ in range(MOST_ROUNDS)]
    for number in range(1, MOST_ROUNDS + 1):
        interval = stratified_mean(np.array(rounds[:number]).T, SIZES, golden=GOLDEN)
        assert interval.low is not None
        assert interval.high is not None
        if interval.high - interval.low <= 2 * precision:
            return number * BATCHES
    raise RuntimeError(f"{population.name}: more than {MOST_ROUNDS} rounds")


def gate_row(population: Population, distance: float, runs: int) -> str:
    """Return how gates decide whose limit of the accuracy is so far above the truth."""
    goal = Goal("min_accuracy", population.truth + distance, RATE)
    decided = [verdict_on(population, goal, seed) for seed in range(runs)]
    shares = [sum(each.verdict == name for each in decided) / runs for name in ("PASS", "FAIL", "INCONCLUSIVE")]
    covered = sum(covers(each, population.truth) for each in decided) / runs
    limit = "the truth" if not distance else f"{abs(100 * distance):g} points {'above' if distance > 0 else 'below'}"
    cells = [f"{100 * share:.1f} %" for share in (*shares, covered)]
    median = np.median([each.patterns for each in decided])
    return f"| {population.name} | {limit} | {' | '.join(cells)} | {median:,.0f} |"


def covers(found: GoalVerdict, truth: float) -> bool:
    """Say whether the truth lies between both limits that a gate prints, each of which may be wrong in 5 %."""
    assert found.estimate is not None
    assert found.estimate.low is not None
    assert found.estimate.high is not None
    return found.estimate.low <= truth <= found.estimate.high


def verdict_on(population: Population, goal: Goal, seed: int) -> GoalVerdict:
    """Return a gate's verdict after as many draws as it takes."""
    rng = np.random.default_rng((3, seed))
    rule = GateRule([goal], question="these-images", confidence=0.95, classes=10, task=TASK, drawn_of=BATCHES)
    order = Draws(IMAGES, SHARING, MOST_DRAWS, seed=seed, by_passes=False)
    drawn = 0
    for number in range(MOST_DRAWS):
        if not rule.open_rates or drawn >= MOST_DRAWS:
            break
        batches = [place.batch for place in order.portion(number)]
        drawn += len(batches)
        rule.add(RATE, counts(population.draw(rng, GOLDEN[batches])), counts(GOLDEN[batches]))
        if rule.needs_every_golden:
            rule.know(counts(GOLDEN))
    (found,) = rule.verdicts("within the draws of the study")
    return found


def counts(right: Sequence[int] | NDArray[np.int64]) -> list[Counts]:
    """Return outcomes of batches of which so many images are right."""
    others = dict.fromkeys(TASK.counts, 0)
    return [Counts({**others, "n": SHARING, "correct1": int(each)}) for each in right]


if __name__ == "__main__":
    main()
