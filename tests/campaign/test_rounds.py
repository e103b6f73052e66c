"""Campaigns that may end early: what is run, what is kept, what is reported."""

import json
import os
import signal

import numpy as np
import pytest
from campaign_kit import cli, cli_json, counts, rows
from pool_kit import Counting

import ftonnx
from ftonnx.campaign import Campaign, CampaignResult, Settings
from ftonnx.campaign.plan.stopping import MOST_ROUNDS, Budget, Stopping
from ftonnx.campaign.run.batch import BatchRunner
from ftonnx.campaign.run.held_runners import HeldRunners
from ftonnx.campaign.run.rounds import PrecisionRule
from ftonnx.campaign.store.unit_table import Recorded
from ftonnx.datasets import load_dataset
from ftonnx.errors import Interrupted, UsageError
from ftonnx.inject import BitFlipRates, FaultCount, PerLayer, load_model
from ftonnx.models import resolve
from ftonnx.report import repeat_command
from ftonnx.stats.betting import anytime_mean
from ftonnx.stats.patterns import for_new_images, independent_images, stratified_mean
from ftonnx.tasks import Classification, Counts, default_task

pytestmark = pytest.mark.usefixtures("interruptible", "temporary_folder")

FAST = {"batch_size": 120, "strategy": "live", "threads": 1}
OPTIONS = ("--batch-size", 120, "--strategy", "live", "--threads", 1)


@pytest.fixture
def golden_runs(monkeypatch):
    """The number of images of every batch whose golden run is done."""
    done = []
    original = BatchRunner.__init__

    def counted(self, *arguments, **options):
        original(self, *arguments, **options)
        done.append(self.golden.n)

    monkeypatch.setattr(BatchRunner, "__init__", counted)
    return done


def fractions(results, rate):
    """Return the fractions of correct images by (repeat, batch) of three batches, and how many repeats are whole."""
    found = {(r, b): row["correct1"] / row["n"] for (at, r, b), row in counts(results).items() if at == rate}
    whole = 0
    while all((whole, batch) in found for batch in range(3)):
        whole += 1
    return np.array([[found[repeat, batch] for batch in range(3)] for repeat in range(whole)])


def fault_free(results):
    """Return the fractions of correct images by batch without faults."""
    return Recorded.open(results).table(1e-7).golden_fractions(default_task().main)


def test_a_rate_is_left_when_its_interval_is_narrow_enough_and_not_before(tmp_path):
    """The half-width is that of the interval over whole rounds; the other rate goes on."""
    result = ftonnx.evaluate("digits", "digits", rates=[1e-7, 1e-5], precision=0.05, **FAST, results=tmp_path / "r")
    assert result.complete
    assert result.settings.repeats == MOST_ROUNDS
    for found in result.rates:
        values = fractions(tmp_path / "r", found.rate)
        assert found.units == values.size
        assert found.interval == "anytime-valid"
        golden = fault_free(tmp_path / "r")
        assert found.top1 == anytime_mean(values, np.full(3, 120), golden=golden)
        assert (found.top1.high - found.top1.low) / 2 <= 0.05
        before = anytime_mean(values[: int(len(values) / 1.03) - 1], np.full(3, 120), golden=golden)
        assert (before.high - before.low) / 2 > 0.05
    assert result.rates[0].units != result.rates[1].units


def test_units_are_the_same_as_in_a_campaign_of_fixed_length(tmp_path):
    """The order does not enter a pattern."""
    ftonnx.evaluate("digits", "digits", rates=[1e-5, 1e-4], budget="18units", **FAST, results=tmp_path / "rounds")
    ftonnx.evaluate("digits", "digits", rates=[1e-5, 1e-4], repeats=3, **FAST, results=tmp_path / "fixed")
    measured = {"wall_ns"}
    ours, theirs = (
        {unit: {k: v for k, v in row.items() if k not in measured} for unit, row in counts(tmp_path / name).items()}
        for name in ("rounds", "fixed")
    )
    assert ours == theirs


def test_a_budget_of_units_is_kept_to_the_unit_and_a_larger_one_continues(tmp_path):
    """20 units of two rates and three batches are three whole rounds and two units of a fourth, which do not count."""
    run = {"rates": [1e-6, 1e-5], **FAST, "results": tmp_path / "r"}
    first = ftonnx.evaluate("digits", "digits", **run, budget="20units")
    assert len(rows(tmp_path / "r")) == 20
    assert [rate.units for rate in first.rates] == [9, 9]
    assert first.complete
    second = ftonnx.evaluate("digits", "digits", **run, budget="24units")
    assert len(rows(tmp_path / "r")) == 24
    assert [rate.units for rate in second.rates] == [12, 12]
    again = ftonnx.evaluate("digits", "digits", **run, budget="24units")
    assert again.to_dict() == second.to_dict()
    assert CampaignResult.open(tmp_path / "r").to_dict() == second.to_dict()


def test_golden_runs_are_done_once_however_many_rounds_there_are(tmp_path, golden_runs):
    """One per batch; the first one when the campaign is opened."""
    ftonnx.evaluate("digits", "digits", rates=[1e-6], budget="30units", **FAST, results=tmp_path / "r")
    assert golden_runs == [120, 120, 120]


