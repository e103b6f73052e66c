"""A fault-free accuracy near chance: said wherever a number of a campaign is shown, and nothing passes on it."""

import json
import logging
import xml.etree.ElementTree as ElementTree
from fractions import Fraction

import numpy as np
import onnx
import pytest
from campaign_kit import DIGITS, cli, cli_json, digits_batches, outcomes
from hypothesis import given
from hypothesis import strategies as st
from report_kit import campaign as made_up

import ftonnx
from ftonnx.campaign import summarize
from ftonnx.campaign.store.header import DataInfo
from ftonnx.datasets import load_dataset
from ftonnx.gates.decide import GateRule
from ftonnx.gates.goals import Goal
from ftonnx.inject import load_model
from ftonnx.mitigate import ClipAct, ClipActSettings, protect
from ftonnx.plugins.pytest_plugin import assert_fault_tolerant
from ftonnx.report import build, verdict
from ftonnx.tasks import near_chance

pytestmark = pytest.mark.usefixtures("temporary_folder")

RUN = ("--strategy", "live", "--threads", 1, "--batch-size", 60)
FAST = {"strategy": "live", "threads": 1, "batch_size": 60}
SAYS = "near chance"


def archive(tmp_path, change=lambda images, labels: (images, labels)):
    """Write the digits' test split as pixels of 0 to 16 with a mistake in it, and return its spec."""
    images, labels = (np.concatenate(parts) for parts in zip(*digits_batches(120), strict=True))
    images, labels = change((16 * images).astype(np.uint8), labels)
    np.savez(tmp_path / "d.npz", images=images, labels=labels)
    return f"npz:{tmp_path}/d.npz"


def shifted(images, labels):
    """Labels that are off by one, as where one program counts from 1."""
    return images, (labels + 1) % 10


def missing_class(images, labels):
    """A class folder that is not there: the numbers of all classes behind it are one too small."""
    kept = labels != 1
    return images[kept], labels[kept] - (labels[kept] > 1)


MISTAKES = {"labels shifted by one": shifted, "a class is missing": missing_class}


@pytest.fixture
def wrong(tmp_path):
    """Data whose labels are off by one."""
    return archive(tmp_path, shifted)


@given(st.integers(0, 1000), st.integers(2, 1000))
def test_the_rule_is_a_quarter_of_the_way_up_from_chance(right, classes):
    """Of 1000 images, against exact fractions; within rounding of the limit either answer is fine."""
    share = (Fraction(right, 1000) - Fraction(1, classes)) / (1 - Fraction(1, classes))
    if abs(share - Fraction(1, 4)) > 1e-12:
        assert (near_chance(right / 1000, classes) is not None) == (share < Fraction(1, 4))


@pytest.mark.parametrize(
    ("accuracy", "classes"), [(0.015, 10), (0.10, 10), (0.16, 10), (0.30, 10), (0.30, 9), (0.5, 2), (0, 2)]
)
def test_measured_mistakes_are_near_chance(accuracy, classes):
    """The text names accuracy, chance and what to look at."""
    text = near_chance(accuracy, classes)
    for part in (f"{100 * accuracy:.2f} %", f"{100 / classes:.2f} % for {classes} classes", "labels", "class folders"):
        assert part in text
    for part in ("0 to 255", "mean and std", "RGB, BGR", "wrong output"):
        assert part in text


@pytest.mark.parametrize(("accuracy", "classes"), [(0.33, 10), (0.98, 10), (0.64, 2), (1.0, 1), (0.2, 1), (0.1, None)])
def test_better_models_and_data_without_a_chance_level_are_not(accuracy, classes):
    """Fewer than two classes cannot be judged, nor can folders that do not know how many there are."""
    assert near_chance(accuracy, classes) is None


def test_not_one_right_image_needs_no_chance_level():
    """An accuracy of 0 is wrong whatever the number of classes."""
    assert "not one image is right" in near_chance(0.0, 1)
    assert "not one image is right" in near_chance(0.0, None)


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_the_usual_mistakes_are_caught_on_real_data(tmp_path, mistake):
    """Measured on the embedded model: result, its JSON, its repr, its table in a notebook, and the log."""
    result = ftonnx.evaluate("digits", archive(tmp_path, mistake), rates=[1e-6], repeats=3, **FAST)
    (text,) = result.warnings
    assert f"{100 * result.golden['top1']:.2f} %" in text
    assert result.to_dict()["warnings"] == [text]
    assert "see its warnings" in repr(result)
    assert result._repr_html_().startswith("<p><strong>Warning:</strong> the fault-free accuracy")
    assert summarize(result).warnings == (text,)


