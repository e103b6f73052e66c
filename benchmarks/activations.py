"""What faults in activations cost: runs at a rate of 1e-6 against the plain session, FP32 and int8.

    python benchmarks/activations.py [--rounds 15 | --quick] [--batch 32] [--threads 2] [--only int8]

Needs the extra ``ftonnx[torch]`` (ResNet-18 and MobileNet-v2, random weights, 224 px). Every activation of every image
can flip; each round runs another pattern, which is drawn beforehand. ``--only`` runs the cases whose names contain a
text.
"""

from functools import partial
from itertools import cycle

import numpy as np
import onnx
from lines import options_of, print_line
from nets import fp32, images_for, int8
from numpy.typing import NDArray
from pairing import compared, interleaved

from ftonnx.inject import BitFlipRates, Faults, FaultSpace
from ftonnx.runtime import FaultySession
from ftonnx.sessions import SessionOptions, open_session

NAMES = ("resnet18", "mobilenet_v2")
KINDS = {"fp32": fp32, "int8": int8}
RATE = 1e-6
GOAL = 1.15
PATTERNS = 8


def main() -> None:
    """Run every case and print its lines."""
    parser = options_of(__doc__, rounds=15, quick=3)
    parser.add_argument("--batch", type=int, default=32, help="images per batch")
    parser.add_argument("--only", default="", help="cases whose names contain this")
    options = parser.parse_args()
    for name in NAMES:
        images = images_for(name, options.batch)
        for kind, file in KINDS.items():
            if options.only in f"{name}-{kind}":
                measure(f"{name}-activations-{kind}", onnx.load(file(name)), images, options.rounds, options.threads)


def measure(case: str, model: onnx.ModelProto, images: NDArray[np.float32], rounds: int, threads: int) -> None:
    """Compare runs with faults, and without any, with those of the plain session."""
    space = FaultSpace.of(model, roles=("activation",)).for_units(len(images))
    session = FaultySession(model, space, threads=threads, sample=images)
    patterns = [draw(space, repeat) for repeat in range(PATTERNS)]
    plain = open_session(model.SerializeToString(), SessionOptions(threads=threads))
    following = cycle(patterns)
    works = {
        "plain": partial(plain.run, None, {"input": images}),
        "golden": partial(session.golden, images),
        "faulty": lambda: session.run(images, next(following)),
    }
    seconds = interleaved(works, rounds)
    facts = {"batch": len(images), "threads": threads, "flips": round(np.mean([len(each) for each in patterns]))}
    for work, label in (("golden", f"{case}-without"), ("faulty", case)):
        figures = compared(seconds["plain"], seconds[work])
        print_line(label, figures, "the plain session", GOAL, **facts)


def draw(space: FaultSpace, repeat: int) -> Faults:
    """Draw the pattern of a unit."""
    return BitFlipRates(RATE).unit_pattern(space.drawn, 0, level=RATE, repeat=repeat, batch=0)


if __name__ == "__main__":
    main()
