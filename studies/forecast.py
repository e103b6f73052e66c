"""What the campaigns of a study will take, by a measurement of a few units of some of them."""

import statistics
import time
from collections.abc import Hashable
from dataclasses import replace
from typing import Final, NamedTuple

from ftonnx.studies.campaigns import CellCampaign
from ftonnx.studies.kept import KeptFiles
from ftonnx.studies.model_files import ModelFile

__all__ = ["Forecast", "Forecaster"]

_UNITS: Final = 5
"""That are run of a campaign, at most."""

_SECONDS: Final = 1.0
"""After which no further unit of the same campaign is run."""


class Forecast(NamedTuple):
    """What a unit of a campaign takes.

    Attributes:
        seconds: of a unit.
        file: the model file that it was measured on: the campaign's own, or one that it is made from.
    """

    seconds: float
    file: ModelFile


class Forecaster:
    """Measures campaigns whose models are there, until the time for it is over."""

    def __init__(self, kept: KeptFiles, seconds: float) -> None:
        """Begin.

        Args:
            kept: the model files.
            seconds: after which no further campaign is measured.
        """
        self._kept = kept
        self._until = time.monotonic() + seconds
        self._known: dict[Hashable, float] = {}

    def of(self, campaign: CellCampaign) -> Forecast | None:
        """Return what a unit of a campaign takes; None where no model is there yet, or the time was over.

        Raises:
            FtonnxError: model or data cannot be read, or do not fit.
        """
        there = (file for file in reversed(campaign.files) if self._kept.is_there(file))
        nearest = next(there, None)
        if nearest is not None and self._key_of(campaign, nearest) not in self._known:
            self._measure(replace(campaign, file=nearest))
        for file in reversed(campaign.files):
            seconds = self._known.get(self._key_of(campaign, file))
            if seconds is not None:
                return Forecast(seconds, file)
        return None

    def _measure(self, campaign: CellCampaign) -> None:
        """Run a few units, unless the time is over."""
        if time.monotonic() > self._until:
            return
        opened = campaign.opened(self._kept.shop)
        found: list[float] = []
        begin = time.monotonic()
        while len(found) < _UNITS and (not found or time.monotonic() - begin < _SECONDS):
            found.append(opened.forecast()["seconds"] / opened.units)
        self._known[self._key_of(campaign, campaign.file)] = statistics.median(found)

    def _key_of(self, campaign: CellCampaign, file: ModelFile) -> Hashable:
        """Return what the time of a unit depends on."""
        return (file, campaign.cell.data, campaign.settings.images_per_pattern)
