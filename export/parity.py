"""Does an exported model compute what its torch module computes? Imports torch when asked."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from ftonnx.errors import ModelError
from ftonnx.export.torch_export import one_line
from ftonnx.sessions import Session, SessionOptions, open_session, run_session

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
    dims = source.type.tensor_type.shape.dim[1:]
    shape = tuple(dim.dim_value for dim in dims)
    session = _opened(proto)
    worst = 0.0
    for kind, images in _probes(shape):
        with torch.no_grad():
            expected = module(torch.from_numpy(images)).numpy()
        got = _run(session, {source.name: images})
        error = relative_error(expected, got)
        if not error <= tolerance:  # also where it is NaN
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
    if expected.shape != got.shape:
        return float("inf")
    finite = np.isfinite(expected)
    if not np.array_equal(expected[~finite], got[~finite], equal_nan=True):
        return float("inf")
    known = expected[finite].astype(np.float64)
    found = got[finite].astype(np.float64)
    differences = np.abs(known - found)
    largest = differences.max(initial=0.0)
    if largest == 0:
        return 0.0
    scale = np.abs(known).max()
    if not np.isfinite(largest) or scale == 0:
        return float("inf")
    return float(largest / scale)


def _probes(shape: tuple[int, ...]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    rng = np.random.default_rng(0)
    one = (1, *shape)
    three = (3, *shape)
    yield "random inputs", rng.standard_normal(three, np.float32)
    yield "zeros", np.zeros(one, np.float32)
    yield "inputs with one pixel", _one_pixel_each(shape)
    # large enough to saturate what saturates
    for constant in (_LARGE, -_LARGE):
        images = np.full(one, constant, np.float32)
        yield f"inputs of {constant:g}", images


def _one_pixel_each(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Three inputs of zeros but for the first, a middle and the last value."""
    size = image_size(shape)
    images = np.zeros((3, *shape), np.float32)
    flat = images.reshape(3, size)
    flat[0, 0] = _LARGE
    flat[1, size // 2] = _LARGE
    flat[2, size - 1] = _LARGE
    return images


def image_size(shape: tuple[int, ...]) -> int:
    """Number of values in one input."""
    return int(np.prod(shape))


def _opened(proto: onnx.ModelProto) -> Session:
    try:
        return open_session(proto.SerializeToString(), SessionOptions())
    except ModelError as error:
        raise ModelError(f"ONNX Runtime cannot open the exported model: {_cause(error)}") from error


def _run(session: Session, feeds: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    try:
        outputs = run_session(session, feeds)
    except ModelError as error:
        raise ModelError(f"ONNX Runtime cannot run the exported model: {_cause(error)}") from error
    first: NDArray[np.float32] = outputs[0]
    return first


def _cause(error: ModelError) -> str:
    """What ONNX Runtime itself said, with the type of its exception."""
    return one_line(error.__cause__ or error)
