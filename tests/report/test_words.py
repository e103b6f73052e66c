"""The verdict in words says what the numbers say."""

from dataclasses import replace

import pytest
import scipy
from campaign_kit import cli
from report_kit import at_rate, campaign, injections, vulnerable, with_top1

import ftonnx
from ftonnx.campaign import compare
from ftonnx.inject import EveryBit
from ftonnx.report import verdict
from ftonnx.stats import Estimate

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
    return text.removeprefix(start).split(" At the highest rate")[0]


HELD, OPEN, LOST, NONE = (0.975, 0.985), (0.95, 0.98), (0.55, 0.65), (None, None)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((HELD, HELD, HELD), " and stays within one point of that up to the highest rate, 1e-5."),
        (
            (HELD, HELD, LOST),
            ", stays within one point of that up to 1e-6, and at 1e-5 flips per bit it is down to 60.00 % "
            "(95 % interval 55.00 to 65.00 %).",
        ),
        (
            (HELD, OPEN, LOST),
            ", stays within one point of that up to 1e-7; at 1e-6 the estimate, 96.50 % (95 % interval 95.00 to "
            "98.00 %), does not decide whether a point is lost; at 1e-5 flips per bit it is down to 60.00 % (95 % "
            "interval 55.00 to 65.00 %).",
        ),
        ((HELD, OPEN, OPEN), "up to 1e-7; at 1e-6 and 1e-5 the intervals do not decide whether a point is lost."),
        ((LOST, LOST, LOST), "; already at 1e-7 flips per bit it is down to 60.00 % (95 % interval 55.00 to 65.00 %)."),
        (
            (OPEN, LOST, LOST),
            "; already at 1e-7 the estimate, 96.50 % (95 % interval 95.00 to 98.00 %), does not decide whether a point "
            "is lost; at 1e-6 flips per bit it is down to 60.00 % (95 % interval 55.00 to 65.00 %).",
        ),
        ((OPEN, OPEN, OPEN), "; already at 3 rates from 1e-7 to 1e-5 the intervals do not decide whether a point is"),
        ((NONE, NONE, NONE), "; without repeats nothing can be claimed about faults."),
        ((HELD, NONE, LOST), "up to 1e-7; at 1e-6 there is no interval yet; at 1e-5 flips per bit it is down to"),
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
    assert "within one point of that up to 1e-7" in text
    assert text.endswith("; yet at 1e-5 it is within one point.")


def test_an_estimate_within_one_point_does_not_make_it_hold():
    """97.5 % of 98 %, with an interval that reaches down to 96 %, and one whose estimate has lost a point already."""
    assert "stays within one point of that up to 1e-7; at 1e-6 and 1e-5" in told(HELD, (0.96, 0.99), (0.90, 0.97))


def test_the_limit_itself_is_within_one_point():
    """A lower limit one point below holds; an upper limit there is no loss yet."""
    assert "up to the highest rate" in told((0.97, 0.98), (0.97, 0.99), (0.97, 0.98))
    assert "down to" not in told(HELD, HELD, (0.5, 0.97))


def test_it_says_what_became_of_the_images():
    """Silent, detected and masked shares at the highest rate."""
    text = verdict([campaign("net", at_rate(1e-6, 0.6, sdc1=0.3, due=0.1, masked=0.2))])
    assert "At the highest rate, 1e-6 (2 flips per run on average), 30.00 % (28.00 to 32.00 %) of the images" in text
    assert "10.00 % (8.00 to 12.00 %) of the outputs hold NaN" in text
    assert text.endswith("20.00 % (18.00 to 22.00 %) are bit-identical to the fault-free ones.")
    assert "At the highest rate, 5e-7 (one flip per run), " in verdict([campaign("net", at_rate(5e-7, 0.6))])
    once = verdict([campaign("net", at_rate(1e-6, 0.6, sdc1=0.3, width=None))])
    assert "30.00 % of the images silently" in once
    assert once.endswith("in the patterns that were run.")


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


def test_many_models_do_not_make_a_long_paragraph():
    """Only best and worst are named."""
    text = verdict([campaign(f"net{i}", at_rate(1e-6, i / 10)) for i in range(10)])
    assert "net9 at 90.00 %" in text
    assert "net5" not in text
    assert len(text) < 300


def test_it_names_the_most_harmful_bit_and_tensor_where_they_can_be_told():
    """Bit 31: 90 % of 40 injections against none of 40, and so for the tensors; intervals are over injections."""
    cells = [vulnerable("conv.weight", 31, 3600, 40), vulnerable("fc.weight", 0, 0, 40)]
    text = verdict([injections("net", *cells)])
    exact = scipy.stats.binomtest(36, 40).proportion_ci(0.95, method="exact")
    share = f"90.00 % (95 % interval {100 * exact.low:.2f} to {100 * exact.high:.2f} %)"
    hit = f"did most harm: when it was hit, {share} of the images got another class (40 injections)"
    assert f"Of the 2 bits of net, number 31 {hit}; of its 2 tensors, conv.weight {hit}." in text
    assert "within one point" not in text


def test_bits_and_tensors_that_cannot_be_told_apart_are_not_named_the_worst():
    """50 % and 40 % of 10 injections; of more than three, only their number is said."""
    near = [vulnerable("conv.weight", 30, 500), vulnerable("conv.weight", 29, 400)]
    text = verdict([injections("net", *near)])
    assert "numbers 30 and 29 cannot be told apart: 50.00 % (" in text
    assert "of its tensors, only conv.weight was hit: 45.00 % (" in text
    many = [vulnerable(f"t{bit}", bit, 3000 if bit > 3 else 0, 60) for bit in range(9)]
    text = verdict([injections("net", *many)])
    assert "Of the 9 bits of net, 5 may do most harm (4 to 8); of its 9 tensors, 5 may do most harm. 540 inj" in text
    assert "did most harm" not in text


def test_what_was_not_hit_or_did_no_harm_is_said():
    """A tensor that no injection hit may be the worst; without any harm nothing is ranked."""
    target = campaign().fault_space.tensors[0].to_dict()
    stored = tuple(target | {"tensor": name} for name in ("conv.weight", "fc.weight", "fc.bias"))
    cells = [vulnerable("conv.weight", 31, 3600, 40), vulnerable("fc.weight", 0, 0, 40)]
    assert "of its 2 tensors that were hit (of 3), conv.weight did" in verdict(
        [injections("n", *cells, tensors=stored)]
    )
    harmless = injections("net", vulnerable("conv.weight", 31, 0), vulnerable("conv.weight", 0, 0))
    assert "No image got another class in the 20 injections into net." in verdict([harmless])


def test_the_order_of_a_campaign_of_every_bit_needs_no_interval(tmp_path):
    """The bias of the last layer, all 320 bits of it."""
    options = {"faults": EveryBit(), "include": ["linear.bias"], "threads": 1, "strategy": "live"}
    text = verdict([ftonnx.evaluate("digits", "digits", results=tmp_path / "r", **options)])
    assert "number 31 did most harm: when it was hit, 57.94 % of the images got another class (10 injections)" in text


def test_it_says_when_a_campaign_is_not_finished():
    """Before anything else."""
    text = verdict([campaign("net", complete=False), campaign("done")])
    assert text.startswith("Not finished yet, so all numbers may still change: net. ")
