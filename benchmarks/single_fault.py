"""A single-fault campaign: the mean time of one random bit per run against a fault-free run.

    python benchmarks/single_fault.py [--rounds 21 | --quick] [--model resnet50] [--faults 10] [--threads 2]

The bits are uniform over the whole fault space. A round is one fault-free run and ``--faults`` runs with one fresh
fault each, on a batch whose golden run is held; its ratio is the mean of those runs, which is what a campaign takes
per unit. FP32: against the same session; int8: against an ordinary session with default options
(``ratio_same_session``: against the same session). Needs ``ftonnx[torch]`` to make the network (random weights).
"""

import itertools
from argparse import Namespace
from typing import Final

import numpy as np
from lines import options_of, print_line
from nets import FILES, images_for
from pairing import compared, interleaved

from ftonnx.inject import FaultCount, FaultSpace, load_model, unit_rng
from ftonnx.runtime import FaultySession
from ftonnx.sessions import SessionOptions, open_session

GOALS: Final = {("fp32", 32): 0.40, ("int8", 32): 0.45, ("int8", 1): 0.45}
"""By the format of the weights and the batch size."""
REFERENCES: Final = {
    "fp32": ("same", "the same session, fault-free"),
    "int8": ("ordinary", "a session with default options, fault-free"),
}
SETTLE: Final = 40
"""Single faults before the first round: a session measures in its first runs whether it starts from golden tensors."""


def main() -> None:
    """Measure every case and print its line."""
    parser = options_of(__doc__, rounds=21, quick=5)
    parser.add_argument("--model", default="resnet50", help="network, resnet50 by default")
    parser.add_argument("--faults", type=int, default=10, help="single faults per round")
    parser.add_argument("--format", choices=REFERENCES, help="only this format of weights")
    options = parser.parse_args()
    for (form, batch), goal in GOALS.items():
        if options.format in (None, form):
            measure(form, batch, goal, options)


def measure(form: str, batch: int, goal: float, options: Namespace) -> None:
    """Print the line of one format and batch size."""
    path = FILES[form](options.model)
    model = load_model(path)
    space = FaultSpace.of(model)
    images = images_for(options.model, batch)
    session = FaultySession(model, space, threads=options.threads, sample=images)
    plain = open_session(path.read_bytes(), SessionOptions(threads=options.threads))
    feeds = session.feeds(images)
    held = session.hold(images)
    injections = itertools.count()

    # a run on one image is over in milliseconds
    faults = options.faults * (4 if batch == 1 else 1)

    def single_faults(count: int = faults) -> None:
        for _ in range(count):
            injection = next(injections)
            held.run(FaultCount(1).draw(space, unit_rng(0, 1 / space.bits, injection, 0), injection))

    single_faults(SETTLE)
    works = {
        "same": lambda: session.golden(images),
        "ordinary": lambda: plain.run(None, dict(feeds)),
        "single": single_faults,
    }
    seconds = interleaved(works, options.rounds)
    per_unit = [each / faults for each in seconds["single"]]
    reference, words = REFERENCES[form]
    name = f"{options.model}-{form}-single-fault" + (f"-batch{batch}" if form != "fp32" else "")
    print_line(
        name,
        compared(seconds[reference], per_unit),
        words,
        goal,
        ratio_same_session=compared(seconds["same"], per_unit)["ratio"],
        mean_ratio=round(float(np.mean(per_unit) / np.mean(seconds[reference])), 4),
        strategy=session.strategy,
        faults=faults * options.rounds,
        bits=space.bits,
        batch=batch,
        threads=options.threads,
    )


if __name__ == "__main__":
    main()
