"""Time of a batch with faults against a batch without, interleaved in one process.

    python benchmarks/throughput.py [--rounds 15] [--batch 32] [--threads 2]

Needs the extra ``ftonnx[torch]`` (ResNet-18 with random weights is exported and quantized first).
Prints one JSON line per case: the median over rounds of (faulty time / fault-free time), where a
faulty batch draws fresh faults, flips, runs and restores, and a fault-free batch is an ordinary
ONNX Runtime session with default options.
"""

import argparse
import itertools
import json
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pairing import paired

from ftonnx.export import export_module
from ftonnx.inject import BitFlipRate, FaultSpace, OnnxModel, load_model, unit_rng
from ftonnx.models import build
from ftonnx.quant import quantize
from ftonnx.runtime import FaultySession, SessionOptions
from ftonnx.runtime.onnx_session import open_session

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
    for precision, model in make_models(images):
        for strategy in ("live", "rebuild"):
            for rate in options.rates:
                figures = measure(model, images, strategy, rate, options.rounds, options.threads)
                case = f"resnet18-{precision}-{strategy}-{rate:g}"
                print(json.dumps({"case": case, **figures}), flush=True)


def make_models(images: NDArray[np.float32]) -> Iterator[tuple[str, OnnxModel]]:
    """Yield (precision, model) of ResNet-18, random weights, FP32 and int8 (QDQ, per channel)."""
    with warnings.catch_warnings(action="ignore"):
        fp32 = export_module(build("resnet18"), input_shape=(3, PIXELS, PIXELS))
    yield "fp32", load_model(fp32)
    yield "int8", load_model(quantize(fp32, [images[:CALIBRATION_IMAGES]])[0])


def measure(
    model: OnnxModel, images: NDArray[np.float32], strategy: str, rate: float, rounds: int, threads: int
) -> dict[str, Any]:
    """Return the median, lowest and highest ratio of faulty to fault-free time of one case."""
    space = FaultSpace.of(model)
    session = FaultySession(model, space, strategy=strategy, threads=threads, sample=images)
    plain = open_session(model.proto.SerializeToString(), SessionOptions(threads=threads))
    feeds = {session.input: images}

    repeats = itertools.count()

    def faulty() -> None:
        session.run(images, BitFlipRate(rate).draw(space, unit_rng(0, rate, next(repeats), 0)))

    return {
        **paired(lambda: plain.run(None, feeds), faulty, rounds),
        "reference": "fault-free run of a default session",
        "faults_per_batch": round(rate * space.bits, 1),
        "strategy": session.strategy,
        "batch": len(images),
        "threads": threads,
    }


if __name__ == "__main__":
    main()
