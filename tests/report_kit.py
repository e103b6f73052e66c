"""Helpers for the tests of reports: made-up results, and a real browser."""

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ftonnx.campaign import CampaignResult, Estimate, RateResult, Vulnerability
from ftonnx.campaign.intervals import clopper_pearson

SETTINGS = {
    "rates": [], "faults_per_run": None, "exhaustive": False, "per_layer": None, "fault_list": None, "repeats": 4,
    "batch_size": 128, "seed": 0, "format": "auto", "targets": ["weight", "bias"], "include": [], "exclude": [],
    "bits": [], "strategy": "auto", "providers": ["cpu"], "threads": 1,
}  # fmt: skip


def estimate(mean, width=0.02):
    """An estimate with a symmetric interval; none at width None."""
    return Estimate(mean, None, None) if width is None else Estimate(mean, max(0, mean - width), min(1, mean + width))


def at_rate(rate, top1, *, sdc1=None, due=0.0, masked=0.0, width=0.02):
    """The outcomes at one rate."""
    sdc1 = 1 - top1 - due if sdc1 is None else sdc1
    shares = {"top1": top1, "top5": top1, "sdc1": sdc1, "sdc5": 0.0, "sdc10": 0.0, "sdc20": 0.0, "masked": masked}
    estimates = {name: estimate(share, width) for name, share in shares.items()}
    return RateResult(
        rate=rate, units=24, faults_mean=2e6 * rate, due=estimate(due, width), beneficial=estimate(0.0), **estimates
    )


def vulnerable(tensor, bit, critical, injections=10):
    """What single flips of one bit did, with 100 images per injection."""
    images = 100 * injections
    share = clopper_pearson(critical / 100, injections)
    return Vulnerability(
        tensor=tensor, bit=bit, injections=injections, images=images, masked=images - critical, critical=critical,
        sdc5=0, due=0, correct1=images - critical, low=share.low, high=share.high,
    )  # fmt: skip


def campaign(name="net", *rates, tensor="conv.weight", folder="run", vulnerability=(), settings=None, **changes):
    """A result that was never run."""
    target = {
        "tensor": tensor, "role": "weight", "node": "conv", "op_type": "Conv", "shape": [2, 3], "dtype": "float32",
        "format": "q15.16", "bits": 192,
    }  # fmt: skip
    values = {
        "model": {"name": name, "path": "/models/net.onnx", "sha256": "ab" * 32},
        "data": {"name": "digits", "split": "test", "samples": 360, "sha256": "cd" * 32},
        "fault_space": {"bits": 192, "elements": 6, "targets": 1, "formats": ["q15.16"]},
        "settings": SETTINGS | {"rates": [rate.rate for rate in rates]} | (settings or {}),
        "engine": {
            "strategy": "live", "fallback": None, "providers": ["CPUExecutionProvider"], "threads": 1,
            "onnxruntime": "1.31.0",
        },
        "golden": {"top1": 0.98, "top5": 1.0},
        "results": Path("/results") / folder,
        "rates": rates or (at_rate(1e-7, 0.98), at_rate(1e-6, 0.6), at_rate(1e-5, 0.1)),
        "complete": True,
        "vulnerability": vulnerability,
        "layers": (),
        "targets": (target,),
        "source": {"data": "digits", "split": None, "limit": None, "preprocess": {"scale": 0.0625}},
        "versions": {"ftonnx": "0.1.0", "onnxruntime": "1.31.0", "numpy": "2.4.0"},
        "machine": {"python": "3.11.0", "onnx": "1.21.0", "platform": "Linux", "cpu": "some"},
    }  # fmt: skip
    return CampaignResult(**values | changes)


def injections(name="net", *cells, **changes):
    """A result of single-fault injections."""
    usual = (("conv.weight", 31, 900), ("conv.weight", 0, 0), ("fc.weight", 31, 500))
    hit = cells or tuple(vulnerable(*cell) for cell in usual)
    return campaign(name, at_rate(1e-6, 0.9), vulnerability=hit, settings={"faults_per_run": 1}, **changes)


@dataclass
class Opened:
    """A page in a browser, and what it has said and asked for since it was opened."""

    page: object
    messages: list = field(default_factory=list)
    requests: list = field(default_factory=list)


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium of the system, driven by Playwright."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@contextmanager
def opened(browser, file, *, width=1280, scheme="light"):
    """Open a report and wait until its charts are drawn."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    try:
        found = Opened(context.new_page())
        found.page.on("console", lambda message: found.messages.append(message.text))
        found.page.on("pageerror", lambda error: found.messages.append(str(error)))
        found.page.on("dialog", lambda dialog: (found.messages.append(dialog.message), dialog.dismiss()))
        found.page.on("request", lambda request: found.requests.append(request.url))
        found.page.goto(Path(file).as_uri())
        found.page.wait_for_selector("html[data-charts=drawn]", state="attached", timeout=60_000)
        yield found
    finally:
        context.close()
