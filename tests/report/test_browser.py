"""The page in a real browser: charts, tables, hover, keyboard, colour schemes, widths."""

import json

import pytest
from PIL import Image
from report_kit import at_rate, browser, campaign, injections, opened, vulnerable  # noqa: F401

from ftonnx.campaign.store.header import ModelInfo
from ftonnx.report import Activations, build

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&lt;{{ 7*7 }}"
WIDTHS = (1280, 768, 390)


def activations(model="net", name="relu"):
    """Two activations, fault-free and with faults."""
    numbers = {
        "count": 10.0, "not_finite": 0.0, "minimum": 0.0, "quartile1": 0.1, "median": 0.5, "quartile3": 1.0,
        "maximum": 9.0, "mean": 0.7, "sparsity": 0.5, "above": 0.01,
    }  # fmt: skip
    rows = [{"activation": f"{name}{i}", "rate": rate} | numbers for i in range(2) for rate in (0.0, 1e-6)]
    rows[-1] |= {"maximum": None, "mean": None}
    return Activations(model, tuple(rows))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report with everything on it."""
    results = [
        campaign("plain", at_rate(0.0, 0.98), at_rate(1e-7, 0.98), at_rate(1e-6, 0.6), at_rate(1e-5, 0.1, due=0.2)),
        campaign("clipped", at_rate(1e-7, 0.97), at_rate(1e-6, 0.95), at_rate(1e-5, 0.7), tensor="other.weight"),
        injections("single"),
    ]
    return build(results, activations=[activations()]).save(tmp_path_factory.mktemp("report"))


def drawn(view, chart):
    """Number of marks that a chart shows."""
    return view.page.locator(f"#chart-{chart} svg g[class*=mark-] path[d]:not([d=''])").count()


def test_every_chart_is_drawn_and_nothing_is_asked_for_or_complained_about(browser, page):  # noqa: F811
    """No console message, no request but for the file itself, marks in every chart."""
    with opened(browser, page) as view:
        charts = view.page.locator(".chart").evaluate_all("all => all.map(one => one.id.slice(6))")
        assert charts == [
            "accuracy", "outcomes-1-plain", "outcomes-2-clipped", "outcomes-3-single", "vulnerability", "activations",
            "clipped", "fault-space-1-plain", "fault-space-2-clipped",
        ]  # fmt: skip
        for chart in charts:
            assert drawn(view, chart) > 0, chart
        assert drawn(view, "vulnerability") >= 3
        assert view.page.locator(".failed").count() == 0
        view.page.emulate_media(color_scheme="dark")
        view.page.set_viewport_size({"width": 500, "height": 500})
        assert view.messages == []
        assert view.requests == [page.as_uri()]


def test_the_tables_on_the_page_are_complete(browser, page):  # noqa: F811
    """A row per model and rate, a row per hit tensor and bit, every setting; no cell is empty."""
    with opened(browser, page) as view:

        def rows(caption):
            table = view.page.locator(f'[role=region][aria-label="{caption}"]')
            return table.locator("tbody tr").evaluate_all(
                "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
            )

        accuracy = rows("Accuracy per fault rate")
        assert [row[:2] for row in accuracy] == [
            *(["plain", rate] for rate in ("0", "1e-7", "1e-6", "1e-5")),
            *(["clipped", rate] for rate in ("1e-7", "1e-6", "1e-5")),
        ]
        assert accuracy[2][4:6] == ["60.00 %", "58.00 to 62.00 %"]
        assert len(rows("Outcomes per fault rate")) == 8
        assert [row[:3] for row in rows("Vulnerability per tensor")] == [
            ["single", "conv.weight", "20"], ["single", "fc.weight", "10"],
        ]  # fmt: skip
        assert len(rows("Distribution of every activation")) == 4
        tensors = [row[1] for row in rows("Fault space tensor by tensor")]
        assert tensors == ["conv.weight", "other.weight", "conv.weight"]
        settings = {row[0]: row[1:] for row in rows("Settings, hashes and versions")}
        assert settings["model: sha256"] == ["ab" * 32] * 3
        assert settings["setting: seed"] == ["0"] * 3
        assert settings["faults: count"] == ["-", "-", "1"]
        assert view.page.locator("td:empty, tbody th:empty").count() == 0


def test_hovering_over_a_point_shows_its_values(browser, page):  # noqa: F811
    """Model, rate, accuracy and interval appear beside the mouse."""
    with opened(browser, page) as view:
        point = view.page.locator("#chart-accuracy svg .mark-symbol.role-mark path").nth(1)
        point.scroll_into_view_if_needed()
        box = point.bounding_box()
        view.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        view.page.wait_for_selector("#vg-tooltip-element.visible", timeout=10_000)
        shown = view.page.locator("#vg-tooltip-element").inner_text()
        for text in ("plain", "1e-6", "60.00%", "58.00%", "62.00%", "98.00%"):
            assert text in shown
        assert view.messages == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_every_width_in_light_and_dark(browser, page, width, scheme, tmp_path):  # noqa: F811
    """No sideways scrolling, charts inside their place, the ground light or dark, and something on it."""
    with opened(browser, page, width=width, scheme=scheme) as view:
        assert view.page.evaluate("document.documentElement.scrollWidth") <= width
        for box in (svg.bounding_box() for svg in view.page.locator(".chart svg").all()):
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
        view.page.screenshot(path=tmp_path / "page.png", full_page=True)
    picture = Image.open(tmp_path / "page.png").convert("L")
    assert picture.width == width
    levels = picture.histogram()
    ground = max(range(256), key=levels.__getitem__)
    assert ground > 240 if scheme == "light" else ground < 40
    assert len([level for level in levels if level > 20]) > 20


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_charts_own_text_follows_the_colour_scheme(browser, page, scheme):  # noqa: F811
    """Axis labels have the colour of the page's text; on paper it is black in either scheme."""
    colour = "one => getComputedStyle(one).fill"
    with opened(browser, page, scheme=scheme) as view:
        label = view.page.locator("#chart-accuracy svg .role-axis-label text").first
        assert label.evaluate(colour) == view.page.evaluate("getComputedStyle(document.body).color")
        view.page.emulate_media(media="print", color_scheme=scheme)
        assert label.evaluate(colour) == "rgb(0, 0, 0)"
        assert view.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_everything_can_be_reached_from_the_keyboard(browser, page):  # noqa: F811
    """First the way to the content, then links, tables and folded tables; what has the focus is outlined."""
    with opened(browser, page, width=390) as view:
        reached = []
        view.page.keyboard.press("Tab")
        assert view.page.evaluate("document.activeElement.className") == "skip"
        assert view.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        while "Command" not in reached:  # the last stop; a command stands at the end of the page
            view.page.keyboard.press("Tab")
            name = view.page.evaluate("document.activeElement.ariaLabel || document.activeElement.textContent")
            reached.append(name)
            assert len(reached) < 100
            if view.page.evaluate("document.activeElement.tagName") == "SUMMARY":
                view.page.keyboard.press("Enter")
                assert view.page.evaluate("document.activeElement.parentElement.open")
        for name in ("Verdict", "How to repeat this", "Accuracy per fault rate", "Vulnerability per bit"):
            assert name in reached


