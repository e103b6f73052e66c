"""Colours: each is seen on white paper and on the dark page, and all of them are in one place."""

import re
from pathlib import Path

import pytest

import ftonnx.report
from ftonnx.report.design import MIDDLE, ON_DARK, PAPER, SERIES, TONES, style_rules

ROOM = Path(ftonnx.report.__file__).parent
GROUNDS = (PAPER["light"]["paper"], PAPER["dark"]["paper"], PAPER["print"]["paper"])


def luminance(color):
    """Relative luminance of a colour such as #0072B2."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    """The ratio of WCAG 2."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("color", [*SERIES, *TONES.values(), MIDDLE])
def test_every_mark_has_a_contrast_of_three_on_every_page(color):
    """Series, verdicts and outlines."""
    assert min(contrast(color, ground) for ground in GROUNDS) >= 3


def test_texts_have_a_contrast_of_four_and_a_half():
    """On verdicts, and on each page's paper."""
    assert min(contrast(ON_DARK, color) for color in TONES.values()) >= 4.5
    for page in PAPER.values():
        for name in ("ink", "soft", "link"):
            assert contrast(page[name], page["paper"]) >= 4.5
            assert contrast(page[name], page["tint"]) >= 4.5


def test_colours_are_written_in_one_file():
    """Not in charts, nor in the style sheet, which takes its variables from there."""
    color = re.compile(r"#[0-9a-fA-F]{6}\b")
    files = [*ROOM.glob("*.py"), ROOM / "templates" / "page.html.jinja"]
    assert {file.name for file in files if color.search(file.read_text(encoding="utf-8"))} == {"design.py"}
    style = (ROOM / "templates" / "page.css").read_text(encoding="utf-8")
    # selectors name the ink of charts
    assert not color.search(re.sub(r"\[[^]]*\]", "", style))
    used = set(re.findall(r"var\((--[a-z0-9-]+)\)", style))
    assert used == set(re.findall(r"(--[a-z0-9-]+):", style_rules()))
