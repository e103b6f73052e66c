"""The one call for a campaign: a model, data, faults; a result."""

import logging
import numbers
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from ftonnx.campaign.arguments import check_arguments
from ftonnx.campaign.campaign import Campaign, Progress
from ftonnx.campaign.inputs import DataLike, ModelLike, open_data, open_model
from ftonnx.campaign.notebook_progress import shown_progress
from ftonnx.campaign.plan.settings import Settings
from ftonnx.campaign.results.result import CampaignResult
from ftonnx.errors import UsageError
from ftonnx.inject import BitFlipRates, FaultModel
from ftonnx.tasks import Task
from ftonnx.words import of_kind

__all__ = ["evaluate"]

_logger: Final = logging.getLogger(__name__)


def evaluate(
    model: ModelLike,
    data: DataLike,
    faults: FaultModel | None = None,
    *,
    rates: float | Sequence[float] = (),
    task: Task | None = None,
    settings: Settings | None = None,
    results: str | Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> CampaignResult:
    """Measure what a model's outputs are worth under bit flips, at several fault rates or injection by injection.

    Args:
        model: an ONNX file, an embedded model's name, or a model in memory.
        data: a data set's spec (see ``load_dataset``), a data set, or any iterable of
            (images float (batch, channels, height, width), labels integer (batch,)).
        faults: what flips, such as ``BitFlipRates((1e-7, 1e-6))``, ``FaultCount(1)``, ``EveryBit()``,
            ``PerLayer(100)`` or ``FaultList.read(path)``.
        rates: short for ``faults=BitFlipRates(rates)``: flips per bit, each in [0, 1]; one number will do.
        task: what the outputs are worth, such as ``Classification()`` or ``Regression(tolerance=0.5)``; by default
            the one that outputs and labels look like, such as ``Binary()`` for one score per image.
        settings: how the campaign is run, see ``Settings``.
        results: results folder, whose campaign goes on: an interrupted one is continued, and more repeats, rates or
            images are added, to what one call with all of them gives; recorded rates stay, and repeats that are left
            open are as recorded. By default a temporary one, which goes with the process.
        progress: called after every unit with (done, total); a bar by default where a notebook runs this.
        **options: fields of ``Settings``, in place of those in ``settings``.

    Raises:
        FtonnxError: one of its children, for anything wrong with the arguments, the model, the data
            or the results folder; ``Interrupted`` after SIGINT or SIGTERM; ``IncompleteError`` when worker processes
            died over some units.

    >>> evaluate("digits", "digits", rates=[1e-5], repeats=2, batch_size=180, threads=1, strategy="live")
    CampaignResult('digits', golden 0.9806, top-1 at {1e-05: 0.4472}, see its warnings)
    """
    used = Settings.of(settings, options).begun()
    what_flips = _one_of(faults, rates)
    check_arguments(task=task, results=results, progress=progress)
    loaded = open_model(model)
    opened = open_data(data, loaded)
    campaign = Campaign(loaded, opened, what_flips, task=task, settings=used, results=results)
    result = campaign.run(progress=progress or shown_progress(f"{loaded.name} on {opened.name}"))
    # Few patterns are the caller's choice, which the result tells; a model that guesses is a mistake.
    mistake = result.task.caution(result.clean, opened.classes)
    if mistake is not None:
        _logger.warning("%s on %s: %s", loaded.name, opened.name, mistake)
    return result


def _one_of(faults: FaultModel | None, rates: float | Sequence[float]) -> FaultModel:
    """Return what flips.

    Raises:
        UsageError: it is said twice, or not at all, or is something else.
    """
    is_number: bool = isinstance(rates, numbers.Real)
    is_text: bool = isinstance(rates, str)
    if is_text or not (is_number or isinstance(rates, Iterable)):
        raise UsageError(f"`rates`: fault rates were expected, such as [1e-7, 1e-6], got {rates!r}")
    asked = [rates] if is_number else list(rates)  # type: ignore[arg-type]  # it is iterable then
    given = len(asked) > 0
    if faults is not None and given:
        raise UsageError("exactly one of faults and rates says what flips; got faults and rates")
    if faults is not None:
        of_kind("faults", faults, FaultModel, "what flips, such as BitFlipRates([1e-6]) or FaultCount(1),")
        return faults
    if not given:
        raise UsageError("exactly one of faults and rates says what flips; got none of them")
    return BitFlipRates(asked)  # type: ignore[arg-type]  # which looks at each
