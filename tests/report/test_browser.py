"""The page in a real browser: charts, tables, hover, keyboard, colour schemes, widths."""

import json
import re

import pytest
from PIL import Image
from report_kit import at_rate, browser, campaign, injections, opened, vulnerable  # noqa: F401

from ftonnx.campaign.store.header import ModelInfo
from ftonnx.report import Activations, build

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&lt;{{ 7*7 }}"
WIDTHS = (1400, 800, 390)
CUT = """all => all.filter(one => one.scrollWidth > one.clientWidth && one.clientWidth > 0
                                  && getComputedStyle(one).display !== 'inline')
                   .map(one => `${one.tagName} ${one.className} ${one.textContent.trim().slice(0, 40)}`)"""
"""Which elements hold more than they show."""
MARKS = """all => all.filter(one => one.getBBox().width + one.getBBox().height > 0).map(one => {
    const style = getComputedStyle(one);
    const strength = style.opacity * Math.max(style.fillOpacity, style.strokeOpacity);
    return [one.closest('.chart').id, style.fill, style.stroke, strength];
})"""
"""Fill, outline and opacity of every mark."""


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
            "accuracy", "losses", "outcomes-1-plain", "outcomes-2-clipped", "injections", "vulnerability", "ranking",
            "activations", "clipped", "fault-space-1-plain", "fault-space-2-clipped",
        ]  # fmt: skip
        for chart in charts:
            assert drawn(view, chart) > 0, chart
        assert drawn(view, "vulnerability") >= 3
        # a chart beside another one has room for numbers of injections
        assert view.page.locator("#chart-ranking svg text", has_text=" of 20").count() == 1
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
                "rows => rows.map(row => [...row.cells].map(cell => cell.textContent.replaceAll('\u00a0', ' ')))"
            )

        accuracy = rows("Accuracy per fault rate")
        assert [row[:2] for row in accuracy] == [
            *(["plain", rate] for rate in ("0", "1e-7", "1e-6", "1e-5")),
            *(["clipped", rate] for rate in ("1e-7", "1e-6", "1e-5")),
        ]
        assert accuracy[2][4] == "60.00 %58.00 to 62.00 %"
        assert len(rows("Outcomes per fault rate")) == 7
        assert [row[:3] for row in rows("Outcomes of injections")] == [["single", "one flip", "60"]]
        assert [row[:3] for row in rows("Vulnerability per tensor")] == [
            ["single", "conv.weight", "20"], ["single", "fc.weight", "10"],
        ]  # fmt: skip
        assert len(rows("Distribution of every activation")) == 4
        tensors = [row[1] for row in rows("Fault space tensor by tensor")]
        assert tensors == ["conv.weight", "other.weight", "conv.weight"]
        common = {row[0]: row[1:] for row in rows("Settings, hashes and versions that are the same")}
        differing = {row[0]: row[1:] for row in rows("What differs")}
        assert common["model: sha256"] == ["ab" * 32]
        assert common["setting: seed"] == ["0"]
        assert differing["faults: count"] == ["-", "-", "1"]
        assert not common.keys() & differing.keys()
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


@pytest.mark.parametrize("width", WIDTHS)
def test_no_text_is_cut_at_any_width(browser, page, width):  # noqa: F811
    """Nothing holds more than it shows, folded tables neither; what is too wide for its place becomes cards."""
    with opened(browser, page, width=width) as view:
        view.page.locator("main details").evaluate_all("all => all.forEach(one => { one.open = true; })")
        if width <= 800:
            view.page.wait_for_selector("details .scroll.cards")
        assert view.page.locator("main *:not(svg *):not(summary)").evaluate_all(CUT) == []
        cards = view.page.locator(".cards").count()
        tables = view.page.locator(".scroll").count()
        assert (cards > tables / 2) == (width == 390)
        if cards:
            titles = view.page.locator(".cards td").evaluate_all("all => all.map(one => one.dataset.title)")
            assert all(titles)
        assert view.messages == []


