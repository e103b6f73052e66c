"""All that is told of a model's activations on some images: what ``ftonnx activations`` prints and studies keep."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.golden import fault_free_accuracies
from ftonnx.campaign.inputs import choose_batch_size, fitted
from ftonnx.datasets import Dataset
from ftonnx.errors import DataError, ModelError, UsageError
from ftonnx.export import find_activations, read_thresholds
from ftonnx.inject import FaultSpace, OnnxModel
from ftonnx.mitigate.distribution import Distribution, activation_distributions

__all__ = ["ActivationStatistics", "measure_activations"]

_logger: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationStatistics:
    """How a model's activations are distributed.

    Attributes:
        model: its name.
        data: digest of the images.
        warnings: what the reader must know first, such as that the model guesses.
        distributions: of every activation, rate by rate.
    """

    model: str
    data: str
    warnings: tuple[str, ...]
    distributions: tuple[Distribution, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "model": self.model,
            "data": self.data,
            "warnings": list(self.warnings),
            "activations": [each.to_dict() for each in self.distributions],
        }


def measure_activations(
    model: OnnxModel,
    data: Dataset,
    *,
    rates: Sequence[float] = (),
    thresholds: Mapping[str, NDArray[np.float32]] | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    space: FaultSpace | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ActivationStatistics:
    """Measure all activations of a model without faults, and at fault rates.

    Args:
        model: the model.
        data: images; what is left open of their preprocessing is as the model says.
        rates: bit-fault rates; 0, without faults, comes first in any case.
        thresholds: T per activation name; those in the model by default.
        batch_size: images per run and fault pattern; the usual number by default.
        seed: of the fault patterns.
        space: the bits that can flip; those of campaigns by default.
        progress: called after every distribution with (distributions done, distributions in all).

    Raises:
        ModelError: the model has no activation that is known, or cannot run.
        DataError: the images do not fit it.
        UsageError: bits of activations can flip.
    """
    if space is not None and space.has_activations:
        raise UsageError("activations are measured under faults in stored values: other `roles` were expected")
    activations = find_activations(model.proto)
    if not activations:
        raise ModelError(f"{model.name} has no activation that ftonnx knows")
    images = fitted(data, model)
    size = choose_batch_size(model, batch_size)
    asked = tuple(dict.fromkeys((0.0, *rates)))
    found = activation_distributions(
        model,
        images,
        activations,
        rates=asked,
        thresholds=read_thresholds(model.proto) if thresholds is None else thresholds,
        batch_size=size,
        seed=seed,
        space=space,
    )
    distributions = []
    for distribution in found:
        distributions.append(distribution)
        progress(len(distributions), len(asked) * len(activations))
    return ActivationStatistics(
        model=model.name,
        data=images.fingerprint,
        warnings=tuple(_warnings(model, images, size)),
        distributions=tuple(distributions),
    )


def _warnings(model: OnnxModel, data: Dataset, batch_size: int) -> list[str]:
    """Say whether the model guesses on these images; distributions need no labels, so ones that do not fit are fine."""
    try:
        (accuracy,) = fault_free_accuracies([model.proto], data, batch_size)
    except (ModelError, DataError) as error:
        _logger.info("%s: the fault-free accuracy is not known: %s", model.name, error)
        return []
    found = accuracy.caution()
    return [] if found is None else [found]