def test_evaluate_says_it_in_the_log(wrong, caplog):
    """For programs that never look at the field."""
    with caplog.at_level(logging.WARNING, logger="ftonnx"):
        ftonnx.evaluate("digits", wrong, rates=[1e-6], repeats=3, **FAST)
    assert [SAYS in record.message for record in caplog.records] == [True]


def test_right_data_give_no_warning_anywhere(tmp_path):
    """Neither in the result nor on stderr nor on the page."""
    data = archive(tmp_path)
    done = cli("inject", "digits", "--data", data, "--rate", 1e-6, "--repeats", 3, *RUN, "--results", tmp_path / "r")
    result = ftonnx.CampaignResult.open(tmp_path / "r")
    assert result.warnings == ()
    assert "warning" not in (done.out + done.err + verdict([result])).lower()
    assert 'class="warning"' not in build([result]).html()
    assert not result._repr_html_().startswith("<p>")


@pytest.fixture
def two_runs(tmp_path, wrong):
    """Two folders of the same wrong data, one at rates and one of single faults."""
    single = ("--faults-per-run", 1, "--repeats", 5)
    runs = {
        "rates": ("--rate", 1e-6, "--rate", 1e-5, "--repeats", 3),
        "again": ("--rate", 1e-6, "--repeats", 3, "--seed", 1),
    }
    for name, options in (runs | {"single": single}).items():
        done = cli("inject", "digits", "--data", wrong, *options, *RUN, "--results", tmp_path / name)
        assert done.code == 0
        assert done.err.count(SAYS) == 1
        assert SAYS not in done.out
    return tmp_path


READERS = {
    "report": lambda folder: ("report", folder / "rates", "-o", folder / "page.html", "--force"),
    "compare": lambda folder: ("compare", folder / "rates", folder / "again"),
    "faults": lambda folder: ("faults", folder / "rates", "--rate", 1e-6, "--repeat", 0),
    "fit of single faults": lambda folder: ("fit", folder / "single", "--fit-per-mbit", 1000, "--exposure", "1y"),
    "fit of rates": lambda folder: (
        "fit", folder / "rates", "--upsets-per-bit-day", 1e-9, "--exposure", "1d", "--inferences-per-hour", 60,
    ),
}  # fmt: skip


def test_every_command_that_reads_results_says_it(two_runs):
    """On stderr, once per campaign, and in the JSON object; -q leaves stderr silent."""
    for name, arguments in READERS.items():
        done = cli(*arguments(two_runs))
        campaigns = 2 if name == "compare" else 1
        assert done.code == 0, (name, done.err)
        assert done.err.count(SAYS) == campaigns, name
        assert cli(*arguments(two_runs), "-q").err == "", name
        found = cli_json(*arguments(two_runs))
        assert sum(SAYS in text for text in found["warnings"]) == campaigns, name


def test_inject_prints_it_in_json_and_before_the_work(wrong):
    """--dry-run knows the first batch only, and says so."""
    run = ("inject", "digits", "--data", wrong, "--rate", 1e-6, "--repeats", 3, *RUN)
    assert SAYS in cli_json(*run)["warnings"][0]
    dry = cli(*run, "--dry-run")
    assert "of the first 60 images" in dry.err
    assert SAYS in cli_json(*run, "--dry-run")["warnings"][0]
    assert cli_json("inject", "--rate", 1e-6, *RUN, "--dry-run")["warnings"] == []


def test_a_report_begins_with_it(two_runs):
    """In the words, and in a box of its own above the verdict; with names where there are several models."""
    results = [ftonnx.CampaignResult.open(two_runs / name) for name in ("rates", "again")]
    page = build(results[:1]).html()
    assert page.index('<p class="warning"') < page.index("classifies")
    assert page.count(">Warning:<") == 1
    assert verdict(results[:1]).startswith("Warning: the fault-free accuracy")
    both = build(results)
    assert [text.split(": ")[0] for text in both.warnings] == ["digits (rates)", "digits (again)"]
    assert both.html().count('<p class="warning"') == 2


