"""A model must repeat itself: where it does not, no difference can be told from a fault's."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from ftonnx.errors import ModelError
from ftonnx.inject import RandomNode, random_nodes
from ftonnx.runtime.onnx_session import same_bits

__all__ = ["require_no_random_node", "require_same_outputs"]

_MOST_NAMED: Final = 3


def require_no_random_node(model: onnx.ModelProto) -> None:
    """Refuse a model with a node that draws random numbers at every run, whether or not two runs show it.

    Raises:
        ModelError: random numbers reach an output.
    """
    nodes = [node for node in random_nodes(model) if node.always]
    if not nodes:
        return
    one = len(nodes) == 1
    raise ModelError(
        f"the model is not deterministic: {_named(nodes)} {'draws' if one else 'draw'} random numbers at every run, "
        f"with a seed too, and noise would count as faults; remove {'it' if one else 'them'}, or export the model "
        "for inference, where dropout is off"
    )


def require_same_outputs(model: onnx.ModelProto, first: Sequence[NDArray[Any]], second: Sequence[NDArray[Any]]) -> None:
    """Compare two runs on the same images without faults, bit by bit.

    Raises:
        ModelError: they differ.
    """
    if same_bits(first, second):
        return
    suspects = random_nodes(model)
    cause = f"{_named(suspects)} may draw random numbers" if suspects else "it has no node that is known to be random"
    raise ModelError(
        f"the model is not deterministic: two runs without faults differ ({_difference(first, second)}), and that "
        f"would count as faults; {cause}: remove what is random, or try one thread or the provider cpu"
    )


def _named(nodes: Sequence[RandomNode]) -> str:
    """Return the first nodes by name and operator.

    >>> _named([RandomNode("noise", "RandomNormal", True)])
    "node 'noise' (RandomNormal)"
    """
    names = [f"{node.name!r} ({node.op_type})" for node in nodes[:_MOST_NAMED]]
    if len(nodes) > _MOST_NAMED:
        names.append(f"{len(nodes) - _MOST_NAMED} more")
    listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    return f"{'node' if len(nodes) == 1 else 'nodes'} {listed}"


def _difference(first: Sequence[NDArray[Any]], second: Sequence[NDArray[Any]]) -> str:
    """Say where two runs differ, by how much, and in how many images.

    >>> _difference([np.zeros((3, 2))], [np.array([[0, 0], [0, 0.5], [0, 0]])])
    'output 0 by up to 0.5, in 1 of 3 images'
    """
    pairs = enumerate(zip(first, second, strict=True))
    number, (one, other) = next((n, (a, b)) for n, (a, b) in pairs if not same_bits([a], [b]))
    if not (isinstance(one, np.ndarray) and one.dtype != object):
        return f"output {number}, which holds no numbers"
    if one.shape != other.shape:
        return f"output {number} of shapes {one.shape} and {other.shape}"
    rows = len(one) if one.ndim else 1
    changed = sum(not same_bits([a], [b]) for a, b in zip(np.atleast_1d(one), np.atleast_1d(other), strict=True))
    size = _largest(one, other)
    return f"output {number} by {size}, in {changed} of {rows} images"


def _largest(one: NDArray[Any], other: NDArray[Any]) -> str:
    """Return the largest absolute difference; bits that are no number, or of equal numbers, are called so."""
    with np.errstate(all="ignore"):
        differences = np.abs(one.astype(np.float64) - other.astype(np.float64))
    finite = differences[np.isfinite(differences)]
    largest = float(finite.max(initial=0.0))
    return f"up to {largest:.2g}" if largest else "values that are NaN, Inf or a zero's sign"
