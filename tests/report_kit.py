"""Helpers for the tests of reports: made-up results, and a real browser."""

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from ftonnx.campaign import CampaignResult, RateResult, Settings, Vulnerability
from ftonnx.campaign.store.header import DataInfo, EngineInfo, Header, ModelInfo, SpaceInfo, TensorInfo
from ftonnx.campaign.store.identity import Identity
from ftonnx.inject import BitFlipRates, Coverage, FaultCount
from ftonnx.stats import Estimate
from ftonnx.stats.proportions import clopper_pearson
from ftonnx.tasks import Classification, Counts

STORED = TensorInfo(
    tensor="conv.weight", role="weight", node="conv", op_type="Conv", shape=(2, 3), dtype="float32", format="q15.16",
    bits=192,
)  # fmt: skip

HEADER = Header(
    identity=Identity(
        model="ab" * 32,
        data="cd" * 32,
        fault_space="ef" * 32,
        faults=BitFlipRates((1e-7, 1e-6, 1e-5)),
        task=Classification(),
        settings=Settings(repeats=4, batch_size=128, threads=1),
        versions={"ftonnx": "0.1.0", "onnxruntime": "1.31.0", "numpy": "2.4.0"},
    ),
    model=ModelInfo(name="net", path="/models/net.onnx", sha256="ab" * 32),
    data=DataInfo(
        name="digits",
        split="test",
        samples=360,
        classes=10,
        sha256="cd" * 32,
        source={"data": "digits", "split": None, "limit": None, "preprocess": {"scale": 0.0625}},
    ),
    space=SpaceInfo(
        bits=192, elements=6, formats=("q15.16",), sha256="ef" * 32, tensors=(STORED,), coverage=Coverage(elements=6)
    ),
    levels=(1e-7, 1e-6, 1e-5),
    engine=EngineInfo(
        strategy="live", fallback=None, providers=("CPUExecutionProvider",), threads=1, onnxruntime="1.31.0"
    ),
    machine={"python": "3.11.0", "onnx": "1.21.0", "platform": "Linux", "cpu": "some"},
)


def estimate(mean, width=0.02):
    """An estimate with a symmetric interval; none at width None."""
    return Estimate(mean, None, None) if width is None else Estimate(mean, max(0, mean - width), min(1, mean + width))


def at_rate(rate, top1, *, sdc1=None, due=0.0, masked=0.0, width=0.02):
    """The outcomes at one rate."""
    sdc1 = 1 - top1 - due if sdc1 is None else sdc1
    shares = {"top1": top1, "top5": top1, "sdc1": sdc1, "sdc5": 0.0, "sdc10": 0.0, "sdc20": 0.0, "masked": masked}
    estimates = {name: estimate(share, width) for name, share in (shares | {"due": due}).items()}
    estimates["beneficial"] = estimate(0.0)
    return RateResult(rate=rate, units=60, faults_mean=2e6 * rate, fractions=estimates)


def with_top1(rate, found):
    """The same outcomes with another accuracy."""
    return replace(rate, fractions=rate.fractions | {"top1": found})


def vulnerable(tensor, bit, critical, injections=10):
    """What single flips of one bit did, with 100 images per injection."""
    images = 100 * injections
    share = clopper_pearson(critical / 100, injections)
    counts = dict.fromkeys(Classification.counts, 0)
    counts |= {"n": images, "masked": images - critical, "sdc1": critical, "correct1": images - critical}
    return Vulnerability(
        tensor=tensor, bit=bit, injections=injections, images=images, critical=critical, counts=Counts(counts),
        low=share.low, high=share.high,
    )  # fmt: skip


def _space_of(tensors):
    elements = sum(tensor.elements for tensor in tensors)
    bits = sum(tensor.bits for tensor in tensors)
    coverage = Coverage(elements=elements)
    return replace(HEADER.space, tensors=tensors, bits=bits, elements=elements, coverage=coverage)


def campaign(name="net", *rates, tensor="conv.weight", folder="run", faults=None, tensors=(), **changes):
    """A result that was never run; parts of its header are changed by name, stored tensors given as JSON values."""
    held = tuple(map(TensorInfo.from_dict, tensors)) or (replace(STORED, tensor=tensor),)
    rates = rates or (at_rate(1e-7, 0.98), at_rate(1e-6, 0.6), at_rate(1e-5, 0.1))
    levels = tuple(rate.rate for rate in rates)
    settings = changes.pop("settings", HEADER.settings)
    identity = replace(HEADER.identity, faults=faults or BitFlipRates(levels), settings=settings)
    parts = {name: changes.pop(name) for name in ("model", "data", "engine", "machine", "stopping") if name in changes}
    header = replace(
        HEADER,
        **{
            "identity": replace(identity, **{k: changes.pop(k) for k in ("versions", "task") if k in changes}),
            "model": replace(HEADER.model, name=name),
            "space": _space_of(held),
            "levels": levels,
        }
        | parts,
    )
    values = {
        "header": header,
        "golden": {"top1": 0.98, "top5": 1.0},
        "results": Path("/results") / folder,
        "rates": rates,
        "complete": True,
        "vulnerability": (),
        "layers": (),
    }
    return CampaignResult(**values | changes)


def injections(name="net", *cells, **changes):
    """A result of single-fault injections."""
    usual = (("conv.weight", 31, 900), ("conv.weight", 0, 0), ("fc.weight", 31, 500))
    hit = cells or tuple(vulnerable(*cell) for cell in usual)
    level = replace(at_rate(1e-6, 0.9), faults_mean=1.0)
    return campaign(name, level, **{"vulnerability": hit, "faults": FaultCount(1)} | changes)


@dataclass
class Opened:
    """A page in a browser, and what it has said and asked for since it was opened."""

    page: object
    messages: list = field(default_factory=list)
    requests: list = field(default_factory=list)


# Every module that imports it has one of its own, and Playwright takes only one at a time.
@pytest.fixture(scope="module")
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
