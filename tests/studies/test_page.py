"""The page of a study: everything on it, nothing from elsewhere, at every width; links lead to files that are there."""

import re
from urllib.parse import unquote

import pytest
from report_kit import browser, opened  # noqa: F401
from study_kit import ran

pytestmark = pytest.mark.slow  # a study of two models is run, and looked at in a browser

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&lt;{{ 7*7 }}"
WIDTHS = (1280, 768, 390)


def made(place):
    """Run the study, or find that it was run."""
    return ran(
        place,
        study={"name": HOSTILE},
        models={"net": "digits", "twin-with-a-long-name": "digits", "gone": f"{HOSTILE}.onnx"},
        faults={"rates": {"rate": [1e-5, 1e-4]}, "one": {"faults_per_run": 1, "repeats": 2}},
        exclude=[{"model": "gone", "protect": "actmax"}, {"model": "gone", "quantize": "ptq"}],
        activations={"rates": [0.0, 1e-3], "images": 8, "models": ["net", "twin-with-a-long-name"]},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of a study: two models, rates, injections and activations, and a model without a file."""
    place = tmp_path_factory.mktemp("page")
    made(place).save(place)
    return place


def texts(view, selector):
    """Return the texts of all elements."""
    return view.page.locator(selector).evaluate_all("all => all.map(one => one.textContent)")


def test_the_page_has_every_table_with_its_marks(browser, folder):  # noqa: F811
    """Accuracies, differences and what failed; the best of a column is bold, the second in italics."""
    with opened(browser, folder / "report.html") as view:
        assert texts(view, "h2") == ["Overview", "digits, rates", "digits, one", "More figures", "What failed"]
        assert texts(view, "caption") == [
            "digits, rates: top-1 accuracy",
            "digits, rates: top-1 accuracy minus that of the model as it is",
            "digits, one: top-1 accuracy",
            "Cells that could not be run",
        ]
        assert texts(view, "#overview p")[-1] == "20 of 22 cells are complete, 2 could not be run."
        assert view.page.locator("td:empty, tbody th:empty").count() == 0
        tables = view.page.locator("table")
        assert tables.nth(0).locator("tbody tr").count() == 9
        assert tables.nth(1).locator("tbody tr").count() == 6
        assert tables.nth(1).locator("small").count() == 6 * 2
        for column in range(3, 6):
            cells = tables.nth(0).locator(f"tbody td:nth-child({column})")
            assert cells.locator("strong").count() >= 1
        assert texts(view, "#failed tbody th") == ["gone/none/none/digits/rates", "gone/none/none/digits/one"]


def test_every_chart_is_drawn_and_nothing_is_asked_for(browser, folder):  # noqa: F811
    """No console message, no request but for the file itself, and every figure of the study is there."""
    with opened(browser, folder / "report.html") as view:
        charts = view.page.locator(".chart")
        assert charts.count() == len({path.stem for path in (folder / "charts").iterdir()})
        for place in range(charts.count()):
            assert charts.nth(place).locator("svg g[class*=mark-] path[d]:not([d=''])").count() > 0
        assert view.page.locator(".failed").count() == 0
        assert view.messages == []
        assert view.requests == [(folder / "report.html").as_uri()]


def test_links_lead_to_files_of_the_folder(browser, folder):  # noqa: F811
    """To all tables, and to the reports of the single groups; the folder can be moved."""
    with opened(browser, folder / "report.html") as view:
        links = view.page.locator(".links a").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    assert all(link.startswith("./") for link in links)
    found = {unquote(link[2:]) for link in links}
    assert all((folder / name).is_file() for name in found)
    assert found == {
        *(f"{name}.{ending}" for name in ("tables", "differences") for ending in ("md", "tex", "csv", "parquet")),
        *(
            f"reports/{model}@digits+{faults}.html"
            for model in ("net", "twin-with-a-long-name")
            for faults in ("rates", "one")
        ),
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_every_width(browser, folder, width, scheme):  # noqa: F811
    """No sideways scrolling, no text of a chart or a caption behind the edge, the ground light or dark."""
    with opened(browser, folder / "report.html", width=width, scheme=scheme) as view:
        assert view.page.evaluate("document.documentElement.scrollWidth") <= width
        shown = view.page.locator(".chart svg, .chart svg text, caption span, p, h1, h2, .links a, figcaption")
        boxes = shown.evaluate_all(
            "all => all.map(one => one.getBoundingClientRect()).map(box => [box.width, box.left, box.right])"
        )
        assert len(boxes) > 50
        for size, left, right in boxes:
            if size:
                assert left >= 0
                assert right <= width
        # which Vega puts where it has cut
        assert not [text for text in texts(view, ".chart svg text") if text.endswith("…")]
        ground = view.page.evaluate("getComputedStyle(document.body).backgroundColor")
        level = int(re.search(r"\d+", ground)[0])
        assert level > 240 if scheme == "light" else level < 40


def test_what_is_black_on_paper_is_light_on_dark_ground(browser, folder):  # noqa: F811
    """The ticks of values without faults, like the texts of charts."""
    with opened(browser, folder / "report.html", scheme="dark") as view:
        ticks = view.page.locator('.chart svg path[fill="#000000"]')
        assert ticks.count() > 0
        colours = set(ticks.evaluate_all("all => all.map(one => getComputedStyle(one).fill)"))
        assert colours == {view.page.evaluate("getComputedStyle(document.body).color")}


def test_panels_take_the_room_that_there_is(browser, folder):  # noqa: F811
    """Side by side where it is wide, below each other on a phone, with texts of the same size."""

    def panels(width):
        with opened(browser, folder / "report.html", width=width) as view:
            chart = view.page.locator(".chart").first
            grounds = chart.locator("svg g.role-scope.cell > g > path.background").all()
            text = chart.locator("svg .role-axis-label text").first
            return [round(ground.bounding_box()["x"]) for ground in grounds], text.bounding_box()["height"]

    (wide, large), (narrow, small) = panels(1280), panels(390)
    assert (len(wide), len(set(wide))) == (2, 2)
    assert (len(narrow), len(set(narrow))) == (2, 1)
    assert small == pytest.approx(large, rel=0.1)


def test_what_comes_from_the_file_stays_text(browser, folder):  # noqa: F811
    """Markup, scripts and template code in the study's name and in a model's path are shown as they are."""
    with opened(browser, folder / "report.html") as view:
        assert texts(view, "h1") == [HOSTILE]
        assert HOSTILE in texts(view, "#failed tbody td")[0]
        assert view.page.locator("img").count() == 0
        assert view.page.locator("script:not([type])").count() == 1
        assert view.messages == []


def test_the_page_has_the_same_bytes_every_time(folder):
    """No date, no random name."""
    before = (folder / "report.html").read_bytes()
    made(folder).save(folder)
    assert (folder / "report.html").read_bytes() == before
