"""The table of docs/statistics.md: how often intervals cover the truth of simulated campaigns, and how wide they are.

    python docs/coverage_study.py
    python docs/coverage_study.py --campaign results/resnet20-int8 --rate 1e-5

The second form takes a recorded campaign with many patterns as the population that campaigns are drawn from: its first
two batches, a few patterns of each. Prints Markdown.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from ftonnx.campaign.statistics import stratified_mean
from ftonnx.campaign.store import Store
from ftonnx.campaign.tables import UnitTable

IMAGES = 1000
GOLDEN = 950
SHAPES = ((1, 2), (2, 2), (1, 5), (1, 10), (3, 15), (15, 15), (40, 10))
Counts = NDArray[np.int64]
Draw = Callable[[np.random.Generator, tuple[int, int]], Counts]


def beta_binomial(accuracy: float, rho: float) -> Draw:
    """Return what draws patterns of which each has its own accuracy, so that images correlate by ``rho``."""
    heap = (1 - rho) / rho
    return lambda rng, shape: rng.binomial(IMAGES, rng.beta(accuracy * heap, (1 - accuracy) * heap, shape))


def jitter_and_ruin(jitter: float, share: float) -> Draw:
    """Return what draws patterns of which a share leaves at most a tenth, and the others jitter around the golden."""

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Counts:
        mild = np.clip(rng.normal(GOLDEN / IMAGES, jitter, shape), 0, 1)
        left = np.where(rng.random(shape) < share, 0.1 * rng.random(shape), mild)
        return np.rint(IMAGES * left).astype(np.int64)

    return draw


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
        for name, draw, golden in SIMULATED:
            truth = float(draw(np.random.default_rng(1), (1, 1_000_000)).mean()) / IMAGES
            for shape in SHAPES:
                sizes = np.full(shape[0], IMAGES)
                print_row(name, shape, draw, truth, sizes, np.full(shape[0], golden), options.runs)
        return
    with Store.open(options.campaign.absolute()) as store:
        table = UnitTable.of(store, options.rate)
    if table is None or len(table.sizes) < 2:
        raise SystemExit(f"{options.campaign} has not two batches at {options.rate:g}")
    counts = table.counts["correct1"][:2]
    rows = np.arange(2)[:, np.newaxis]

    def resampled(rng: np.random.Generator, shape: tuple[int, int]) -> Counts:
        return counts[rows, rng.integers(0, counts.shape[1], shape)]

    truth = float(counts.sum() / counts.shape[1] / table.sizes[:2].sum())
    for repeats in (2, 4, 10):
        name = f"{options.campaign.name} at {options.rate:g}"
        golden = table.golden["correct1"][:2]
        print_row(name, (2, repeats), resampled, truth, table.sizes[:2], golden, options.runs)


def print_row(
    name: str, shape: tuple[int, int], draw: Draw, truth: float, sizes: Counts, golden: Counts, runs: int
) -> None:
    """Print coverage and mean width of three kinds of intervals."""
    rng = np.random.default_rng(7)
    found = np.empty((runs, 3, 2))
    for run in range(runs):
        counts = draw(rng, shape)
        estimate = stratified_mean(counts, sizes, golden=golden)
        found[run] = independent(counts, sizes), student(counts, sizes), (estimate.low, estimate.high)
    low, high = found[..., 0], found[..., 1]
    covered = ((low - 1e-12 <= truth) & (truth <= high + 1e-12)).mean(axis=0)
    width = (high - low).mean(axis=0)
    cells = " | ".join(f"{100 * share:.0f} %, {wide:.3f}" for share, wide in zip(covered, width, strict=True))
    print(f"| {name} | {shape[0] * shape[1]} ({shape[0]} x {shape[1]}) | {cells} |", flush=True)


def independent(counts: Counts, sizes: Counts) -> tuple[float, float]:
    """Return the interval that takes every image as independent."""
    images = counts.shape[1] * int(sizes.sum())
    share = counts.sum() / images
    half = 1.96 * np.sqrt(share * (1 - share) / images)
    return share - half, share + half


def student(counts: Counts, sizes: Counts) -> tuple[float, float]:
    """Return the stratified t interval (Cochran 1977, chapter 5)."""
    batches, repeats = counts.shape
    fractions = counts / sizes[:, np.newaxis]
    weights = sizes / sizes.sum()
    mean = float(weights @ fractions.mean(axis=1))
    error = np.sqrt(np.sum(weights**2 * fractions.var(axis=1, ddof=1) / repeats))
    half = stdtrit(batches * (repeats - 1), 0.975) * error
    return max(0.0, mean - half), min(1.0, mean + half)


if __name__ == "__main__":
    main()
