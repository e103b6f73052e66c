"""The table of docs/statistics.md: how often intervals cover the truth of simulated campaigns, and how wide they are.

    python docs/coverage_study.py
    python docs/coverage_study.py --campaign results/resnet20-int8 --rate 1e-5

The second form takes a recorded campaign with many patterns as the population that campaigns are drawn from: its first
two batches, a few patterns of each. Prints Markdown.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from ftonnx.campaign.store.unit_table import Recorded
from ftonnx.stats.patterns import stratified_mean

IMAGES = 1000
GOLDEN = 950
SHAPES = ((1, 2), (2, 2), (1, 5), (1, 10), (3, 15), (15, 15), (40, 10))
Counts = NDArray[np.int64]
Draw = Callable[[np.random.Generator, tuple[int, int]], Counts]


def beta_binomial(accuracy: float, rho: float) -> Draw:
    """Return what draws patterns of which each has its own accuracy, so that images correlate by ``rho``."""
    heap = (1 - rho) / rho

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Counts:
        accuracies = rng.beta(accuracy * heap, (1 - accuracy) * heap, shape)
        return rng.binomial(IMAGES, accuracies)

    return draw


def jitter_and_ruin(jitter: float, share: float) -> Draw:
    """Return what draws patterns of which a share leaves at most a tenth, and the others jitter around the golden."""

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Counts:
        mild = np.clip(rng.normal(GOLDEN / IMAGES, jitter, shape), 0, 1)
        is_ruined = rng.random(shape) < share
        left = np.where(is_ruined, 0.1 * rng.random(shape), mild)
        return np.rint(IMAGES * left).astype(np.int64)

    return draw


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """What campaigns are drawn from.

    Attributes:
        name: in the table.
        draw: returns the right images of (batches, repeats) patterns.
        truth: mean accuracy of all its patterns.
        sizes: images in each batch, (batches,).
        golden: right images without faults, (batches,).
    """

    name: str
    draw: Draw
    truth: float
    sizes: Counts
    golden: Counts


SIMULATED = (
    ("accuracy .5, rho = .3", beta_binomial(0.5, 0.3), IMAGES),
    ("accuracy .9, rho = .3", beta_binomial(0.9, 0.3), IMAGES),
    ("accuracy .99, rho = .3", beta_binomial(0.99, 0.3), IMAGES),
    ("accuracy .98, rho = .5", beta_binomial(0.98, 0.5), IMAGES),
    ("jitter .01, 3 % ruin everything", jitter_and_ruin(0.01, 0.03), GOLDEN),
    ("jitter .01, 10 % ruin everything", jitter_and_ruin(0.01, 0.1), GOLDEN),
    ("jitter .05, 30 % ruin everything", jitter_and_ruin(0.05, 0.3), GOLDEN),
)


def main() -> None:
    """Print a row per case and number of patterns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--campaign", type=Path, help="results folder with many patterns per batch")
    parser.add_argument("--rate", type=float, help="one of its rates")
    parser.add_argument("--runs", type=int, default=2000)
    options = parser.parse_args()
    print("| patterns from | patterns (batches x repeats) | images as independent | Student's t | ftonnx |")
    print("|---|---|---|---|---|")
    if options.campaign is None:
        print_simulated(options.runs)
    else:
        print_recorded(options.campaign, options.rate, options.runs)


def print_simulated(runs: int) -> None:
    """Print the rows of patterns that are drawn from known distributions."""
    for name, draw, golden in SIMULATED:
        # A million patterns stand for the truth.
        many = draw(np.random.default_rng(1), (1, 1_000_000))
        truth = float(many.mean()) / IMAGES
        for shape in SHAPES:
            batches = shape[0]
            population = Population(
                name=name,
                draw=draw,
                truth=truth,
                sizes=np.full(batches, IMAGES),
                golden=np.full(batches, golden),
            )
            print_row(population, shape, runs)


def print_recorded(campaign: Path, rate: float, runs: int) -> None:
    """Print the rows of patterns that are drawn from those of a campaign."""
    table = Recorded.open(campaign).table(rate)
    if table is None or len(table.golden["n"]) < 2:
        raise SystemExit(f"{campaign} has not two batches at {rate:g}")
    counts = table.counts["correct1"][:2]
    rows = np.arange(2)[:, np.newaxis]

    def resampled(rng: np.random.Generator, shape: tuple[int, int]) -> Counts:
        repeats = rng.integers(0, counts.shape[1], shape)
        return counts[rows, repeats]

    sizes = table.golden["n"][:2]
    population = Population(
        name=f"{campaign.name} at {rate:g}",
        draw=resampled,
        truth=float(counts.sum() / counts.shape[1] / sizes.sum()),
        sizes=sizes,
        golden=table.golden["correct1"][:2],
    )
    for repeats in (2, 4, 10):
        print_row(population, (2, repeats), runs)


def print_row(population: Population, shape: tuple[int, int], runs: int) -> None:
    """Print coverage and mean width of three kinds of intervals."""
    rng = np.random.default_rng(7)
    sizes = population.sizes
    found = np.empty((runs, 3, 2))
    for run in range(runs):
        counts = population.draw(rng, shape)
        estimate = stratified_mean(counts, sizes, golden=population.golden)
        found[run, 0] = independent(counts, sizes)
        found[run, 1] = student(counts, sizes)
        found[run, 2] = (estimate.low, estimate.high)
    low = found[..., 0]
    high = found[..., 1]
    # Limits of exactly 0 or 1 are rounded on the way.
    is_above_low = low - 1e-12 <= population.truth
    is_below_high = population.truth <= high + 1e-12
    covered = (is_above_low & is_below_high).mean(axis=0)
    width = (high - low).mean(axis=0)
    cells = []
    for share, wide in zip(covered, width, strict=True):
        cells.append(f"{100 * share:.0f} %, {wide:.3f}")
    patterns = f"{shape[0] * shape[1]} ({shape[0]} x {shape[1]})"
    print(f"| {population.name} | {patterns} | {' | '.join(cells)} |", flush=True)


def independent(counts: Counts, sizes: Counts) -> tuple[float, float]:
    """Return the interval that takes every image as independent."""
    images = counts.shape[1] * int(sizes.sum())
    share = counts.sum() / images
    half = 1.96 * np.sqrt(share * (1 - share) / images)
    return share - half, share + half


def student(counts: Counts, sizes: Counts) -> tuple[float, float]:
    """Return the stratified t interval (Cochran 1977, chapter 5)."""
    batches = counts.shape[0]
    repeats = counts.shape[1]
    fractions = counts / sizes[:, np.newaxis]
    weights = sizes / sizes.sum()
    mean = float(weights @ fractions.mean(axis=1))
    variances = fractions.var(axis=1, ddof=1) / repeats
    error = np.sqrt(np.sum(weights**2 * variances))
    half = stdtrit(batches * (repeats - 1), 0.975) * error
    return max(0.0, mean - half), min(1.0, mean + half)


if __name__ == "__main__":
    main()
