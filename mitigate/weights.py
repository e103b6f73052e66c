"""Clipping of weights: the few largest are brought in, so that a range check finds more of what flips make."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ftonnx.campaign.inputs import open_model
from ftonnx.errors import UsageError
from ftonnx.export import write_model
from ftonnx.inject import FaultSpace, OnnxModel
from ftonnx.inject.tensors import numpy_type, words_of, write_words
from ftonnx.words import real_number

__all__ = ["ClippedWeights", "clip_weights"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClippedWeights:
    """A model with clipped weights.

    Attributes:
        proto: the model.
        limits: the largest magnitude that is left, by tensor.
        clipped: number of weights that changed.
        weights: number of weights in these tensors.
    """

    proto: onnx.ModelProto
    limits: Mapping[str, float]
    clipped: int
    weights: int

    def save(self, path: str | Path) -> None:
        """Write the model, beside first, then renamed.

        Raises:
            UsageError: it cannot be written.
        """
        write_model(self.proto, Path(path))

    def __repr__(self) -> str:
        return f"ClippedWeights({self.clipped:,} of {self.weights:,} in {len(self.limits)} tensors)"


def clip_weights(
    model: str | Path | onnx.ModelProto | OnnxModel,
    share: float = 0.999,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> ClippedWeights:
    """Bring the weights of each tensor within the magnitude that a share of them has at most.

    What that costs is for a campaign to measure; biases stay. Beside `range` guards, whose ranges become narrower.

    Args:
        model: a path, the name of an embedded model, or a model in memory; it stays as it is.
        share: of a tensor's weights that do not change, above 0 and below 1.
        include: shell-style patterns; where given, only tensors of such names are clipped.
        exclude: patterns of names that are not.

    Raises:
        UsageError: the share is out of range, or no weight is a float.
        ModelError: the model has no weights that can flip.

    >>> clip_weights("digits", 0.99)
    ClippedWeights(564 of 55,664 in 10 tensors)
    """
    if not 0 < real_number("share", share) < 1:
        raise UsageError(f"`share`: a number above 0 and below 1 was expected, got {share}")
    loaded = open_model(model)
    space = FaultSpace.of(loaded, format="ieee", roles=("weight",), include=include, exclude=exclude)
    copy = onnx.ModelProto()
    copy.CopyFrom(loaded.proto)
    limits: dict[str, float] = {}
    clipped = 0
    weights = 0
    for target, tensor in zip(space.targets, space.tensors(copy), strict=True):
        if target.format.name != "ieee":
            continue
        words = words_of(tensor)
        values: NDArray[Any] = words.view(numpy_type(tensor))
        # a weight of the tensor, so that its type has the number
        limit = np.quantile(np.abs(values.astype(np.float64)), share, method="lower").astype(values.dtype)
        within = np.clip(values, -limit, limit)
        clipped += int((within != values).sum())
        weights += target.elements
        limits[target.tensor] = float(limit)
        write_words(tensor, within.view(words.dtype))
    if not limits:
        raise UsageError(f"{loaded.name} has no weights that are floats: nothing can be clipped")
    return ClippedWeights(proto=copy, limits=limits, clipped=clipped, weights=weights)
