"""Static post-training quantization: calibration, int8 conversion, CReLU in the integer domain, error per layer.

The only importer of ``onnxruntime.quantization``. Not aware of data sets, labels, faults or the command line.
"""

from ftonnx.quant.cache import CalibrationCache, Ranges
from ftonnx.quant.convert import channel_axis
from ftonnx.quant.histogram import RunningHistogram
from ftonnx.quant.images import images_per_batch, only_array
from ftonnx.quant.prepare import digest
from ftonnx.quant.report import Activation, ClippedActivation, Quantized, QuantReport
from ftonnx.quant.settings import CALIBRATIONS, QuantSettings
from ftonnx.quant.static import quantize
from ftonnx.quant.writer import Int8Writer, Written

__all__ = [
    "CALIBRATIONS",
    "Activation",
    "CalibrationCache",
    "ClippedActivation",
    "Int8Writer",
    "QuantReport",
    "QuantSettings",
    "Quantized",
    "Ranges",
    "RunningHistogram",
    "Written",
    "channel_axis",
    "digest",
    "images_per_batch",
    "only_array",
    "quantize",
]
