"""Writing the outcomes of single faults in the form of published fault lists."""

import csv
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Final

import numpy as np

from ftonnx.campaign.plan.schedule import Schedule
from ftonnx.campaign.store.folder import Store
from ftonnx.campaign.store.header import Header
from ftonnx.errors import DataError, UsageError
from ftonnx.inject import FaultList, OnnxModel
from ftonnx.inject.fault_models.published_faults import COLUMNS, KEEP_HINT, SUFFIX, refuse_folded
from ftonnx.tasks import Classification, Counts, Task
from ftonnx.words import as_cell

__all__ = ["check_publishable", "published_outcomes"]

_OUTCOMES: Final = ("n_injections", "masked", "non_critical", "critical")


def check_publishable(model: OnnxModel, schedule: Schedule, task: Task) -> None:
    """Refuse, before the work, a campaign whose faults cannot be written as a published list.

    Raises:
        UsageError: the faults are no single flips of IEEE floats in torch modules' weights, or their outcomes no
            classes.
        ModelError: the weights are not those of the torch modules.
    """
    _require_classes(task)
    if not schedule.faults.is_single_bit:
        raise UsageError(
            "a published fault list holds single faults: use `faults=FaultCount(1)`, `faults=PerLayer(M)` or "
            "`faults=EveryBit()`"
        )
    refuse_folded(model)
    if isinstance(schedule.faults, FaultList):
        return  # located by layer already
    if schedule.memory is not None:
        raise UsageError(
            "a published fault list holds faults of weights, not of check bits: no `protection` was expected"
        )
    for target in schedule.space.targets:
        if not target.tensor.endswith(SUFFIX):
            raise UsageError(
                f"a published fault list names weights of torch modules only, and {target.tensor!r} is none: "
                f"leave it away with `roles='weight'` or `exclude`, or {KEEP_HINT}"
            )
        if target.format.name.startswith("q"):
            raise UsageError("a published fault list flips bits of IEEE floats: add `format='ieee'`")


def _require_classes(task: Task) -> bool:
    """Return whether NaN counts by argmax, once the task is found to be classification.

    Raises:
        UsageError: it is another one.
    """
    if not isinstance(task, Classification):
        raise UsageError(f"a published fault list tells classes, which task {task.name} does not have")
    return task.nan == "argmax"


def published_outcomes(results: str | Path, injections: Sequence[int] | None = None) -> str:
    """Return the single faults of a results folder as CSV, with the outcomes of each over all its images.

    Behind the columns of the list stand ``n_injections`` (images), ``masked`` (output bit-identical),
    ``non_critical`` (output differs, same top-1 class) and ``critical`` (another top-1 class, or NaN or Inf in the
    output); the last three add up to the first. Where NaN counts by argmax, critical is another top-1 class and
    nothing else.

    Args:
        results: results folder of single faults.
        injections: column ``Injection``; 0, 1, ... by default.

    Raises:
        StoreError: there is no campaign, or it is damaged.
        DataError: the model gives NaN or Inf without faults, which the form has no class for unless argmax finds one.
    """
    with Store.open(Path(results).absolute()) as store:
        header = store.header
        found = store.fault_outcomes()
        by_argmax = _require_classes(header.task)
        spoilt = sum(outcomes.due for outcomes in store.golden().values())
        if spoilt and not by_argmax:
            raise DataError(
                f"without any fault the output for {spoilt} images has NaN or Inf, and a published fault list "
                "has no class for these; leave them out of the data"
            )
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*COLUMNS, *_OUTCOMES))
    for fault in found:
        number = fault.injection if injections is None else injections[fault.injection]
        layer, index = _place(header, fault.target, fault.element)
        classes = _classes(fault.outcomes, by_argmax=by_argmax)
        writer.writerow((number, layer, index, fault.bit, *classes))
    return text.getvalue()


def _place(header: Header, target: int, element: int) -> tuple[str, tuple[int, ...]]:
    """Return the torch module and the index tuple of an element."""
    tensor = header.space.tensors[target]
    index = np.unravel_index(element, tensor.shape)
    return as_cell(tensor.tensor.removesuffix(SUFFIX)), tuple(int(place) for place in index)


def _classes(outcomes: Counts, *, by_argmax: bool) -> tuple[int, int, int, int]:
    """Return the numbers of images: all, masked, non-critical, critical."""
    critical = outcomes.sdc1 if by_argmax else outcomes.sdc1 + outcomes.due
    non_critical = outcomes.n - outcomes.masked - critical
    return outcomes.n, outcomes.masked, non_critical, critical
