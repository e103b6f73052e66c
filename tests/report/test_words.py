"""The verdict in words says what the numbers say."""

import itertools
from dataclasses import replace

import pytest
from campaign_kit import cli
from report_kit import at_rate, campaign, injections, vulnerable, with_top1

import ftonnx
from ftonnx.campaign import Settings, compare
from ftonnx.inject import EveryBit, FaultCount, Guard, ProtectionPlan
from ftonnx.report import build, verdict
from ftonnx.report.decision import Demand, decide
from ftonnx.report.words import paragraph
from ftonnx.stats import Estimate
from ftonnx.tasks import Binary, Classification, MultiLabel, Regression, Segmentation

RATES = (1e-7, 1e-6, 1e-5)


def told(*limits):
    """What is said of a model that has 98 % without faults, given limits of its accuracy at three rates."""
    rates = [
        with_top1(at_rate(rate, 0.97), Estimate(0.97 if low is None else (low + high) / 2, low, high))
        for rate, (low, high) in zip(RATES, limits, strict=True)
    ]
    text = verdict([campaign("net", at_rate(0.0, 0.98), *rates)])
    start = "net classifies 98.00 % of 360 images correctly without faults"
    assert text.startswith(start)
    return text.removeprefix(start).split(" At 1e-5, ")[0]


HELD, OPEN, LOST, NONE = (0.975, 0.985), (0.95, 0.98), (0.55, 0.65), (None, None)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((HELD, HELD, HELD), " and stays within one point of that up to the highest rate, 1e-5."),
        (
            (HELD, HELD, LOST),
            "; it stays within one point up to 1e-6; at 1e-5 it is down to 60.00 % (55.00 to 65.00 %).",
        ),
        (
            (HELD, OPEN, LOST),
            "; it stays within one point up to 1e-7; at 1e-6 that is undecided (95.00 to 98.00 %); at 1e-5 it is down "
            "to 60.00 % (55.00 to 65.00 %).",
        ),
        ((HELD, OPEN, OPEN), "up to 1e-7; at 1e-6 and 1e-5 that is undecided."),
        ((LOST, LOST, LOST), "; already at 1e-7 it is down to 60.00 % (55.00 to 65.00 %)."),
        (
            (OPEN, LOST, LOST),
            "; already at 1e-7 it is undecided whether one point is lost (95.00 to 98.00 %); at 1e-6 it is down to "
            "60.00 % (55.00 to 65.00 %).",
        ),
        ((OPEN, OPEN, OPEN), "; already at 3 rates from 1e-7 to 1e-5 it is undecided whether one point is lost."),
        ((NONE, NONE, NONE), "; without repeats nothing can be claimed about faults."),
        ((HELD, NONE, LOST), "up to 1e-7; at 1e-6 there is no interval yet; at 1e-5 it is down to 60.00 %"),
    ],
)
def test_it_claims_what_the_limits_of_the_intervals_show(limits, expected):
    """Held by the lower limits at every rate so far, lost by the upper limit; anything else is said to be open."""
    text = told(*limits)
    assert expected in text
    assert ("stays within" in text) == (limits[0] == HELD)
    assert ("down to" in text) == (LOST in limits)


@pytest.mark.parametrize("middle", [OPEN, LOST])
def test_a_curve_that_rises_again_is_not_said_to_hold_in_between(middle):
    """It holds up to the rate before the gap; what comes behind it is said as such."""
    text = told(HELD, middle, HELD)
    assert "within one point up to 1e-7" in text
    assert text.endswith(" Yet at 1e-5 it is within one point.")


def test_an_estimate_within_one_point_does_not_make_it_hold():
    """97.5 % of 98 %, with an interval that reaches down to 96 %, and one whose estimate has lost a point already."""
    assert "stays within one point up to 1e-7; at 1e-6 and 1e-5" in told(HELD, (0.96, 0.99), (0.90, 0.97))


def test_the_limit_itself_is_within_one_point():
    """A lower limit one point below holds; an upper limit there is no loss yet."""
    assert "up to the highest rate" in told((0.97, 0.98), (0.97, 0.99), (0.97, 0.98))
    assert "down to" not in told(HELD, HELD, (0.5, 0.97))


def test_it_says_what_became_of_the_images():
    """Silent and detected shares at the highest rate, or with one flip; what did not happen is not told."""
    text = verdict([campaign("net", at_rate(1e-6, 0.6, sdc1=0.3, due=0.1, masked=0.2))])
    assert text.endswith(
        "At 1e-6, 30.00 % (28.00 to 32.00 %) silently get another class and 10.00 % (8.00 to 12.00 %) have NaN or "
        "Inf in the output, or none."
    )
    assert "NaN" not in verdict([campaign("net", at_rate(1e-6, 0.6))])
    once = verdict([campaign("net", at_rate(1e-6, 0.6, sdc1=0.3, width=None))])
    assert once.endswith("30.00 % silently get another class, in the patterns that were run.")
    assert " With one flip, 10.00 % (8.00 to 12.00 %) silently get another class." in verdict([injections("net")])


