"""Gates: verdicts that hold, with as few fault patterns as they need."""

import json
import math
import re

import numpy as np
import psutil
import pytest
from campaign_kit import cli, counts, outcomes, rows

import ftonnx
from ftonnx.campaign.plan.order import Draws
from ftonnx.campaign.plan.stopping import Budget
from ftonnx.environment.radiation import Environment
from ftonnx.errors import StoreError, UsageError
from ftonnx.gates.decide import GateRule
from ftonnx.gates.goals import Goal, resolve_goals

pytestmark = pytest.mark.usefixtures("temporary_folder")

FAST = {"batch_size": 120, "strategy": "live", "threads": 1}
RATE = 1e-6


GOLDEN = [outcomes(100, correct1=95)] * 3


def decided(goals, rounds, *, question="these-images", confidence=0.95, golden=GOLDEN):
    """Let a gate see rounds {rate: (rounds, batches) counts of correct images} until it needs no more."""
    rule = GateRule([Goal.of(goal) for goal in goals], question=question, confidence=confidence)
    for number in range(max(len(each) for each in rounds.values())):
        for rate in rule.open_rates:
            found = [outcomes(100, correct1=int(c), sdc1=100 - int(c)) for c in rounds[rate][number]]
            rule.add(rate, found, golden)
    return rule.verdict, rule.verdicts("in the end")


def constant(correct, rounds=200):
    """Rounds of three batches that all have so many of 100 images right."""
    return np.full((rounds, 3), correct)


@pytest.mark.parametrize(
    ("goal", "correct", "verdict"),
    [
        (f"min-accuracy {RATE}:0.9", 95, "PASS"),
        (f"min-accuracy {RATE}:0.9", 85, "FAIL"),
        (f"max-drop {RATE}:0.05", 95, "PASS"),
        (f"max-drop {RATE}:0.05", 80, "FAIL"),
        (f"max-sdc {RATE}:0.1", 95, "PASS"),
        (f"max-sdc {RATE}:0.1", 80, "FAIL"),
        (f"min-accuracy {RATE}:0.9", 90, "INCONCLUSIVE"),
        (f"max-drop {RATE}:0.05", 90, "INCONCLUSIVE"),
        (f"max-sdc {RATE}:0.1", 90, "INCONCLUSIVE"),
    ],
)
def test_goals_pass_and_fail_on_the_right_side(goal, correct, verdict):
    """A value exactly at the limit proves neither."""
    found, (each,) = decided([goal], {RATE: constant(correct)})
    assert (found, each.verdict) == (verdict, verdict)
    assert (each.rounds < 200) == (verdict != "INCONCLUSIVE")
    assert each.patterns == 3 * each.rounds
    mean = {"min_accuracy": correct / 100, "max_drop": 0.95 - correct / 100, "max_sdc": 1 - correct / 100}
    assert each.estimate.mean == pytest.approx(mean[each.goal.kind])
    limit = {"PASS": each.estimate.low, "FAIL": each.estimate.high}.get(verdict)
    if limit is not None and each.goal.kind == "min_accuracy":  # the limits say what the verdict says
        assert (limit >= 0.9 - 1e-6) == (verdict == "PASS")


def test_the_verdict_comes_when_the_wealth_reaches_one_over_alpha_and_not_a_round_later():
    """Perfect values against .9 with three equal batches: sum over stakes of purse (1 + stake / 9)^(3 rounds)."""
    golden = [outcomes(100, correct1=100)] * 3
    _, (each,) = decided([f"min-accuracy {RATE}:0.9"], {RATE: constant(100)}, golden=golden)
    stakes = ((0.02, 0.05), (0.05, 0.1), (0.15, 0.15), (0.4, 0.25), (1.0, 0.45))

    def wealth(rounds):
        return sum(purse * (1 + stake / 9) ** (3 * rounds) for stake, purse in stakes)

    assert wealth(each.rounds) >= 20 > wealth(each.rounds - 1)


def test_all_goals_must_pass_and_one_failure_ends_the_gate():
    """The rate that has passed is not run any more; after a failure, none is."""
    goals = ["min-accuracy 1e-7:0.9", "max-drop 1e-6:0.1"]
    verdict, (first, second) = decided(goals, {1e-7: constant(100), 1e-6: constant(90)})
    assert verdict == first.verdict == second.verdict == "PASS"
    assert first.rounds != second.rounds
    verdict, (first, second) = decided(goals, {1e-7: constant(95), 1e-6: constant(20)})
    assert (verdict, first.verdict, second.verdict) == ("FAIL", "INCONCLUSIVE", "FAIL")
    assert first.rounds <= second.rounds
    assert "before another goal failed" in first.message


