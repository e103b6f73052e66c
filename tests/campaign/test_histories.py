"""Campaigns of histories: growing by times, what is lost between them, and means over time."""

import json
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from campaign_kit import cli

import ftonnx
from ftonnx.campaign import CampaignResult
from ftonnx.cli.rates import print_over_time
from ftonnx.errors import StoreError, UsageError
from ftonnx.inject import Accumulation, FaultSpace, StuckCount, StuckRates
from ftonnx.stats.patterns import stratified_values

TIMES = (24.0, 720.0, 2160.0)
FAST = {"repeats": 6, "images_per_pattern": 40, "strategy": "live", "threads": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Histories of the embedded model at three times, in a results folder."""
    place = tmp_path_factory.mktemp("histories") / "r"
    ftonnx.evaluate("digits", "digits", Accumulation(TIMES, 1e-7), **FAST, results=place)
    return place


def rows_of(folder):
    """Return what the store holds of each unit, by (rate, batch, repeat), as sqlite3 reads it."""
    with closing(sqlite3.connect(folder / "units.sqlite")) as database:
        rows = database.execute("SELECT rate, batch, repeat, correct1, n FROM units").fetchall()
    return {row[:3]: row[3] / row[4] for row in rows}


def golden_of(folder):
    """Return the accuracy of each batch without faults."""
    with closing(sqlite3.connect(folder / "units.sqlite")) as database:
        return [right / n for right, n in database.execute("SELECT correct1, n FROM golden ORDER BY batch").fetchall()]


def test_differences_between_times_are_of_the_same_histories(folder):
    """Each history's later accuracy minus its earlier one, read from the store."""
    found = CampaignResult.open(folder)
    shares = rows_of(folder)
    rates = [rate.rate for rate in found.rates]
    for before, after, step in zip(rates[:-1], rates[1:], found.over_time.steps, strict=True):
        values = np.array([[shares[after, b, r] - shares[before, b, r] for r in range(6)] for b in range(9)])
        expected = stratified_values(values, np.full(9, 40), known=np.zeros(9), span=(-1, 1))
        assert step.difference.mean == pytest.approx(values.mean())
        assert (step.difference.low, step.difference.high) == pytest.approx((expected.low, expected.high))
        assert step.histories == 54


def test_pairing_by_histories_narrows_the_differences():
    """A history that keeps its flips differs less from itself than from another one."""
    close = Accumulation((720.0, 744.0), 1e-7)
    found = ftonnx.evaluate("digits", "digits", close, **FAST)
    step = found.over_time.steps[0].difference
    apart = [rate["top1"] for rate in found.rates]
    assert step.high - step.low < 0.5 * sum(estimate.high - estimate.low for estimate in apart)


def test_the_mean_over_time_is_linear_between_the_times(folder):
    """From the accuracy without faults on; its limits are the means of the limits."""
    found = CampaignResult.open(folder)
    hours = [0.0, *TIMES]
    golden = float(np.mean(golden_of(folder)))
    for end in ("mean", "low", "high"):
        heights = [golden, *(getattr(rate["top1"], end) for rate in found.rates)]
        area = sum((b - a) * (x + y) / 2 for a, b, x, y in zip(hours, hours[1:], heights, heights[1:], strict=False))
        assert getattr(found.over_time.mean, end) == pytest.approx(area / TIMES[-1])
    assert found.over_time.hours == TIMES[-1]
    assert [rate.hours for rate in found.rates] == list(TIMES)
    assert found.to_polars()["hours"].to_list() == list(TIMES)


def test_an_unfinished_campaign_tells_what_the_histories_at_both_times_say(folder, tmp_path, capsys):
    """A step of which no history was run at both ends is left out; another says of how many it is."""
    shutil.copytree(folder, tmp_path / "r")
    rates = [rate.rate for rate in CampaignResult.open(folder).rates]
    with closing(sqlite3.connect(tmp_path / "r" / "units.sqlite")) as database:
        # the first time keeps the first histories, and the second one the others
        database.execute("DELETE FROM units WHERE rate = ? AND repeat >= 3", rates[:1])
        database.execute("DELETE FROM units WHERE rate = ? AND repeat < 3", rates[1:2])
        database.commit()
    cli("results", "check", tmp_path / "r", "--repair")
    found = CampaignResult.open(tmp_path / "r")
    assert not found.complete
    (step,) = found.over_time.steps
    assert (step.start, step.end) == TIMES[1:]
    assert step.histories == 27
    print_over_time(found)
    assert "by the 27 histories that were run at both" in capsys.readouterr().out


def test_a_precision_is_asked_of_all_times_of_the_same_histories(tmp_path):
    """The first time alone needs fewer; it has as many as the last one, so that no pair is lost to the difference."""
    wanted = FAST | {"precision": 0.15, "repeats": 60, "images_per_pattern": 20}
    data = ftonnx.load_dataset("digits", limit=40)
    found = ftonnx.evaluate("digits", data, Accumulation(TIMES[:2], 1e-7), **wanted, results=tmp_path / "r")
    first, last = found.rates
    assert first.units == last.units == found.over_time.steps[0].histories
    (alone,) = ftonnx.evaluate("digits", data, Accumulation(TIMES[:1], 1e-7), **wanted).rates
    assert alone.units < first.units
    assert last["top1"].high - last["top1"].low <= 0.3
    assert found.over_time.steps[0].difference.mean == pytest.approx(last["top1"].mean - first["top1"].mean)


def test_histories_go_on_to_later_times(tmp_path):
    """What is recorded stays, and the whole is as if it had been run at once; a time in between is another campaign."""
    few = FAST | {"repeats": 2}
    ftonnx.evaluate("digits", "digits", Accumulation(TIMES[:2], 1e-7), **few, results=tmp_path / "grown")
    recorded = rows_of(tmp_path / "grown")
    ftonnx.evaluate("digits", "digits", Accumulation(TIMES, 1e-7), **few, results=tmp_path / "grown")
    ftonnx.evaluate("digits", "digits", Accumulation(TIMES, 1e-7), **few, results=tmp_path / "once")
    grown = rows_of(tmp_path / "grown")
    assert recorded.items() < grown.items()
    assert grown == rows_of(tmp_path / "once")
    between = Accumulation((24.0, 100.0, *TIMES[1:]), 1e-7)
    with pytest.raises((UsageError, StoreError), match="belongs to another campaign"):
        ftonnx.evaluate("digits", "digits", between, **few, results=tmp_path / "grown")


def test_a_unit_is_replayed_by_the_rate_that_tables_show(folder):
    """A level has more digits than anybody types, and is that of a time."""
    level = CampaignResult.open(folder).rates[1].rate
    shown = float(f"{level:g}")
    assert shown != level
    found = ftonnx.replay(folder, rate=shown, repeat=1, batch=2)
    for asked in ({"rate": 3e-6}, {"over": "30d"}, {"over": 720}):
        assert ftonnx.replay(folder, **asked, repeat=1, batch=2).list() == found.list()
    expected = Accumulation(TIMES, 1e-7).unit_pattern(FaultSpace.of("digits"), 0, level=level, repeat=1, batch=2)
    assert found.faults.element.tolist() == expected.element.tolist()
    assert found.faults.bit.tolist() == expected.bit.tolist()


def test_a_unit_is_asked_for_by_its_time(folder):
    """As --over of inject; what is no time of the campaign is refused in a line."""
    ftonnx_faults = ("faults", folder, "--repeat", 1, "--batch", 2, "--json")
    found = json.loads(cli(*ftonnx_faults, "--over", "720h").out)
    assert found == json.loads(cli(*ftonnx_faults, "--rate", "2.99999e-06").out)
    for asked, said in {
        ("--over", "2d"): "one of the campaign's times was expected, 1d, 30d, 90d; got 2d",
        ("--over", "1d", "--rate", "1e-6"): "a rate or a time was expected, got --rate and --over",
        (): "the campaign ran at several times; choose one of 1d, 30d, 90d by --over",
    }.items():
        done = cli(*ftonnx_faults, *asked)
        assert (done.code, done.err) == (2, f"error: {said}\n")


def test_models_are_compared_at_the_same_times(folder, tmp_path):
    """Paired by their histories, with the times beside the rates; the area allows for points of one history."""
    clipped = tmp_path / "clipped.onnx"
    assert cli("protect", "digits", "--data", "digits", "--method", "relu6", "-o", clipped).code == 0
    ftonnx.evaluate(clipped, "digits", Accumulation(TIMES, 1e-7), **FAST, results=tmp_path / "r")
    comparison = ftonnx.compare([folder, tmp_path / "r"])
    (found,) = comparison.models
    assert found.pairing == "faults"
    assert [comparison.level(rate) for rate in found.rates] == ["1e-07 (1d)", "2.99999e-06 (30d)", "8.99992e-06 (90d)"]
    differences = [rate.difference for rate in found.rates]
    places = np.log10([rate.rate for rate in found.rates])
    for end in ("low", "high"):
        area = np.trapezoid([getattr(each, end) for each in differences], places) / (places[-1] - places[0])
        assert getattr(found.auc.difference, end) == pytest.approx(area)
    means = [CampaignResult.open(place).over_time.mean.mean for place in (folder, tmp_path / "r")]
    assert [found.over_time.baseline, found.over_time.area] == pytest.approx(means)
    assert found.over_time.difference.mean == pytest.approx(means[1] - means[0])


def test_histories_of_other_upset_rates_are_compared_at_equal_times(folder, tmp_path):
    """Where rates are named by time alone, and the mean over time is that of each campaign; there is no area."""
    ftonnx.evaluate("digits", "digits", Accumulation(TIMES, 1e-8), **FAST, results=tmp_path / "r")
    comparison = ftonnx.compare([folder, tmp_path / "r"])
    (found,) = comparison.models
    results = [CampaignResult.open(place) for place in (folder, tmp_path / "r")]
    assert [comparison.level(rate) for rate in found.rates] == ["1d", "30d", "90d"]
    assert [(rate.rate, rate.other_rate) for rate in found.rates] == [
        (one.rate, other.rate) for one, other in zip(*(result.rates for result in results), strict=True)
    ]
    assert [rate.accuracy for rate in found.rates] == pytest.approx([each["top1"].mean for each in results[1].rates])
    assert (found.pairing, found.auc) == ("images", None)
    over_time = found.over_time
    assert [over_time.baseline, over_time.area] == pytest.approx([result.over_time.mean.mean for result in results])
    ends = [getattr(found.rates[i].difference, end) for end in ("low", "high") for i in range(3)]
    for end, heights in (("low", ends[:3]), ("high", ends[3:])):
        expected = np.trapezoid([0, *heights], [0, *TIMES]) / TIMES[-1]
        assert getattr(over_time.difference, end) == pytest.approx(expected)
    shown = cli("compare", folder, tmp_path / "r", "--markdown", tmp_path / "t.md").out
    assert [line.split()[0] for line in shown.splitlines()[3:]] == ["time", "1d", "30d", "90d", "mean"]
    assert "mean over time" in (tmp_path / "t.md").read_text(encoding="utf-8")
    elsewhere = tmp_path / "s"
    ftonnx.evaluate("digits", "digits", Accumulation("2d", 1e-8), **FAST | {"repeats": 1}, results=elsewhere)
    with pytest.raises(UsageError, match="no time since loading in common: 1d, 30d, 90d there, 2d here"):
        ftonnx.compare([folder, elsewhere])


def test_quiet_stuck_bits_are_injections_with_the_outcome_of_no_fault(tmp_path):
    """They are recorded and count, so that the mean is over stuck bits and not over flips."""
    data = ftonnx.load_dataset("digits", limit=16)
    options = {"repeats": 40, "strategy": "live", "threads": 1}
    found = ftonnx.evaluate("digits", data, StuckCount(1, 0), **options, results=tmp_path / "r")
    space = FaultSpace.of("digits")
    rate = found.rates[0].rate
    flips = [len(StuckCount(1, 0).unit_pattern(space, 0, level=rate, repeat=i, batch=0)) for i in range(40)]
    assert 0 < sum(flips) < 40
    assert found.injections == 40
    assert found.rates[0].faults_mean == sum(flips) / 40
    shares = rows_of(tmp_path / "r")
    golden = golden_of(tmp_path / "r")[0]
    assert all(shares[rate, 0, i] == golden for i, count in enumerate(flips) if not count)
    for repeat in (flips.index(0), flips.index(1)):
        assert len(ftonnx.replay(tmp_path / "r", repeat=repeat, batch=0).faults) == flips[repeat]


def test_injections_of_stuck_bits_are_compared_with_their_like_alone(tmp_path):
    """By what they are, however many of them flip."""
    data = ftonnx.load_dataset("digits", limit=16)
    options = {"repeats": 20, "strategy": "live", "threads": 1}
    for name, faults in {"a": StuckCount(1, 0), "b": StuckCount(1, 1), "c": StuckCount(1, 0)}.items():
        seed = 5 if name == "c" else 0
        ftonnx.evaluate("digits", data, faults, **options, seed=seed, results=tmp_path / name)
    assert ftonnx.compare([tmp_path / "a", tmp_path / "c"]).faults == "one bit stuck at 0"
    with pytest.raises(UsageError, match=r"one bit stuck at 0, and .* one bit stuck at 1"):
        ftonnx.compare([tmp_path / "a", tmp_path / "b"])


def test_processes_draw_what_depends_on_stored_bits_alike(tmp_path):
    """Each reads the model's bits by itself."""
    data = ftonnx.load_dataset("digits", limit=32)
    faults = StuckRates(1e-4, 1)
    options = {"repeats": 4, "images_per_pattern": 8, "strategy": "live"}
    for jobs in (1, 2):
        ftonnx.evaluate("digits", data, faults, **options, jobs=jobs, results=tmp_path / str(jobs))
    assert rows_of(tmp_path / "1") == rows_of(tmp_path / "2")
