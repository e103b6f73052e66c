"""What becomes of a campaign that goes on in a results folder: what is left open is as recorded, and more is added.

Patterns depend on the seed, the rate, the repeat and the batch alone, so that all units of a campaign are units of any
with more repeats, rates, or whole batches of images behind those it has.
"""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from ftonnx.campaign.inputs import fitted
from ftonnx.campaign.plan.settings import Settings
from ftonnx.campaign.store.header import Header
from ftonnx.datasets import Dataset, Preprocess, load_dataset
from ftonnx.errors import StoreError
from ftonnx.inject import FaultModel, OnnxModel

__all__ = ["begins_alike", "continued"]


def continued(asked: Settings, faults: FaultModel, recorded: Header | None) -> tuple[Settings, FaultModel]:
    """Return settings with what they leave open as it is recorded, and the faults with the recorded rates.

    Left open can be the images per pattern and per run, and the repeats where neither campaign may end early.

    Args:
        asked: the settings.
        faults: the faults that are asked for.
        recorded: what stands in the results folder; None where there is nothing yet.
    """
    if recorded is None:
        return asked, faults
    known = recorded.settings
    images = asked.images_per_pattern
    is_open = images == "auto" or (images is None and asked.batch_size is None)
    if is_open and faults.fresh_per_batch == recorded.faults.fresh_per_batch:
        batch_size = asked.batch_size or known.batch_size
        asked = replace(asked, images_per_pattern=known.images_per_pattern, batch_size=batch_size)
    runs_all = asked.stopping is None and recorded.stopping is None
    if asked.repeats is None and runs_all and recorded.faults.is_endless:
        asked = replace(asked, repeats=known.repeats)
    return asked, faults.joined_with(recorded.faults)


def begins_alike(data: Dataset, model: OnnxModel, constants: Collection[str], recorded: Header, folder: Path) -> bool:
    """Say whether a larger data set begins with the recorded images, in the same whole batches.

    Args:
        data: it, as the model takes it.
        model: the model.
        constants: names of inputs that take no data.
        recorded: what stands in the results folder.
        folder: that one.

    Raises:
        StoreError: it does, but the last recorded batch would have to become another one.
        DataError: the data cannot be read.
    """
    known = recorded.data
    if data.fingerprint == known.sha256 or len(data) <= known.samples or data.classes != known.classes:
        return False
    if not data.source:
        return False
    asked = dict(data.source)
    spec = asked.pop("data")
    preprocess = Preprocess(**asked.pop("preprocess"))
    # a limit takes the first images of the order that a data set has without one
    first = load_dataset(spec, **asked | {"limit": known.samples}, preprocess=preprocess, model_metadata=model.metadata)
    if fitted(first, model, constants).fingerprint != known.sha256:
        return False
    size = recorded.settings.images_per_unit
    if known.samples % size:
        raise StoreError(
            f"{folder} was recorded with {known.samples} images, the last {known.samples % size} of which have a "
            f"pattern for themselves that {size} would share: by images it can grow in whole batches only; give "
            f"`limit={known.samples}`, or another `results`"
        )
    return True