def test_failures_are_corrected_for_the_number_of_goals_and_passes_are_not():
    """A failure needs more evidence next to nine other goals; all must pass, so no pass does."""
    others = [f"min-accuracy {RATE}:{0.1 + place / 100}" for place in range(9)]
    alone, (single,) = decided([f"min-accuracy {RATE}:0.9"], {RATE: constant(85)})
    crowded, among = decided([f"min-accuracy {RATE}:0.9", *others], {RATE: constant(85)})
    assert alone == crowded == "FAIL"
    assert among[0].rounds > single.rounds
    _, (pass_alone,) = decided([f"min-accuracy {RATE}:0.5"], {RATE: constant(85)})
    _, passes = decided([f"min-accuracy {RATE}:0.5", *others], {RATE: constant(85)})
    assert passes[0].rounds == pass_alone.rounds


def test_a_drop_larger_than_the_fault_free_accuracy_is_impossible():
    """3 % accuracy cannot lose 5 points, which one round, with its golden run, is enough to know."""
    golden = [outcomes(100, correct1=3)] * 3
    verdict, (each,) = decided([f"max-drop {RATE}:0.05"], {RATE: constant(0)}, golden=golden)
    assert (verdict, each.rounds) == ("PASS", 1)


def test_a_drop_for_new_images_is_bet_on_batch_by_batch():
    """Golden accuracy is not known for new images, but is known for every batch that was run."""
    golden = [outcomes(100, correct1=90 + place % 10) for place in range(150)]
    kept = np.array([[each.correct1 for each in golden]] * 3)
    verdict, (each,) = decided([f"max-drop {RATE}:0.05"], {RATE: kept}, question="new-images", golden=golden)
    assert (verdict, each.rounds) == ("PASS", 1)
    assert each.estimate.mean == 0
    assert each.estimate.low < 0 < each.estimate.high <= 0.05
    verdict, _ = decided([f"max-drop {RATE}:0.05"], {RATE: kept - 40}, question="new-images", golden=golden)
    assert verdict == "FAIL"


def test_too_few_batches_for_new_images_are_said_to_be_too_few(caplog):
    """Whatever is run on three batches, it cannot convince; the user is told at once what to do."""
    verdict, (each,) = decided([f"min-accuracy {RATE}:0.9"], {RATE: constant(100)}, question="new-images")
    assert verdict == "INCONCLUSIVE"
    assert "let fewer images share a pattern" in each.message
    assert "3 batches are too few" in caplog.text


def test_a_goal_above_the_fault_free_accuracy_is_tested_all_the_same():
    """And the message says so."""
    verdict, (each,) = decided([f"min-accuracy {RATE}:0.97"], {RATE: constant(94)})
    assert verdict == "FAIL"
    assert "fault-free accuracy, 95.00 %, is below it already" in each.message


def test_a_gate_without_a_finished_round_says_so():
    """There is no estimate then."""
    rule = GateRule([Goal.of(f"min-accuracy {RATE}:0.9")], question="these-images", confidence=0.95)
    (each,) = rule.verdicts("within the budget of 1 s")
    assert (each.verdict, each.estimate) == ("INCONCLUSIVE", None)
    assert each.message == "no round was finished within the budget of 1 s: allow more, or use fewer images"


def simulated(rng, rounds, batches, accuracy, rho=0.3):
    """Correct images of 100 per pattern, (rounds, batches)."""
    heap = (1 - rho) / rho
    return rng.binomial(100, rng.beta(accuracy * heap, (1 - accuracy) * heap, (rounds, batches)))


def test_false_passes_and_false_failures_stay_below_5_percent():
    """Two goals exactly at the truth, beta-binomial patterns of correlation .3, looked at after each of 60 rounds."""
    rng, passed, failed, runs = np.random.default_rng(41), 0, 0, 150
    for _ in range(runs):
        verdict, each = decided(
            ["min-accuracy 1e-7:0.95", "max-sdc 1e-6:0.1"],
            {1e-7: simulated(rng, 60, 3, 0.95), 1e-6: simulated(rng, 60, 3, 0.9)},
        )
        passed += any(goal.verdict == "PASS" for goal in each)
        failed += verdict == "FAIL"
    assert passed / runs < 0.10  # either of two goals, at 5 % each
    assert failed / runs < 0.05


