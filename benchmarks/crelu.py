"""What CReLU costs: a model with clipped activations against the same model with ReLU, FP32 and int8.

    python benchmarks/crelu.py [--rounds 15 | --quick] [--batch 32] [--threads 2]

Needs the extra ``ftonnx[torch]`` (ResNet-18, random weights, 224 px, all 17 activations clipped at 4). Both models run
in ordinary ONNX Runtime sessions with default options.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import onnx
from lines import options_of, print_line
from nets import fp32, images_for
from numpy.typing import NDArray
from pairing import paired

from ftonnx.export import clip_activations, find_activations
from ftonnx.quant import QuantSettings, quantize
from ftonnx.sessions import SessionOptions, open_session

NAME = "resnet18"
GOALS = {"fp32": 1.15, "int8": 1.25}
CALIBRATION_IMAGES = 8
THRESHOLD = 4.0
CHANNELS = (64,) * 5 + (128,) * 4 + (256,) * 4 + (512,) * 4
INT8 = {
    "int8-qdq": QuantSettings(calibration="minmax"),
    "int8-qoperator": QuantSettings(calibration="minmax", quant_format="qoperator"),
    "int8-qdq-signed": QuantSettings(calibration="minmax", activation_type="int8"),
}


def main() -> None:
    """Run every case and print its line."""
    parser = options_of(__doc__, rounds=15, quick=3)
    parser.add_argument("--batch", type=int, default=32, help="images per batch")
    options = parser.parse_args()
    images = images_for(NAME, options.batch)
    for case, relu, clipped in cases(images[:CALIBRATION_IMAGES]):
        default = SessionOptions(threads=options.threads)
        runs = [
            partial(open_session(m.SerializeToString(), default).run, None, {"input": images}) for m in (relu, clipped)
        ]
        figures = paired(*runs, options.rounds)
        goal, facts = GOALS[case.split("-")[0]], {"batch": options.batch, "threads": options.threads}
        print_line(f"{NAME}-crelu-{case}", figures, "the same model with ReLU", goal, **facts)


def cases(images: NDArray[np.float32]) -> Iterator[tuple[str, onnx.ModelProto, onnx.ModelProto]]:
    """Yield (name, model with ReLU, model with CReLU)."""
    relu = onnx.load(fp32(NAME))
    names = [activation.name for activation in find_activations(relu)]
    scalars = {name: np.full((), THRESHOLD, np.float32) for name in names}
    vectors = {name: np.full((1, c, 1, 1), THRESHOLD, np.float32) for name, c in zip(names, CHANNELS, strict=True)}
    for scope, thresholds in (("node", scalars), ("channel", vectors)):
        clipped, _ = clip_activations(relu, thresholds)
        yield f"fp32-{scope}", relu, clipped
        for case, settings in INT8.items():
            if scope == "node" or case == "int8-qdq":
                yield (
                    f"{case}-{scope}",
                    quantize(relu, [images], settings).proto,
                    quantize(clipped, [images], settings).proto,
                )


if __name__ == "__main__":
    main()
