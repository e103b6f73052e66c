"""Makes ``docs/img/report.png``, the first screen of a report on three variants of the embedded model.

    python docs/report_picture.py

It needs Playwright and a Chromium, as the tests of pages do, and takes about a minute.
"""

import io
import shutil
import tempfile
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import sync_playwright

import ftonnx
from ftonnx.report import build

PICTURE: Final = Path(__file__).parent / "img" / "report.png"
RATES: Final = (1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4)
REPEATS: Final = 30
WIDTH: Final = 1100
HEIGHT: Final = 1040
SCALE: Final = 1.5
COLORS: Final = 256
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    """Run the campaigns, write the page, take the picture."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        page = build(campaigns(folder)).save(folder / "report.html")
        take(page)
    print(PICTURE)


def campaigns(folder: Path) -> list[ftonnx.CampaignResult]:
    """Return the campaigns of the embedded model, of it with clipped activations, and in int8."""
    clipped = folder / "digits-actmax.onnx"
    ftonnx.protect("digits", "digits", "actmax").save(clipped)
    int8 = folder / "digits-int8.onnx"
    ftonnx.quantize("digits", "digits").save(int8)
    results = []
    for model in ("digits", clipped, int8):
        kept = folder / Path(model).stem
        results.append(ftonnx.evaluate(model, "digits", rates=RATES, repeats=REPEATS, results=kept))
    return results


def take(page: Path) -> None:
    """Take a picture of a page's first screen."""
    browser = next(path for path in map(shutil.which, BROWSERS) if path is not None)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        size = {"width": WIDTH, "height": HEIGHT}
        view = started.new_page(viewport=size, device_scale_factor=SCALE)
        view.goto(page.as_uri())
        view.wait_for_selector("html[data-charts=drawn]", state="attached")
        shown = view.screenshot()
        started.close()
    # a page has few colours, so that a palette holds them in a third of the bytes
    Image.open(io.BytesIO(shown)).convert("RGB").quantize(COLORS).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
