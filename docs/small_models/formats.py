"""Models whose values are stored in many number formats."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import DTypeLike, NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from small_models.base import BATCH, IMAGES, Kind, cnn, floats, model_of, value
from small_models.layers import SEQUENCE, recurrent

__all__ = ["KINDS"]

node = helper.make_node

_ROWS: Final = floats(2, 32, seed=98)
_TABLE: Final = (value("x", (BATCH, 32)),)
_BLOCK: Final = 16


class _Shown(CalibrationDataReader):
    """Calibration data: the images, once."""

    def __init__(self) -> None:
        self._batches: Iterator[Mapping[str, NDArray[Any]]] = iter([{"x": IMAGES}])

    def get_next(self) -> Mapping[str, NDArray[Any]] | None:
        """Return the next batch."""
        return next(self._batches, None)


def _static(folder: Path, quant_format: QuantFormat, *, per_channel: bool) -> onnx.ModelProto:
    before = logging.getLogger().level
    quantize_static(
        cnn(),
        folder / "int8.onnx",
        _Shown(),
        quant_format=quant_format,
        per_channel=per_channel,
        weight_type=QuantType.QInt8,
        activation_type=QuantType.QUInt8,
    )
    # the quantizer sets the level of all loggers
    logging.getLogger().setLevel(before)
    return onnx.load(folder / "int8.onnx")


def _dynamic(folder: Path, model: onnx.ModelProto) -> onnx.ModelProto:
    before = logging.getLogger().level
    quantize_dynamic(model, folder / "dynamic.onnx", weight_type=QuantType.QInt8)
    logging.getLogger().setLevel(before)
    return onnx.load(folder / "dynamic.onnx")


def _dense() -> onnx.ModelProto:
    nodes = [
        node("MatMul", ["x", "w1"], ["h"], name="first"),
        node("Relu", ["h"], ["r"], name="relu"),
        node("MatMul", ["r", "w2"], ["y"], name="second"),
    ]
    return model_of(nodes, {"w1": floats(32, 16), "w2": floats(16, 5, seed=1)}, inputs=_TABLE)


def _of_type(model: onnx.ModelProto, dtype: DTypeLike, element: int) -> onnx.ModelProto:
    """Return a model of floats in another type throughout; it is changed."""
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor).astype(dtype)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    for declared in (*model.graph.input, *model.graph.output):
        declared.type.tensor_type.elem_type = element
    return model


def _half(_: Path) -> onnx.ModelProto:
    return _of_type(cnn(), np.float16, TensorProto.FLOAT16)


def _half_weights(_: Path) -> onnx.ModelProto:
    return _cast(floats(32, 5).astype(np.float16))


def _double(_: Path) -> onnx.ModelProto:
    return _of_type(_dense(), np.float64, TensorProto.DOUBLE)


def _bfloat16(_: Path) -> onnx.ModelProto:
    return _cast(floats(32, 5).astype(ml_dtypes.bfloat16))


def _cast(weights: NDArray[Any]) -> onnx.ModelProto:
    nodes = [
        node("Cast", ["w"], ["wide"], to=TensorProto.FLOAT),
        node("MatMul", ["x", "wide"], ["y"]),
    ]
    return model_of(nodes, {"w": weights}, inputs=_TABLE)


def _dequantized(weights: NDArray[Any], scales: NDArray[np.float32], **options: int) -> onnx.ModelProto:
    nodes = [
        node("DequantizeLinear", ["w", "scale"], ["wide"], **options),
        node("MatMul", ["x", "wide"], ["y"]),
    ]
    return model_of(nodes, {"w": weights, "scale": scales}, inputs=_TABLE)


def _int4(_: Path) -> onnx.ModelProto:
    codes = np.random.default_rng(0).integers(-8, 8, (32, 5)).astype(ml_dtypes.int4)
    scales = np.abs(floats(32 // _BLOCK, 5, seed=1)) / 8
    return _dequantized(codes, scales, axis=0, block_size=_BLOCK)


def _float8(_: Path) -> onnx.ModelProto:
    return _dequantized(floats(32, 5).astype(ml_dtypes.float8_e4m3fn), np.float32([0.5])[0])


def _mat_mul_n_bits(_: Path) -> onnx.ModelProto:
    packed = np.random.default_rng(0).integers(0, 256, (5, 32 // _BLOCK, _BLOCK // 2), np.uint8)
    scales = np.abs(floats(5 * 32 // _BLOCK, seed=1)) / 8
    shape = {"K": 32, "N": 5, "bits": 4, "block_size": _BLOCK}
    nodes = [node("MatMulNBits", ["x", "w", "scales"], ["y"], domain="com.microsoft", **shape)]
    return model_of(nodes, {"w": packed, "scales": scales}, inputs=_TABLE, domains=["com.microsoft"])


KINDS: Final = (
    Kind(name="FP32 CNN", make=lambda _: cnn()),
    Kind(name="double (float64) throughout", make=_double, data=_ROWS.astype(np.float64)),
    Kind(name="fp16 throughout", make=_half, data=IMAGES.astype(np.float16)),
    Kind(name="fp16 weights behind Cast", make=_half_weights, data=_ROWS),
    Kind(name="bf16 weights behind Cast", make=_bfloat16, data=_ROWS),
    Kind(name="fp8 weights behind DequantizeLinear", make=_float8, data=_ROWS),
    Kind(name="int8 QDQ, per tensor", make=lambda folder: _static(folder, QuantFormat.QDQ, per_channel=False)),
    Kind(name="int8 QDQ, per channel", make=lambda folder: _static(folder, QuantFormat.QDQ, per_channel=True)),
    Kind(name="int8 QOperator", make=lambda folder: _static(folder, QuantFormat.QOperator, per_channel=False)),
    Kind(name="int8 dynamic: MatMulInteger", make=lambda folder: _dynamic(folder, _dense()), data=_ROWS),
    Kind(
        name="int8 dynamic: DynamicQuantizeLSTM",
        make=lambda folder: _dynamic(folder, recurrent("LSTM")),
        data=SEQUENCE,
    ),
    Kind(name="int4 behind DequantizeLinear, in blocks", make=_int4, data=_ROWS),
    Kind(name="int4 in MatMulNBits", make=_mat_mul_n_bits, data=_ROWS),
)
"""By number format."""
