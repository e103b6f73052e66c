"""The data that protecting and quantizing take: a spec, a data set, or batches."""

from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

from ftonnx.campaign.inputs import fitted, open_data
from ftonnx.datasets import Dataset, load_dataset
from ftonnx.datasets.kinds import parse_spec
from ftonnx.inject import OnnxModel

__all__ = ["LabelledData", "open_labelled"]

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
