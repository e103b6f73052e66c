"""Files as exporters, converters and optimizers leave them, and files that are no ONNX models."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper

import ftonnx
from ftonnx.quant import QuantSettings
from small_models.base import IMAGES, Kind, cnn

__all__ = ["KINDS"]

_LOG_ERRORS: Final = 3


def _old(_: Path) -> onnx.ModelProto:
    """Return IR version 3, where stored tensors must be inputs too."""
    model = cnn()
    for tensor in model.graph.initializer:
        declared = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        model.graph.input.append(declared)
    model.ir_version = 3
    model.opset_import[0].version = 9
    return model


def _old_without_inputs(_: Path) -> onnx.ModelProto:
    model = cnn()
    model.ir_version = 3
    model.opset_import[0].version = 9
    return model


def _unsorted(_: Path) -> onnx.ModelProto:
    model = cnn()
    backwards = list(reversed(model.graph.node))
    del model.graph.node[:]
    model.graph.node.extend(backwards)
    return model


def _external(folder: Path) -> Path:
    path = folder / "external.onnx"
    onnx.save(cnn(), path, save_as_external_data=True, location="external.data", size_threshold=0)
    return path


def _optimized(folder: Path) -> onnx.ModelProto:
    """Return what ONNX Runtime saves: FusedConv, in the blocked layout where the processor has one."""
    options = ort.SessionOptions()
    # it warns of what is the point: such a file is for this kind of processor
    options.log_severity_level = _LOG_ERRORS
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    ort.InferenceSession(cnn().SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "optimized.onnx")


def _clipped(_: Path) -> onnx.ModelProto:
    labels = np.zeros(len(IMAGES), np.int64)
    return ftonnx.protect(cnn(), [(IMAGES, labels)]).proto


def _quantized(_: Path) -> onnx.ModelProto:
    return ftonnx.quantize(cnn(), [IMAGES], QuantSettings(calibration="minmax")).proto


def _ort_format(folder: Path) -> Path:
    path = folder / "model.ort"
    options = ort.SessionOptions()
    options.log_severity_level = _LOG_ERRORS
    options.optimized_model_filepath = str(path)
    ort.InferenceSession(cnn().SerializeToString(), options, providers=["CPUExecutionProvider"])
    return path


def _checkpoint(folder: Path) -> Path:
    path = folder / "model.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", b"")
    return path


def _file(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content)
        return path

    return write


_HEADER: Final = b'{"w": {}}'

KINDS: Final = (
    Kind(name="weights in external data", make=_external),
    Kind(name="IR version 3, weights listed as inputs", make=_old),
    Kind(name="IR version 3, weights not listed", make=_old_without_inputs),
    Kind(name="nodes not sorted", make=_unsorted),
    Kind(name="saved by ONNX Runtime's optimizer (FusedConv, blocked layout)", make=_optimized),
    Kind(name="clipped by `ftonnx protect`", make=_clipped),
    Kind(name="quantized by `ftonnx quantize`", make=_quantized),
    Kind(name="ORT format (.ort)", make=_ort_format),
    Kind(name="torch checkpoint (.pth)", make=_checkpoint),
    Kind(
        name="safetensors",
        make=_file("model.safetensors", len(_HEADER).to_bytes(8, "little") + _HEADER),
    ),
    Kind(name="TensorFlow Lite (.tflite)", make=_file("model.tflite", b"\x1c\0\0\0TFL3")),
    Kind(
        name="Git LFS pointer",
        make=_file("model.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
    ),
)
"""By the file."""
