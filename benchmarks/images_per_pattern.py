"""How many images should share a fault pattern: the variance of the mean times the seconds, by that number.

    python benchmarks/images_per_pattern.py [--patterns 200 | --quick] [--case digits ...] [--cifar10 FOLDER]

Variance: every pattern is met by 256 images (128 of the large networks), and what each image's answer is worth is kept.
Any number of images per pattern can be read off this table: the variance, over patterns, of what groups of so many
images give. All numbers are thus compared on the same patterns and images. Seconds: of processor time, of units of each
size, recorded as campaigns do, in turn, one thread, nothing kept from golden runs. ``low`` to ``high`` is the 95 %
bootstrap interval over patterns.

ResNet-20 has trained weights and real images where ``--cifar10`` names the folder with ``resnet20.pth``, ``train.npz``
and ``test.npz``, and is left out without it. ResNet-18 and ResNet-50 have random weights and random images, and their
labels are what they answer without faults. Needs ``ftonnx[torch]`` to make a network.
"""

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from lines import options_of, print_line
from nets import fp32, images_for, int8
from numpy.typing import NDArray
from pairing import interleaved

from ftonnx import FaultySession, load_dataset
from ftonnx.campaign import Settings
from ftonnx.campaign.inputs import open_model
from ftonnx.campaign.plan.schedule import Schedule, Unit
from ftonnx.campaign.provenance import header_of, identity_of
from ftonnx.campaign.run.batch import BatchRunner
from ftonnx.campaign.store.folder import Store
from ftonnx.datasets import as_dataset
from ftonnx.export import export_module
from ftonnx.inject import BitFlipRates, OnnxModel, unit_rng
from ftonnx.models import build
from ftonnx.quant import quantize
from ftonnx.tasks import default_task

SIZES: Final = (128, 32, 16, 8, 4, 2, 1)
PAPER: Final = SIZES[0]
RESAMPLED: Final = 500
CIFAR_MEAN: Final = (0.485, 0.456, 0.406)
CIFAR_STD: Final = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Case:
    """A model, what it is shown, and what flips.

    Attributes:
        name: of the case.
        rates: flips per bit.
        share: of the asked-for patterns that is drawn, as large networks take long.
        make: returns the model, images and labels; labels are None for the answers without faults.
    """

    name: str
    rates: tuple[float, ...]
    share: float
    make: Callable[[], tuple[OnnxModel, NDArray[Any], NDArray[Any] | None]]


def main() -> None:
    """Measure every case and print a line for each number of images."""
    parser = options_of(__doc__, rounds=7, quick=1, threads=False)
    parser.add_argument("--patterns", type=int, default=200, help="patterns of a small network")
    parser.add_argument(
        "--seconds", type=float, default=0.5, help="of a measurement: patterns differ, some flip nothing"
    )
    parser.add_argument("--case", action="append", help="only this one (repeatable)")
    parser.add_argument("--cifar10", type=Path, help="folder of ResNet-20's weights and images")
    options = parser.parse_args()
    for case in cases(options.cifar10):
        if options.case is None or case.name in options.case:
            measure(case, options.patterns, options.rounds, options.seconds)


def cases(cifar10: Path | None) -> list[Case]:
    """Return what is measured."""
    found = [Case("digits-fp32", (1e-6, 1e-5), 1.0, digits)]
    if cifar10 is not None:
        found.append(Case("resnet20-fp32", (1e-7, 1e-6), 1.0, lambda: resnet20(cifar10)))
        found.append(Case("resnet20-int8", (1e-6, 1e-5), 1.0, lambda: resnet20(cifar10, quantized=True)))
    for name, share in (("resnet18", 0.3), ("resnet50", 0.15)):
        found.append(Case(f"{name}-fp32", (1e-8,), share, lambda name=name: random_net(name, fp32)))
        found.append(Case(f"{name}-int8", (1e-4,), share, lambda name=name: random_net(name, int8)))
    return found


def digits() -> tuple[OnnxModel, NDArray[Any], NDArray[Any]]:
    """Return the embedded model with its test images."""
    images, labels = next(load_dataset("digits").batches(2 * PAPER))
    return open_model("digits"), images, labels


def resnet20(folder: Path, *, quantized: bool = False) -> tuple[OnnxModel, NDArray[Any], NDArray[Any]]:
    """Return the trained network with CIFAR-10 test images, in FP32 or quantized on training images."""
    with warnings.catch_warnings(action="ignore"):
        network = build("resnet20-cifar", weights=folder / "resnet20.pth")
        proto: onnx.ModelProto = export_module(network, input_shape=(3, 32, 32))
    if quantized:
        calibration, _ = cifar(folder / "train.npz", 256)
        proto = quantize(proto, np.split(calibration, 4)).proto
    images, labels = cifar(folder / "test.npz", 2 * PAPER)
    return open_model(proto), images, labels