def test_no_table_is_cut_in_the_first_frame_of_a_narrower_window(browser, page):  # noqa: F811
    """What is drawn before the next frame, as a screenshot may be, has cards already."""
    with opened(browser, page, width=500) as view:
        cut = "[...document.querySelectorAll('section > .scroll')].filter((one) => one.scrollWidth > one.clientWidth)"
        # a promise, as the page's policy lets nobody ask again and again
        counted = (
            f"window.cut = new Promise((done) => addEventListener('resize', () => done({cut}.length), {{once: true}}))"
        )
        for width in (480, 400, 340):
            view.page.evaluate(f"() => {{ {counted}; }}")
            view.page.set_viewport_size({"width": width, "height": 900})
            assert view.page.evaluate("window.cut") == 0, width


def test_cards_become_a_table_again_where_there_is_room(browser, page):  # noqa: F811
    """A turned phone."""
    with opened(browser, page, width=390) as view:
        assert view.page.locator("#verdict .cards").count() == 1
        cards = view.page.get_by_role("table", name="What is shown")
        assert cards.get_by_role("row").count() == 3
        assert cards.get_by_role("rowheader").first.inner_text() == "plain"
        view.page.set_viewport_size({"width": 1400, "height": 900})
        view.page.wait_for_selector("#verdict .scroll:not(.cards)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_mark_is_seen_on_its_ground(browser, page, scheme):  # noqa: F811
    """A contrast of 3 : 1 between the page and each mark's fill or outline, but for bands, which lie under lines."""
    with opened(browser, page, scheme=scheme) as view:
        ground = channels(view.page.evaluate("getComputedStyle(document.body).backgroundColor"))
        drawings = view.page.locator(".chart svg .role-mark path, .chart svg .role-mark line")
        marks = drawings.evaluate_all(MARKS)
        verdicts = view.page.locator(".tone").evaluate_all(
            "all => all.map(one => getComputedStyle(one).backgroundColor)"
        )
    assert len(marks) > 50
    faint = [
        (chart, fill, outline)
        for chart, fill, outline, opacity in marks
        if opacity >= 0.5 and max(contrast(color, ground) for color in (fill, outline)) < 3
    ]
    assert faint == []
    assert verdicts
    assert all(contrast(color, ground) >= 3 and contrast(color, (255, 255, 255)) >= 4.5 for color in verdicts)


def channels(color):
    """Red, green and blue of a CSS colour; None where there is none."""
    found = re.fullmatch(r"rgba?\((\d+), (\d+), (\d+)(?:, [\d.]+)?\)", color)
    return None if found is None else tuple(int(number) for number in found.groups())


def contrast(color, ground):
    """The ratio of WCAG 2 between two colours; 1 where there is no colour."""
    if isinstance(color, str):
        color = channels(color)
    if color is None:
        return 1.0
    low, high = sorted(luminance(each) for each in (color, ground))
    return (high + 0.05) / (low + 0.05)


def luminance(color):
    """Relative luminance of sRGB."""
    parts = [channel / 255 for channel in color]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.slow
def test_paper_takes_eight_pages_at_most(browser, tmp_path):  # noqa: F811
    """Four models at eight rates, and two of single faults with twenty tensors; folded tables stay on the screen."""
    target = campaign().fault_space.tensors[0].to_dict()
    targets = tuple(target | {"tensor": f"block{i}.conv.weight", "node": f"conv{i}"} for i in range(20))
    rates = [at_rate(1e-8 * 4**i, 0.98 - 0.1 * i) for i in range(8)]
    hit = [vulnerable(f"block{i}.conv.weight", bit, bit * i) for i in range(20) for bit in range(32)]
    results = [campaign(f"a-model-with-a-name-{i}", *rates, tensors=targets) for i in range(4)]
    results += [injections(f"single-{i}", *hit, tensors=targets) for i in range(2)]
    made = build(results, activations=[activations()]).save(tmp_path / "report.html")
    with opened(browser, made) as view:
        assert view.page.locator("main details").count() >= 3
        printed = view.page.pdf(format="A4")
        view.page.emulate_media(media="print")
        assert view.page.locator("main details:visible").count() == 0
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 8


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
        assert HOSTILE in view.page.locator("#verdict th[scope=row]").first.inner_text()
        assert view.page.locator("#verdict p strong").first.inner_text() == f"{HOSTILE} (run)"
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
