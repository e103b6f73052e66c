"""The page as a file: complete in itself, small, and closed to what strangers put into names."""

import base64
import hashlib
import html.parser
import json
import shutil
from dataclasses import replace
from unittest.mock import ANY

import pytest
import scipy
from report_kit import STORED, at_rate, campaign, injections, vulnerable

from ftonnx.campaign import compare, evaluate
from ftonnx.campaign.store.header import ModelInfo
from ftonnx.datasets import load_dataset
from ftonnx.errors import DataError, StoreError, UsageError
from ftonnx.inject import Accumulation, AsymmetricRates, Bursts, FaultCount, Guard, ProtectionPlan
from ftonnx.report import Activations, build

HOSTILE = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)>{{ 1 }}"


class _Parsed(html.parser.HTMLParser):
    """Elements with their attributes, and what the script elements hold."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.scripts, self._inside = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside = tag == "script"
        if self._inside:
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside = self._inside and tag != "script"

    def handle_data(self, data):
        if self._inside:
            self.scripts[-1] += data


def test_nothing_on_the_page_points_outside_it():
    """No source, link or style from elsewhere; links lead to sections that exist."""
    parsed = _Parsed(build([campaign("a"), injections("b")]).html())
    ids = {attributes["id"] for _, attributes in parsed.elements if "id" in attributes}
    assert len(ids) == sum("id" in attributes for _, attributes in parsed.elements)
    for tag, attributes in parsed.elements:
        assert tag not in ("img", "iframe", "link", "object", "embed", "base", "form")
        assert "src" not in attributes
        if "href" in attributes:
            assert attributes["href"].startswith("#")
            assert attributes["href"][1:] in ids


def test_only_the_pages_own_script_may_run():
    """The policy allows the script by its hash, forbids requests, and needs no eval."""
    text = build([campaign(HOSTILE)]).html()
    parsed = _Parsed(text)
    policy = next(a["content"] for tag, a in parsed.elements if a.get("http-equiv") == "Content-Security-Policy")
    kinds = [a.get("type") for tag, a in parsed.elements if tag == "script"]
    (own,) = [script for kind, script in zip(kinds, parsed.scripts, strict=True) if kind is None]
    assert f"script-src 'sha256-{base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "eval" not in policy


def test_names_from_strangers_open_no_element():
    """The page with hostile names has the same elements as the page with harmless ones."""

    def elements(name):
        model = ModelInfo(name=name, path=name, sha256=name)
        made = build([campaign(name, tensor=name, model=model), injections(f"{name}2", tensor=name)])
        parsed = _Parsed(made.html())
        specs = [json.loads(script) for script in parsed.scripts[:-1]]
        return [tag for tag, _ in parsed.elements], specs

    tags, specs = elements(HOSTILE)
    assert tags == elements("harmless")[0]
    assert any(row.get("model") == HOSTILE for row in specs[0]["layer"][0]["data"]["values"])


def test_ten_models_at_twenty_rates_stay_below_three_megabytes():
    """The promise of size, with 200 stored tensors each."""
    target = campaign().fault_space.tensors[0].to_dict()
    targets = tuple(target | {"tensor": f"layer{i}.conv.weight", "node": f"node_conv2d_{i}"} for i in range(200))
    rates = [at_rate(1e-8 * 1.5**i, 0.9) for i in range(20)]
    made = build([campaign(f"model-{i}-with-a-long-name", *rates, tensors=targets) for i in range(10)])
    assert len(made.html().encode()) < 3_000_000


def test_the_same_results_give_the_same_bytes():
    """No date, no random name."""
    assert build([campaign()]).html() == build([campaign()]).html()


def test_models_with_one_fault_space_share_its_chart():
    """Protected variants have the same bits."""
    (section,) = [s for s in build([campaign("a"), campaign("b"), campaign("c", tensor="x")]).sections
                  if s.name == "fault-space"]  # fmt: skip
    assert [figure.caption.split(":")[0] for figure in section.figures] == ["a, b", "c"]


def _table(made, section, caption):
    (found,) = [part for part in made.sections if part.name == section]
    (table,) = [table for table in found.tables if table.caption == caption]
    return {row[0]: list(row[1:]) for row in table.rows}


def test_several_models_are_compared_rate_by_rate():
    """With what they start from, and the rate at which 5 points are lost: 0.93 lies 30 % of the way to 0.86."""
    weak = campaign("weak", at_rate(1e-7, 0.96), at_rate(1e-6, 0.86))
    strong = campaign("strong", at_rate(1e-6, 0.97), at_rate(1e-5, 0.95, width=None))
    rows = _table(build([weak, strong]), "comparison", "Top-1 accuracy of each model")
    assert rows == {
        "bits that can flip": ["192", "192"],
        "fault-free": ["98.00 %", "98.00 %"],
        "5 points lost at": ["2e-7", "> 1e-5"],
        "1e-7": ["96.0 % (94.0 to 98.0 %)", "-"],
        "1e-6": ["86.0 % (84.0 to 88.0 %)", "97.0 % (95.0 to 99.0 %)"],
        "1e-5": ["-", "95.0 %"],
    }
    assert "comparison" not in [section.name for section in build([weak, injections()]).sections]


def test_histories_are_compared_time_by_time():
    """Where all campaigns come to a rate at the same time; else the rate alone is what they share."""

    def histories(name, *hours):
        rates = [replace(at_rate(rate, 0.9), hours=at) for rate, at in zip((1e-7, 1e-6), hours, strict=True)]
        return campaign(name, *rates, faults=Accumulation(list(hours), 1e-6))

    for hours, expected in (((1.0, 24.0), ["1e-7 (1h)", "1e-6 (1d)"]), ((1.0, 48.0), ["1e-7 (1h)", "1e-6"])):
        built = build([histories("a", 1.0, 24.0), histories("b", *hours)])
        assert list(_table(built, "comparison", "Top-1 accuracy of each model"))[3:] == expected


def test_injections_are_compared_in_a_section_of_their_own(tmp_path):
    """The differences of ``compare``, at a level that is called by its flips."""
    data = load_dataset("digits", limit=60)
    options = {"repeats": 20, "threads": 1, "strategy": "live"}
    results = [
        evaluate("digits", data, FaultCount(1), seed=seed, results=tmp_path / str(seed), **options) for seed in (1, 2)
    ]
    (section,) = (each for each in build(results).sections if each.name == "comparison-injections")
    (table,) = section.tables
    (model,) = compare(results).models
    difference = model.rates[0].difference
    assert table.header[:2] == ["model", "faults"]
    limits = f"{100 * difference.low:+.2f} to {100 * difference.high:+.2f}"
    assert table.rows == [["digits (2)", "one flip", f"{100 * difference.mean:+.2f}", limits, model.rates[0].outcome]]
    assert "the seeds differ, 1 and 2" in section.text[0]
    assert "comparison" not in [each.name for each in build(results).sections]


def test_settings_are_told_by_their_differences():
    """What all have in common stands once, and only once."""
    made = build([campaign("a"), campaign("b", settings=replace(campaign().settings, seed=5))])
    (section,) = (each for each in made.sections if each.name == "settings")
    differing, common = section.tables
    assert [row[0] for row in differing.rows] == ["model: name", "setting: seed"]
    assert ["setting: seed", "0", "5"] in differing.rows
    keys = [row[0] for row in common.rows]
    assert "setting: repeats" in keys
    assert not set(keys) & {row[0] for row in differing.rows}
    (section,) = (each for each in build([campaign("a")]).sections if each.name == "settings")
    assert [table.caption for table in section.tables] == ["Settings, hashes and versions"]


def test_the_fault_space_says_what_flips_how_probably():
    """Once where it is the same for all, else of each model."""
    alike = build([campaign("a"), campaign("b")]).html()
    assert alike.count("<p>Every bit counted here flips with the same probability; nothing else does.</p>") == 1
    apart = build([campaign("a"), campaign("b", faults=AsymmetricRates((1e-7, 1e-6, 1e-5)))]).html()
    assert "<p>a: Every bit counted here flips" in apart
    assert "<p>b: Every stored one counted here flips with the same probability" in apart


def test_a_plan_is_repeated_from_the_page_alone(tmp_path):
    """The text below the commands is the file that they name, a different one for each plan."""
    plans = [ProtectionPlan([Guard("*<b>", "parity", on_detect=action)]) for action in ("zero", "reload")]
    settings = [replace(campaign().settings, protection=plan) for plan in plans]
    named = [campaign("a", settings=settings[0]), campaign("b", settings=settings[1])]
    (section,) = (each for each in build(named).sections if each.name == "settings")
    for plan, command, listing in zip(plans, section.code, section.listings, strict=True):
        name = command.split("--protection ")[1].split()[0]
        (tmp_path / name).write_text(listing.text)
        assert listing.title.startswith(f"{name}, ")
        assert ProtectionPlan.read(tmp_path / name) == plan
    page = build(named).html()
    assert page.count("<summary>PLAN-") == len(list(tmp_path.iterdir())) == 2
    assert "*&lt;b&gt;" in page
    assert not build([campaign("a")]).sections[-1].listings


def test_a_page_says_why_it_cannot_tell_what_guards_did():
    """The model that ran is needed, and is not there any more."""
    plan = ProtectionPlan([Guard("*", "secded")])
    made = build([campaign("a", settings=replace(campaign().settings, protection=plan))])
    (section,) = (each for each in made.sections if each.name == "guards")
    assert not section.tables
    assert "a: what its guards did is not shown: /models/net.onnx" in section.text[-1]


def test_long_tables_are_folded_and_short_ones_are_not():
    """A dozen rows are read; charts show what more have."""
    rates = [at_rate(1e-8 * 2**i, 0.9) for i in range(13)]
    (short,) = (each for each in build([campaign("a", *rates[:12])]).sections if each.name == "outcomes")
    (long,) = (each for each in build([campaign("a", *rates)]).sections if each.name == "outcomes")
    assert [section.tables[0].folded for section in (short, long)] == [False, True]


def test_differences_to_the_first_model_are_those_of_compare(tmp_path):
    """Per rate and for the area, with what they rest on; results without their folder say why there are none."""
    results = [
        evaluate(
            "digits", "digits", rates=[1e-6, 1e-5], repeats=3, seed=seed, threads=1, strategy="live",
            results=tmp_path / str(seed),
        )
        for seed in (1, 2)
    ]  # fmt: skip
    made = build(results)
    (section,) = (section for section in made.sections if section.name == "comparison")
    rows = section.tables[1].rows
    (model,) = compare(results).models
    assert [row[2] for row in rows] == [f"{100 * rate.difference.mean:+.2f}" for rate in model.rates] + [
        f"{100 * model.auc.difference.mean:+.2f}"
    ]
    assert [row[4] for row in rows] == [*(rate.outcome for rate in model.rates), model.auc.outcome]
    assert any("other fault patterns" in text for text in section.text)
    shutil.rmtree(tmp_path / "2")
    (section,) = (section for section in build(results).sections if section.name == "comparison")
    assert len(section.tables) == 2  # results hold their counts
    made_up = [replace(result, recorded=None) for result in results]
    (section,) = (section for section in build(made_up).sections if section.name == "comparison")
    assert any("Differences are not shown" in text for text in section.text)
    assert len(section.tables) == 1


def test_shares_per_bit_and_tensor_have_intervals_and_no_rank_that_these_leave_open():
    """Two models of one name; the tables keep the order of the graph, and the heat map's caption says what it is."""
    near = [vulnerable("conv.weight", 30, 500), vulnerable("fc.weight", 29, 400)]
    clear = [vulnerable("conv.weight", 31, 3600, 40), vulnerable("fc.weight", 0, 0, 40)]
    results = [injections("net", *near, folder="a"), injections("net", *clear, folder="b"), campaign("net", folder="c")]
    section = next(each for each in build(results).sections if each.name == "vulnerability")
    assert section.text[:2] == [
        "net (a): bits 30 and 29 cannot be told apart; tensors conv.weight and fc.weight cannot be told apart.",
        "net (b): bit 31 does more harm than any other; tensor conv.weight does more harm than any other.",
    ]
    assert "Colours are estimates; bit 30 of conv.weight and bit 29 of fc.weight" in section.figures[0].caption
    for table, first in zip(section.tables, ("conv.weight", "29"), strict=True):
        assert table.header[-2:] == ["critical share", "interval"]
        assert [row[0] for row in table.rows] == ["net (a)"] * 2 + ["net (b)"] * 2
        assert table.rows[0][1] == first
    exact = scipy.stats.binomtest(36, 40).proportion_ci(0.95, method="exact")
    limits = f"{100 * exact.low:.2f} to {100 * exact.high:.2f} %"
    assert section.tables[0].rows[2][-2:] == ["90.00 %", limits]