def test_text_in_warnings_is_never_markup():
    """A model's name comes from a stranger's file."""
    low = {"golden": {"top1": 0.1, "top5": 0.5}}
    data = DataInfo(name="d", split=None, samples=9, classes=10, sha256="cd" * 32, source={})
    page = build([made_up("<b>x", data=data, **low), made_up("y", data=data, **low)]).html()
    assert "&lt;b&gt;x: the fault-free accuracy" in page


def decided(goals, found, golden, classes, rounds=200):
    """Let a gate see the same round again and again until it needs no more."""
    rule = GateRule([Goal.of(goal) for goal in goals], question="these-images", confidence=0.95, classes=classes)
    seen = 0
    while rule.open_rates and seen < rounds:
        for rate in rule.open_rates:
            rule.add(rate, [found] * 3, [golden] * 3)
        seen += 1
    return rule, seen


@pytest.mark.parametrize(
    "goal", ["max-drop 1e-6:0.05", "max-drop 1e-6:0.5", "max-sdc 1e-6:0.5", "min-accuracy 1e-6:0.05"]
)
def test_a_goal_that_would_pass_is_inconclusive_near_chance(goal):
    """After one round, with the reason; the same round passes where the classes are not known."""
    found = golden = outcomes(100, 10)
    rule, seen = decided([goal], found, golden, classes=10)
    (each,) = rule.verdicts("in the end")
    assert (rule.verdict, each.verdict, seen) == ("INCONCLUSIVE", "INCONCLUSIVE", 1)
    assert "not decided because the fault-free accuracy is near chance" in each.message
    assert SAYS in rule.warnings[0]
    assert decided([goal], found, golden, classes=None)[0].verdict == "PASS"


def test_an_accuracy_that_is_not_there_without_faults_fails_honestly():
    """And the other goals are given up for it."""
    rule, seen = decided(
        ["min-accuracy 1e-6:0.9", "max-drop 1e-6:0.05"], outcomes(100, 10), outcomes(100, 10), classes=10
    )
    failed, open_ = rule.verdicts("in the end")
    assert (rule.verdict, failed.verdict, open_.verdict) == ("FAIL", "FAIL", "INCONCLUSIVE")
    assert seen < 10
    assert "below it already" in failed.message
    assert SAYS in open_.message


def test_what_the_first_round_has_shown_to_fail_stays_failed():
    """Silent corruption of every image is no guess."""
    golden, found = outcomes(1000, 100), outcomes(1000, 100, sdc1=1000)
    rule, seen = decided(["max-sdc 1e-6:0.01"], found, golden, classes=10)
    assert (rule.verdict, seen) == ("FAIL", 1)


def test_a_goal_above_chance_still_passes():
    """0.325 is the limit of ten classes."""
    for right, expected in ((330, "PASS"), (320, "INCONCLUSIVE")):
        golden = outcomes(1000, right)
        assert decided(["max-drop 1e-6:0.3"], golden, golden, classes=10)[0].verdict == expected


GOALS = ("--max-drop", "1e-8:0.05", "--max-sdc", "1e-8:0.5", "--format", "q15.16")


def test_the_gate_of_wrong_data_exits_with_3_after_one_round(tmp_path, wrong):
    """In the text, in JUnit as errors with the reason and as a property, in Markdown, and in JSON."""
    run = ("gate", "digits", "--data", wrong, *GOALS, *RUN)
    done = cli(*run, "--junit", tmp_path / "g.xml", "--markdown", tmp_path / "g.md", "--results", tmp_path / "r")
    assert done.code == 3
    first, second, *_ = done.out.splitlines()
    assert first.startswith("INCONCLUSIVE: digits on d, fault-free top-1 0.")
    assert ", 6 units, " in first
    assert second.startswith("warning: the fault-free accuracy")
    assert done.out.count("not decided because the fault-free accuracy is near chance") == 2
    suite = ElementTree.parse(tmp_path / "g.xml").getroot()[0]
    assert (suite.attrib["errors"], suite.attrib["failures"]) == ("2", "0")
    assert all(SAYS in error.attrib["message"] for error in suite.iter("error"))
    (warning,) = [each.attrib["value"] for each in suite.iter("property") if each.attrib["name"] == "warning"]
    assert "usual causes" in warning
    assert "**Warning:** the fault-free accuracy" in (tmp_path / "g.md").read_text()
    again = cli(*run, "--json", "--results", tmp_path / "r")
    found = json.loads(again.out)
    assert (again.code, found["verdict"], found["units"], len(found["warnings"])) == (3, "INCONCLUSIVE", 6, 1)


