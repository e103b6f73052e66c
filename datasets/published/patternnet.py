"""``patternnet:PATH``: PatternNet, 30,400 images of 256 x 256 pixels (Zhou et al. 2018)."""

from dataclasses import dataclass
from typing import ClassVar

from ftonnx.datasets.published.scenes import ScenesKind

__all__ = ["PatternnetKind"]


@dataclass(frozen=True, slots=True)
class PatternnetKind(ScenesKind):
    """PatternNet; see ``ScenesKind`` for its layouts."""

    form: ClassVar[str] = "patternnet:PATH"
    keyword: ClassVar[str | None] = "patternnet"
    title: ClassVar[str] = "PatternNet"
    labels: ClassVar[tuple[str, ...]] = (
        "airplane", "baseball_field", "basketball_court", "beach", "bridge", "cemetery", "chaparral",
        "christmas_tree_farm", "closed_road", "coastal_mansion", "crosswalk", "dense_residential", "ferry_terminal",
        "football_field", "forest", "freeway", "golf_course", "harbor", "intersection", "mobile_home_park",
        "nursing_home", "oil_gas_field", "oil_well", "overpass", "parking_lot", "parking_space", "railway", "river",
        "runway", "runway_marking", "shipping_yard", "solar_panel", "sparse_residential", "storage_tank",
        "swimming_pool", "tennis_court", "transformer_station", "wastewater_treatment_plant",
    )  # fmt: skip
