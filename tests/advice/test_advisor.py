"""The advisor end to end: its plan meets the goal in fresh campaigns, and misses it without its last guard."""

from collections import namedtuple
from dataclasses import replace

import pytest

import ftonnx
from ftonnx.advice import Candidates
from ftonnx.campaign.run.batch import BatchRunner
from ftonnx.errors import UsageError
from ftonnx.inject.guards import Guard, ProtectionPlan, cost_of

GOAL = "min-accuracy 1e-5:0.90"
OPTIONS = {"include": ["linear*", "block3*"], "budget": "3000units", "threads": 1, "strategy": "live"}
CODES = Candidates(guards=("parity", "secded"))

Found = namedtuple("Found", "advice folder")


@pytest.fixture(scope="module")
def data():
    """Some of the embedded images."""
    return ftonnx.load_dataset("digits", limit=90)


@pytest.fixture(scope="module")
def found(data, tmp_path_factory):
    """Advice on the larger part of the embedded network, by codes alone."""
    folder = tmp_path_factory.mktemp("advice")
    return Found(ftonnx.advise("digits", data, GOAL, candidates=CODES, results=folder, **OPTIONS), folder)


def measured(data, plan, seed=99):
    """Return the accuracy at the goal's rate behind a plan, in a campaign of its own."""
    result = ftonnx.evaluate(
        "digits", data, rates=1e-5, repeats=40, seed=seed, protection=plan, include=OPTIONS["include"], threads=1
    )
    return result.rates[0].top1


def test_the_plan_meets_the_goal_with_other_seeds(found, data):
    """And the advisor's own trial says so."""
    assert found.advice.verdict == "PASS"
    assert measured(data, found.advice.plan).mean >= 0.9


def test_without_its_last_guard_the_plan_misses_the_goal(found, data):
    """The limit of a fresh campaign lies below it, as does what was predicted."""
    *others, last = found.advice.plan.guards
    assert found.advice.needed == "FAIL"
    assert found.advice.guards[-1].without < 0.9
    fewer = ProtectionPlan(others) if others else None
    assert measured(data, fewer).high < 0.9
    assert last.by in CODES.guards


def test_the_headline_names_what_meets_the_goal_for_less(found):
    """Such as a model that was tried too; of those that miss it, or cost as much, nothing is said."""
    plain, *others = found.advice.tried
    assert found.advice.cheaper == ()
    assert "meets the goal" not in found.advice.headline
    free = replace(plain, name="clipped", verdict="PASS", check_bits=0)
    dearer = replace(plain, name="copies", verdict="PASS", check_bits=found.advice.check_bits)
    advice = replace(found.advice, tried=(plain, dearer, replace(free, name="less", check_bits=1), free, *others))
    assert [each.name for each in advice.cheaper] == ["clipped", "less"]
    assert advice.headline == f"{found.advice.headline}; clipped meets the goal with 0"


def test_costs_are_those_of_the_plan(found):
    """As the guards count them, and far below SECDED of everything."""
    space = ftonnx.FaultSpace.of("digits", include=OPTIONS["include"])
    cost = cost_of(found.advice.plan, space)
    assert [guard.check_bits for guard in found.advice.guards] == [each.check_bits for each in cost.guards]
    assert found.advice.check_bits == cost.check_bits
    assert found.advice.stored_bits == cost.stored_bits
    everything = cost_of(ProtectionPlan([Guard("*", "secded")]), space)
    assert cost.check_bits < everything.check_bits / 10
    assert found.advice.tried[-1].check_bits == everything.check_bits


def test_predictions_stand_beside_what_was_found(found):
    """Of the plan it is better than the goal; of the plan without its last guard it is worse."""
    predicted = {each.name: each.predicted for each in found.advice.tried}
    assert predicted["without its last guard"] == found.advice.guards[-1].without
    assert predicted["plan 1"] > 0.9 > predicted["without its last guard"]


def test_trials_have_seeds_of_their_own(found):
    """What was measured is not what verifies."""
    seeds = [each.seed for each in found.advice.tried]
    assert len(set(seeds)) == len(seeds)
    assert 0 not in seeds


def test_the_frontier_is_predicted_and_rises(found):
    """More check bits, more accuracy to expect, up to the fault-free one."""
    accuracies = [point.accuracy for point in found.advice.frontier]
    assert accuracies == sorted(accuracies)
    assert found.advice.frontier[0].check_bits == 0
    assert accuracies[-1] <= found.advice.golden