def test_the_page_says_how_long_a_memory_takes_to_reach_a_rate():
    """At sea level, in the air, in orbit, by the project's worked numbers."""
    made = build([campaign("net", at_rate(0.0, 0.98), at_rate(1e-7, 0.9))])
    rows = _table(made, "environment", "Time until the rate is reached")
    assert rows == {"1e-7": ["88 years", "9.9 weeks", "24 hours"]}
    (section,) = (each for each in made.sections if each.name == "environment")
    assert "Only these rates were measured" in section.text[0]


def test_upsets_of_several_bits_come_to_a_rate_sooner():
    """As many flips of three bits at once, or of one and five alike, take a third of the upsets, and of the time."""
    rates = [at_rate(1e-7, 0.9)]
    made = build([campaign("a", *rates, faults=Bursts(1e-7, "1:0.5,5:0.5")), campaign("b", *rates)])
    rows = _table(made, "environment", "Time until the rate is reached")
    assert rows == {"1e-7": ["88 years", "9.9 weeks", "24 hours"], "1e-7 (3 bits at once)": [ANY, ANY, "8 hours"]}
    assert rows["1e-7 (3 bits at once)"][0] == "29 years"


def test_activations_collect_no_upsets():
    """Their rate is one per run, which no time is needed to reach."""
    computed = [STORED.to_dict() | {"role": "activation"}]
    names = [section.name for section in build([campaign("net", tensors=computed)]).sections]
    assert "accuracy" in names
    assert "environment" not in names


