"""Opening what people hand over: a model by path, name or object; data by spec, object or iterable."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, TypeAlias

import onnx
from numpy.typing import NDArray

from ftonnx.datasets import Dataset, as_dataset, load_dataset
from ftonnx.errors import UsageError
from ftonnx.inject import OnnxModel, load_model
from ftonnx.models import resolve
from ftonnx.sessions import fixed_batch

__all__ = ["DataLike", "ModelLike", "choose_batch_size", "open_data", "open_model"]

ModelLike: TypeAlias = "str | Path | onnx.ModelProto | OnnxModel"
"""An ONNX file, an embedded model's name, or a model in memory."""

DataLike: TypeAlias = "str | Dataset | Iterable[tuple[NDArray[Any], NDArray[Any]]]"
"""A data set's spec (see ``load_dataset``), a data set, or any iterable of (images, labels)."""

_DEFAULT_BATCH: Final = 128


def open_model(model: ModelLike) -> OnnxModel:
    """Load a model by path or by the name of an embedded one."""
    if isinstance(model, str | Path):
        return load_model(resolve(model), name=Path(model).stem)
    return load_model(model)


def open_data(data: DataLike, model: OnnxModel) -> Dataset:
    """Load a data set by its spec, or wrap given batches; what is left open of its preprocessing is the model's."""
    if isinstance(data, str):
        return load_dataset(data, model_metadata=model.metadata)
    return as_dataset(data).completed(model.metadata)


def choose_batch_size(model: OnnxModel, wanted: int | None) -> int:
    """Return the batch size to use.

    Raises:
        UsageError: the model insists on another one than ``wanted``.
    """
    fixed = fixed_batch(model.structure)
    if wanted is not None and fixed not in (None, wanted):
        raise UsageError(f"{model.name} takes batches of exactly {fixed} images, got --batch-size {wanted}")
    return (fixed or _DEFAULT_BATCH) if wanted is None else wanted
