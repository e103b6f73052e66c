"""A unit of ``ftonnx inject``, end to end, against fault-free inference.

    python benchmarks/throughput.py [--rounds 13 | --quick] [--model NAME]... [--threads 2]

A unit draws fresh faults, flips them, runs the batch, counts its outcomes, restores the weights and records the unit
in a results folder. Deployed formats (int8, fp16, int4), batches of one image, and transformers: against an ordinary
session with default options. FP32 at batch 32: against the same session without faults, its outputs discarded
(``ratio_default_session``: against an ordinary session). Digits: a whole loop over units against a loop in plain
Python over an ordinary session. Random weights; ``ftonnx[torch]`` exports the networks once. Of networks that take
seconds per batch half the rounds are run.
"""

import itertools
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from lines import options_of, print_line
from nets import FILES, MLP, fp32, images_for
from numpy.typing import NDArray
from pairing import compared, interleaved

from ftonnx.campaign import Schedule, Settings, Unit
from ftonnx.campaign.provenance import header_of, identity_of
from ftonnx.campaign.run.batch import BatchRunner
from ftonnx.campaign.store.folder import Store
from ftonnx.datasets import as_dataset, load_dataset
from ftonnx.inject import BitFlipRates, load_model
from ftonnx.models import resolve
from ftonnx.runtime import FaultySession
from ftonnx.sessions import SessionOptions, open_session
from ftonnx.tasks import Classification

RATES: Final = {1e-6: 1.03, 3e-5: 1.05}
"""Rates and the goals of FP32 networks at them."""
FP32: Final = ("resnet18", "resnet50", "mobilenet_v2", "densenet161", "inception_v3", "vgg13_bn")
DEPLOYED: Final = {
    ("resnet18", "int8"): {1: 1.30, 32: 1.10, 128: 1.05},
    ("resnet50", "int8"): {1: 1.30, 32: 1.10, 128: 1.05},
    ("mobilenet_v2", "int8"): {1: 1.30},
    ("resnet50", "fp32"): {1: 1.05},
    ("mobilenet_v2", "fp32"): {1: 1.05},
    ("resnet18", "fp16"): {32: 1.05},
    ("vit_b_16", "fp32"): {4: 1.10},
    ("vit_b_16", "int8"): {4: 1.10},
    ("swin_t", "fp32"): {4: 1.10},
    (MLP, "int4"): {32: 1.30},
}
"""Goals at 1e-6 by network, format and batch size, against an ordinary session."""
SLOW: Final = frozenset({"densenet161", "inception_v3", "vgg13_bn", "vit_b_16", "swin_t"})
"""Networks that take seconds per batch."""
SHORT: Final = 0.1
"""Seconds below which a round has several units."""
LARGE_GEMM: Final = {"vgg13_bn": 1.10}
"""Networks whose large Gemms are faster when packed: compared with a default session, which packs, as well."""
SAME: Final = "the same session, fault-free, outputs discarded"
DEFAULT: Final = "a session with default options, fault-free, outputs discarded"
SMALL_GOAL: Final = 1.25
SMALL_BATCH: Final = 128
CLASSES: Final = 2
"""Of the data; the models know at least as many."""

Batch = tuple[NDArray[np.float32], NDArray[np.int64]]
Works = dict[Hashable, Callable[[], object]]


def main() -> None:
    """Run every case and print its line."""
    parser = options_of(__doc__, rounds=13, quick=3)
    known = dict.fromkeys((*(name for name, _ in DEPLOYED), *FP32, "digits"))
    parser.add_argument("--model", action="append", choices=known, help="only this network (repeatable)")
    parser.add_argument("--batch", type=int, default=32, help="images per batch of the FP32 networks")
    parser.add_argument("--repeats", type=int, default=80, help="units per batch of digits: 8 rates, 10 repeats")
    parser.add_argument("--format", choices=FILES, help="only networks in this format of weights")
    options = parser.parse_args()
    names = options.model or known
    for (name, form), goals in DEPLOYED.items():
        if name in names and options.format in (None, form):
            for batch, goal in goals.items():
                measure_deployed(name, form, batch, goal, options)
    if options.format in (None, "fp32"):
        for name in FP32:
            if name in names:
                measure_fp32(name, options)
        if "digits" in names:
            measure_digits(options)


def measure_fp32(name: str, options: Namespace) -> None:
    """Print the lines of one network in FP32."""
    images = images_for(name, options.batch)
    with Units(fp32(name), [(images, labels_for(images))], options) as units:
        (runner,) = units.runners()
        works: Works = {rate: partial(units.work, runner, rate) for rate in RATES}
        references: Works = {
            "golden": partial(units.session.golden, images),
            "default": ordinary(fp32(name), images, options),
        }
        seconds = interleaved(references | works, rounds_of(name, options))
        for rate, goal in RATES.items():
            figures, default = (compared(seconds[what], seconds[rate]) for what in references)
            facts = units.facts(rate)
            if name in LARGE_GEMM:
                print_line(f"{name}-fp32-{rate:g}-default-session", default, DEFAULT, LARGE_GEMM[name], **facts)
            goal, more = LARGE_GEMM.get(name, goal), {"ratio_default_session": default["ratio"]}
            print_line(f"{name}-fp32-{rate:g}", figures, SAME, goal, **facts, **more)


