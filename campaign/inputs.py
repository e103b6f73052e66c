"""Opening what people hand over: a model by path, name or object; data by spec, object or iterable."""

import logging
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import onnx
from numpy.typing import NDArray

from ftonnx.campaign.plan.feeds import Feed, rows_of_feeds
from ftonnx.campaign.store.header import ModelInfo
from ftonnx.datasets import Dataset, as_dataset, fed_as, load_dataset, shared_out
from ftonnx.errors import ModelError, UsageError
from ftonnx.inject import OnnxModel, load_model
from ftonnx.models import names, resolve
from ftonnx.samples import Samples
from ftonnx.sessions import dimension, fixed_batch, free_inputs

__all__ = [
    "DataLike",
    "ModelLike",
    "choose_batch_size",
    "fitted",
    "insisted_batch",
    "open_data",
    "open_model",
    "recorded_model",
]

ModelLike: TypeAlias = "str | Path | onnx.ModelProto | OnnxModel"
"""An ONNX file, an embedded model's name, or a model in memory."""

DataLike: TypeAlias = "str | Dataset | Iterable[tuple[Samples, NDArray[Any]]] | Mapping[str, NDArray[Any]]"
"""A data set's spec (see ``load_dataset``), a data set, any iterable of (images, labels), or a dict of arrays.

Images are an array, or a dict of arrays by the names of the model's inputs; a dict of all data has ``labels`` besides.
"""

_DEFAULT_BATCH: Final = 128
_logger: Final = logging.getLogger(__name__)


def open_model(model: ModelLike) -> OnnxModel:
    """Load a model by path or by the name of an embedded one.

    Unlike ``load_model``, it takes plain files only: a campaign reads its model again, and a device has no end.
    """
    if isinstance(model, str | Path):
        if str(model) not in names() and os.path.isdir(model):
            return load_model(model)  # which says what kind of folder it is
        return load_model(resolve(model), name=Path(model).stem)
    return load_model(model)


def recorded_model(recorded: ModelInfo, *, elsewhere: str | Path | None = None) -> OnnxModel:
    """Load the model of a recorded campaign again.

    Args:
        recorded: what its results folder says about the model.
        elsewhere: where the model is now, when it has moved.

    Raises:
        UsageError: it never was a file, and none is named.
        ModelError: the file cannot be read, or is not the model that ran.
    """
    source = elsewhere or recorded.path
    if source is None:
        raise UsageError("the campaign ran on a model in memory; save it and name the file with `model`")
    loaded = open_model(source)
    if loaded.sha256 != recorded.sha256:
        raise ModelError(f"{source} is not the model that ran: SHA-256 {loaded.sha256}, recorded {recorded.sha256}")
    return loaded


def open_data(data: DataLike, model: OnnxModel) -> Dataset:
    """Load a data set by its spec, or wrap given batches; what is left open of its preprocessing is the model's."""
    if isinstance(data, str):
        return fitted(load_dataset(data, model_metadata=model.metadata), model)
    return fitted(as_dataset(data), model)


def fitted(data: Dataset, model: OnnxModel, constants: Collection[str] = ()) -> Dataset:
    """Return a data set as a model takes it: what is left open of its preprocessing, the layout, pixels as bytes.

    Args:
        data: it.
        model: it.
        constants: names of inputs that take no data.

    Raises:
        DataError: the metadata is damaged or does not fit the images, or the model takes bytes and the images are
            scaled.
        UsageError: what the model says contradicts what was said before.
    """
    completed = data.completed(model.metadata)
    inputs = free_inputs(model.structure, besides=constants)
    if not inputs or not all(each.type.HasField("tensor_type") for each in inputs):
        return completed
    if len(inputs) > 1:
        return shared_out(completed, {each.name: _sizes(each) for each in inputs})
    kind = inputs[0].type.tensor_type
    if kind.elem_type not in onnx.helper.get_all_tensor_dtypes():
        # refused later, with its name
        return completed
    shape = _sizes(inputs[0])
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    fed = fed_as(completed, shape=shape, dtype=dtype)
    if fed is not completed:
        _logger.info("%s: fed as %s of shape %s, as %s takes it", data.name, dtype, fed.sample_shape, model.name)
    return fed


def _sizes(value: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    """Return the sizes of an input without the batch; None for a free one."""
    axes = range(1, len(value.type.tensor_type.shape.dim))
    return tuple(dimension(value, axis) for axis in axes)


def insisted_batch(model: OnnxModel, feeds: Sequence[Feed] = ()) -> int | None:
    """Return the batch size that a model, or a constant with a row for each image, insists on; None where any will do.

    Raises:
        DataError: a constant's file cannot be read.
    """
    fixed = fixed_batch(model.structure, besides=[feed.name for feed in feeds])
    return fixed or rows_of_feeds(feeds, model.structure)


def choose_batch_size(model: OnnxModel, wanted: int | None, feeds: Sequence[Feed] = ()) -> int:
    """Return the batch size to use.

    Args:
        model: it.
        wanted: what was asked for.
        feeds: constants; one in a file may have rows for so many images only.

    Raises:
        UsageError: the model insists on another one than ``wanted``, or a constant has no rows for so many.
        DataError: a constant's file cannot be read.
    """
    if wanted is None:
        return insisted_batch(model, feeds) or _DEFAULT_BATCH
    fixed = fixed_batch(model.structure, besides=[feed.name for feed in feeds])
    rows = rows_of_feeds(feeds, model.structure)
    if fixed not in (None, wanted):
        raise UsageError(f"{model.name} takes batches of exactly {fixed} images, got `batch_size={wanted}`")
    if rows is not None and wanted > rows:
        images = "1 image" if rows == 1 else f"{rows} images"
        raise UsageError(f"constants of `feeds` have rows for batches of {images}, got `batch_size={wanted}`")
    return wanted
