"""Label maps in reports: pictures that say what they show, with a legend, in every form."""

import base64
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from report_kit import at_rate, campaign

from ftonnx.campaign import KeptMaps, MapPair
from ftonnx.report import build
from ftonnx.report.label_maps import _colors

HOSTILE = '</svg><script>alert(1)</script>" onload="alert(2)'
SVG = "{http://www.w3.org/2000/svg}"


def pair(*, side=(6, 4), classes=3, image=3):
    """Maps of random classes."""
    rng = np.random.default_rng(2)
    golden, faulty = (rng.integers(0, classes, side).astype(np.uint8) for _ in range(2))
    return MapPair.of(golden, faulty, rate=1e-6, repeat=1, batch=0, image=image)


def with_maps(folder, *pairs, classes=3, names=("sea", "sky", None), name="net"):
    """A result whose folder holds maps."""
    folder.mkdir(exist_ok=True)
    KeptMaps(pairs=pairs, classes=classes, names=names).write(folder)
    return replace(campaign(name, at_rate(1e-6, 0.9)), results=folder)


def pictures_of(*results):
    """The pictures of a report."""
    return [picture for section in build(results).sections for picture in section.pictures]


def test_a_picture_shows_both_maps_pixel_by_pixel(tmp_path):
    """In the colours of the legend, which names the classes."""
    maps = pair()
    (picture,) = pictures_of(with_maps(tmp_path / "r", maps))
    root = ElementTree.fromstring(picture.file)
    texts = [each.text for each in root.iter(f"{SVG}text")]
    assert texts == ["without faults", "with faults", "class 0 (sea)", "class 1 (sky)", "class 2"]
    colors = [bytes.fromhex(each.get("fill")[1:]) for each in root.iter(f"{SVG}rect")]
    for image, expected in zip(root.iter(f"{SVG}image"), (maps.golden, maps.faulty), strict=True):
        png = base64.b64decode(image.get("href").partition("base64,")[2])
        shown = np.asarray(Image.open(BytesIO(png)))
        np.testing.assert_array_equal(shown, np.array([list(color) for color in colors], np.uint8)[expected])
        assert float(image.get("width")) / float(image.get("height")) == pytest.approx(4 / 6)


def test_what_it_shows_is_said_in_words(tmp_path):
    """In the caption, and for those who do not see it."""
    golden = np.zeros((2, 8), np.uint8)
    faulty = golden.copy()
    faulty[0, :3] = 1
    faulty[1, 0] = 2
    maps = MapPair.of(golden, faulty, rate=1e-6, repeat=1, batch=2, image=17)
    (picture,) = pictures_of(with_maps(tmp_path / "r", maps))
    assert picture.caption == (
        "net: image 17 without faults and with those of rate 1e-6, repeat 1, batch 2. 25.0 % of its pixels get another "
        "class, most often class 1 (sky) in place of class 0 (sea)."
    )
    root = ElementTree.fromstring(picture.svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == root.find(f"{SVG}title").text == picture.caption


def test_names_from_strangers_open_no_element(tmp_path):
    """Neither in the picture nor on the page."""
    result = with_maps(tmp_path / "r", pair(), names=(HOSTILE, HOSTILE, HOSTILE), name=HOSTILE)
    (picture,) = pictures_of(result)
    for svg in (picture.svg, picture.file):
        tags = {each.tag.removeprefix(SVG) for each in ElementTree.fromstring(svg).iter()}
        assert tags - {"path"} == {"svg", "title", "text", "image", "rect"}
    text = build([result]).html()
    assert "<script>alert" not in text
    assert '" onload="' not in text


def test_the_page_loads_nothing_for_them(tmp_path):
    """Pictures are in it."""
    text = build([with_maps(tmp_path / "r", pair())]).html()
    found = re.findall(r'<image[^>]* href="([^"]*)"', text)
    assert len(found) == 2
    assert all(each.startswith("data:image/png;base64,") for each in found)
    assert 'href="#label-maps"' in text


def test_pictures_are_written_as_files(tmp_path):
    """As charts are, under names that tell several models apart."""
    one, other = with_maps(tmp_path / "a", pair(), name="a"), with_maps(tmp_path / "b", pair(), pair(), name="b")
    names = {path.name for path in build([one, other]).save_charts(tmp_path) if "label-maps" in path.name}
    pairs = ("1-a-1", "2-b-1", "2-b-2")
    assert names == {f"label-maps-{each}.{ending}" for each in pairs for ending in ("png", "svg", "pdf")}
    with Image.open(tmp_path / "label-maps-1-a-1.png") as drawn:
        assert drawn.convert("RGB").getpixel((1, 1)) == (255, 255, 255)


@pytest.mark.parametrize("side", [(1, 1), (3, 512), (512, 3)])
def test_maps_of_any_shape_have_their_legend_below_and_inside(tmp_path, side):
    """However many classes there are."""
    names = tuple(f"a class with a long name {number}" for number in range(40))
    (picture,) = pictures_of(with_maps(tmp_path / "r", pair(side=side, classes=40), classes=40, names=names))
    root = ElementTree.fromstring(picture.file)
    bottom = max(float(each.get("y")) + float(each.get("height")) for each in root.iter(f"{SVG}image"))
    boxes = list(root.iter(f"{SVG}rect"))
    assert 1 <= len(boxes) <= 24
    for box in boxes:
        assert float(box.get("y")) > bottom
        assert float(box.get("x")) + 13 <= float(root.get("width"))
        assert float(box.get("y")) + 13 <= float(root.get("height"))


@pytest.mark.parametrize("classes", [2, 8, 9, 100])
def test_classes_have_colours_of_their_own(classes):
    """The first eight are those that everyone can tell apart."""
    colors = _colors(classes)
    assert colors.shape == (classes, 3)
    assert len(np.unique(colors, axis=0)) == classes


def test_a_thinned_map_is_said_to_be_one(tmp_path):
    """Its share of changed pixels is that of all of them."""
    golden = np.zeros((600, 4), np.uint8)
    maps = MapPair.of(golden, golden + 1, rate=1e-6, repeat=0, batch=0, image=0)
    (picture,) = pictures_of(with_maps(tmp_path / "r", maps))
    assert "One of 2 pixels a side is shown." in picture.caption
    assert "100.0 % of its pixels" in picture.caption


def test_maps_that_cannot_be_read_are_not_kept_quiet(tmp_path):
    """The page says so, and shows the rest."""
    result = with_maps(tmp_path / "r", pair())
    (tmp_path / "r" / "maps.npz").write_bytes(b"damaged")
    text = build([result]).html()
    assert "net: its label maps cannot be shown:" in text
    assert "<image" not in text


def test_reports_without_maps_have_no_section():
    """As most have none."""
    names = [section.name for section in build([campaign()]).sections]
    assert "label-maps" not in names
