"""Writes the table of docs/how-to/repeats.md: how wide intervals are, against repeats, images and accuracy.

    python docs/repeats_table.py

Every number is the mean of 20 simulated campaigns (seed 0): fault patterns of 8 images, whose own accuracies are drawn
from a Beta distribution, so that images that share a pattern correlate by 0.3; fault-free, all answers are right.
"""

from pathlib import Path
from typing import Final

import numpy as np

from ftonnx.stats.patterns import stratified_mean

PAGE: Final = Path(__file__).parent / "how-to" / "repeats.md"
START: Final = "<!-- written by docs/repeats_table.py: from here -->\n"
END: Final = "<!-- to here -->\n"
ACCURACIES: Final = (0.5, 0.9, 0.99)
IMAGES: Final = (104, 1000, 10_000)
REPEATS: Final = (2, 5, 10, 20, 50, 100)
SHARING: Final = 8
CORRELATION: Final = 0.3
CAMPAIGNS: Final = 20


def page() -> str:
    """Return the page with the table as it is computed now."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    return f"{before}{START}{table()}{END}{after}"


def table() -> str:
    """Return a row for each accuracy and number of images."""
    head = [f"| accuracy | images | {' | '.join(map(str, REPEATS))} |", "|---|---|" + "---|" * len(REPEATS)]
    rows = [row(accuracy, images) for accuracy in ACCURACIES for images in IMAGES]
    return "\n".join([*head, *rows]) + "\n"


def row(accuracy: float, images: int) -> str:
    """Return half widths in percentage points, one per number of repeats."""
    points = [100 * half_width(accuracy, images, repeats) for repeats in REPEATS]
    cells = [f"{each:.1f}" if each >= 1 else f"{each:.2f}" for each in points]
    return f"| {100 * accuracy:g} % | {images:,} | {' | '.join(cells)} |"


def half_width(accuracy: float, images: int, repeats: int) -> float:
    """Return half the mean width of 95 % intervals of simulated campaigns.

    Args:
        accuracy: under faults, the mean of all patterns.
        images: of the campaign, a multiple of 8.
        repeats: patterns per image.
    """
    rng = np.random.default_rng(0)
    batches = images // SHARING
    heap = (1 - CORRELATION) / CORRELATION
    sizes = np.full(batches, SHARING)
    widths = []
    for _ in range(CAMPAIGNS):
        of_pattern = rng.beta(accuracy * heap, (1 - accuracy) * heap, (batches, repeats))
        right = rng.binomial(SHARING, of_pattern)
        found = stratified_mean(right, sizes, golden=sizes)
        assert found.low is not None
        assert found.high is not None
        widths.append(found.high - found.low)
    return float(np.mean(widths)) / 2


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
