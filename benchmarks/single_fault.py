"""A single-fault campaign: the mean time of one random bit per run against a fault-free run.

    python benchmarks/single_fault.py [--rounds 21 | --quick] [--model resnet50] [--faults 10] [--threads 2]

The bits are uniform over the whole fault space. A round is one fault-free run and ``--faults`` runs with one fresh
fault each, on a batch whose golden run is held; its ratio is the mean of those runs, which is what a campaign takes
per unit. Needs ``ftonnx[torch]`` to make the network (random weights).
"""

import itertools
from typing import Final

import numpy as np
from lines import options_of, print_line
from nets import fp32, images_for
from pairing import compared, interleaved

from ftonnx.inject import FaultCount, FaultSpace, load_model, unit_rng
from ftonnx.runtime import FaultySession

GOAL: Final = 0.40


def main() -> None:
    """Measure and print one line."""
    parser = options_of(__doc__, rounds=21, quick=5)
    parser.add_argument("--model", default="resnet50", help="network, resnet50 by default")
    parser.add_argument("--batch", type=int, default=32, help="images per batch")
    parser.add_argument("--faults", type=int, default=10, help="single faults per round")
    options = parser.parse_args()
    model = load_model(fp32(options.model))
    space = FaultSpace.of(model)
    images = images_for(options.model, options.batch)
    session = FaultySession(model, space, threads=options.threads, sample=images)
    held, injections = session.hold(images), itertools.count()

    def single_faults() -> None:
        for _ in range(options.faults):
            injection = next(injections)
            held.run(FaultCount(1).draw(space, unit_rng(0, 1 / space.bits, injection, 0), injection))

    seconds = interleaved({"golden": lambda: session.golden(images), "single": single_faults}, options.rounds)
    per_unit = [each / options.faults for each in seconds["single"]]
    print_line(
        f"{options.model}-fp32-single-fault",
        compared(seconds["golden"], per_unit),
        "the same session, fault-free",
        GOAL,
        mean_ratio=round(float(np.mean(per_unit) / np.mean(seconds["golden"])), 4),
        faults=options.faults * options.rounds,
        bits=space.bits,
        batch=options.batch,
        threads=options.threads,
    )


if __name__ == "__main__":
    main()
