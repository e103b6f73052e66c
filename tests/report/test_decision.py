"""The decision about a model, from made-up intervals."""

import os
import re
from dataclasses import replace

import pytest
from report_kit import STORED, at_rate, campaign, injections, vulnerable, with_top1

from ftonnx.environment import Environment
from ftonnx.errors import UsageError
from ftonnx.inject import FaultCount, StuckCount, StuckRates
from ftonnx.report import build
from ftonnx.report.decision import Demand, decide
from ftonnx.stats import Estimate

HELD, OPEN, LOST, NONE = (0.975, 0.985), (0.95, 0.98), (0.55, 0.65), (None, None)
RATES = (1e-7, 1e-6, 1e-5)
DAY = {"exposure": "1d"}


def model(*limits, name="net"):
    """A model that has 98 % without faults, given limits of its accuracy at three rates."""
    rates = [
        with_top1(at_rate(rate, 0.97), Estimate(0.97 if low is None else (low + high) / 2, low, high))
        for rate, (low, high) in zip(RATES, limits, strict=True)
    ]
    return campaign(name, at_rate(0.0, 0.98), *rates)


def at(rate):
    """An environment with a bit-fault rate, a day after the memory was written."""
    return Environment.of(upsets_per_bit_day=rate, **DAY)


@pytest.mark.parametrize(
    ("limits", "verdict", "held", "lost"),
    [
        ((HELD, HELD, HELD), "holds", 1e-5, None),
        ((HELD, HELD, LOST), "holds in part", 1e-6, 1e-5),
        ((HELD, OPEN, OPEN), "holds in part", 1e-7, None),
        ((HELD, LOST, HELD), "holds in part", 1e-7, 1e-6),
        ((OPEN, LOST, LOST), "fails", None, 1e-6),
        ((LOST, LOST, LOST), "fails", None, 1e-7),
        ((OPEN, OPEN, OPEN), "undecided", None, None),
        ((NONE, NONE, NONE), "undecided", None, None),
        ((OPEN, HELD, HELD), "undecided", None, None),
    ],
)
def test_a_model_holds_as_far_as_the_lower_limits_say(limits, verdict, held, lost):
    """And fails from where an upper limit is below what is allowed."""
    found = decide(model(*limits), Demand())
    assert found.verdict == verdict
    assert (found.held[-1].rate if found.held else None) == held
    assert (found.lost.rate if found.lost else None) == lost
    assert found.at.rate == (held or 1e-7)


def test_the_loss_can_be_chosen():
    """98 % less three points is 95 %."""
    assert decide(model(HELD, OPEN, LOST), Demand(loss=0.03)).held[-1].rate == 1e-6
    assert decide(model(HELD, OPEN, LOST), Demand(loss=0.001)).verdict == "fails"
    for wrong in (-0.01, 1, "0.01", True):
        with pytest.raises(UsageError, match="loss"):
            Demand(loss=wrong)


def test_hardly_better_than_chance_is_no_verdict():
    """10 % of ten classes hold at any rate."""
    rates = [with_top1(at_rate(rate, 0.1), Estimate(0.1, 0.095, 0.105)) for rate in RATES]
    poor = campaign("net", *rates, golden={"top1": 0.1, "top5": 0.5})
    assert decide(poor, Demand()).verdict == "doubtful"
    assert decide(poor, Demand(environment=at(1e-7))).verdict == "doubtful"


@pytest.mark.parametrize(
    ("limits", "rate", "verdict", "tested"),
    [
        ((HELD, HELD, LOST), 1e-6, "holds", 1e-6),
        ((HELD, HELD, LOST), 3e-8, "holds", 1e-7),
        ((HELD, HELD, LOST), 3e-6, "undecided", 1e-5),
        ((HELD, LOST, LOST), 3e-6, "fails", 1e-5),
        ((HELD, LOST, LOST), 1e-6, "fails", 1e-6),
        ((OPEN, HELD, HELD), 1e-6, "holds", 1e-6),
        ((HELD, HELD, HELD), 1e-3, "undecided", 1e-5),
        ((HELD, HELD, LOST), 1e-3, "fails", 1e-5),
        ((OPEN, OPEN, OPEN), 1e-7, "undecided", 1e-7),
    ],
)
def test_an_environment_decides_by_the_lowest_tested_rate_that_is_not_below_its_own(limits, rate, verdict, tested):
    """More flips do no less harm, and nothing else is taken for granted."""
    found = decide(model(*limits), Demand(environment=at(rate)))
    assert (found.verdict, found.at.rate, found.fit) == (verdict, tested, None)
    measured = rate in RATES
    assert (found.note is None) == measured
    if not measured:
        said = re.match(r"The environment's rate (\S+) (is|lies) ", found.note)
        assert float(said[1]) == pytest.approx(rate, rel=2e-3)


def test_single_faults_become_failures_in_time_by_their_upper_limit():
    """FIT = upsets per 1e9 hours times the upper limit of SDC; 192 bits of 1e-7 upsets per bit and day."""
    result = injections("net")
    found = decide(result, Demand(environment=at(1e-7)))
    assert found.fit == pytest.approx(192 * 1e-7 / 24 * 1e9 * result.rates[0].sdc1.high)
    assert found.verdict == "fails"  # 88 to 92 % of 98 %
    assert decide(result, Demand()).fit is None
    # two flips at a time were not tested
    many = decide(result, Demand(environment=at(1e-2)))
    assert many.verdict == "undecided"
    assert "1.9 flips at a time are to be expected there" in many.note