def measure_deployed(name: str, form: str, batch: int, goal: float, options: Namespace) -> None:
    """Print the lines of one network in one format at one batch size, against an ordinary session."""
    images = images_for(name, batch)
    path = FILES[form](name)
    with Units(path, [(images, labels_for(images))], options) as units:
        (runner,) = units.runners()
        works: Works = {rate: partial(units.work, runner, rate) for rate in RATES}
        works["default"] = ordinary(path, images, options)
        count = units_per_round(works["default"])
        repeated = {key: partial(several, work, count) for key, work in works.items()}
        seconds = interleaved(repeated, rounds_of(name, options))
        for rate in RATES:
            figures = compared(seconds["default"], seconds[rate])
            figures["reference_ms"] = round(figures["reference_ms"] / count, 3)
            facts = units.facts(rate) | {"units_per_round": count}
            print_line(f"{name}-{form}-batch{batch}-{rate:g}", figures, DEFAULT, goal_at(rate, goal), **facts)


def units_per_round(run: Callable[[], object]) -> int:
    """Return how many runs of a fault-free session make a round that other work on the machine does not decide."""
    run()
    start = time.perf_counter()
    run()
    return max(1, round(SHORT / (time.perf_counter() - start)))


def several(work: Callable[[], object], count: int) -> None:
    """Do the same work several times."""
    for _ in range(count):
        work()


def rounds_of(name: str, options: Namespace) -> int:
    """Return the paired rounds of a network."""
    rounds: int = options.rounds
    return (rounds + 1) // 2 if name in SLOW else rounds


def measure_digits(options: Namespace) -> None:
    """Print the lines of the embedded model: whole loops over units, the golden run of each batch included."""
    batches = list(load_dataset("digits").batches(SMALL_BATCH))
    plain = [(ordinary(resolve("digits"), images, options), labels) for images, labels in batches]

    def discarded() -> None:
        for run, _ in plain:
            for _ in range(options.repeats):
                run()

    def counted() -> int:
        return sum(
            int((run()[0].argmax(axis=1) == labels).sum()) for run, labels in plain for _ in range(options.repeats)
        )

    def faulty(rate: float) -> None:
        for runner in units.runners():
            for _ in range(options.repeats):
                units.work(runner, rate)

    references: Works = {"outputs discarded": discarded, "top-1 counted": counted}
    with Units(resolve("digits"), batches, options) as units:
        seconds = interleaved(references | {rate: partial(faulty, rate) for rate in RATES}, options.rounds)
        for rate, what in product(RATES, references):
            figures = compared(seconds[what], seconds[rate])
            case = f"digits-batch{SMALL_BATCH}-{rate:g}-{what.replace(' ', '-')}"
            reference = f"fault-free loop in plain Python over an ordinary session, {what}"
            count = options.repeats * len(batches)
            facts = units.facts(rate) | {"units_per_round": count}
            print_line(case, figures, reference, goal_at(rate, SMALL_GOAL), **facts)


def goal_at(rate: float, goal: float) -> float | None:
    """Return a goal that is set for the first rate only."""
    return goal if rate == min(RATES) else None


class Units:
    """Units of some batches, run and recorded as ``ftonnx inject`` does it; a context manager.

    Attributes:
        session: the faulty session, its strategy chosen by measuring.
    """

    def __init__(self, path: Path, batches: Sequence[Batch], options: Namespace) -> None:
        """Open the session and an empty results folder."""
        model = load_model(path)
        self._batches = batches
        self._settings = Settings(images_per_pattern=len(batches[0][0]), threads=options.threads)
        self._schedule = Schedule.of(model, BitFlipRates(RATES), self._settings)
        self._space = self._schedule.space
        self.session = FaultySession(model, self._space, threads=options.threads, sample=batches[0][0])
        data = as_dataset([batches[0]], name="benchmark")
        identity = identity_of(model, data, self._schedule, Classification())
        self._header = header_of(model, data, self._schedule, identity, self.session)
        self._repeats = itertools.count()

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory()
        self._store = Store.create_or_resume(Path(self._folder.name) / "results", self._header)
        return self

    def __exit__(self, *_: object) -> None:
        self._store.__exit__()
        self._folder.cleanup()

    def runners(self) -> Iterator[BatchRunner]:
        """Yield the runner of each batch, its golden run done."""
        for images, labels in self._batches:
            yield BatchRunner(self.session, self._schedule, Classification(), images, labels, classes=CLASSES)

    def work(self, runner: BatchRunner, rate: float) -> None:
        """Run and record a fresh unit."""
        self._store.add(runner.run(Unit(rate, next(self._repeats), 0)))

    def facts(self, rate: float) -> dict[str, Any]:
        """Return what a reader wants to know besides the figures."""
        return {
            "strategy": self.session.strategy,
            "faults_per_unit": round(rate * self._space.bits, 2),
            "batch": len(self._batches[0][0]),
            "threads": self._settings.threads,
        }


def ordinary(path: Path, images: NDArray[np.float32], options: Namespace) -> Callable[[], list[NDArray[Any]]]:
    """Return a fault-free run of an ONNX Runtime session with default options."""
    session = open_session(path.read_bytes(), SessionOptions(threads=options.threads))
    (given,) = session.get_inputs()
    return partial(session.run, None, {given.name: images})


def labels_for(images: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return labels, which weigh nothing where only time is measured."""
    return np.zeros(len(images), np.int64)


if __name__ == "__main__":
    main()