def test_golden_runs_that_do_not_fit_into_memory_are_done_again(tmp_path, golden_runs):
    """Without memory in every round; the counts are the same."""
    run = {"rates": [1e-6], "budget": "9units", **FAST}
    ftonnx.evaluate("digits", "digits", **run, cache_memory=0, results=tmp_path / "none")
    assert len(golden_runs) == 3 * 3
    ftonnx.evaluate("digits", "digits", **run, results=tmp_path / "all")
    assert [row["correct1"] for row in rows(tmp_path / "none")] == [row["correct1"] for row in rows(tmp_path / "all")]


def test_held_runners_keep_what_fits_at_its_size_of_now():
    """Of three batches of 100 bytes, two fit into 250; one that has grown to 200 leaves no room for another."""

    class Runner:
        nbytes = 100

    held, runners = HeldRunners(250), [Runner(), Runner(), Runner()]
    assert [held.keep(number, runner) for number, runner in enumerate(runners)] == [True, True, False]
    assert [number in held for number in range(3)] == [True, True, False]
    assert held[1] is runners[1]
    runners[0].nbytes = 200
    assert not held.keep(0, runners[0])
    assert 0 not in held
    assert held.keep(2, runners[2])


def test_a_precision_is_reached_after_the_same_rounds_by_any_number_of_workers(tmp_path):
    """The rates leave at different rounds; every worker holds its batches from one round to the next."""
    run = {"rates": [1e-7, 1e-5], "precision": 0.1, "batch_size": 60, "strategy": "live", "threads": 1}
    log = Counting(tmp_path / "log")
    expected = ftonnx.evaluate("digits", "digits", **run, results=tmp_path / "1")
    found = ftonnx.evaluate("digits", "digits", **run, jobs=2, task=log, results=tmp_path / "2")
    assert found.rates == expected.rates
    assert counts(tmp_path / "2") == counts(tmp_path / "1")
    assert found.rates[0].units != found.rates[1].units
    in_workers = [line for line in log.lines() if not line.startswith(f"{os.getpid()} ")]
    assert len(set(in_workers)) == len(in_workers)


def test_workers_without_memory_for_golden_runs_find_the_same(tmp_path):
    """They do them again in every round, and read the data again."""
    run = {"rates": [1e-6], "budget": "15units", "cache_memory": 0, "strategy": "live", "threads": 1}
    for jobs in (1, 2):
        ftonnx.evaluate("digits", "digits", **run, batch_size=72, jobs=jobs, results=tmp_path / str(jobs))
    assert counts(tmp_path / "2") == counts(tmp_path / "1")


def test_no_time_gives_one_unit_and_a_result(tmp_path):
    """A budget that is spent at once is no error."""
    result = ftonnx.evaluate("digits", "digits", rates=[1e-6, 1e-5], budget="0.000001s", **FAST, results=tmp_path / "r")
    assert [(rate.rate, rate.units) for rate in result.rates] == [(1e-6, 1)]


def test_the_last_repeat_ends_a_campaign_whose_precision_is_out_of_reach(tmp_path):
    """--repeats is the upper limit."""
    result = ftonnx.evaluate(
        "digits", "digits", rates=[1e-5], precision=1e-6, repeats=2, **FAST, results=tmp_path / "r"
    )
    assert (result.rates[0].units, result.complete) == (6, True)


def test_a_plain_run_in_the_same_folder_makes_the_campaign_one_of_fixed_length(tmp_path):
    """All repeats are run then, and the intervals are those of a fixed number."""
    run = {"rates": [1e-5], "repeats": 3, **FAST, "results": tmp_path / "r"}
    early = ftonnx.evaluate("digits", "digits", **run, budget="6units")
    assert early.stopping == Stopping(budget=Budget(units=6), ended=True)
    plain = ftonnx.evaluate("digits", "digits", **run)
    assert (plain.rates[0].units, plain.rates[0].interval, plain.stopping) == (9, "fixed-n", None)


def test_a_signal_between_rounds_keeps_what_is_done_and_the_result_says_that_it_is_not_complete(tmp_path):
    """SIGINT after the fifth unit; the same command goes on to the same end."""
    run = {"rates": [1e-5], "budget": "12units", **FAST}

    def interrupt(done, total):
        assert total == 12
        if done == 5:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="5 of 12 units"):
        ftonnx.evaluate("digits", "digits", **run, results=tmp_path / "r", progress=interrupt)
    assert not CampaignResult.open(tmp_path / "r").complete
    whole = ftonnx.evaluate("digits", "digits", **run, results=tmp_path / "r")
    straight = ftonnx.evaluate("digits", "digits", **run, results=tmp_path / "s")
    assert whole.rates == straight.rates
    assert whole.complete


def test_rate_zero_needs_one_round(tmp_path):
    """It is the golden run."""
    result = ftonnx.evaluate("digits", "digits", rates=[0.0, 1e-5], budget="12units", **FAST, results=tmp_path / "r")
    assert [rate.units for rate in result.rates] == [3, 9]
    assert result.rates[0].top1.low == result.rates[0].top1.high == result.golden["top1"]