def test_charts_and_tables_have_names_for_screen_readers(browser, page):  # noqa: F811
    """Every chart has a text, every table a caption, every heading its level in order."""
    with opened(browser, page) as view:
        assert all(view.page.locator(".chart").evaluate_all("all => all.map(one => one.ariaLabel.length > 10)"))
        assert view.page.locator("table:not(:has(caption))").count() == 0
        levels = view.page.locator("h1, h2, h3").evaluate_all("all => all.map(one => +one.tagName[1])")
        assert levels[0] == 1
        assert set(levels[1:]) == {2}


def test_printing_unfolds_the_tables_and_folds_them_again(browser, page):  # noqa: F811
    """Paper cannot be clicked on."""
    with opened(browser, page) as view:
        folded = view.page.locator("main details").count()
        assert folded >= 3
        view.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert view.page.locator("main details[open]").count() == folded
        view.page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert view.page.locator("main details[open]").count() == 0


def test_names_from_strangers_stay_text(browser, tmp_path):  # noqa: F811
    """Markup, scripts and template code in names of models, tensors and activations are shown as they are."""
    hostile = campaign(HOSTILE, tensor=HOSTILE, model=ModelInfo(name=HOSTILE, path=HOSTILE, sha256=HOSTILE))
    hit = injections(HOSTILE, vulnerable(HOSTILE, 3, 10), tensor=HOSTILE, folder=HOSTILE)
    made = build([hostile, hit], activations=[activations(HOSTILE, HOSTILE)])
    with opened(browser, made.save(tmp_path / "hostile.html")) as view:
        assert view.messages == []
        assert view.requests == [(tmp_path / "hostile.html").as_uri()]
        assert view.page.locator("img").count() == 0
        assert view.page.locator("script:not([type])").count() == 1
        assert HOSTILE in view.page.locator("#verdict p").first.inner_text()
        assert drawn(view, "vulnerability") >= 1
        cell = view.page.locator("#chart-vulnerability svg .mark-rect.role-mark path").first
        cell.scroll_into_view_if_needed()
        box = cell.bounding_box()
        view.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        view.page.wait_for_selector("#vg-tooltip-element.visible", timeout=10_000)
        assert HOSTILE in view.page.locator("#vg-tooltip-element").inner_text()
        assert view.page.locator("img").count() == 0
        assert view.messages == []


def test_a_chart_that_cannot_be_drawn_leaves_a_note(browser, page, tmp_path):  # noqa: F811
    """The other charts are drawn all the same."""
    text = page.read_text()
    start = text.index('data-chart="chart-accuracy">') + len('data-chart="chart-accuracy">')
    broken = tmp_path / "broken.html"
    broken.write_text(text[:start] + json.dumps({"mark": 5}) + text[text.index("</script>", start) :])
    with opened(browser, broken) as view:
        assert "could not be drawn" in view.page.locator("#chart-accuracy").inner_text()
        assert drawn(view, "outcomes-1-plain") > 0
        assert view.messages