@pytest.mark.parametrize(("truth", "verdict", "most"), [(0.98, "PASS", 25), (0.8, "FAIL", 25)])
def test_clear_cases_are_decided_within_few_rounds(truth, verdict, most):
    """At least 90 % where it is 98 % or 80 %: 9 of 10 simulated gates decide rightly within 75 patterns."""
    rng = np.random.default_rng(42)
    found = [decided([f"min-accuracy {RATE}:0.9"], {RATE: simulated(rng, most, 3, truth)})[0] for _ in range(60)]
    assert found.count(verdict) >= 54
    assert not {"PASS", "FAIL"} - {verdict} & set(found)


def test_a_gate_runs_whole_rounds_of_what_is_undecided_and_nothing_else(tmp_path):
    """The embedded model passes at 1e-8 and fails at 1e-4, after one round of it."""
    verdict = ftonnx.gate("digits", "digits", goals=["min-accuracy 1e-8:0.9"], **FAST, results=tmp_path / "pass")
    assert verdict.verdict == "PASS"
    assert verdict.units == len(rows(tmp_path / "pass")) == verdict.goals[0].patterns
    assert verdict.golden == pytest.approx(353 / 360)
    verdict = ftonnx.gate("digits", "digits", goals=["max-drop 1e-4:0.1"], **FAST, results=tmp_path / "fail")
    assert (verdict.verdict, verdict.units) == ("FAIL", 3)
    assert {unit[:2] for unit in counts(tmp_path / "fail")} == {(1e-4, 0)}


def test_a_larger_budget_continues_where_a_smaller_one_was_spent(tmp_path):
    """The end is the same as in one go, and the fault patterns are those of evaluate."""
    run = {"goals": ["min-accuracy 1e-8:0.9"], **FAST}
    first = ftonnx.gate("digits", "digits", **run, budget="10units", results=tmp_path / "r")
    assert (first.verdict, first.units, first.goals[0].patterns) == ("INCONCLUSIVE", 10, 9)
    assert "not decided within the budget of 10 units" in first.goals[0].message
    second = ftonnx.gate("digits", "digits", **run, budget=Budget(seconds=600), results=tmp_path / "r")
    straight = ftonnx.gate("digits", "digits", **run, results=tmp_path / "s")
    assert second.verdict == straight.verdict == "PASS"
    assert second.units == straight.units
    assert second.goals[0].estimate == straight.goals[0].estimate
    found = ftonnx.CampaignResult.open(tmp_path / "r")
    assert found.rates[0].interval == "anytime-valid"
    assert found.rates[0].units == second.units


def test_a_verdict_is_short_in_a_shell_and_a_table_in_a_notebook(tmp_path):
    """And plain values for programs."""
    verdict = ftonnx.gate("digits", "digits", goals=[Goal("max_sdc", 0.05, 1e-4)], **FAST, results=tmp_path / "r")
    assert repr(verdict) == "GateVerdict(FAIL, 'digits', SDC-1 at most 5 % at 0.0001: FAIL)"
    headline, line = str(verdict).splitlines()
    assert headline.startswith("FAIL: digits on digits, fault-free top-1 98.06 %, 3 units")
    assert line.startswith("FAIL: SDC-1 at most 5 % at 0.0001: ")
    page = verdict._repr_html_()
    assert page.startswith("<table>")
    assert "SDC-1 at most 5 % at 0.0001" in page
    plain = verdict.to_dict()
    assert plain["goals"][0]["kind"] == "max_sdc"
    assert (plain["verdict"], plain["interval"]) == ("FAIL", "anytime-valid one-sided limits")
    assert "<table>" in ftonnx.CampaignResult.open(tmp_path / "r")._repr_html_()


def test_the_environment_gives_the_rate_that_goals_leave_open(tmp_path):
    """1e-7 upsets per bit and day, read after 30 days."""
    place = Environment.of(upsets_per_bit_day=1e-7, exposure="30d")
    verdict = ftonnx.gate("digits", "digits", goals=["min-accuracy env:0.99", "max-drop 1e-4:0.01"],
                          environment=place, **FAST, results=tmp_path / "r")  # fmt: skip
    assert verdict.goals[0].goal.rate == pytest.approx(3e-6, rel=1e-4)
    assert {unit[0] for unit in counts(tmp_path / "r")} == {place.rate, 1e-4}


def test_an_environment_has_no_rate_for_activations():
    """A rate per run is no upset rate of a memory."""
    place = Environment(upsets_per_bit_day=1e-7, interval=24)
    with pytest.raises(UsageError, match="other roles than activation"):
        ftonnx.gate("digits", "digits", ["min-accuracy env:0.5"], environment=place, roles=("weight", "activation"))


