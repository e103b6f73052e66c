"""Ranges of activations, from one pass over calibration batches, in memory that does not grow with their number."""

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, create_calibrator
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from ftonnx.errors import DataError, ModelError, message_of
from ftonnx.quant.cache import Ranges
from ftonnx.quant.histogram import RunningHistogram
from ftonnx.quant.sessions import REFUSALS, Probe, contained, elem_type
from ftonnx.quant.settings import QuantSettings

__all__ = ["OPERATORS", "calibrate"]

OPERATORS: Final[tuple[str, ...]] = tuple(sorted({*QDQRegistry, *QLinearOpsRegistry}))
"""The operators that ONNX Runtime quantizes."""

_CALIBRATED: Final = (*OPERATORS, "CReLU")
_FAILURES: Final[tuple[type[Exception], ...]] = (*REFUSALS, IndexError, AssertionError)

_METHODS: Final = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}


def calibrate(
    model: ModelProto,
    batches: Iterable[NDArray[np.float32]],
    settings: QuantSettings,
    *,
    same_range: dict[str, str],
) -> Ranges:
    """Find the range of every activation that may be quantized.

    Args:
        model: the floating-point model, shapes inferred.
        batches: checked images, each batch as the model takes it.
        settings: method and percentile.
        same_range: tensors that take the range of another, and so need no calibration.

    Raises:
        ModelError: ONNX Runtime cannot run the model, or an activation is NaN.
        DataError: there are no images.
    """
    if settings.calibration == "histogram":
        ranges = _histograms(model, batches, [name for name in activations(model) if name not in same_range])
    else:
        ranges = _ort_ranges(model, batches, settings)
    for name, other in same_range.items():
        ranges[name] = ranges[other]
    bad = next((name for name, pair in ranges.items() if not np.isfinite(pair).all()), None)
    if bad is not None:
        raise ModelError(f"activation {bad!r} has no finite range on the calibration data: {ranges[bad]}")
    return ranges


def activations(model: ModelProto) -> list[str]:
    """Return the FP32 tensors that go into or come out of quantizable operators, in graph order."""
    stored = {tensor.name for tensor in model.graph.initializer}
    values = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    floats = {value.name for value in values if elem_type(value) == TensorProto.FLOAT} - stored
    nodes = [node for node in model.graph.node if node.op_type in _CALIBRATED]
    return list(dict.fromkeys(name for node in nodes for name in (*node.input, *node.output) if name in floats))


def _histograms(model: ModelProto, batches: Iterable[NDArray[np.float32]], tensors: list[str]) -> Ranges:
    """Run the model on every batch and keep one histogram per tensor."""
    found = {name: RunningHistogram() for name in tensors}
    probe, empty = Probe(model, tensors), True
    for images in batches:
        empty = False
        for name, values in probe.run(images).items():
            if np.isnan(values.min(initial=0)):
                raise ModelError(f"activation {name!r} is NaN on the calibration data; no range can be found")
            found[name].update(values)
    _refuse_empty(empty)
    return {name: histogram.best_range() for name, histogram in found.items()}


def _ort_ranges(model: ModelProto, batches: Iterable[NDArray[np.float32]], settings: QuantSettings) -> Ranges:
    """Feed ONNX Runtime's calibrator batch by batch: within one call it would keep every batch."""
    empty = True
    with tempfile.TemporaryDirectory(prefix="ftonnx-") as folder, contained():
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        with _translated(settings.calibration):
            calibrator = create_calibrator(
                path,
                _CALIBRATED,
                augmented_model_path=str(Path(folder) / "augmented.onnx"),
                calibrate_method=_METHODS[settings.calibration],
                extra_options={"percentile": settings.percentile} if settings.calibration == "percentile" else {},
            )
        for images in batches:
            empty = False
            with _translated(settings.calibration):
                calibrator.collect_data(_OneBatch(calibrator.infer_session.get_inputs()[0].name, images))
        _refuse_empty(empty)
        with _translated(settings.calibration):
            found = calibrator.compute_data()
    return {name: (_number(data.lowest), _number(data.highest)) for name, data in found.items()}


@contextlib.contextmanager
def _translated(method: str) -> Iterator[None]:
    try:
        yield
    except _FAILURES as error:
        raise ModelError(f"ONNX Runtime's {method} calibration failed: {message_of(error)}") from error


def _number(value: Any) -> float:
    return float(np.ravel(value)[0])


def _refuse_empty(empty: bool) -> None:
    if empty:
        raise DataError("calibration needs at least one image, got none")


class _OneBatch(CalibrationDataReader):  # type: ignore[misc]
    """One batch of images, as ONNX Runtime's calibrators read them."""

    def __init__(self, name: str, images: NDArray[np.float32]) -> None:
        self._feeds: Iterator[dict[str, Any]] = iter([{name: images}])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._feeds, None)
