"""What CReLU costs in FP32: a model with clipped activations against the same model with ReLU.

    python benchmarks/crelu_fp32.py [--rounds 15] [--batch 32] [--threads 2]

Needs the extra ``ftonnx[torch]`` (ResNet-18, random weights, 224 px). Both models run in ordinary ONNX Runtime
sessions with default options, in turn in one process. Prints one JSON line with the median ratio.
"""

import argparse
import json
import statistics
import warnings

import numpy as np
from throughput import timed

from ftonnx.export import export_module, with_activation
from ftonnx.models import build
from ftonnx.runtime import SessionOptions
from ftonnx.runtime.onnx_session import open_session


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with warnings.catch_warnings(action="ignore"):
        relu = export_module(build("resnet18"), input_shape=(3, 224, 224))
    sessions = [
        open_session(proto.SerializeToString(), SessionOptions(threads=options.threads))
        for proto in (relu, with_activation(relu, "crelu"))
    ]
    images = np.random.default_rng(0).standard_normal((options.batch, 3, 224, 224)).astype(np.float32)
    ratios = []
    for turn in range(options.rounds + 1):
        seconds = [0.0, 0.0]
        for index in (0, 1) if turn % 2 else (1, 0):
            session = sessions[index]
            seconds[index] = timed(lambda session=session: session.run(None, {"input": images}))
        ratios.append(seconds[1] / seconds[0])
    ratios = ratios[1:]  # the first round warms up
    figures = {"ratio": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}
    rounded = {name: round(value, 3) for name, value in figures.items()}
    case = {"case": "resnet18-fp32-crelu", **rounded, "reference": "the same model with ReLU", "n": options.rounds}
    print(json.dumps(case | {"batch": options.batch, "threads": options.threads}))


if __name__ == "__main__":
    main()
