"""A model must repeat itself: where it does not, no difference can be told from a fault's."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from ftonnx.errors import ModelError
from ftonnx.inject import RandomNode, random_nodes
from ftonnx.sessions import same_bits

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
    draws = "draws" if one else "draw"
    what = "it" if one else "them"
    raise ModelError(
        f"the model is not deterministic: {_named(nodes)} {draws} random numbers at every run, "
        f"with a seed too, and noise would count as faults; remove {what}, or export the model "
        "for inference, where dropout is off"
    )


def require_same_outputs(model: onnx.ModelProto, first: Sequence[NDArray[Any]], second: Sequence[NDArray[Any]]) -> None:
    """Compare two runs on the same images without faults, bit by bit.

    Raises:
        ModelError: they differ.
    """
    if same_bits(first, second):
        return
    # some are random only under conditions that the file does not tell, such as a dropout's switch
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
    names = []
    for node in nodes[:_MOST_NAMED]:
        names.append(f"{node.name!r} ({node.op_type})")
    left = len(nodes) - _MOST_NAMED
    if left > 0:
        names.append(f"{left} more")
    last = names.pop()
    if not names:
        return f"node {last}"
    others = ", ".join(names)
    return f"nodes {others} and {last}"


def _difference(first: Sequence[NDArray[Any]], second: Sequence[NDArray[Any]]) -> str:
    """Say where two runs differ, by how much, and in how many images.

    >>> _difference([np.zeros((3, 2))], [np.array([[0, 0], [0, 0.5], [0, 0]])])
    'output 0 by up to 0.5, in 1 of 3 images'
    """
    number = _first_different(first, second)
    one = first[number]
    other = second[number]
    # some classifiers return texts and maps beside their scores
    if not isinstance(one, np.ndarray) or one.dtype == object:
        return f"output {number}, which holds no numbers"
    if one.shape != other.shape:
        return f"output {number} of shapes {one.shape} and {other.shape}"
    changed = _changed_rows(one, other)
    rows = len(np.atleast_1d(one))
    largest = _largest(one, other)
    return f"output {number} by {largest}, in {changed} of {rows} images"


def _changed_rows(one: NDArray[Any], other: NDArray[Any]) -> int:
    """Return in how many rows, which are images, two outputs differ; a scalar has one."""
    changed = 0
    pairs = zip(np.atleast_1d(one), np.atleast_1d(other), strict=True)
    for row, again in pairs:
        if not same_bits([row], [again]):
            changed += 1
    return changed


def _first_different(first: Sequence[NDArray[Any]], second: Sequence[NDArray[Any]]) -> int:
    number = 0
    while same_bits([first[number]], [second[number]]):
        number += 1
    return number


def _largest(one: NDArray[Any], other: NDArray[Any]) -> str:
    """Return the largest absolute difference; bits that are no number, or of equal numbers, are called so."""
    wide = one.astype(np.float64)
    other_wide = other.astype(np.float64)
    # Inf - Inf is no difference to speak of
    with np.errstate(all="ignore"):
        differences = np.abs(wide - other_wide)
    finite = differences[np.isfinite(differences)]
    largest = float(finite.max(initial=0.0))
    if largest == 0:
        return "values that are NaN, Inf or a zero's sign"
    return f"up to {largest:.2g}"
