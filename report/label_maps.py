"""Label maps: what a network sees in an image without faults and with them, side by side, as one picture each."""

import base64
import colorsys
from collections.abc import Sequence
from io import BytesIO
from typing import Any, Final

import numpy as np
from jinja2 import Environment
from numpy.typing import NDArray
from PIL import Image

from ftonnx.campaign import KeptMaps, MapPair
from ftonnx.errors import StoreError
from ftonnx.report.cells import Named, each_figure
from ftonnx.report.design import CLASSES, INK, MIDDLE, PAPER
from ftonnx.report.formats import percent, rate_text
from ftonnx.report.page import Picture, Section

__all__ = ["label_maps_section"]

_MEANING: Final = (
    "Of each rate those units whose faults change most pixels, and of each unit the image that they change most: the "
    "worst that was seen, and not what is usual. The units were run once more for these pictures, with the recorded "
    "outcome."
)
_SIDE: Final = 300  # of a map's longer side
_GAP: Final = 20
_LINE: Final = 20
_MARGIN: Final = 4
_CHARACTER: Final = 8  # width of one, at most
_MOST_IN_LEGEND: Final = 24

_SVG: Final = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{ width }} {{ height }}" width="{{ width }}" \
height="{{ height }}" font-family="system-ui, Liberation Sans, sans-serif" font-size="13" role="img" \
aria-label="{{ alt }}"><title>{{ alt }}</title>
{% if ground %}
<path fill="{{ ground }}" d="M0 0H{{ width }}V{{ height }}H0z"/>
{% endif %}
{% for map in maps %}
<text x="{{ map.x }}" y="14" fill="{{ ink }}">{{ map.title }}</text>
<image x="{{ map.x }}" y="22" width="{{ map.width }}" height="{{ map.height }}" preserveAspectRatio="none" \
style="image-rendering:pixelated" href="data:image/png;base64,{{ map.png }}"/>
{% endfor %}
{% for entry in legend %}
<rect x="{{ entry.x }}" y="{{ entry.y }}" width="13" height="13" fill="{{ entry.color }}" stroke="{{ outline }}"/>
<text x="{{ entry.x + 18 }}" y="{{ entry.y + 11 }}" fill="{{ ink }}">{{ entry.text }}</text>
{% endfor %}
</svg>"""


def label_maps_section(named: Named) -> Section | None:
    """Return the section of the maps that campaigns kept; None where there are none."""
    text = []
    pictures = []
    for name, label, result in each_figure("label-maps", named):
        try:
            kept = KeptMaps.read(result.results)
        except StoreError as error:
            text.append(f"{label}: its label maps cannot be shown: {error}.")
            continue
        if kept is None:
            continue
        for number, pair in enumerate(kept.pairs, 1):
            pictures.append(_picture(f"{name}-{number}", label, pair, kept))
    if pictures:
        text.insert(0, _MEANING)
    return Section("label-maps", "Label maps", text=text, pictures=pictures) if text else None


def _picture(name: str, label: str, pair: MapPair, kept: KeptMaps) -> Picture:
    unit = f"rate {rate_text(pair.rate)}, repeat {pair.repeat}, batch {pair.batch}"
    caption = f"{label}: image {pair.image} without faults and with those of {unit}. {_change(pair, kept)}"
    if pair.step > 1:
        caption += f" One of {pair.step} pixels a side is shown."
    on_page = _svg(pair, kept, caption, ink="currentColor")
    in_file = _svg(pair, kept, caption, ink=INK, ground=PAPER["light"]["paper"])
    return Picture(name, on_page, in_file, caption)


def _change(pair: MapPair, kept: KeptMaps) -> str:
    """Say how many pixels changed, and which change is the most frequent.

    >>> pair = MapPair.of(np.array([[0, 0, 1, 1]], np.uint8), np.array([[2, 2, 1, 0]], np.uint8), rate=1e-6, repeat=0,
    ...                   batch=0, image=0)
    >>> _change(pair, KeptMaps(pairs=(pair,), classes=3, names=("sea", "sky", None)))
    '75.0 % of its pixels get another class, most often class 2 in place of class 0 (sea).'
    """
    is_other = pair.golden != pair.faulty
    share = f"{percent(pair.changed, 1)} of its pixels get another class"
    if not is_other.any():
        # those that changed lie between the kept ones
        return f"{share}."
    moves = pair.golden[is_other].astype(np.int64) * kept.classes + pair.faulty[is_other]
    before, after = divmod(int(np.bincount(moves).argmax()), kept.classes)
    return f"{share}, most often {_class_text(after, kept)} in place of {_class_text(before, kept)}."


def _class_text(number: int, kept: KeptMaps) -> str:
    name = kept.names[number] if number < len(kept.names) else None
    return f"class {number}" if name is None else f"class {number} ({name})"


def _svg(pair: MapPair, kept: KeptMaps, alt: str, *, ink: str, ground: str = "") -> str:
    """Return both maps and a legend of the classes in them.

    Args:
        pair: the maps.
        kept: what classes are called.
        alt: the picture in words.
        ink: colour of texts.
        ground: colour behind all; none by default.
    """
    height, width = pair.golden.shape
    scale = _SIDE / max(height, width)
    shown_width = max(1, round(scale * width))
    shown_height = max(1, round(scale * height))
    seen = np.union1d(pair.golden, pair.faulty).tolist()
    colors = _colors(kept.classes)
    maps = []
    for place, (title, each) in enumerate((("without faults", pair.golden), ("with faults", pair.faulty))):
        x = _MARGIN + place * (max(shown_width, _SIDE // 2) + _GAP)
        maps.append({"x": x, "title": title, "width": shown_width, "height": shown_height, "png": _png(colors[each])})
    total = 2 * _MARGIN + 2 * max(shown_width, _SIDE // 2) + _GAP
    legend = _legend(seen, kept, colors, total, 22 + shown_height + 12)
    bottom = max(entry["y"] for entry in legend) + _LINE
    template = Environment(autoescape=True, trim_blocks=True).from_string(_SVG)
    return template.render(
        width=total, height=bottom, alt=alt, ink=ink, ground=ground, outline=MIDDLE, maps=maps, legend=legend
    )


def _legend(
    seen: Sequence[int], kept: KeptMaps, colors: NDArray[np.uint8], width: int, top: int
) -> list[dict[str, Any]]:
    """Return the places, colours and texts of the classes, as many side by side as there is room for."""
    entries: list[dict[str, Any]] = []
    x, y = _MARGIN, top
    for number in seen[:_MOST_IN_LEGEND]:
        text = _class_text(number, kept)
        needed = 18 + _CHARACTER * len(text) + 12
        if x > _MARGIN and x + needed > width:
            x, y = _MARGIN, y + _LINE
        color = "#" + bytes(colors[number]).hex()
        entries.append({"x": x, "y": y, "color": color, "text": text})
        x += needed
    return entries


def _colors(classes: int) -> NDArray[np.uint8]:
    """Return a colour for each class, (classes, 3); beyond the first eight, colours around the circle."""
    found = [bytes.fromhex(color[1:]) for color in CLASSES[:classes]]
    for number in range(len(found), classes):
        # the golden section of the circle keeps neighbours apart
        hue = number * 0.618034 % 1
        lightness = (0.35, 0.5, 0.65)[number % 3]
        found.append(bytes(round(255 * part) for part in colorsys.hls_to_rgb(hue, lightness, 0.6)))
    return np.frombuffer(b"".join(found), np.uint8).reshape(classes, 3)


def _png(pixels: NDArray[np.uint8]) -> str:
    """Return pixels (height, width, 3) as the content of a PNG, in base64."""
    content = BytesIO()
    Image.fromarray(pixels).save(content, format="PNG")
    return base64.b64encode(content.getvalue()).decode()
