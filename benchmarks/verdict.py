"""Certainty: seconds until an accuracy is known to ±1 point, and until a gate's verdict, before and after.

    python benchmarks/verdict.py [--rounds 3 | --quick] [--network NAME]... [--question gate] [--cap 40] [--threads 2]

Before: 128 images share a fault pattern, as in the paper, and a gate looks after whole rounds, as it does where there
are so few batches. After: everything by default. Both answer the same question, ``evaluate(precision=0.01)`` or
``gate("max-drop RATE:0.01")``, end to end (the layout cache is warm). Each round has its own seed; ``ratio`` is the
median of the rounds' ratios after / before.

No run takes longer than ``--cap`` seconds, and no round begins after twice as many. A precision that is not reached by
then is put at cap x (half-width / 0.01)^2 seconds, since half-widths shrink with about the square root of the time. A
verdict that is not reached is put at the cap: if it was the one before, the true ratio is smaller still
(``undecided``: rounds before and after without one). Digits are embedded; ResNet-20 is trained (CIFAR-10, in
``$FTONNX_SHARED`` or ``../shared``; left out where that is missing); ResNet-18 in its CIFAR form has random weights and
its own answers for labels.
"""

import os
import shutil
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from lines import options_of, print_line
from nets import FILES, TRAINED, cifar, fp32, images_for
from pairing import compared

from ftonnx import evaluate, gate
from ftonnx.datasets import Dataset, as_dataset, load_dataset
from ftonnx.inject import OnnxModel, load_model
from ftonnx.runtime import FaultySession

