"""Comparing campaigns: against plain arithmetic on the recorded counts, for real models of every kind."""

import math

import numpy as np
import pytest
from campaign_kit import cli, rows
from scipy import stats

import ftonnx
from ftonnx.campaign.comparison import holm
from ftonnx.campaign.curves import auc
from ftonnx.campaign.evidence import anytime_limits
from ftonnx.errors import StoreError, UsageError

RATES = (1e-6, 1e-5, 1e-4)
FAST = {"rates": RATES, "repeats": 4, "batch_size": 90, "strategy": "live", "threads": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Campaigns of the embedded model, clipped at its largest activations, by a search, and in int8."""
    place = tmp_path_factory.mktemp("compare")
    search = ("--method", "clipact", "--limit", 60, "--rates", "1e-5,1e-4", "--iterations", 1, "--repeats", 1)
    made = {
        "actmax": cli("protect", "digits", "--data", "digits", "--method", "actmax", "-o", place / "actmax.onnx"),
        "clipact": cli("protect", "digits", "--data", "digits", *search, "-o", place / "clipact.onnx"),
        "int8": cli("quantize", "digits", "--data", "digits", "-o", place / "int8.onnx"),
    }
    assert {name: done.code for name, done in made.items()} == dict.fromkeys(made, 0)
    for name in ("plain", *made):
        model = "digits" if name == "plain" else place / f"{name}.onnx"
        options = FAST | ({"strategy": "rebuild"} if name == "int8" else {})
        ftonnx.evaluate(model, "digits", **options, results=place / name)
    return place


def fractions(results, rate):
    """Return the fractions of correct images, (batches, repeats)."""
    found = [row for row in rows(results) if row["rate"] == rate]
    found.sort(key=lambda row: (row["batch"], row["repeat"]))
    return np.array([row["correct1"] / row["n"] for row in found]).reshape(4, -1)


def test_models_with_one_fault_space_are_paired_by_their_fault_patterns(folder):
    """The stratified t interval of d = a - b where patterns share the spread, written out from the counts."""
    found = ftonnx.compare([folder / "plain", folder / "actmax"])
    (model,) = found.models
    assert (found.baseline, model.model, model.pairing, model.why) == ("digits", "actmax", "faults", None)
    assert [each.rate for each in model.rates] == list(RATES)
    for each in model.rates:
        a, b = fractions(folder / "actmax", each.rate), fractions(folder / "plain", each.rate)
        d = a - b
        assert each.accuracy == pytest.approx(a.mean())
        assert each.baseline == pytest.approx(b.mean())
        assert each.difference.mean == pytest.approx(d.mean())
        assert each.difference.error == pytest.approx(math.sqrt(d.var(axis=1, ddof=1).sum() / 16 / 4))
    each = model.rates[1]
    half = stats.t.ppf(0.975, 12) * each.difference.error
    assert each.difference.high == pytest.approx(each.difference.mean + half)
    assert each.outcome == "better"


def test_with_another_seed_only_the_images_are_paired(folder, tmp_path):
    """Differences within a batch are those of independent patterns."""
    ftonnx.evaluate(folder / "actmax.onnx", "digits", **FAST, seed=9, results=tmp_path / "other")
    (model,) = ftonnx.compare([folder / "plain", tmp_path / "other"]).models
    assert (model.pairing, model.why) == ("images", "the seeds differ, 0 and 9")
    differences = fractions(tmp_path / "other", 1e-5) - fractions(folder / "plain", 1e-5)
    error = math.sqrt(differences.var(axis=1, ddof=1).sum() / 16 / 4)
    assert model.rates[1].difference.error == pytest.approx(error)
    assert model.rates[1].difference.pairs == 16


def test_int8_is_paired_by_images_only_and_says_so(folder):
    """Its fault space is another one."""
    (model,) = ftonnx.compare([folder / "plain", folder / "int8"]).models
    assert model.pairing == "images"
    assert model.why.startswith("the fault spaces differ, 1,790,784 and ")
    assert [each.outcome for each in model.rates[1:]] == ["better", "better"]


def test_verdicts_are_corrected_over_all_rates_and_models(folder):
    """Holm's method on all p-values together; the family-wise level is that of the confidence."""
    found = ftonnx.compare([folder / each for each in ("plain", "actmax", "clipact", "int8")], confidence=0.9)
    assert [model.pairing for model in found.models] == ["faults", "faults", "images"]
    every = [each for model in found.models for each in model.rates]
    assert [each.p_holm for each in every] == pytest.approx(holm([each.difference.p_value for each in every]))
    for each in every:
        expected = "no difference shown" if each.p_holm > 0.1 else "better" if each.difference.mean > 0 else "worse"
        assert each.outcome == expected
    assert {each.difference.confidence for each in every} == {0.9}


def test_a_model_against_itself_shows_no_difference(folder):
    """Zero at every rate, with an interval around it."""
    (model,) = ftonnx.compare([folder / "plain", folder / "plain"]).models
    for each in model.rates:
        assert each.difference.mean == 0
        assert each.difference.low < 0 < each.difference.high
        assert (each.p_holm, each.outcome) == (1.0, "no difference shown")
    assert model.auc.difference.mean == 0
    assert model.auc.outcome == "no difference shown"


def test_turning_a_comparison_round_turns_its_signs(folder):
    """Better becomes worse."""
    (there,) = ftonnx.compare([folder / "plain", folder / "actmax"]).models
    (back,) = ftonnx.compare([folder / "actmax", folder / "plain"]).models
    for one, other in zip(there.rates, back.rates, strict=True):
        assert one.difference.mean == pytest.approx(-other.difference.mean)
        assert one.difference.low == pytest.approx(-other.difference.high)
        assert one.p_holm == pytest.approx(other.p_holm)
    assert {each.outcome for each in back.rates} <= {"worse", "no difference shown"}
    assert (there.auc.outcome, back.auc.outcome) == ("better", "worse")


@pytest.mark.parametrize("target", ["test-set", "population"])
def test_areas_are_those_of_the_mean_curves_and_are_resampled_jointly(folder, target):
    """The same seed gives the same interval; it holds the difference."""
    first, again = (ftonnx.compare([folder / "plain", folder / "actmax"], target=target, seed=4) for _ in range(2))
    (model,) = first.models
    ends = [auc(RATES, [fractions(folder / name, rate).mean() for rate in RATES]) for name in ("plain", "actmax")]
    assert [model.auc.baseline, model.auc.area] == pytest.approx(ends)
    assert model.auc.difference.mean == pytest.approx(ends[1] - ends[0])
    assert model.auc.difference.low < model.auc.difference.mean < model.auc.difference.high
    assert first.to_dict() == again.to_dict()


def test_for_new_images_patterns_of_all_batches_are_one_sample(folder):
    """Paired t over 16 patterns."""
    (model,) = ftonnx.compare([folder / "plain", folder / "actmax"], target="population").models
    for each in model.rates:
        d = (fractions(folder / "actmax", each.rate) - fractions(folder / "plain", each.rate)).ravel()
        assert each.difference.error == pytest.approx(d.std(ddof=1) / 4)


def test_other_batch_sizes_are_compared_without_pairs(folder, tmp_path):
    """Welch's error; the areas' limits are combined."""
    ftonnx.evaluate(folder / "actmax.onnx", "digits", **FAST | {"batch_size": 120}, results=tmp_path / "big")
    (model,) = ftonnx.compare([folder / "plain", tmp_path / "big"]).models
    assert (model.pairing, model.why) == ("none", "batches of 90 and of 120 images")
    a = np.array([row["correct1"] / row["n"] for row in rows(tmp_path / "big") if row["rate"] == 1e-4])
    b = fractions(folder / "plain", 1e-4).ravel()
    assert model.rates[2].difference.mean == pytest.approx(a.mean() - b.mean())
    assert model.rates[2].difference.error == pytest.approx(math.sqrt(a.var(ddof=1) / a.size + b.var(ddof=1) / b.size))
    assert model.auc.outcome == "better"


def test_only_what_both_campaigns_have_run_is_compared(folder, tmp_path):
    """Common rates, and the first two of four repeats; a campaign that could end early has intervals for that."""
    run = FAST | {"rates": (1e-5, 1e-3), "repeats": 4}
    ftonnx.evaluate("digits", "digits", **run, budget="16units", results=tmp_path / "early")
    (model,) = ftonnx.compare([folder / "actmax", tmp_path / "early"]).models
    (each,) = model.rates
    a, b = (fractions(place, 1e-5)[:, :2] for place in (tmp_path / "early", folder / "actmax"))
    assert (each.rate, each.difference.pairs, each.interval) == (1e-5, 8, "anytime-valid")
    assert each.difference.mean == pytest.approx((a - b).mean())
    low, high = anytime_limits((1 + (a - b).T) / 2, np.full(4, 90), 0.025)
    assert (each.difference.low, each.difference.high) == pytest.approx((2 * low - 1, 2 * high - 1))
    assert model.auc is None


def test_one_repeat_gives_differences_without_intervals(folder, tmp_path):
    """And no verdict."""
    ftonnx.evaluate("digits", "digits", **FAST | {"repeats": 1}, results=tmp_path / "one")
    (model,) = ftonnx.compare([folder / "actmax", tmp_path / "one"]).models
    for each in model.rates:
        assert (each.difference.low, each.p_holm, each.outcome) == (None, None, "no difference shown")
    assert model.auc.difference.low is None


def test_what_cannot_be_compared_is_refused_in_one_line(folder, tmp_path):
    """Other data, no common rate, injections, one folder, no folder."""
    small = FAST | {"rates": [1e-5], "repeats": 2}
    ftonnx.evaluate("digits", ftonnx.load_dataset("digits", limit=20), **small, results=tmp_path / "few")
    with pytest.raises(UsageError, match=r"different data: digits \(360 images.*digits \(20 images"):
        ftonnx.compare([folder / "plain", tmp_path / "few"])
    ftonnx.evaluate("digits", "digits", **small | {"rates": [0.0, 3e-5]}, results=tmp_path / "rates")
    with pytest.raises(UsageError, match=r"no fault rate above 0 in common: 1e-06, 1e-05, 0\.0001 there, 3e-05 here"):
        ftonnx.compare([folder / "plain", tmp_path / "rates"])
    ftonnx.evaluate("digits", "digits", **small | {"rates": ()}, faults_per_run=1, results=tmp_path / "injections")
    with pytest.raises(UsageError, match="campaign of injections"):
        ftonnx.compare([folder / "plain", tmp_path / "injections"])
    with pytest.raises(UsageError, match="two or more results folders were expected, got 1"):
        ftonnx.compare([folder / "plain"])
    with pytest.raises(StoreError, match="holds no campaign"):
        ftonnx.compare([folder / "plain", tmp_path / "nothing"])
    with pytest.raises(UsageError, match="use test-set or population"):
        ftonnx.compare([folder / "plain", folder / "int8"], target="new")


def test_a_comparison_is_short_in_a_shell_and_a_table_in_a_notebook(folder):
    """From results as well as from folders."""
    opened = [ftonnx.CampaignResult.open(folder / name) for name in ("plain", "actmax")]
    found = ftonnx.compare(opened)
    assert repr(found) == "Comparison(actmax against 'digits')"
    assert "<td>actmax</td><td>1e-05</td>" in found._repr_html_()
