"""Writing the outcomes of single faults in the form of published fault lists."""

import csv
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Final

import numpy as np

from ftonnx.campaign.fault_list import COLUMNS, KEEP_HINT, SUFFIX, refuse_folded
from ftonnx.campaign.plan import CampaignSettings
from ftonnx.campaign.store import Store
from ftonnx.campaign.tables import is_by_argmax, is_single_fault
from ftonnx.errors import DataError, UsageError
from ftonnx.inject import FaultSpace, OnnxModel

__all__ = ["check_publishable", "published_outcomes"]

_OUTCOMES: Final = ("n_injections", "masked", "non_critical", "critical")


def check_publishable(model: OnnxModel, space: FaultSpace, settings: CampaignSettings) -> None:
    """Refuse, before the work, a campaign whose faults cannot be written as a published list.

    Raises:
        UsageError: the faults are no single flips of IEEE floats in torch modules' weights.
        ModelError: the weights are not those of the torch modules.
    """
    if not is_single_fault(settings.to_dict()):
        raise UsageError(
            "a published fault list holds single faults: use --faults-per-run 1, --per-layer or --exhaustive"
        )
    refuse_folded(model)
    if settings.fault_list is not None:
        return  # located by layer already
    for target in space.targets:
        if not target.tensor.endswith(SUFFIX):
            raise UsageError(
                f"a published fault list names weights of torch modules only, and {target.tensor!r} is none: "
                f"leave it away with --targets weight or --exclude, or {KEEP_HINT}"
            )
        if target.format.name.startswith("q"):
            raise UsageError("a published fault list flips bits of IEEE floats: add --format ieee")


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
        targets, found = store.header["targets"], store.fault_outcomes()
        by_argmax = is_by_argmax(store.header["settings"])
        if not by_argmax and (spoilt := sum(outcomes.due for outcomes in store.golden().values())):
            raise DataError(
                f"without any fault the output for {spoilt} images has NaN or Inf, and a published fault list "
                "has no class for these; leave them out of the data"
            )
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*COLUMNS, *_OUTCOMES))
    for fault in found:
        target, outcomes = targets[fault.target], fault.outcomes
        number = fault.injection if injections is None else injections[fault.injection]
        index = tuple(int(place) for place in np.unravel_index(fault.element, target["shape"]))
        critical = outcomes.sdc1 if by_argmax else outcomes.sdc1 + outcomes.due
        counts = (outcomes.n, outcomes.masked, outcomes.n - outcomes.masked - critical, critical)
        writer.writerow((number, target["tensor"].removesuffix(SUFFIX), index, fault.bit, *counts))
    return text.getvalue()