def test_a_gate_file_says_everything(tmp_path):
    """Goals as tables; the environment's path starts at the file."""
    (tmp_path / "orbit.toml").write_text('upsets_per_bit_day = 1e-7\nexposure = "30d"\n')
    (tmp_path / "gate.toml").write_text(
        'format = "q15.16"\nconfidence = 0.99\nbudget = "3units"\nquestion = "new-images"\nenvironment = "orbit.toml"\n'
        "[[goals]]\nmin_accuracy = 0.9\nrate = 1e-6\n"
        "[[goals]]\nmax_sdc = 0.01\n"
        "[[goals]]\nmax_drop = 0.1\nrate = 'env'\n"
    )
    done = cli("gate", "digits", "--data", "digits", "--config", tmp_path / "gate.toml", "--json")
    found = json.loads(done.out)
    assert [(goal["kind"], goal["bound"]) for goal in found["goals"]] == [
        ("min_accuracy", 0.9), ("max_sdc", 0.01), ("max_drop", 0.1),
    ]  # fmt: skip
    assert [goal["rate"] for goal in found["goals"]] == pytest.approx([1e-6, 3e-6, 3e-6], rel=1e-4)
    assert (found["confidence"], found["budget"]["units"], found["question"]) == (0.99, 3, "new-images")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("goals = 3", "a goal such as"),
        ("[[goals]]\nmin_accuracy = 0.9\nmax_sdc = 0.1", "exactly one of"),
        ("[[goals]]\nrate = 1e-6", "got none"),
        ("[[goals]]\nmin_accuracy = '0.9'", "strictly between 0 and 1"),
        ("[[goals]]\nmin_accuracy = 0.9\nrate = true", "fault rate above 0"),
        ("[[goals]]\nmin_top5 = 0.9", "min_top5 is not known"),
        ("minimum = 0.9", "minimum is no option"),
        ("confidence = 'high'", "a number was expected"),
        ("question = 'new'", "use these-images or new-images"),
        ("= 3", "in TOML"),
    ],
)
def test_a_broken_gate_file_is_refused_with_its_name(tmp_path, text, message):
    """And what was expected in it."""
    (tmp_path / "gate.toml").write_text(text)
    done = cli("gate", "digits", "--data", "digits", "--config", tmp_path / "gate.toml")
    assert done.code == 2
    assert re.search(rf"gate\.toml: .*{message}", done.err)


@pytest.mark.parametrize(
    ("goals", "message"),
    [
        ([], "needs a goal"),
        (["accuracy 1e-6:0.9"], "not known"),
        (["min-accuracy"], "a goal such as"),
        (["min-accuracy 1e-6:high"], "RATE:LIMIT"),
        (["min-accuracy 0:0.9"], "above 0"),
        (["min-accuracy 2:0.9"], "above 0 and up to 1"),
        (["min-accuracy 1e-6:0"], "strictly between 0 and 1"),
        (["max-sdc 1e-6:1"], "strictly between 0 and 1"),
        (["max-sdc nan:0.5"], "above 0"),
        (["max-drop env:0.1"], "or an environment"),
        (["min-accuracy 0.95:1e-6"], "swapped"),
    ],
)
def test_goals_without_a_meaning_are_refused(goals, message):
    """With what was expected."""
    with pytest.raises(UsageError, match=message):
        ftonnx.gate("digits", "digits", goals=goals)


def test_an_environment_that_no_goal_uses_is_refused():
    """It would be ignored."""
    place = Environment(upsets_per_bit_day=1e-7, interval=24)
    with pytest.raises(UsageError, match="every goal has its own rate"):
        resolve_goals(["min-accuracy 1e-6:0.9"], place)


def test_a_confidence_decides_how_much_evidence_is_needed():
    """More for 99 than for 90 %."""
    rounds = [
        decided([f"min-accuracy {RATE}:0.9"], {RATE: constant(95)}, confidence=level)[1][0].rounds
        for level in (0.9, 0.95, 0.99)
    ]
    assert rounds == sorted(set(rounds))
    assert math.isclose(rounds[2] / rounds[0], math.log(100) / math.log(10), rel_tol=0.35)


def found_by(verdict):
    """What a verdict says, but for the time it took and where it lies."""
    found = verdict.to_dict()
    del found["run"]
    return found


