"""``rsicb256:PATH``: RSI-CB256, 24,747 images of 256 x 256 pixels in groups of classes (Li et al. 2020)."""

from dataclasses import dataclass
from typing import ClassVar

from ftonnx.datasets.published.scenes import ScenesKind

__all__ = ["Rsicb256Kind"]


@dataclass(frozen=True, slots=True)
class Rsicb256Kind(ScenesKind):
    """RSI-CB256; see ``ScenesKind`` for its layouts."""

    form: ClassVar[str] = "rsicb256:PATH"
    keyword: ClassVar[str | None] = "rsicb256"
    title: ClassVar[str] = "RSI-CB256"
    labels: ClassVar[tuple[str, ...]] = (
        "airplane", "airport_runway", "artificial_grassland", "avenue", "bare_land", "bridge", "city_building",
        "coastline", "container", "crossroads", "dam", "desert", "dry_farm", "forest", "green_farmland", "highway",
        "hirst", "lakeshore", "mangrove", "marina", "mountain", "parkinglot", "pipeline", "residents", "river",
        "river_protection_forest", "sandbeach", "sapling", "sea", "shrubwood", "snow_mountain", "sparse_forest",
        "storage_room", "stream", "town",
    )  # fmt: skip