def test_a_guard_that_stops_is_said_to_detect_errors():
    """In the paragraph and below the outcomes, where the plan has one; one that sets to zero stops nothing."""
    said = []
    for action in ("stop", "zero"):
        plan = ProtectionPlan([Guard("*bias", "secded"), Guard("*weight", "parity", "all", action)])
        result = campaign("net", at_rate(1e-6, 0.6, due=0.4), settings=Settings(repeats=4, protection=plan))
        page = build([result]).html()
        text = verdict([result])
        said.append(("or none, as where a guard stops the run." in text, "a guard that stops has detected" in page))
    assert said == [(True, True), (False, False)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Campaigns with 30 repeats: the embedded model, the same with other patterns, clipped, and with one pattern."""
    folder = tmp_path_factory.mktemp("runs")
    protected = folder / "clipped.onnx"
    assert cli("protect", "digits", "--method", "actmax", "--data", "digits", "-o", protected).code == 0
    rates = {"rates": [1e-6, 1e-5], "threads": 1, "strategy": "live"}
    made = {
        "plain": ("digits", 30, 0),
        "again": ("digits", 30, 1),
        "clipped": (protected, 30, 0),
    }
    found = {
        name: ftonnx.evaluate(model, "digits", repeats=repeats, seed=seed, results=folder / name, **rates)
        for name, (model, repeats, seed) in made.items()
    }
    once = ftonnx.evaluate("digits", "digits", repeats=1, batch_size=360, results=folder / "once", **rates)
    return found | {"once": once}


def test_two_models_are_compared_by_their_paired_difference(runs):
    """The words are those of ``compare``: the difference at this rate, its interval, its corrected verdict."""
    plain, clipped = runs["plain"], runs["clipped"]
    text = verdict([plain, clipped])
    tested = compare([plain, clipped]).models[0].rates[1].difference
    assert "The estimates of the 2 campaigns lie furthest apart at 1e-5, clipped at" in text
    assert text.endswith(
        f": clipped is better by {100 * tested.mean:.2f} points (95 % interval {100 * tested.low:.2f} to "
        f"{100 * tested.high:.2f})."
    )


def test_models_whose_difference_may_be_chance_are_not_ranked(runs):
    """The same model with other fault patterns."""
    text = verdict([runs["plain"], runs["again"]])
    assert ", which shows no difference: +" in text
    assert "better" not in text


def test_the_best_and_worst_of_many_are_picked_with_a_correction_for_the_choice(runs):
    """Three pairs, so the interval of the chosen one is that of 1 - .05 / 3; middle ones are not named."""
    text = verdict([runs["plain"], runs["again"], runs["clipped"]])
    assert "clipped is better by" in text
    assert "(98.33 % interval" in text


def test_what_cannot_be_tested_is_not_claimed(runs):
    """One pattern, a folder that is gone, other data, no rate in common."""
    assert verdict([runs["plain"], runs["once"]]).endswith("; without repeats no difference can be claimed.")
    weak, strong = campaign("weak", at_rate(1e-6, 0.30)), campaign("strong", at_rate(1e-6, 0.90))
    text = verdict([weak, strong])
    assert "apart at 1e-6, strong at 90.00 % (88.00 to 92.00 %) and weak at 30.00 % (28.00 to 32.00 %)" in text
    assert text.endswith("; the difference was not tested, as a results folder cannot be read.")
    other = campaign("other", at_rate(1e-6, 0.9), data=replace(weak.data, sha256="ef" * 32))
    assert verdict([weak, other]).endswith(", on different data, which no test compares.")
    assert "no fault rate in common" in verdict([weak, campaign("other", at_rate(2e-6, 0.5))])


def test_rates_that_are_written_alike_are_one():
    """A history's 9.99999e-7 is 1e-6, in words and in the table, where each campaign has it in one row."""
    histories = campaign("a", replace(at_rate(9.99999e-7, 0.30), hours=24.0))
    made = build([histories, campaign("b", at_rate(1e-6, 0.90))])
    assert "lie furthest apart at 1e-6, b at 90.00 %" in made.verdict
    (section,) = (each for each in made.sections if each.name == "comparison")
    assert [row for row in section.tables[0].rows if row[0].startswith("1e-6")] == [
        ["1e-6", "30.0 % (28.0 to 32.0 %)", "90.0 % (88.0 to 92.0 %)"]
    ]


def test_injections_are_compared_with_injections(tmp_path):
    """With as many flips, and what is claimed is what ``compare`` shows; nothing else is compared."""
    few = {"repeats": 40, "threads": 1, "strategy": "live", "limit": 90}
    data = ftonnx.load_dataset("digits", limit=few.pop("limit"))
    results = [
        ftonnx.evaluate("digits", data, FaultCount(1), roles=[role], results=tmp_path / role, **few)
        for role in ("weight", "bias")
    ]
    text = verdict(results)
    (level,) = compare(results).models[0].rates
    assert "With one flip, best and worst of the 2 campaigns are digits (" in text
    word = "is better by" if level.outcome != "no difference shown" else "which shows no difference"
    assert word in text
    two = injections("two", faults=FaultCount(2))
    two = replace(two, rates=(replace(two.rates[0], faults_mean=2.0),))
    assert verdict([injections("one"), two]).endswith("Injections of 2 flips and one flip are not compared.")
    assert "campaigns" not in verdict([injections("one"), campaign("rates")])


def test_many_models_do_not_make_a_long_paragraph():
    """Only best and worst are named."""
    text = verdict([campaign(f"net{i}", at_rate(1e-6, i / 10)) for i in range(10)])
    assert "net9 at 90.00 %" in text
    assert "net5" not in text
    assert len(text) < 300


def test_it_names_the_most_harmful_bit_and_tensor_where_they_can_be_told():
    """Bit 31: 90 % of 40 injections against none of 40, and so for the tensors."""
    cells = [vulnerable("conv.weight", 31, 3600, 40), vulnerable("fc.weight", 0, 0, 40)]
    text = verdict([injections("net", *cells)])
    assert "Bit 31 does more harm than any other. Tensor conv.weight does more harm than any other." in text
    assert "stays within" not in text


def test_bits_and_tensors_that_cannot_be_told_apart_are_not_named_the_worst():
    """50 % and 40 % of 10 injections; of more than three, only their number is said."""
    near = [vulnerable("conv.weight", 30, 500), vulnerable("conv.weight", 29, 400)]
    text = verdict([injections("net", *near)])
    assert "Bits 30 and 29 cannot be told apart. Only tensor conv.weight was hit." in text
    many = [vulnerable(f"t{bit}", bit, 3000 if bit > 3 else 0, 60) for bit in range(9)]
    text = verdict([injections("net", *many)])
    assert "The ranking of bits is not separable: 5 of the 9 that were hit may be the worst: 4 to 8." in text
    assert "more harm" not in text


def test_what_was_not_hit_or_did_no_harm_is_said():
    """A tensor that no injection hit may be the worst; without any harm nothing is ranked."""
    target = campaign().fault_space.tensors[0].to_dict()
    stored = tuple(target | {"tensor": name} for name in ("conv.weight", "fc.weight", "fc.bias"))
    cells = [vulnerable("conv.weight", 31, 3600, 40), vulnerable("fc.weight", 0, 0, 40)]
    text = verdict([injections("n", *cells, tensors=stored)])
    assert "Tensor conv.weight does more harm than any other (2 of 3 were hit)." in text
    harmless = injections("net", vulnerable("conv.weight", 31, 0), vulnerable("conv.weight", 0, 0))
    assert "No image got another class in 20 injections." in verdict([harmless])


def test_the_order_of_a_campaign_of_every_bit_needs_no_interval(tmp_path):
    """The bias of the last layer, all 320 bits of it."""
    options = {"faults": EveryBit(), "include": ["linear.bias"], "threads": 1, "strategy": "live"}
    text = verdict([ftonnx.evaluate("digits", "digits", results=tmp_path / "r", **options)])
    assert "With one flip, 17.68 % silently get another class. Bit 31 does more harm than any other." in text
    assert text.endswith("Only tensor linear.bias was hit.")


def test_it_says_when_a_campaign_is_not_finished():
    """Before anything else."""
    text = verdict([campaign("net", complete=False), campaign("done")])
    assert text.startswith("Not finished yet, so all numbers may still change: net. ")


STATES = (HELD, OPEN, LOST, NONE)


@pytest.mark.parametrize("limits", list(itertools.product(STATES, repeat=4)))
def test_a_model_gets_sixty_words_at_most(limits):
    """Whatever its curve is like: a long one loses sentences, never the first."""
    rates = [
        with_top1(at_rate(10.0**power, 0.97, due=0.01), Estimate(0.97 if low is None else (low + high) / 2, low, high))
        for power, (low, high) in zip(range(-9, 0), (*limits, *limits, HELD), strict=True)
    ]
    for demand in (Demand(), Demand(loss=0.0125)):
        result = campaign("net", *rates)
        text = paragraph(result, decide(result, demand), demand)
        assert text.startswith("classifies 98.00 % of 360 images correctly without faults")
        assert len(text.split()) <= 60


@pytest.mark.parametrize("task", [Classification(), Binary(), Regression(tolerance=0.5), MultiLabel(), Segmentation()])
def test_every_task_fits_into_sixty_words(task):
    """Single faults in tensors with names of several words."""
    level = replace(at_rate(1e-6, 0.9, due=0.05), faults_mean=1.0)
    fractions = dict.fromkeys(task.fractions, level["top1"])
    golden = dict.fromkeys(task.golden, 0.98)
    many = [vulnerable(f"a tensor with a name of {bit} words", bit, 300 * bit, 60) for bit in range(9)]
    result = injections("net", *many, task=task, golden=golden)
    result = replace(result, rates=(replace(level, fractions=fractions),))
    text = paragraph(result, decide(result, Demand()), Demand())
    assert "without faults; with one flip" in text
    assert len(text.split()) <= 60