GOALS = ("min-accuracy 1e-7:0.9", "max-drop 1e-6:0.2")
SMALL = {"batch_size": 60, "strategy": "live", "threads": 1}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A verdict of one process, and its results folder."""
    folder = tmp_path_factory.mktemp("alone") / "r"
    return ftonnx.gate("digits", "digits", GOALS, **SMALL, results=folder), folder


@pytest.mark.parametrize("kill", [False, True], ids=["undisturbed", "a worker is killed"])
def test_the_verdict_and_what_is_recorded_do_not_depend_on_the_number_of_workers(tmp_path, alone, kill):
    """The same rounds, goal by goal; what workers have run ahead is not recorded."""
    expected, folder = alone
    killed = []

    def progress(done, total):
        if kill and done in (100, 200):
            worker = psutil.Process().children()[0]
            killed.append(worker.pid)
            worker.kill()

    found = ftonnx.gate("digits", "digits", GOALS, **SMALL, jobs=2, results=tmp_path / "r", progress=progress)
    assert found.verdict == "PASS"
    assert found_by(found) == found_by(expected)
    assert counts(tmp_path / "r") == counts(folder)
    assert len(killed) == 2 * kill


@pytest.mark.slow
def test_a_gate_is_continued_with_another_number_of_workers_to_the_same_verdict(tmp_path, alone):
    """Two begin, one goes on, and two end; each time it is the unit that the budget says."""
    expected, folder = alone
    for units, jobs in ((20, 2), (41, 1), (149, 2)):
        limited = SMALL | {"budget": f"{units}units"}
        begun = ftonnx.gate("digits", "digits", GOALS, **limited, jobs=jobs, results=tmp_path / "r")
        assert (begun.verdict, begun.units) == ("INCONCLUSIVE", units)
        other = tmp_path / f"straight-{units}"
        ftonnx.gate("digits", "digits", GOALS, **limited, results=other)
        assert counts(tmp_path / "r") == counts(other)
    found = ftonnx.gate("digits", "digits", GOALS, **SMALL, jobs=2, results=tmp_path / "r")
    assert found_by(found) == found_by(expected)
    assert counts(tmp_path / "r") == counts(folder)


BATCHES = 200


def drawn(goals, draws, *, golden=None, classes=None, portion=8):
    """Let a gate see drawn batches of two images, (found, fault-free) correct ones, until it needs no more."""
    rule = GateRule(
        [Goal.of(goal) for goal in goals],
        question="these-images",
        confidence=0.95,
        classes=classes,
        drawn_of=BATCHES,
    )
    asked = 0
    for start in range(0, len(draws), portion):
        if not rule.open_rates:
            break
        part = draws[start : start + portion]
        found = [outcomes(2, correct1=int(a), sdc1=int(max(0, g - a))) for a, g in part]
        for rate in rule.open_rates:
            rule.add(rate, found, [outcomes(2, correct1=int(g)) for _, g in part])
        if rule.needs_every_golden:
            asked += 1
            rule.know([outcomes(2, correct1=int(g)) for g in golden])
    return rule, rule.verdicts("in the end"), asked


def pairs(found, fault_free, count=2000):
    """The same pair again and again."""
    return [(found, fault_free)] * count


def test_harmless_faults_pass_a_drop_after_as_many_draws_as_evidence_takes_and_not_one_portion_more():
    """About 340 at one point, whatever the accuracy; no golden run but those of the draws is asked for."""
    for fault_free in (1, 2):
        rule, (each,), asked = drawn(["max-drop 1e-6:0.01"], pairs(fault_free, fault_free))
        assert (rule.verdict, asked, each.rounds) == ("PASS", 0, each.patterns // 8)
        assert 300 < each.patterns < 400
        assert (each.estimate.mean, each.estimate.high <= 0.01 + 1e-6) == (0, True)


@pytest.mark.parametrize(
    ("goal", "found", "verdict", "most"),
    [
        ("max-drop 1e-6:0.05", 0, "FAIL", 16),
        ("max-sdc 1e-6:0.05", 0, "FAIL", 16),
        ("max-sdc 1e-6:0.05", 2, "PASS", 120),
        ("min-accuracy 1e-6:0.9", 0, "FAIL", 40),
        ("min-accuracy 1e-6:0.9", 2, "PASS", 56),
        ("max-drop 1e-6:0.5", 1, "INCONCLUSIVE", 2000),
        ("min-accuracy 1e-6:0.5", 1, "INCONCLUSIVE", 2000),
    ],
)
def test_drawn_batches_decide_on_the_right_side(goal, found, verdict, most):
    """A value exactly at the limit proves neither, whatever is known in the end."""
    rule, (each,), asked = drawn([goal], pairs(found, 2), golden=[2] * BATCHES)
    assert (rule.verdict, each.verdict) == (verdict, verdict)
    assert each.patterns <= most
    assert asked == (goal.startswith("min") and most == 2000)
    assert each.estimate.low <= each.estimate.mean <= each.estimate.high


def test_an_accuracy_is_bet_on_as_a_difference_once_all_golden_runs_are_known():
    """Half of the images are wrong by themselves, which only differences see; the estimate knows their share."""
    draws = [(g, g) for g in np.random.default_rng(5).integers(0, 3, 3000)]
    golden = [1] * BATCHES
    rule, (each,), asked = drawn(["min-accuracy 1e-6:0.48"], draws, golden=golden)
    assert (rule.verdict, asked) == ("PASS", 1)
    assert each.estimate.mean == 0.5
    assert BATCHES <= each.patterns < 450


def test_nothing_passes_before_a_hundred_images_were_met():
    """Two portions show that 40 points are not lost; 13 that the model does not guess."""
    rule, (each,), _ = drawn(["max-drop 1e-6:0.4"], pairs(2, 2), classes=10)
    assert (rule.verdict, each.patterns) == ("PASS", 56)


def test_where_the_images_met_are_near_chance_all_are_looked_at():
    """They decide: near chance nothing passes; else the gate goes on as if nothing had been."""
    draws = [(g, g) for g in [1, 0, 0, 0, 0, 0, 0, 0] * 200]
    rule, (each,), asked = drawn(["max-drop 1e-6:0.3"], draws, golden=[0] * BATCHES, classes=10)
    assert (rule.verdict, asked) == ("INCONCLUSIVE", 1)
    assert "the fault-free accuracy is near chance" in each.message
    assert "the fault-free accuracy, 0.00 %," in rule.warnings[0]
    rule, (each,), asked = drawn(["max-drop 1e-6:0.3"], draws, golden=[2] * BATCHES, classes=10)
    assert (rule.verdict, asked, rule.warnings) == ("PASS", 1, ())


def test_a_failure_of_a_model_that_guesses_says_so_although_few_images_were_met():
    """Which may be its cause."""
    rule, _, asked = drawn(["min-accuracy 1e-6:0.9"], pairs(0, 0), classes=10)
    assert (rule.verdict, asked) == ("FAIL", 0)
    assert re.search(r"accuracy of \d\d images, 0.00 %, is near chance", rule.warnings[0])


@pytest.mark.parametrize(
    ("goal", "lucky", "unlucky", "verdict", "side"),
    [
        (f"min-accuracy {RATE}:0.9", (2, 2), (0, 2), "PASS", "low"),
        (f"min-accuracy {RATE}:0.1", (0, 2), (2, 2), "FAIL", "high"),
        (f"max-drop {RATE}:0.1", (2, 2), (0, 2), "PASS", "high"),
        (f"max-drop {RATE}:0.9", (0, 2), (2, 2), "FAIL", "low"),
        (f"max-sdc {RATE}:0.1", (2, 2), (0, 2), "PASS", "high"),
        (f"max-sdc {RATE}:0.9", (0, 2), (2, 2), "FAIL", "low"),
    ],
)
def test_limits_do_not_take_back_what_decided(goal, lucky, unlucky, verdict, side):
    """Of one portion the first draws decide, and the last ones are no longer as sure."""
    draws = pairs(*lucky, 120) + pairs(*unlucky, 10)
    rule, (each,), _ = drawn([goal], draws, portion=len(draws))
    assert (rule.verdict, each.verdict) == (verdict, verdict)
    assert getattr(each.estimate, side) == each.goal.bound
    assert each.estimate.low <= each.estimate.mean <= each.estimate.high


def real_draws(rate, repeats):
    """Correct images of every batch of two digits under patterns of its own, (batches, repeats), and without."""
    settings = ftonnx.Settings(images_per_pattern=2, repeats=repeats, strategy="live", threads=1)
    result = ftonnx.evaluate("digits", ftonnx.load_dataset("digits", limit=120), rates=[rate], settings=settings)
    table = result.recorded.table(rate)
    return table.counts["correct1"], table.golden["correct1"]


def test_gates_at_the_truth_of_a_real_campaign_are_wrong_in_less_than_5_percent():
    """Its patterns are taken for all there are; batches and patterns are drawn from them as by a gate."""
    correct, golden = real_draws(1e-6, 40)
    rng = np.random.default_rng(8)
    truth = float((golden[:, np.newaxis] - correct).mean() / 2)
    assert 0.01 < truth < 0.5
    runs = 200
    found = []
    limits = 0
    for _ in range(runs):
        batches = rng.integers(len(golden), size=240)
        values = correct[batches, rng.integers(correct.shape[1], size=240)]
        draws = list(zip(values, golden[batches], strict=True))
        rule, (each,), _ = drawn([f"max-drop {RATE}:{truth}"], draws, portion=24)
        found.append(rule.verdict)
        limits += not each.estimate.low <= truth <= each.estimate.high
    assert found.count("PASS") / runs < 0.05
    assert found.count("FAIL") / runs < 0.05
    assert limits / runs < 0.10


DRAWN = {"images_per_pattern": 8, "strategy": "live", "threads": 1}
DRAWN_GOALS = ("min-accuracy 1e-7:0.8", "max-drop 1e-6:0.4")


@pytest.fixture(scope="module")
def drawn_alone(tmp_path_factory):
    """A verdict of one process by drawn batches, and its results folder."""
    folder = tmp_path_factory.mktemp("drawn") / "r"
    return ftonnx.gate("digits", "digits", DRAWN_GOALS, **DRAWN, results=folder), folder


def test_a_gate_does_the_golden_runs_of_what_it_draws_and_of_nothing_else(drawn_alone):
    """Units are the patterns that were drawn, each batch's from the first one on, and results can be read as ever."""
    verdict, folder = drawn_alone
    assert verdict.verdict == "PASS"
    units = counts(folder)
    met = {batch for _, _, batch in units}
    assert {row["batch"] for row in rows(folder, "golden")} == met
    assert 1 < len(met) < 45
    assert verdict.golden_images == sum(row["n"] for row in rows(folder, "golden"))
    assert f" of {verdict.golden_images} images, " in verdict.headline
    for rate in (1e-7, 1e-6):
        for batch in met:
            repeats = [repeat for at, repeat, of in units if (at, of) == (rate, batch)]
            assert sorted(repeats) == list(range(len(repeats)))
    found = ftonnx.CampaignResult.open(folder)
    assert [rate.rate for rate in found.rates] == [1e-7, 1e-6]
    straight = ftonnx.evaluate("digits", "digits", rates=[1e-7, 1e-6], repeats=2, **DRAWN)
    columns = straight.recorded.columns[1e-6]
    known = dict(zip(zip(columns["batch"], columns["repeat"], strict=True), columns["correct1"], strict=True))
    shared = [unit for unit in units if unit[0] == 1e-6 and unit[1] < 2]
    assert {unit: units[unit]["correct1"] for unit in shared} == {unit: known[unit[2], unit[1]] for unit in shared}