GOAL: Final = 1 / 6
POINT: Final = 0.01
BEFORE: Final[Mapping[str, Any]] = {"images_per_pattern": "paper"}
AFTER: Final[Mapping[str, Any]] = {}
REFERENCE: Final = "128 images per fault pattern, whole rounds"
RESNET18: Final = "resnet18-cifar"
RESNET18_IMAGES: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What is evaluated.

    Attributes:
        name: in the cases' names.
        model: the network.
        data: images and labels.
        precise: the rate at which the accuracy is wanted.
        clear: a rate at which the gate's goal is clearly missed.
    """

    name: str
    model: OnnxModel
    data: Dataset
    precise: float
    clear: float


@dataclass(frozen=True, slots=True)
class Answer:
    """One run: seconds until the answer, or until it would have been there, and whether it was."""

    seconds: float
    reached: bool


def main() -> None:
    """Measure every case and print its line."""
    parser = options_of(__doc__, rounds=3, quick=1)
    parser.add_argument("--network", action="append", choices=NETWORKS, help="only this one (repeatable)")
    parser.add_argument("--question", choices=("precision", "gate"), help="only this one")
    parser.add_argument("--cap", type=float, default=40.0, help="seconds that one run takes at most")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ftonnx-") as folder:
        os.environ["FTONNX_CACHE"] = folder
        for name in options.network or NETWORKS:
            network = NETWORKS[name]()
            if network is not None:
                measure(network, options)


def digits() -> Network:
    """Return the embedded model."""
    return Network(name="digits", model=load_model("digits"), data=load_dataset("digits"), precise=1e-7, clear=1e-5)


def resnet20(form: str, precise: float, clear: float) -> Network | None:
    """Return the trained network; None where its weights and images are missing."""
    images = cifar()
    if images is None:
        return None
    model = load_model(FILES[form](TRAINED))
    return Network(name=f"resnet20-{form}", model=model, data=images, precise=precise, clear=clear)


def resnet18() -> Network:
    """Return a network in FP32 whose answers are spread over all classes, and right without faults."""
    images = images_for(RESNET18, RESNET18_IMAGES)
    model = load_model(fp32(RESNET18))
    scores = FaultySession(model, sample=images[:8]).golden(images)[0]
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    (bias,) = [tensor for tensor in proto.graph.initializer if tensor.name == proto.graph.node[-1].input[2]]
    shifted = onnx.numpy_helper.to_array(bias) - scores.mean(axis=0)
    bias.CopyFrom(onnx.numpy_helper.from_array(shifted, bias.name))
    balanced = load_model(proto)
    labels = FaultySession(balanced, sample=images[:8]).golden(images)[0].argmax(axis=1)
    data = as_dataset([(images, labels)], name="random")
    return Network(name=RESNET18, model=balanced, data=data, precise=1e-8, clear=1e-6)


NETWORKS: Final[Mapping[str, Callable[[], Network | None]]] = {
    "digits": digits,
    "resnet20-fp32": partial(resnet20, "fp32", 1e-7, 1e-6),
    "resnet20-int8": partial(resnet20, "int8", 1e-5, 1e-4),
    RESNET18: resnet18,
}
"""What is evaluated."""


def measure(network: Network, options: Namespace) -> None:
    """Print the lines of one network."""
    ask = {"model": network.model, "data": network.data, "cap": options.cap, "threads": options.threads}
    questions: dict[str, Callable[..., Answer]] = {
        f"precision-{network.precise:g}": partial(seconds_to_precision, rate=network.precise, **ask),
        "gate-1e-07": partial(seconds_to_verdict, rate=1e-7, **ask),
        f"gate-{network.clear:g}": partial(seconds_to_verdict, rate=network.clear, **ask),
    }
    for question, answer in questions.items():
        if not question.startswith(options.question or ""):
            continue
        before: list[Answer] = []
        after: list[Answer] = []
        for seed in range(options.rounds):
            if sum(each.seconds for each in before + after) > 2 * options.cap:
                break
            # in changing order
            for sizes, answers in ((BEFORE, before), (AFTER, after))[:: 1 if seed % 2 else -1]:
                answers.append(answer(seed=seed, **sizes))
        figures = compared([each.seconds for each in before], [each.seconds for each in after])
        seconds = {"before_s": before, "after_s": after}
        print_line(
            f"verdict-{network.name}-{question}",
            figures,
            REFERENCE,
            GOAL,
            **{name: round(float(np.median([each.seconds for each in found])), 2) for name, found in seconds.items()},
            undecided=f"{unreached(before)} before, {unreached(after)} after",
            threads=options.threads,
        )


def unreached(answers: list[Answer]) -> int:
    """Return how many runs ended at the cap."""
    return sum(not answer.reached for answer in answers)


def seconds_to_precision(
    *, model: OnnxModel, data: Dataset, rate: float, cap: float, threads: int, seed: int, **sizes: int
) -> Answer:
    """Return the seconds until the accuracy is known to one point."""
    with tempfile.TemporaryDirectory(prefix="ftonnx-") as folder:
        start = time.perf_counter()
        result = evaluate(
            model,
            data,
            rates=[rate],
            results=Path(folder) / "results",
            precision=POINT,
            budget=f"{cap}s",
            threads=threads,
            seed=seed,
            **sizes,
        )
        seconds = time.perf_counter() - start
    (point,) = result.rates
    estimate = point.fractions[result.task.headline]
    if estimate.low is None or estimate.high is None:
        raise SystemExit(f"{model.name} at {rate:g}: {cap} s are too few for an interval")
    half_width = (estimate.high - estimate.low) / 2
    if half_width <= POINT:
        return Answer(seconds, reached=True)
    return Answer(seconds * (half_width / POINT) ** 2, reached=False)


def seconds_to_verdict(
    *, model: OnnxModel, data: Dataset, rate: float, cap: float, threads: int, seed: int, **sizes: int
) -> Answer:
    """Return the seconds until a gate knows whether the accuracy falls by more than one point."""
    start = time.perf_counter()
    found = gate(
        model,
        data,
        [f"max-drop {rate:g}:{POINT}"],
        budget=f"{cap}s",
        threads=threads,
        seed=seed,
        **sizes,
    )
    seconds = time.perf_counter() - start
    shutil.rmtree(found.results)
    return Answer(seconds, reached=found.verdict != "INCONCLUSIVE")


if __name__ == "__main__":
    main()