def cifar(file: Path, count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return normalized images and labels."""
    with np.load(file) as archive:
        pixels = archive["images"][:count].astype(np.float32) / np.float32(255)
        labels = archive["labels"][:count].astype(np.int64)
    mean, std = (np.array(values, np.float32).reshape(3, 1, 1) for values in (CIFAR_MEAN, CIFAR_STD))
    return (pixels - mean) / std, labels


def random_net(name: str, form: Callable[[str], Path]) -> tuple[OnnxModel, NDArray[Any], None]:
    """Return a network with random weights and random images."""
    return open_model(form(name)), images_for(name, PAPER), None


def measure(case: Case, patterns: int, rounds: int, least: float) -> None:
    """Print a line for each rate and number of images."""
    model, images, labels = case.make()
    settings = Settings(threads=1, batch_size=PAPER)
    schedule = Schedule.of(model, BitFlipRates(case.rates), settings)
    session = FaultySession(model, schedule.space, threads=1, sample=images[:PAPER])
    if labels is None:
        labels = answers(session, images, None)
    tables = {}
    for rate in case.rates:
        drawn = max(2, round(case.share * patterns))
        tables[rate] = right_answers(session, schedule, rate, images, labels, drawn)
    for rate, table in tables.items():
        seconds, strategies = unit_seconds(model, images, labels, rate, rounds, least)
        print_lines(case.name, rate, table, seconds, strategies)


def answers(session: FaultySession, images: NDArray[Any], pattern: Any) -> NDArray[np.int64]:
    """Return the class of every image, -1 where an output is no number."""
    run = session.golden(images) if pattern is None else session.run(images, pattern)
    scores = run[0]
    return np.where(np.isfinite(scores).all(axis=1), scores.argmax(axis=1), -1)


def right_answers(
    session: FaultySession, schedule: Schedule, rate: float, images: NDArray[Any], labels: NDArray[Any], drawn: int
) -> NDArray[np.bool_]:
    """Return whether each image is classified right under each pattern, (patterns, images)."""
    found = []
    for repeat in range(drawn):
        pattern = schedule.faults.draw(schedule.space, unit_rng(0, rate, 0, repeat), level=rate)
        parts = [answers(session, images[start : start + PAPER], pattern) for start in range(0, len(images), PAPER)]
        found.append(np.concatenate(parts) == labels)
    return np.array(found)


def unit_seconds(
    model: OnnxModel, images: NDArray[Any], labels: NDArray[Any], rate: float, rounds: int, least: float
) -> tuple[dict[int, float], dict[int, str]]:
    """Return the median seconds of a recorded unit, and the strategy, by images per pattern."""
    works = {}
    strategies = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            work, strategies[size] = recorded_unit(model, images[:size], labels[:size], rate, Path(folder) / str(size))
            works[size] = Timed(work, least)
        interleaved(works, rounds)
    return {size: statistics.median(timed.seconds) for size, timed in works.items()}, strategies


def recorded_unit(
    model: OnnxModel, images: NDArray[Any], labels: NDArray[Any], rate: float, folder: Path
) -> tuple[Callable[[], None], str]:
    """Return what runs and records a fresh unit of these images, and the strategy that a campaign would choose."""
    settings = Settings(threads=1, images_per_pattern=len(labels))
    faults = BitFlipRates(rate)
    schedule = Schedule.of(model, faults, settings)
    session = FaultySession(model, schedule.space, threads=1, sample=images, cache_memory=0)
    task = default_task()
    runner = BatchRunner(session, schedule, task, images, labels, classes=None)
    data = as_dataset([(images, labels)], name="images")
    identity = identity_of(model, data, schedule, task)
    store = Store.create_or_resume(folder, header_of(model, data, schedule, identity, session))
    repeats = iter(range(10**9))
    return lambda: store.add(runner.run(Unit(rate, next(repeats), 0))), session.strategy


class Timed:
    """Work that is done often enough at a time to be timed.

    Attributes:
        seconds: of processor time, each of doing it once.
    """

    def __init__(self, work: Callable[[], None], least: float) -> None:
        """Find out how often makes ``least`` seconds."""
        self._work = work
        self._times = 1
        self.seconds: list[float] = []
        # the first is slower than all that follow, the second says how many make a measurement
        for _ in range(2):
            self()
        self._times = max(1, round(least / self.seconds[-1]))
        self.seconds.clear()

    def __call__(self) -> None:
        """Do it, and take the time."""
        start = time.process_time()
        for _ in range(self._times):
            self._work()
        self.seconds.append((time.process_time() - start) / self._times)


def variance(table: NDArray[np.bool_], size: int) -> float:
    """Return the variance over patterns of the share that a group of ``size`` images gets right, all groups' mean."""
    patterns, images = table.shape
    shares = table.reshape(patterns, images // size, size).mean(axis=2)
    return float(shares.var(axis=0, ddof=1).mean())


def print_lines(
    name: str, rate: float, table: NDArray[np.bool_], seconds: dict[int, float], strategies: dict[int, str]
) -> None:
    """Print the cost of every number of images, as a ratio to that of the paper's.

    Raises:
        SystemExit: nothing varies.
    """
    if variance(table, PAPER) == 0:
        raise SystemExit(
            f"{name}: no pattern at {rate:g} changed an answer; more patterns, or a higher rate, are needed"
        )
    rng = np.random.default_rng(0)
    resampled = [table[rng.integers(0, len(table), len(table))] for _ in range(RESAMPLED)]
    for size in SIZES:
        faster = seconds[size] / seconds[PAPER]
        ratio = faster * variance(table, size) / variance(table, PAPER)
        others = [faster * variance(each, size) / max(variance(each, PAPER), 1e-12) for each in resampled]
        low, high = np.quantile(others, [0.025, 0.975])
        figures = {
            "ratio": round(ratio, 4),
            "low": round(min(ratio, low), 4),
            "high": round(max(ratio, high), 4),
            "reference_ms": round(1e3 * seconds[PAPER], 3),
            "n": len(table),
        }
        print_line(
            f"{name}-{rate:g}-{size}-images",
            figures,
            f"variance of the mean x seconds at {PAPER} images per pattern",
            unit_ms=round(1e3 * seconds[size], 3),
            strategy=strategies[size],
            accuracy=round(float(table.mean()), 4),
        )


if __name__ == "__main__":
    main()