@pytest.mark.parametrize("kill", [False, True], ids=["undisturbed", "a worker is killed"])
def test_drawn_batches_do_not_depend_on_the_number_of_workers(tmp_path, drawn_alone, kill, monkeypatch):
    """The same draws, goal by goal; nothing that workers have run ahead is recorded, and they are ahead by little."""
    expected, folder = drawn_alone
    killed = []
    asked = []
    portion = Draws.portion
    monkeypatch.setattr(Draws, "portion", lambda order, number: asked.append(number) or portion(order, number))

    def progress(done, total):
        if kill and done == 20:
            worker = psutil.Process().children()[0]
            killed.append(worker.pid)
            worker.kill()

    found = ftonnx.gate("digits", "digits", DRAWN_GOALS, **DRAWN, jobs=2, results=tmp_path / "r", progress=progress)
    assert found_by(found) == found_by(expected)
    assert counts(tmp_path / "r") == counts(folder)
    assert len(killed) == kill
    assert max(asked) <= max(goal.rounds for goal in found.goals) + 2


def test_drawn_batches_are_continued_to_the_same_verdict(tmp_path, drawn_alone):
    """One begins, two go on, one ends; units are those of the budget, and the images per pattern the folder's."""
    expected, folder = drawn_alone
    for units, jobs in ((5, 1), (21, 2)):
        begun = ftonnx.gate(
            "digits", "digits", DRAWN_GOALS, **DRAWN, budget=f"{units}units", jobs=jobs, results=tmp_path / "r"
        )
        assert (begun.verdict, begun.units) == ("INCONCLUSIVE", units)
    rest = {name: value for name, value in DRAWN.items() if name != "images_per_pattern"}
    found = ftonnx.gate("digits", "digits", DRAWN_GOALS, **rest, results=tmp_path / "r")
    assert found_by(found) == found_by(expected)
    assert counts(tmp_path / "r") == counts(folder)


