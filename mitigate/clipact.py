"""ClipAct: the interval search for clipping thresholds (paper, section III-B).

Per activation, in graph order, with the thresholds found so far in place: the interval from 0 to the
activation's largest value is cut in three, the four ends are tried, and the ends beside the best one
become the next interval. A threshold's worth is the area under the accuracy over fault rates, with
faults in the weights that feed this activation only.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.inputs import fitted
from ftonnx.campaign.judging import judging_of
from ftonnx.datasets import Dataset
from ftonnx.export import Activation, clip_activations, feeding_tensors, thresholds_as_inputs
from ftonnx.inject import FaultSpace, OnnxModel
from ftonnx.mitigate.points import ClipActSettings, Evaluation, Log
from ftonnx.mitigate.refinement import Progress, Refinement, Search, threshold_at
from ftonnx.runtime import FaultySession, cache_limit
from ftonnx.sessions import Arrays, fixed_batch, padded

__all__ = ["ClipActSettings", "Evaluation", "Log", "search_thresholds"]

# at least so many fit into memory; of more, the others' golden runs are done again
_BATCHES_HELD: Final = 8
Floats = NDArray[np.float32]


def search_thresholds(
    model: OnnxModel,
    data: Dataset,
    activations: Sequence[Activation],
    largest: Mapping[str, Floats],
    settings: ClipActSettings,
    *,
    log: Log | None = None,
    progress: Callable[[int, int], None] | None = None,
    cache_memory: int | None = None,
) -> tuple[dict[str, Floats], list[Evaluation]]:
    """Search a threshold for every activation.

    Args:
        model: the unprotected model.
        data: labelled images.
        activations: in graph order.
        largest: per activation, the upper end of its first interval (ActMax).
        settings: how to search.
        log: evaluations that are known already, if only in part; what is measured is added to it.
        progress: called after every measurement of a threshold at a rate with (done, at most).
        cache_memory: bytes that golden tensors of batches may take; a quarter of the free memory by default.

    Returns:
        The thresholds: per activation the one with the largest score, of equal ones the largest, and
        the evaluations in order. An activation that no weights feed keeps its largest value.

    Raises:
        ModelError: no output fits the task.
        DataError: the images or labels do not fit it.
    """
    completed = fitted(data, model)
    most = settings.most_evaluations * len(settings.columns)
    counted = Progress(progress, most, len(activations))
    # a log without entries is false too
    known_before = {} if log is None else log
    search = _open(model, completed, largest, settings, cache_memory, known_before, counted)
    thresholds = {}
    for name, value in largest.items():
        thresholds[name] = np.asarray(value, np.float32)
    evaluations: list[Evaluation] = []
    for activation in activations:
        known = 0
        feeding = feeding_tensors(model.proto, activation)
        part = search.space.only(feeding)
        # without weights before it no fault reaches the activation, and its largest value stays
        if part is not None:
            top = largest[activation.name]
            refinement = Refinement(search, activation, part, top)
            chosen = threshold_at(refinement.best(), top)
            thresholds[activation.name] = chosen
            search.settle(activation, chosen)
            evaluations.extend(refinement.points.values())
            known = refinement.known()
        search.progress.next(known)
    return thresholds, evaluations


def _open(
    model: OnnxModel,
    data: Dataset,
    largest: Mapping[str, Floats],
    settings: ClipActSettings,
    cache_memory: int | None,
    log: Log,
    progress: Progress,
) -> Search:
    """Clip every activation at its largest value, make the thresholds inputs, and open a session on that."""
    clipped, _ = clip_activations(model.proto, largest, on_exceed=settings.on_exceed)
    exposed, inputs = thresholds_as_inputs(clipped)
    opened = model.with_proto(exposed)
    space = FaultSpace.of(opened)
    memory = cache_limit(cache_memory)
    return Search(
        settings=settings,
        data=data,
        judging=judging_of(model.proto, data, settings.batch_size, settings.task, settings.output),
        session=_session(opened, space, data, settings, inputs, memory),
        space=space,
        memory=memory,
        log=log,
        progress=progress,
    )


def _session(
    model: OnnxModel,
    space: FaultSpace,
    data: Dataset,
    settings: ClipActSettings,
    extra: Arrays,
    memory: int,
) -> FaultySession:
    """Open a session; always of one kind, since the last bits, and so a threshold, may depend on it."""
    batch = next(data.batches(settings.batch_size))
    images = padded(batch[0], fixed_batch(model.proto))
    batches = math.ceil(len(data) / settings.batch_size)
    held = min(batches, _BATCHES_HELD)
    # golden tensors of one batch may take no more, so that several fit
    share = memory // held
    return FaultySession(
        model,
        space,
        strategy="live",
        sample=images,
        extra=extra,
        cache_memory=share,
    )