ACTIVATIONS = [STORED.to_dict() | {"role": "activation"}]
IN_PAIRS = Environment.of(upsets_per_bit_day=1e-7, sizes="2:1", **DAY)


@pytest.mark.parametrize(
    ("result", "place", "why"),
    [
        (campaign("net", tensors=ACTIVATIONS), at(1e-7), "Activations can flip here"),
        (injections("net", tensors=ACTIVATIONS), at(1e-7), "Activations can flip here"),
        (campaign("net", faults=StuckRates((1e-7, 1e-6, 1e-5))), at(1e-7), "other flips than the environment's"),
        (injections("net", faults=StuckCount(1)), at(1e-7), "An injection is something else than an upset"),
        (injections("net", faults=FaultCount(3)), at(1e-7), "An injection is something else than an upset"),
        (injections("net"), IN_PAIRS, "An upset flips several bits there"),
    ],
)
def test_faults_that_an_environment_does_not_make_decide_nothing_about_it(result, place, why):
    """Whatever the intervals show, of which the page then says nothing."""
    demand = Demand(environment=place)
    found = decide(result, demand)
    assert (found.verdict, found.fit, found.applies) == ("undecided", None, False)
    assert why in found.note
    assert decide(result, Demand()).verdict in ("holds in part", "fails")
    table, _ = first_table(build([result], environment=place))
    assert "undecided: what was tested does not say it, for the reason below." in table.notes[0]
    both, _ = first_table(build([result, model(OPEN, OPEN, OPEN, name="b")], environment=at(1e-7)))
    if place is not IN_PAIRS:
        assert "undecided: the intervals show neither, or what was tested does not say it" in both.notes[0]


def test_rates_need_an_environment_with_an_interval_and_single_faults_do_not():
    """Upsets per hour make FIT; a rate is what they come to in some time."""
    place = Environment.of(fit_per_mbit=130)
    assert decide(injections("net"), Demand(environment=place)).fit > 0
    with pytest.raises(UsageError, match="an exposure or a scrub interval"):
        decide(model(HELD, HELD, HELD), Demand(environment=place))


def first_table(made):
    """The rows of the first screen as texts."""
    (table,) = made.sections[0].tables
    rows = []
    for row in table.rows:
        rows.append(
            [cell if isinstance(cell, str) else " ".join(filter(None, (cell.text, cell.below))) for cell in row]
        )
    return table, rows


def test_the_first_table_decides_every_model():
    """Verdicts have a tone and a word; silent corruption says where."""
    results = [model(HELD, HELD, LOST, name="a"), model(LOST, LOST, LOST, name="b"), injections("c")]
    table, rows = first_table(build(results))
    assert table.header == ["model", "verdict", "holds up to", "fails from", "top-1 without faults", "SDC-1 at most"]
    assert rows == [
        ["a", "holds in part", "1e-6", "1e-5", "98.00 %", "5.00 % at 1e-6"],
        ["b", "fails", "-", "1e-7", "98.00 %", "5.00 % at 1e-7"],
        ["c", "fails", "-", "one flip", "98.00 %", "12.00 % with one flip"],
    ]
    assert [row[1].tone for row in table.rows] == ["fair", "bad", "bad"]
    assert "one point" in table.caption
    _, (row,) = first_table(build([replace(model(HELD, HELD, HELD), complete=False)]))
    assert row[1] == "holds so far"


def test_an_environment_adds_failures_in_time_and_what_it_leaves_open():
    """A column, and notes below the table."""
    made = build([model(HELD, HELD, LOST, name="a"), injections("c")], environment=at(3e-7), loss=0.02)
    table, rows = first_table(made)
    assert table.header[-1] == "FIT at most"
    assert rows[0][1] == "holds"
    assert rows[0][-1] == "-"
    assert float(rows[1][-1]) == pytest.approx(192 * 3e-7 / 24 * 1e9 * 0.12, rel=1e-3)
    assert "2 points" in table.caption
    assert any(note.startswith("a: The environment's rate 3e-07 lies between two tested rates") for note in table.notes)


def test_the_first_screen_says_what_was_tested():
    """Once where it is the same for all; how floats are seen in plain words."""
    results = [model(HELD, HELD, HELD, name="a"), injections("b", vulnerable("conv.weight", 3, 5))]
    facts = {fact.title: fact.text for fact in build(results).sections[0].facts}
    assert facts == {
        "Data": "digits, test, 360 images, 10 classes",
        "Faults": "a: every bit flips alike, 4 rates from 0 to 1e-5, 60 patterns at each; b: 60 injections of one "
        "flip, each met by all images",
        "Numbers": "Q15.16, floats seen as fixed point of 32 bits, 16 of them behind the point: no IEEE floats",
        "Confidence": "95 % for each interval, for these images",
        "Measured": "unknown",
    }


def test_the_day_is_that_of_the_last_unit(tmp_path):
    """Of the file of units, in UTC."""
    (tmp_path / "units.sqlite").write_bytes(b"")
    os.utime(tmp_path / "units.sqlite", (1_700_000_000, 1_700_000_000))
    result = replace(model(HELD, HELD, HELD), results=tmp_path)
    facts = {fact.title: fact.text for fact in build([result]).sections[0].facts}
    assert facts["Measured"] == "2023-11-14"