def test_a_finished_run_is_found_again(found, data, monkeypatch):
    """The same command gives the same advice, and runs no unit."""
    run = []
    original = BatchRunner.run
    monkeypatch.setattr(BatchRunner, "run", lambda self, unit: run.append(unit) or original(self, unit))
    again = ftonnx.advise("digits", data, GOAL, candidates=CODES, results=found.folder, **OPTIONS)
    assert run == []
    assert again.to_dict() | {"run": None} == found.advice.to_dict() | {"run": None}


@pytest.mark.slow
def test_what_was_done_before_an_interruption_counts(found, data, tmp_path):
    """A run that ends in the middle of a measurement goes on to the advice of one that does not."""

    def stop(what, done, total):
        if what.startswith("single flips") and done == 700:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ftonnx.advise("digits", data, GOAL, candidates=CODES, results=tmp_path, progress=stop, **OPTIONS)
    told = []
    resumed = ftonnx.advise(
        "digits", data, GOAL, candidates=CODES, results=tmp_path, progress=lambda *each: told.append(each), **OPTIONS
    )
    first = next(done for what, done, _ in told if what.startswith("single flips"))
    assert first >= 700
    assert resumed.to_dict() | {"run": None} == found.advice.to_dict() | {"run": None}


@pytest.mark.slow
def test_a_larger_budget_goes_on_from_a_smaller_one(data, tmp_path):
    """A round that was measured is not run again, whatever the larger budget finds."""
    fewer = ftonnx.advise("digits", data, GOAL, candidates=CODES, results=tmp_path, **OPTIONS | {"budget": "1200units"})
    told = []
    more = ftonnx.advise(
        "digits", data, GOAL, candidates=CODES, results=tmp_path, progress=lambda *each: told.append(each), **OPTIONS
    )
    assert more.ranking.injections > fewer.ranking.injections
    done, total = next((done, total) for what, done, total in told if what == "single flips, round 1")
    assert done == total


def test_a_free_guard_is_taken_where_it_is_enough(data):
    """The range check of Q15.16 stores nothing; without it the model misses the goal."""
    advice = ftonnx.advise("digits", data, GOAL, **OPTIONS | {"include": ["block1*", "linear*"]})
    assert [guard.by for guard in advice.guards] == ["range"]
    assert (advice.check_bits, advice.verdict, advice.needed) == (0, "PASS", "FAIL")


def test_a_model_that_meets_the_goal_gets_no_plan(data):
    """Nothing is measured then."""
    advice = ftonnx.advise("digits", data, "min-accuracy 1e-8:0.9", **OPTIONS)
    assert (advice.verdict, advice.plan, advice.ranking, advice.guards) == ("PASS", None, None, ())
    assert len(advice.tried) == 1


def test_a_largest_drop_is_an_accuracy(data):
    """Below the fault-free one by as much."""
    advice = ftonnx.advise("digits", data, "max-drop 1e-8:0.1", **OPTIONS)
    assert advice.goal.kind == "min_accuracy"
    assert advice.goal.bound == pytest.approx(advice.golden - 0.1)


def test_other_models_are_tried_beside_it(data):
    """At the same rate, without check bits."""
    beside = Candidates(models=("digits",))
    advice = ftonnx.advise("digits", data, "min-accuracy 1e-8:0.9", candidates=beside, **OPTIONS)
    assert [(each.name, each.check_bits) for each in advice.tried] == [("as it is", 0), ("digits", 0)]


@pytest.mark.parametrize(
    ("goal", "options", "why"),
    [
        ("min-accuracy 1e-6:0.995", {}, "below the fault-free 98.89 % was expected, got 99.50 %"),
        ("max-sdc 1e-6:0.01", {}, "min-accuracy 1e-6:0.90 or max-drop 1e-6:0.02 was expected"),
        ("min-accuracy 0.9", {}, "min-accuracy 1e-6:0.90 or max-drop 1e-6:0.02 was expected"),
        (GOAL, {"repeats": 3}, "no `repeats` was expected"),
        (GOAL, {"protection": ProtectionPlan([Guard("*", "secded")])}, "no `protection` was expected"),
        (GOAL, {"shard": "1/2"}, "no `shard` was expected"),
    ],
)
def test_what_makes_no_sense_is_refused(data, goal, options, why):
    """One line, before anything is measured."""
    with pytest.raises(UsageError, match=why):
        ftonnx.advise("digits", data, goal, **options)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"guards": ()}, "got none"),
        ({"guards": ("secdet",)}, "got 'secdet'; did you mean secded"),
        ({"word_bits": 16}, "32 or 64 was expected, got 16"),
    ],
)
def test_candidates_that_there_are_not_are_refused(given, why):
    """One line says what there is."""
    with pytest.raises(UsageError, match=why):
        Candidates(**given)
