"""Time of a batch with faults against a batch without, interleaved in one process.

    python benchmarks/throughput.py [--rounds 15] [--batch 32] [--threads 2]

Needs the extra ``ftonnx[torch]`` (ResNet-18 with random weights is exported and quantized first).
Prints one JSON line per case: the median over rounds of (faulty time / fault-free time), where a
faulty batch draws fresh faults, flips, runs and restores, and a fault-free batch is an ordinary
ONNX Runtime session with default options.
"""

import argparse
import json
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from ftonnx.inject import BitFlipRate, FaultSpace, load_model, unit_rng
from ftonnx.runtime import FaultySession, SessionOptions

PIXELS = 224
CALIBRATION_IMAGES = 4


def main() -> None:
    """Run every case and print its line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-6, 3e-5])
    options = parser.parse_args()
    images = np.random.default_rng(0).standard_normal((options.batch, 3, PIXELS, PIXELS)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        for precision, path in make_models(Path(folder), images):
            for strategy in ("live", "rebuild"):
                for rate in options.rates:
                    figures = measure(path, images, strategy, rate, options.rounds, options.threads)
                    case = f"resnet18-{precision}-{strategy}-{rate:g}"
                    print(json.dumps({"case": case, **figures}), flush=True)


def make_models(folder: Path, images: NDArray[np.float32]) -> Iterator[tuple[str, Path]]:
    """Yield (precision, file) of ResNet-18, random weights, FP32 and int8 (QDQ, per channel)."""
    import torch  # only here: importing torch starts threads of its own
    import torchvision
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.feeds = iter([{"input": images[:CALIBRATION_IMAGES]}])

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(self.feeds, None)

    torch.manual_seed(0)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    module = torchvision.models.resnet18(weights=None).eval()
    fp32, int8 = folder / "fp32.onnx", folder / "int8.onnx"
    with warnings.catch_warnings(action="ignore"):
        shapes = ({0: torch.export.Dim.DYNAMIC},)
        program = torch.onnx.export(
            module, (torch.zeros(2, 3, PIXELS, PIXELS),), dynamo=True, dynamic_shapes=shapes,
            input_names=["input"], opset_version=20, verbose=False,
        )  # fmt: skip
    program.save(str(fp32), external_data=False)
    yield "fp32", fp32
    logging.getLogger().setLevel(logging.ERROR)
    quantize_static(fp32, int8, Reader(), per_channel=True, weight_type=QuantType.QInt8)
    yield "int8", int8


def measure(
    path: Path, images: NDArray[np.float32], strategy: str, rate: float, rounds: int, threads: int
) -> dict[str, Any]:
    """Return the median, lowest and highest ratio of faulty to fault-free time of one case."""
    model = load_model(path)
    space = FaultSpace.of(model)
    session = FaultySession(model, space, strategy=strategy, threads=threads, sample=images)
    plain = ort.InferenceSession(path, SessionOptions(threads=threads).to_ort(), providers=["CPUExecutionProvider"])
    feeds = {session.input: images}

    def faulty(repeat: int) -> None:
        session.run(images, BitFlipRate(rate).draw(space, unit_rng(0, rate, repeat, 0)))

    ratios, references = [], []
    for repeat in range(rounds + 1):
        pair: list[Callable[[], object]] = [lambda: plain.run(None, feeds), lambda r=repeat: faulty(r)]  # type: ignore[misc]
        order = (0, 1) if repeat % 2 else (1, 0)
        seconds = {index: timed(pair[index]) for index in order}
        ratios.append(seconds[1] / seconds[0])
        references.append(seconds[0])
    ratios, references = ratios[1:], references[1:]  # the first round warms up
    return {
        "ratio": round(statistics.median(ratios), 3),
        "low": round(min(ratios), 3),
        "high": round(max(ratios), 3),
        "reference": "fault-free run of a default session",
        "reference_ms": round(1e3 * statistics.median(references), 1),
        "faults_per_batch": rate * space.bits,
        "strategy": session.strategy,
        "batch": len(images),
        "threads": threads,
        "n": rounds,
    }


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that ``work`` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