def test_random_injections_may_end_early_too(tmp_path):
    """Every injection is met by all batches, so it is one observation."""
    result = ftonnx.evaluate("digits", "digits", faults=FaultCount(1), budget="30units", **FAST, results=tmp_path / "r")
    assert result.injections == 10
    per_injection = fractions(tmp_path / "r", result.rates[0].rate).mean(axis=1, keepdims=True)
    golden = np.array([result.golden["top1"]])
    assert result.rates[0].top1 == anytime_mean(per_injection, np.array([360]), golden=golden)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rates": [1e-5], "precision": 0.6}, "between 0 and 0.5"),
        ({"rates": [1e-5], "budget": "soon"}, "10min, 500units"),
        ({"rates": [1e-5], "budget": "0units"}, "10min, 500units"),
        ({"rates": [1e-5], "budget": "1h,2h"}, "10min, 500units"),
        ({"rates": [1e-5], "question": "images"}, "use these-images or new-images"),
        ({"faults": PerLayer(2), "budget": "1min"}, "random patterns"),
    ],
)
def test_what_cannot_end_early_is_refused_in_one_line(options, message):
    """With what was expected."""
    with pytest.raises(UsageError, match=message):
        ftonnx.evaluate("digits", "digits", **FAST, **options)


def test_a_budget_reads_back_as_it_is_written():
    """In words for messages, in numbers for JSON."""
    budget = Budget.parse("10min,500units")
    assert (str(budget), budget.to_dict()) == ("600 s or 500 units", {"seconds": 600.0, "units": 500})
    assert Settings().stopping is None


def test_precision_for_new_images_uses_their_interval():
    """300 images of which 98 % are right leave 1.6 points, however many patterns they meet."""
    correct = [Counts(**dict.fromkeys(("sdc1", "sdc5", "sdc10", "sdc20", "masked", "due", "beneficial"), 0),
                        n=100, correct1=98, correct5=100)] * 3  # fmt: skip
    same, new, rough = (
        PrecisionRule([1e-6], Stopping(precision=precision, question=question), Classification().main, pooled=False)
        for precision, question in ((0.015, "these-images"), (0.015, "new-images"), (0.04, "new-images"))
    )
    for _ in range(120):
        for rule in (same, new, rough):
            if rule.open_rates:
                rule.add(1e-6, correct, correct)
    assert (same.open_rates, new.open_rates, rough.open_rates) == ((), (1e-6,), ())


def test_a_precision_for_new_images_from_one_batch_is_refused():
    """It would never be reached; fewer images per pattern are what helps."""
    with pytest.raises(UsageError, match="two batches of images or more, got one: choose fewer `images_per_pattern`"):
        ftonnx.evaluate("digits", "digits", rates=[1e-5], precision=0.1, question="new-images",
                        **FAST | {"batch_size": 360})  # fmt: skip


def test_the_question_is_a_way_of_reading(tmp_path):
    """The folder is the same; a finished campaign can be read for either."""
    stratified, clustered = (
        Campaign(
            load_model(resolve("digits"), name="digits"),
            load_dataset("digits"),
            BitFlipRates(1e-5),
            settings=Settings(repeats=4, question=question, **FAST),
            results=tmp_path / "r",
        ).run()
        for question in ("these-images", "new-images")
    )
    assert (stratified.question, clustered.question) == ("these-images", "new-images")
    correct = np.rint(120 * fractions(tmp_path / "r", 1e-5)).astype(int)
    golden = np.array([row["correct1"] for row in rows(tmp_path / "r", "golden")])
    these = stratified_mean(correct.T, np.full(3, 120), golden=golden)
    assert stratified.rates[0].top1 == these
    assert clustered.rates[0].top1 == for_new_images(these, independent_images(golden, np.full(3, 120)))
    assert CampaignResult.open(tmp_path / "r", question="new-images").rates == clustered.rates


def test_the_command_line_passes_precision_budget_and_question_on(tmp_path):
    """JSON says how intervals are to be read; the table says how many patterns each rate got."""
    base = ("inject", "--data", "digits", "--rate", 1e-6, *OPTIONS, "--results", tmp_path / "r")
    found = cli_json(*base, "--budget", "9units", "--precision", 0.01, "--question", "new-images")
    assert found["stopping"] == {
        "precision": 0.01, "budget": {"seconds": None, "units": 9}, "question": "new-images", "ended": True,
    }  # fmt: skip
    assert (found["question"], found["rates"][0]["interval"], found["rates"][0]["units"]) == (
        "new-images", "anytime-valid", 9,
    )  # fmt: skip
    shown = cli(*base, "--budget", "9units")
    assert "fault patterns: 9 at 1e-06" in shown.out
    repeated = repeat_command(CampaignResult.open(tmp_path / "r"))
    assert repeated.endswith("--budget 9units")
    header = json.loads((tmp_path / "r" / "campaign.json").read_text())
    assert "stopping" not in header["identity"]
    assert cli(*base, "--budget", "never").code == 2