def test_two_images_share_a_pattern_where_a_gate_draws_and_eight_where_it_goes_by_rounds(tmp_path):
    """New images need rounds over all of them."""
    goals = ["max-drop 1e-4:0.1"]
    verdict = ftonnx.gate("digits", "digits", goals, strategy="live", threads=1, results=tmp_path / "drawn")
    assert (verdict.verdict, verdict.units) == ("FAIL", 8)
    assert ftonnx.CampaignResult.open(tmp_path / "drawn").settings.images_per_pattern == 2
    run = {"question": "new-images", "strategy": "live", "threads": 1, "budget": "3units"}
    ftonnx.gate("digits", "digits", goals, **run, results=tmp_path / "rounds")
    assert ftonnx.CampaignResult.open(tmp_path / "rounds").settings.images_per_pattern == 8


def test_data_that_are_read_in_order_only_give_the_same_kind_of_verdict(tmp_path):
    """In fewer, larger portions, as each is a pass."""

    class Passes:
        count = 0

        def __iter__(self):
            self.count += 1
            yield from ftonnx.load_dataset("digits").batches(50)

    data = Passes()
    goals = ["max-drop 1e-4:0.1"]
    verdict = ftonnx.gate("digits", data, goals, strategy="live", threads=1, results=tmp_path / "r")
    assert (verdict.verdict, verdict.units) == ("FAIL", 32)
    assert data.count <= 4


