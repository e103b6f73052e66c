"""ClipAct: thresholds searched by accuracy under faults (paper, section III-B)."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from ftonnx.campaign.golden import fault_free_accuracies
from ftonnx.campaign.provenance import versions
from ftonnx.datasets import Dataset
from ftonnx.export import Activation
from ftonnx.inject import OnnxModel
from ftonnx.mitigate.clipact import search_thresholds
from ftonnx.mitigate.points import ClipActSettings, Log
from ftonnx.mitigate.protections.base import Protected, Protection, Work, clipped_at, observed_for
from ftonnx.mitigate.search_log import SearchLog
from ftonnx.mitigate.thresholds import Thresholds, check_scope, largest_values

__all__ = ["ClipAct"]

_logger: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClipAct(Protection):
    """Every activation is clipped where the accuracy over fault rates is best.

    Attributes:
        scope: what has a threshold of its own, one of ``SCOPES``.
        settings: how to search, and what a value above a threshold becomes.

    Raises:
        UsageError: the scope is not known.
    """

    name: ClassVar[str] = "clipact"
    scope: str = "node"
    settings: ClipActSettings = field(default_factory=ClipActSettings)

    def __post_init__(self) -> None:
        """Check the scope."""
        check_scope(self.scope)

    def apply(self, model: OnnxModel, activations: Sequence[Activation], work: Work) -> Protected:
        """Measure the largest values, search below them, clip."""
        data = work.images_for(self.name)
        identity = self._identity(model, data)
        # first of all, so that a folder of another search is refused before any work
        with _search_log(work.results, identity) as log:
            largest = largest_values(
                model,
                data,
                observed_for(activations, self.settings.on_exceed),
                scope=self.scope,
                batch_size=self.settings.batch_size,
            )
            warnings = _warnings(model, data, self.settings)
            values, evaluations = search_thresholds(
                model,
                data,
                activations,
                largest,
                self.settings,
                log=log,
                progress=work.progress,
                cache_memory=work.cache_memory,
            )
        found = {
            "data": data.fingerprint,
            "samples": len(data),
            "settings": self.settings.to_dict(),
            "evaluations": [each.to_dict() for each in evaluations],
        }
        thresholds = Thresholds(
            method=self.name,
            scope=self.scope,
            model=model.sha256,
            values=values,
            on_exceed=self.settings.on_exceed,
            search=found,
        )
        return replace(clipped_at(model, thresholds), warnings=warnings)

    @classmethod
    def with_options(cls, *, scope: str, settings: ClipActSettings, on_exceed: str | None) -> Self:
        """Take all of them."""
        chosen = settings if on_exceed is None else replace(settings, on_exceed=on_exceed)
        return cls(scope=scope, settings=chosen)

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> Self:
        """Return the protection with these options; the settings are JSON values too."""
        known = dict(options)
        if "settings" in known:
            known["settings"] = ClipActSettings.from_dict(known["settings"])
        # super() has no class to go by in a dataclass with slots, which is made anew
        return super(ClipAct, cls).from_dict(known)

    def _identity(self, model: OnnxModel, data: Dataset) -> dict[str, Any]:
        """Return what decides the outcome of the search; measurements of another one are of no use."""
        return {
            "model": model.sha256,
            "data": data.fingerprint,
            "scope": self.scope,
            **self.settings.to_dict(),
            "versions": versions(),
        }


@contextmanager
def _search_log(folder: Path | None, identity: Mapping[str, Any]) -> Iterator[Log | None]:
    """Open the log in a folder; without one nothing is kept."""
    if folder is None:
        yield None
        return
    with SearchLog(folder, identity) as log:
        yield log


def _warnings(model: OnnxModel, data: Dataset, settings: ClipActSettings) -> tuple[str, ...]:
    """Say, before a long search by accuracy, whether there is any."""
    accuracies = fault_free_accuracies(
        [model.proto], data, settings.batch_size, task=settings.task, output=settings.output
    )
    found = accuracies[0].caution()
    if found is None:
        return ()
    _logger.warning("%s on %s: %s", model.name, data.name, found)
    return (found,)
