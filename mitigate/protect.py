"""``protect``: find thresholds, clip a model's activations at them."""

from collections.abc import Callable
from pathlib import Path

import onnx

from ftonnx.campaign.inputs import open_model
from ftonnx.errors import ModelError
from ftonnx.inject import OnnxModel
from ftonnx.mitigate.inputs import LabelledData, open_labelled, require_data_for_inputs
from ftonnx.mitigate.protectable import protectable
from ftonnx.mitigate.protections import Protected, Protection, Work, protection
from ftonnx.mitigate.protections.base import clipped_at
from ftonnx.mitigate.thresholds import Thresholds
from ftonnx.words import of_kind

__all__ = ["protect"]


def protect(
    model: str | Path | onnx.ModelProto | OnnxModel,
    data: LabelledData | None = None,
    method: str | Protection | Thresholds = "actmax",
    *,
    results: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    cache_memory: int | None = None,
) -> Protected:
    """Clip a model's activations.

    Args:
        model: an FP32 model that is not clipped yet (CReLU nodes with thresholds of +Inf are fine): a path, the
            name of an embedded one, a ``ModelProto``, or a loaded model.
        data: images for ActMax, labelled ones for ClipAct; not needed for ReLU6 or given thresholds. A spec (its
            split ``val``, where it has splits), a data set, or batches of ``(images, labels)``.
        method: ``ReLU6()``, ``ActMax(…)``, ``ClipAct(…)``, or the name of one with its defaults; or earlier
            thresholds to apply in place of finding them.
        results: a folder in which ClipAct keeps every measurement, so that a killed search goes on.
        progress: called after every measurement of ClipAct, a threshold at a rate, with (done, at most).
        cache_memory: bytes that ClipAct's golden tensors may take; a quarter of the free memory by default.

    Raises:
        ModelError: no activation to clip, clipped already, quantized, or the thresholds of another model.
        UsageError: an unknown method, or data is missing.
        DataError: the data cannot be read, or does not fit the model.
        StoreError: the folder belongs to another search, is in use, or cannot be written.

    >>> protect("digits", method="relu6")
    Protected(relu6, 7 activations clipped, on exceed clamp)
    """
    loaded = open_model(model)
    activations = protectable(loaded)
    if isinstance(method, Thresholds):
        return _with_given(loaded, method)
    of_kind("method", method, (str, Protection), "relu6, actmax, ranger, clipact, a protection, or thresholds,")
    chosen = protection(method) if isinstance(method, str) else method
    opened = None if data is None else open_labelled(data, loaded, split="val")
    if opened is not None:
        require_data_for_inputs(loaded, opened)
    work = Work(
        data=opened,
        results=None if results is None else Path(results),
        progress=progress,
        cache_memory=cache_memory,
    )
    return chosen.apply(loaded, activations, work)


def _with_given(model: OnnxModel, thresholds: Thresholds) -> Protected:
    thresholds.require_for(model)
    if not thresholds.values:
        raise ModelError("the thresholds file holds no thresholds; run the method again for this model")
    return clipped_at(model, thresholds)
