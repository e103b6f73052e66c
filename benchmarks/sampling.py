"""Drawing and flipping alone: how their time grows with the number of faults and with the size of the fault space.

    python benchmarks/sampling.py [--rounds 15 | --quick]

A pattern is drawn at a rate, located, flipped into stored words (Q15.16) and taken back. The space has 50 equal float32
tensors, which share one buffer, so that 10^11 bits fit into any machine. First the number of faults grows from 1 to
10^6 in 10^10 bits, then the space from 10^6 to 10^11 bits at about 1,000 faults. ``ratio`` compares with the smallest
of its series; the two ``slope`` lines give the slope between the logarithms (1 is linear, 0 is flat).
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from lines import options_of, print_line
from pairing import compared, interleaved, median_interval

from ftonnx.inject import BitFlipRates, FaultSpace, FixedPoint, Target, unit_rng

TENSORS: Final = 50
FORMAT: Final = FixedPoint(np.dtype(np.float32), integral=15, fractional=16)
SPACE: Final = 10**10
FAULTS: Final = 1000
ALL_FAULTS: Final = tuple(10**k for k in range(7))
ALL_SPACES: Final = tuple(10**k for k in range(6, 12))
SLOPE_FROM: Final = 10**4
"""Below so many faults the fixed cost of some numpy calls outweighs them."""


def main() -> None:
    """Measure both series; print a line per point and a slope per series."""
    options = options_of(__doc__, rounds=21, quick=5, threads=False).parse_args()
    seconds = interleaved({count: flipping(SPACE, count) for count in ALL_FAULTS}, options.rounds)
    print_series("sampling-faults", seconds, f"1 fault in {SPACE:g} bits", slope_from=SLOPE_FROM)
    seconds = interleaved({bits: flipping(bits, FAULTS) for bits in ALL_SPACES}, options.rounds)
    print_series("sampling-bits", seconds, f"{FAULTS} faults in {ALL_SPACES[0]:g} bits", slope_from=ALL_SPACES[0])


def flipping(bits: int, faults: int) -> Callable[[], None]:
    """Return one round: draw about ``faults`` flips in a space of ``bits`` bits, flip them, take them back."""
    elements = bits // TENSORS // FORMAT.bits
    target = Target(tensor="w", role="weight", node="n", op_type="Conv", shape=(elements,), format=FORMAT)
    space = FaultSpace((target,) * TENSORS, tuple(range(TENSORS)))
    words = np.ones(elements, np.float32).view(np.uint32)
    model, repeats = BitFlipRates(faults / bits), itertools.count()

    def once() -> None:
        pattern = model.draw(space, unit_rng(0, faults / bits, next(repeats), 0))
        undos = [FORMAT.flip(words, elements, masks) for _, elements, masks in pattern.masks()]
        for undo in reversed(undos):
            undo()

    return once


def print_series(name: str, seconds: Mapping[int, Sequence[float]], reference: str, *, slope_from: int) -> None:
    """Print each point against the first, and the slope from one point on."""
    first = next(iter(seconds))
    for size, each in seconds.items():
        milliseconds = round(1e3 * float(np.median(each)), 4)
        print_line(f"{name}-{size:.0e}", compared(seconds[first], each), reference, None, ms=milliseconds)
    sizes = [size for size in seconds if size >= slope_from]
    logs = np.log([seconds[size] for size in sizes])  # (sizes, rounds)
    slopes = np.polyfit(np.log(sizes), logs, 1)[0]
    low, high = median_interval(slopes.tolist())
    figures = {"ratio": float(np.median(slopes)), "low": low, "high": high}
    rounded = {key: round(value, 4) for key, value in figures.items()}
    print_line(
        f"{name}-slope",
        {**rounded, "n": len(slopes)},
        "slope of log time over log size",
        None,
        sizes=f"{sizes[0]:g} to {sizes[-1]:g}",
    )


if __name__ == "__main__":
    main()
