"""ONNX Runtime sessions for calibration, and keeping its Python package's side effects to itself."""

import contextlib
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, ValueInfoProto
from onnxruntime.capi import onnxruntime_pybind11_state

from ftonnx.errors import ModelError, message_of

__all__ = [
    "REFUSALS",
    "Probe",
    "basic_optimization",
    "contained",
    "elem_type",
]

REFUSALS: Final[tuple[type[Exception], ...]] = (
    ValueError,
    *(
        error
        for error in vars(onnxruntime_pybind11_state).values()
        if isinstance(error, type) and issubclass(error, Exception)
    ),
)
"""What ONNX Runtime raises when it does not accept a model or its inputs."""

_UNFOLDABLE: Final[tuple[type[Exception], ...]] = (*REFUSALS, OSError)
_ERRORS_ONLY: Final = 3
_logger = logging.getLogger(__name__)


class Probe:
    """A session that returns chosen tensors inside a model.

    Args:
        model: is not changed.
        tensors: names of tensors in its graph.
    """

    def __init__(self, model: ModelProto, tensors: Sequence[str]) -> None:
        probed = ModelProto()
        probed.CopyFrom(model)
        present = {output.name for output in probed.graph.output}
        probed.graph.output.extend(ValueInfoProto(name=name) for name in tensors if name not in present)
        self.tensors = list(tensors)
        try:
            self._session = ort.InferenceSession(
                probed.SerializeToString(), _options(), providers=["CPUExecutionProvider"]
            )
        except REFUSALS as error:
            raise ModelError(f"ONNX Runtime refuses the model: {message_of(error)}") from error

    def run(self, images: NDArray[np.float32]) -> Mapping[str, NDArray[Any]]:
        """Return the chosen tensors of one batch by name."""
        if not self.tensors:
            return {}
        feeds = {self._session.get_inputs()[0].name: images}
        try:
            values = self._session.run(self.tensors, feeds)
        except REFUSALS as error:
            raise ModelError(
                f"ONNX Runtime cannot run the model on the calibration data: {message_of(error)}"
            ) from error
        return dict(zip(self.tensors, values, strict=True))


def basic_optimization(model: ModelProto, folder: Path) -> ModelProto | None:
    """Return the model with constants and BatchNormalization folded; None when ONNX Runtime will not."""
    options = _options()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    try:
        ort.InferenceSession(
            model.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["CommonSubexpressionElimination"],  # it merges CReLUs that share an input
        )
        return ModelProto.FromString((folder / "optimized.onnx").read_bytes())
    except _UNFOLDABLE as error:
        _logger.info("quantizing without folding constants first: %s", message_of(error))
        return None


@contextlib.contextmanager
def contained() -> Iterator[None]:
    """Pass what ONNX Runtime's Python code prints, and logs to the root logger, on to this module's logger."""
    root, keeper, printed = logging.getLogger(), logging.NullHandler(), io.StringIO()
    root.addFilter(_reroute)
    root.addHandler(keeper)  # without any handler, logging.warning would configure the root logger
    try:
        with contextlib.redirect_stdout(printed):
            yield
    finally:
        root.removeHandler(keeper)
        root.removeFilter(_reroute)
        for line in printed.getvalue().splitlines():
            _logger.debug("%s", line)


def _reroute(record: logging.LogRecord) -> bool:
    """Filter of the root logger: take what comes from ONNX Runtime's quantization package."""
    if "onnxruntime" not in Path(record.pathname).parts:
        return True
    _logger.log(min(record.levelno, logging.INFO), "%s", record.getMessage())
    return False


def _options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    return options


def elem_type(value: ValueInfoProto) -> int:
    """Return a value's element type, UNDEFINED where it is no tensor."""
    return value.type.tensor_type.elem_type if value.type.HasField("tensor_type") else TensorProto.UNDEFINED
