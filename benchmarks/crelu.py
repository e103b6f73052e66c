"""What clipping costs: a model with clipped or clamped activations against the same model with ReLU, FP32 and int8.

    python benchmarks/crelu.py [--rounds 15 | --quick] [--batch 32] [--threads 2] [--only fp32]

Needs the extra ``ftonnx[torch]`` (ResNet-18, random weights, 224 px, all 17 activations clipped at 4). Both models run
in ordinary ONNX Runtime sessions with default options. ``--only`` runs the cases whose names contain a text.
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
GOAL_OF_CLAMPS = 1.03
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
    parser.add_argument("--only", default="", help="cases whose names contain this")
    options = parser.parse_args()
    images = images_for(NAME, options.batch)
    for case, relu, clipped in cases(images[:CALIBRATION_IMAGES], options.only):
        default = SessionOptions(threads=options.threads)
        runs = [
            partial(open_session(m.SerializeToString(), default).run, None, {"input": images}) for m in (relu, clipped)
        ]
        figures = paired(*runs, options.rounds)
        goal = GOAL_OF_CLAMPS if case.endswith("clamp") else GOALS[case.split("-")[0]]
        facts = {"batch": options.batch, "threads": options.threads}
        print_line(f"{NAME}-crelu-{case}", figures, "the same model with ReLU", goal, **facts)


def cases(images: NDArray[np.float32], wanted: str) -> Iterator[tuple[str, onnx.ModelProto, onnx.ModelProto]]:
    """Yield (name, model with ReLU, model with clipped activations) of the wanted cases."""
    relu = onnx.load(fp32(NAME))
    names = [activation.name for activation in find_activations(relu)]
    scalars = {name: np.full((), THRESHOLD, np.float32) for name in names}
    vectors = {name: np.full((1, c, 1, 1), THRESHOLD, np.float32) for name, c in zip(names, CHANNELS, strict=True)}
    forms = {
        "node": clip_activations(relu, scalars)[0],
        "channel": clip_activations(relu, vectors)[0],
        "clamp": clip_activations(relu, scalars, on_exceed="clamp")[0],
    }
    for form, clipped in forms.items():
        if wanted in f"fp32-{form}":
            yield f"fp32-{form}", relu, clipped
        for case, settings in INT8.items():
            measured = form == "node" or case == "int8-qdq"
            if measured and wanted in f"{case}-{form}":
                yield (
                    f"{case}-{form}",
                    quantize(relu, [images], settings).proto,
                    quantize(clipped, [images], settings).proto,
                )


if __name__ == "__main__":
    main()
