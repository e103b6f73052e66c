"""The data that protecting and quantizing take: a spec, a data set, or batches."""

from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

from ftonnx.campaign.inputs import fitted, open_data
from ftonnx.datasets import Dataset, load_dataset
from ftonnx.inject import OnnxModel

__all__ = ["LabelledData", "open_labelled"]

LabelledData = str | Dataset | Iterable[tuple[NDArray[Any], NDArray[Any]]]
"""A spec (``digits``, ``npz:PATH``, ``folder:PATH``, ``PATH/file.py:function``), a data set, or batches of both."""


def open_labelled(data: LabelledData, model: OnnxModel, split: str) -> Dataset:
    """Open data for a model; what is left open of its preprocessing is the model's.

    Args:
        data: a spec, a data set, or batches of ``(images, labels)``.
        model: the model that is to run on it.
        split: of a spec that has splits; test images are not for tuning.
    """
    if not isinstance(data, str):
        return open_data(data, model)
    chosen = split if _has_splits(data) else None
    return fitted(load_dataset(data, split=chosen, model_metadata=model.metadata), model)


def _has_splits(spec: str) -> bool:
    """Say whether a spec stands for data with splits, which one file or function has not.

    >>> _has_splits("digits"), _has_splits("npz:cifar10"), _has_splits("npz:x.npz"), _has_splits("loader.py:load")
    (True, True, False, False)
    """
    kind, _, path = spec.partition(":")
    is_loader = kind.endswith(".py")
    is_one_file = kind == "npz" and path.endswith(".npz")
    return not is_loader and not is_one_file
