"""``eurosat:PATH``: EuroSAT in RGB, 27,000 images of 64 x 64 pixels (Helber et al. 2019)."""

from dataclasses import dataclass
from typing import ClassVar

from ftonnx.datasets.published.scenes import ScenesKind

__all__ = ["EurosatKind"]


@dataclass(frozen=True, slots=True)
class EurosatKind(ScenesKind):
    """EuroSAT; see ``ScenesKind`` for its layouts."""

    form: ClassVar[str] = "eurosat:PATH"
    keyword: ClassVar[str | None] = "eurosat"
    title: ClassVar[str] = "EuroSAT"
    labels: ClassVar[tuple[str, ...]] = (
        "AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial", "Pasture", "PermanentCrop",
        "Residential", "River", "SeaLake",
    )  # fmt: skip
