"""Time of an int8 ResNet-18 with CReLU against the same with ReLU, interleaved in one process.

    python benchmarks/crelu_int8.py [--rounds 15] [--batch 32] [--pixels 224] [--threads 2]

Needs the extra ``ftonnx[torch]``. ResNet-18 with random weights is exported; each of its 17 ReLUs becomes a
CReLU with a finite threshold; both models are quantized by ``ftonnx.quant`` with its defaults. Prints one JSON line
per case: the median, lowest and highest over rounds of (time with CReLU / time with ReLU), both sessions with
default options and run one after the other in alternating order.
"""

import argparse
import json
import logging
import statistics
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import FunctionProto, ModelProto, helper, numpy_helper

from ftonnx.quant import QuantSettings, quantize

CALIBRATION_IMAGES = 8
FUSED = ("QLinearConv", "QLinearAdd", "QGemm", "Conv", "Add")


def main() -> None:
    """Run every case and print its line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--pixels", type=int, default=224)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    shape = (options.batch, 3, options.pixels, options.pixels)
    images = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    relu = resnet18(options.pixels)
    for case, settings, models in cases(relu):
        sessions, operators = [], []
        for model in models:
            quantized = quantize(model, [images[:CALIBRATION_IMAGES]], settings)[0] if settings else model
            session, counts = opened(quantized, options.threads)
            sessions.append(session)
            operators.append(counts)
        figures = measure(sessions, images, options.rounds)
        print(json.dumps({"case": case, **figures, "relu_ops": operators[0], "crelu_ops": operators[1]}), flush=True)


def cases(relu: ModelProto) -> Iterator[tuple[str, QuantSettings | None, tuple[ModelProto, ModelProto]]]:
    """Yield (name, settings or None for FP32, (model with ReLU, model with CReLU))."""
    qdq, operators = QuantSettings(calibration="minmax"), QuantSettings(calibration="minmax", quant_format="qoperator")
    signed = QuantSettings(calibration="minmax", activation_type="int8")
    yield "resnet18-int8-qdq-scalar", qdq, (relu, with_crelu(relu, per_channel=False))
    yield "resnet18-int8-qdq-channel", qdq, (relu, with_crelu(relu, per_channel=True))
    yield "resnet18-int8-qoperator-scalar", operators, (relu, with_crelu(relu, per_channel=False))
    yield "resnet18-int8-signed-scalar", signed, (relu, with_crelu(relu, per_channel=False))


def resnet18(pixels: int) -> ModelProto:
    """Return torchvision's ResNet-18 with random weights, dynamic batch."""
    import torch  # only here: importing torch starts threads of its own
    import torchvision

    torch.manual_seed(0)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    module = torchvision.models.resnet18(weights=None).eval()
    with warnings.catch_warnings(action="ignore"), tempfile.TemporaryDirectory() as folder:
        program = torch.onnx.export(
            module, (torch.zeros(2, 3, pixels, pixels),), dynamo=True, dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            input_names=["input"], opset_version=20, verbose=False,
        )  # fmt: skip
        program.save(str(Path(folder) / "model.onnx"), external_data=False)
        return onnx.load(Path(folder) / "model.onnx")


def with_crelu(model: ModelProto, *, per_channel: bool) -> ModelProto:
    """Return the model with a CReLU, threshold 4, in the place of every Relu."""
    changed = ModelProto()
    changed.CopyFrom(model)
    shapes = {value.name: value.type.tensor_type.shape for value in changed.graph.value_info}
    for index, node in enumerate(node for node in changed.graph.node if node.op_type == "Relu"):
        channels = shapes[node.output[0]].dim[1].dim_value if per_channel else 1
        threshold = np.full((1, channels, 1, 1) if per_channel else (), 4.0, np.float32)
        changed.graph.initializer.append(numpy_helper.from_array(threshold, f"threshold_{index}"))
        node.domain, node.op_type = "ftonnx", "CReLU"
        node.input.append(f"threshold_{index}")
    changed.functions.append(crelu())
    changed.opset_import.add(domain="ftonnx", version=1)
    return changed


def crelu() -> FunctionProto:
    """Return ``ftonnx::CReLU(X, T)``."""
    nodes = [
        helper.make_node("Relu", ["X"], ["positive"]),
        helper.make_node("LessOrEqual", ["positive", "T"], ["keep"]),
        helper.make_node("Sub", ["T", "T"], ["zero"]),
        helper.make_node("Where", ["keep", "positive", "zero"], ["Y"]),
    ]
    return helper.make_function("ftonnx", "CReLU", ["X", "T"], ["Y"], nodes, [helper.make_opsetid("", 20)])


def opened(model: ModelProto, threads: int) -> tuple[ort.InferenceSession, dict[str, int]]:
    """Open a session with default optimizations; return it and how often the optimized graph has which operators."""
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        counts = Counter(node.op_type for node in onnx.load(Path(folder) / "optimized.onnx").graph.node)
    return session, dict(counts)


def measure(sessions: list[ort.InferenceSession], images: NDArray[np.float32], rounds: int) -> dict[str, Any]:
    """Return median, lowest and highest ratio of the second session's time to the first's."""
    runs: list[Callable[[], object]] = [
        lambda: sessions[0].run(None, {"input": images}),
        lambda: sessions[1].run(None, {"input": images}),
    ]
    ratios, references = [], []
    for index in range(rounds + 2):
        seconds = {which: timed(runs[which]) for which in ((0, 1) if index % 2 else (1, 0))}
        ratios.append(seconds[1] / seconds[0])
        references.append(seconds[0])
    ratios, references = ratios[2:], references[2:]  # the first rounds warm up
    return {
        "ratio": round(statistics.median(ratios), 3),
        "low": round(min(ratios), 3),
        "high": round(max(ratios), 3),
        "reference": "the same model with ReLU",
        "reference_ms": round(1e3 * statistics.median(references), 1),
        "batch": len(images),
        "n": rounds,
    }


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that ``work`` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
