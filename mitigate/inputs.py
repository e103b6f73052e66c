"""The data that protecting and quantizing take: a spec, a data set, or batches."""

from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

from ftonnx.campaign.inputs import fitted, open_data
from ftonnx.datasets import Dataset, load_dataset
from ftonnx.datasets.kinds import parse_spec
from ftonnx.errors import DataError
from ftonnx.inject import OnnxModel
from ftonnx.sessions import free_inputs

__all__ = ["LabelledData", "open_labelled", "require_data_for_inputs"]

LabelledData = str | Dataset | Iterable[tuple[NDArray[Any], NDArray[Any]]]
"""A data set's spec (see ``load_dataset``), a data set, or batches of images and labels."""


def open_labelled(data: LabelledData, model: OnnxModel, split: str) -> Dataset:
    """Open data for a model; what is left open of its preprocessing is the model's.

    Args:
        data: a spec, a data set, or batches of ``(images, labels)``.
        model: the model that is to run on it.
        split: of a spec that has splits; test images are not for tuning.
    """
    if not isinstance(data, str):
        return open_data(data, model)
    # test images are not for tuning, but one file or function has no others
    chosen = split if parse_spec(data).has_splits else None
    return fitted(load_dataset(data, split=chosen, model_metadata=model.metadata), model)


def require_data_for_inputs(model: OnnxModel, data: Dataset) -> None:
    """Raise DataError where inputs of a model get no data: constants are fed in campaigns only."""
    inputs = [value.name for value in free_inputs(model.structure)]
    shape = data.sample_shape
    given = set(shape) if isinstance(shape, dict) else set(inputs[:1])
    without = [name for name in inputs if name not in given]
    if without and len(inputs) > 1:
        listed = ", ".join(map(repr, without))
        raise DataError(
            f"{data.name}: data for all {len(inputs)} inputs of {model.name} was expected, got none for {listed}; "
            "constants are fed in campaigns only"
        )
