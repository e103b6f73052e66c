"""Does an exported model compute what its torch module computes? Imports torch and ONNX Runtime when asked."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from ftonnx.errors import ModelError
from ftonnx.export.torch_export import one_line

if TYPE_CHECKING:
    from torch import nn

__all__ = ["check_parity"]

TOLERANCE: Final = 1e-4
_LARGE: Final = 100.0


def check_parity(module: "nn.Module", proto: onnx.ModelProto, *, tolerance: float = TOLERANCE) -> float:
    """Compare a module with its export on random and on extreme inputs: zeros, one-hot pixels, large constants.

    Batches of one and of three are run.

    Args:
        module: The network in eval mode.
        proto: What was exported from it.
        tolerance: Largest difference allowed, relative to the largest output of the same batch.

    Returns:
        The largest such difference found.

    Raises:
        ModelError: ONNX Runtime refuses the model, or an output differs by more.
    """
    import torch

    source = proto.graph.input[0]
    shape = tuple(dim.dim_value for dim in source.type.tensor_type.shape.dim[1:])
    session = _session(proto)
    worst = 0.0
    for kind, images in _probes(shape):
        with torch.no_grad():
            expected = module(torch.from_numpy(images)).numpy()
        got = _run(session, {source.name: images})
        error = relative_error(expected, got)
        if not error <= tolerance:
            raise ModelError(
                f"the exported graph should give torch's outputs to {tolerance:g}, but differs by {error:.2g} "
                f"on {kind}; nothing was written"
            )
        worst = max(worst, error)
    return worst


def relative_error(expected: NDArray[np.float32], got: NDArray[np.float32]) -> float:
    """Largest difference, relative to the largest finite expected value; infinite where NaN or Inf do not agree.

    >>> relative_error(np.float32([1, -4]), np.float32([1, -3]))
    0.25
    """
    finite = np.isfinite(expected)
    if expected.shape != got.shape or not np.array_equal(expected[~finite], got[~finite], equal_nan=True):
        return float("inf")
    known, found = expected[finite].astype(np.float64), got[finite].astype(np.float64)
    difference = np.abs(known - found).max(initial=0.0)
    if difference == 0:
        return 0.0
    scale = np.abs(known).max()
    return float(difference / scale) if np.isfinite(difference) and scale else float("inf")


def _probes(shape: tuple[int, ...]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    rng = np.random.default_rng(0)
    yield "random inputs", rng.standard_normal((3, *shape), np.float32)
    yield "zeros", np.zeros((1, *shape), np.float32)
    pixels = np.zeros((3, *shape), np.float32)
    for image, place in zip(pixels, (0, image_size(shape) // 2, image_size(shape) - 1), strict=True):
        image.reshape(-1)[place] = _LARGE
    yield "inputs with one pixel", pixels
    for constant in (_LARGE, -_LARGE):
        yield f"inputs of {constant:g}", np.full((1, *shape), constant, np.float32)


def image_size(shape: tuple[int, ...]) -> int:
    """Number of values in one input."""
    return int(np.prod(shape))


def _session(proto: onnx.ModelProto) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class
        raise ModelError(f"ONNX Runtime cannot open the exported model: {one_line(error)}") from error


def _run(session: Any, feeds: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    try:
        output: NDArray[np.float32] = session.run(None, feeds)[0]
    except Exception as error:
        raise ModelError(f"ONNX Runtime cannot run the exported model: {one_line(error)}") from error
    return output