def test_the_page_goes_into_a_file_or_a_folder(tmp_path):
    """What ends in .html is the file."""
    made = build([campaign()])
    assert made.save(tmp_path / "new" / "my.HTML") == tmp_path / "new" / "my.HTML"
    assert made.save(tmp_path / "new") == tmp_path / "new" / "report.html"
    assert (tmp_path / "new" / "report.html").read_text() == made.html()
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        made.save(tmp_path / "file" / "report.html")
    with pytest.raises(UsageError, match="at least one campaign"):
        build([])


def test_a_report_shows_itself_in_a_notebook():
    """In a frame, so that its style and script touch nothing else."""
    made = build([campaign("<i>")])
    frame = _Parsed(made._repr_html_())
    assert [tag for tag, _ in frame.elements] == ["iframe"]
    assert frame.elements[0][1]["srcdoc"] == made.html()
    assert repr(made) == "Report(<i>)"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"model": "m", "activations": []}',
        '{"model": "m", "activations": [{"activation": "a"}]}',
        "[" * 100_000,
    ],
)
def test_a_file_that_is_no_list_of_activations_is_refused(content, tmp_path):
    """With the command that makes one."""
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match="run ftonnx activations MODEL"):
        Activations.load(tmp_path / "a.json")
    with pytest.raises(DataError, match="run ftonnx activations MODEL"):
        Activations.load(tmp_path / "missing.json")