QUIET = {"images_per_pattern": 2, "strategy": "live", "threads": 1}
QUIET_GOALS = ("max-drop 1e-8:0.05", "max-sdc 1e-7:0.05")


@pytest.fixture(scope="module")
def recorded_in_full(tmp_path_factory):
    """A verdict whose results folder was named, and that folder."""
    folder = tmp_path_factory.mktemp("full") / "r"
    return ftonnx.gate("digits", "digits", QUIET_GOALS, **QUIET, results=folder), folder


def without_images_met(verdict):
    """What a verdict says, but for the fault-free accuracy of however many images were met."""
    found = found_by(verdict)
    del found["golden"], found["golden_images"]
    return found


@pytest.mark.parametrize("jobs", [1, 2])
def test_where_no_folder_is_named_patterns_without_a_flip_count_and_run_nothing(recorded_in_full, jobs):
    """The same verdict after the same draws; what is run is what has flips, and the hundred images of the start."""
    expected, folder = recorded_in_full
    found = ftonnx.gate("digits", "digits", QUIET_GOALS, **QUIET, jobs=jobs)
    assert without_images_met(found) == without_images_met(expected)
    of_all = counts(folder)
    own = counts(found.results)
    assert own.keys() == of_all.keys()
    not_run = {unit for unit, row in own.items() if row["n"] is None}
    assert {unit: row for unit, row in own.items() if unit not in not_run} == {
        unit: row for unit, row in of_all.items() if unit not in not_run
    }
    assert not_run
    assert all(own[unit]["n_faults"] == of_all[unit]["n_faults"] == 0 for unit in not_run)
    run = {unit[2] for unit in own if unit not in not_run}
    assert {row["batch"] for row in rows(found.results, "golden")} == run
    assert 100 <= found.golden_images == sum(row["n"] for row in rows(found.results, "golden"))
    assert len(run) < 0.6 * len({unit[2] for unit in own})


def test_where_an_accuracy_is_asked_for_every_pattern_is_run():
    """What a pattern without a flip gives depends on its images."""
    found = ftonnx.gate("digits", "digits", ["min-accuracy 1e-8:0.8"], **QUIET)
    assert found.verdict == "PASS"
    assert all(row["n"] for row in counts(found.results).values())


def test_a_folder_with_patterns_that_were_not_run_is_no_sample_until_they_are():
    """What was run has flips, and their mean would be too low; a campaign in the folder runs the rest."""
    found = ftonnx.gate("digits", "digits", ["max-drop 1e-7:0.05"], **QUIET)
    refused = "did not run [0-9]+ units, as they have no flip"
    with pytest.raises(StoreError, match=refused):
        ftonnx.CampaignResult.open(found.results)
    with pytest.raises(StoreError, match=refused):
        ftonnx.evaluate("digits", "digits", rates=[1e-7], results=found.results, budget="1units", **QUIET)
    rounds = max(repeat for _, repeat, _ in counts(found.results)) + 1
    whole = QUIET | {"budget": f"{180 * rounds}units"}
    ended = ftonnx.evaluate("digits", "digits", rates=[1e-7], results=found.results, **whole)
    straight = ftonnx.evaluate("digits", "digits", rates=[1e-7], **whole)
    assert counts(found.results) == counts(straight.results)
    assert ended.rates == straight.rates


def test_a_budget_of_units_counts_patterns_that_were_not_run():
    """They are the first of a portion, in the order of the batches, as what is run."""
    found = ftonnx.gate("digits", "digits", ["max-drop 1e-8:0.01"], **QUIET, budget="75units")
    assert (found.verdict, found.units) == ("INCONCLUSIVE", 75)
    assert found.goals[0].patterns == 72
    assert len(counts(found.results)) == 75
