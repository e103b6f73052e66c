"""Ranges of activations, from one pass over calibration batches, in memory that does not grow with their number."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, create_calibrator
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from ftonnx.errors import DataError, ModelError, describe
from ftonnx.files import scratch_folder
from ftonnx.quant.cache import Ranges
from ftonnx.quant.histogram import RunningHistogram
from ftonnx.quant.sessions import Probe, contained, elem_type
from ftonnx.quant.settings import QuantSettings

__all__ = ["OPERATORS", "activations", "calibrate", "with_borrowed"]

OPERATORS: Final[tuple[str, ...]] = tuple(sorted({*QDQRegistry, *QLinearOpsRegistry}))
"""The operators that ONNX Runtime quantizes."""

_CALIBRATED: Final = (*OPERATORS, "CReLU")

_METHODS: Final = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}


def calibrate(
    model: ModelProto,
    batches: Iterable[NDArray[np.float32]],
    settings: QuantSettings,
    borrowers: Mapping[str, str],
) -> Ranges:
    """Find the range of every activation that may be quantized.

    Args:
        model: the floating-point model, shapes inferred.
        batches: checked images, each batch as the model takes it.
        settings: method and percentile.
        borrowers: tensors that take the range of another, and so need no calibration.

    Raises:
        ModelError: ONNX Runtime cannot run the model, or an activation is NaN.
        DataError: there are no images.
    """
    if settings.calibration == "histogram":
        tensors = [name for name in activations(model) if name not in borrowers]
        ranges = _histograms(model, batches, tensors)
    else:
        ranges = _ort_ranges(model, batches, settings)
    ranges = with_borrowed(ranges, borrowers)
    for name, pair in ranges.items():
        if not np.isfinite(pair).all():
            raise ModelError(f"activation {name!r} has no finite range on the calibration data: {pair}")
    return ranges


def activations(model: ModelProto) -> list[str]:
    """Return the FP32 tensors that go into or come out of quantizable operators, in graph order."""
    graph = model.graph
    floats = set()
    for values in (graph.input, graph.value_info, graph.output):
        for value in values:
            if elem_type(value) == TensorProto.FLOAT:
                floats.add(value.name)
    # weights are quantized by their own values
    for tensor in graph.initializer:
        floats.discard(tensor.name)
    # a dictionary keeps the order of the graph and each name once
    found: dict[str, None] = {}
    for node in graph.node:
        if node.op_type not in _CALIBRATED:
            continue
        for name in (*node.input, *node.output):
            if name in floats:
                found[name] = None
    return list(found)


def with_borrowed(ranges: Ranges, borrowers: Mapping[str, str]) -> Ranges:
    """Return the ranges with those of borrowers, each that of the last tensor of its chain.

    >>> with_borrowed({"c": (0, 1)}, {"a": "b", "b": "c"})
    {'c': (0, 1), 'a': (0, 1), 'b': (0, 1)}
    """
    result = dict(ranges)
    for name in borrowers:
        last = name
        while last in borrowers:
            last = borrowers[last]
        result[name] = result[last]
    return result


def _histograms(model: ModelProto, batches: Iterable[NDArray[np.float32]], tensors: list[str]) -> Ranges:
    """Run the model on every batch and keep one histogram per tensor."""
    histograms = {name: RunningHistogram() for name in tensors}
    probe = Probe(model, tensors)
    empty = True
    for images in batches:
        empty = False
        values_by_name = probe.run(images)
        for name, values in values_by_name.items():
            # the smallest value is NaN where any is, and is found without an array of flags
            if np.isnan(values.min(initial=0)):
                raise ModelError(f"activation {name!r} is NaN on the calibration data; no range can be found")
            histograms[name].update(values)
    _refuse_empty(empty)
    return {name: histogram.best_range() for name, histogram in histograms.items()}


def _ort_ranges(model: ModelProto, batches: Iterable[NDArray[np.float32]], settings: QuantSettings) -> Ranges:
    """Feed ONNX Runtime's calibrator batch by batch: within one call it would keep every batch."""
    method = settings.calibration
    empty = True
    with scratch_folder() as folder, contained():
        with _translated(method):
            calibrator = _calibrator(model, settings, folder)
            input_name = calibrator.infer_session.get_inputs()[0].name
        for images in batches:
            empty = False
            with _translated(method):
                calibrator.collect_data(_OneBatch(input_name, images))
        _refuse_empty(empty)
        with _translated(method):
            found = calibrator.compute_data()
    ranges = {}
    for name, data in found.items():
        low = _number(data.lowest)
        high = _number(data.highest)
        ranges[name] = (low, high)
    return ranges


def _calibrator(model: ModelProto, settings: QuantSettings, folder: Path) -> Any:
    """Return ONNX Runtime's calibrator, which works on files only."""
    path = folder / "model.onnx"
    onnx.save(model, path)
    options = {}
    if settings.calibration == "percentile":
        options["percentile"] = settings.percentile
    return create_calibrator(
        path,
        _CALIBRATED,
        augmented_model_path=str(folder / "augmented.onnx"),
        calibrate_method=_METHODS[settings.calibration],
        extra_options=options,
    )


@contextlib.contextmanager
def _translated(method: str) -> Iterator[None]:
    try:
        yield
    # its calibrators raise whatever comes, as its quantizers do
    except Exception as error:
        raise ModelError(f"ONNX Runtime's {method} calibration failed: {describe(error)}") from error


def _number(value: Any) -> float:
    # numbers from some calibrators, arrays of one element from others
    flat = np.ravel(value)
    return float(flat[0])


def _refuse_empty(empty: bool) -> None:
    if empty:
        raise DataError("calibration needs at least one image, got none")


class _OneBatch(CalibrationDataReader):  # type: ignore[misc]
    """One batch of images, as ONNX Runtime's calibrators read them."""

    def __init__(self, name: str, images: NDArray[np.float32]) -> None:
        feeds = {name: images}
        self._feeds = iter([feeds])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._feeds, None)
