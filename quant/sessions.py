"""Sessions for calibration, and keeping the side effects of ONNX Runtime's Python package to itself."""

import contextlib
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from ftonnx.errors import ModelError, message_of
from ftonnx.graphs import with_outputs_too
from ftonnx.sessions import SessionOptions, open_session, optimize_model, run_session

__all__ = ["Probe", "basic_optimization", "contained", "elem_type", "inferred_types", "with_types"]

_FOLDING: Final = SessionOptions(
    standard=True,
    disabled=("CommonSubexpressionElimination",),  # it merges CReLUs that share an input
)
_FLOAT: Final = "tensor(float)"
_logger = logging.getLogger(__name__)


class Probe:
    """A session that returns chosen tensors inside a model.

    Args:
        model: is not changed.
        tensors: names of tensors in its graph.
    """

    def __init__(self, model: ModelProto, tensors: Sequence[str]) -> None:
        self.tensors = list(tensors)
        probed = with_outputs_too(model, tensors)
        self._session = open_session(probed.SerializeToString(), SessionOptions())
        first = self._session.get_inputs()[0]
        self._input: str = first.name

    def run(self, images: NDArray[np.float32]) -> Mapping[str, NDArray[Any]]:
        """Return the chosen tensors of one batch by name."""
        if not self.tensors:
            return {}
        feeds = {self._input: images}
        values = run_session(self._session, feeds, names=self.tensors, on="the calibration data")
        return dict(zip(self.tensors, values, strict=True))


def basic_optimization(model: ModelProto) -> ModelProto | None:
    """Return the model with constants and BatchNormalization folded; None when ONNX Runtime will not."""
    try:
        return optimize_model(model.SerializeToString(), _FOLDING)
    except ModelError as error:
        reason = message_of(error.__cause__ or error)
    except (OSError, DecodeError, ValueError) as error:
        reason = message_of(error)
    _logger.info("quantizing without folding constants first: %s", reason)
    return None


def inferred_types(model: ModelProto) -> ModelProto:
    """Return the model with the types and shapes that onnx infers.

    Raises:
        ModelError: it cannot.
    """
    try:
        return onnx.shape_inference.infer_shapes(model)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        raise ModelError(f"onnx cannot infer the shapes inside this model: {message_of(error)}") from error


def with_types(model: ModelProto) -> ModelProto:
    """Return the model with the types of its values; of operators that onnx does not know, ONNX Runtime is asked.

    Only FP32 values get a type from there: no others are quantized.
    """
    inferred = inferred_types(model)
    known: set[str] = set()
    for values in (inferred.graph.value_info, inferred.graph.output):
        known.update(value.name for value in values if elem_type(value) != TensorProto.UNDEFINED)
    unknown: list[str] = []
    for node in inferred.graph.node:
        unknown.extend(name for name in node.output if name and name not in known)
    if not unknown:
        return inferred
    probed = with_outputs_too(inferred, unknown)
    session = open_session(probed.SerializeToString(), SessionOptions())
    for found in session.get_outputs():
        if found.name in unknown and found.type == _FLOAT:
            # ONNX Runtime gives no sizes both for one number and for a shape that it does not know
            shape = found.shape or None
            value = helper.make_tensor_value_info(found.name, TensorProto.FLOAT, shape)
            inferred.graph.value_info.append(value)
    return inferred


@contextlib.contextmanager
def contained() -> Iterator[None]:
    """Pass what ONNX Runtime's Python code prints, and logs to the root logger, on to this module's logger."""
    root = logging.getLogger()
    keeper = logging.NullHandler()
    printed = io.StringIO()
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
    folders = Path(record.pathname).parts
    if "onnxruntime" not in folders:
        return True
    level = min(record.levelno, logging.INFO)
    _logger.log(level, "%s", record.getMessage())
    return False


def elem_type(value: ValueInfoProto) -> int:
    """Return a value's element type, UNDEFINED where it is no tensor."""
    if not value.type.HasField("tensor_type"):
        return TensorProto.UNDEFINED
    return value.type.tensor_type.elem_type