def test_the_gate_of_right_data_passes_as_before(tmp_path):
    """The same goals, without a warning."""
    done = cli("gate", "digits", "--data", archive(tmp_path), *GOALS, *RUN)
    assert (done.code, SAYS in done.out) == (0, False)


def test_a_notebook_and_a_test_see_the_gates_warning(wrong):
    """The assertion for pytest names the usual causes."""
    verdict_ = ftonnx.gate("digits", wrong, goals=["max-drop 1e-8:0.05"], **FAST)
    assert verdict_._repr_html_().startswith("<p><strong>Warning:</strong> the fault-free accuracy")
    assert verdict_.to_dict()["warnings"] == list(verdict_.warnings)
    with pytest.raises(AssertionError, match=r"INCONCLUSIVE: digits on d.*\n.*near chance.*usual causes"):
        assert_fault_tolerant("digits", wrong, ["max-drop 1e-8:0.05"], **FAST)


def test_a_comparison_in_a_notebook_begins_with_it(two_runs):
    """With the model's name."""
    found = ftonnx.compare([two_runs / "rates", two_runs / "again"])
    assert [text.startswith("digits: the fault-free accuracy") for text in found.warnings] == [True, True]
    assert found._repr_html_().startswith("<p><strong>Warning:</strong> digits: the fault-free")


def test_quantize_says_it_of_both_models(tmp_path, wrong):
    """Before and after; nothing is said of right data."""
    run = ("quantize", "digits", "--limit", 60, "-o", tmp_path / "q.onnx", "--force")
    done = cli(*run, "--data", wrong)
    assert [f"{when} quantization" in done.err for when in ("before", "after")] == [True, True]
    warnings = cli_json(*run, "--data", wrong)["warnings"]
    assert sum("is near chance" in text for text in warnings) == 2
    # what is said of the processor is said of right data too
    assert cli_json(*run, "--data", archive(tmp_path))["warnings"] == warnings[2:]


@pytest.mark.slow
def test_a_search_by_accuracy_says_it_before_it_starts(tmp_path, wrong):
    """ClipAct; ActMax does not use labels."""
    run = ("protect", "digits", "--data", wrong, "--limit", 60, "-o", tmp_path / "p.onnx", "--force")
    search = ("--method", "clipact", "--iterations", 1, "--rates", "1e-5,1e-4")
    done = cli(*run, *search)
    assert (done.code, done.err.count(SAYS)) == (0, 1)
    assert len(cli_json(*run, *search)["warnings"]) == 1
    assert cli_json(*run, "--method", "actmax")["warnings"] == []
    # but the accuracy that is shown does
    assert cli(*run, "--method", "actmax").err.count(SAYS) == 2
    data = load_dataset(archive(tmp_path), limit=60)
    settings = ClipActSettings(iterations=1, rates=(1e-5, 1e-4))
    assert protect(load_model(DIGITS), data, ClipAct(settings=settings)).warnings == ()


def test_distributions_of_activations_say_it(tmp_path, wrong):
    """A network without classes has no accuracy, which is no error."""
    run = ("--data", wrong, "--limit", 60)
    assert SAYS in cli("activations", "digits", *run).err
    assert SAYS in cli_json("activations", "digits", *run)["warnings"][0]
    model = onnx.load(DIGITS)
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info(relu.output[0], 1, ["n", "c", "h", "w"]))
    onnx.save(model, tmp_path / "features.onnx")
    assert cli_json("activations", tmp_path / "features.onnx", *run)["warnings"] == []


@pytest.mark.slow
def test_a_benchmark_of_wrong_data_says_it(wrong):
    """By the first batch."""
    done = cli("bench", "digits", "--data", wrong, "--quick", "--json")
    assert done.code == 0, done.err
    assert "of the first 32 images" in json.loads(done.out)["warnings"][0]
