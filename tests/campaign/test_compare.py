"""Comparing campaigns: against plain arithmetic on the recorded counts, for real models of every kind."""

import math
from pathlib import Path

import numpy as np
import pytest
from campaign_kit import cli, rows

import ftonnx
from ftonnx.campaign import Comparison, judged_together
from ftonnx.campaign.results.comparison import ModelComparison, RateComparison
from ftonnx.errors import StoreError, UsageError
from ftonnx.inject import Accumulation, BitFlipRates, Bursts, FaultCount
from ftonnx.stats.betting import anytime_limits
from ftonnx.stats.curves import auc
from ftonnx.stats.differences import Difference, holm, sign_flip_p_value
from ftonnx.stats.patterns import independent_images, sampling_error, stratified_values

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


def golden(results):
    """Return the fractions of correct images without faults, (batches,)."""
    return np.array([row["correct1"] / row["n"] for row in rows(results, "golden")])


def test_models_with_one_fault_space_are_paired_by_their_fault_patterns(folder):
    """The interval of d = a - b from the counts; what is known of a batch is its difference without faults."""
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
        known = golden(folder / "actmax") - golden(folder / "plain")
        limits = stratified_values(d, np.full(4, 90), known=known, span=(-1, 1))
        assert (each.difference.low, each.difference.high) == pytest.approx((limits.low, limits.high))
        assert each.difference.p_sign_flip == pytest.approx(sign_flip_p_value(d.ravel()))
    assert model.rates[2].outcome == "better"


def test_with_another_seed_only_the_images_are_paired(folder, tmp_path):
    """Differences within a batch are those of independent patterns."""
    ftonnx.evaluate(folder / "actmax.onnx", "digits", **FAST, seed=9, results=tmp_path / "other")
    (model,) = ftonnx.compare([folder / "plain", tmp_path / "other"]).models
    assert (model.pairing, model.why) == ("images", "the seeds differ, 0 and 9")
    differences = fractions(tmp_path / "other", 1e-5) - fractions(folder / "plain", 1e-5)
    assert model.rates[1].difference.mean == pytest.approx(differences.mean())
    assert model.rates[1].difference.pairs == 16


def test_bursts_and_independent_flips_are_paired_by_images_only(tmp_path):
    """At one rate their patterns have nothing in common; bursts of the same sizes have all, whatever other rates."""
    chosen = {"a": BitFlipRates(1e-5), "b": Bursts(1e-5, 2), "c": Bursts((1e-6, 1e-5), 2), "d": Bursts(1e-5, 3)}
    data = ftonnx.load_dataset("digits", limit=16)
    for name, faults in chosen.items():
        ftonnx.evaluate("digits", data, faults, results=tmp_path / name, repeats=3, threads=1, strategy="live")
    why = "the flips are drawn in different ways"
    expected = {"a": ("images", why), "c": ("faults", None), "d": ("images", why)}
    for name, (pairing, reason) in expected.items():
        (found,) = ftonnx.compare([tmp_path / "b", tmp_path / name]).models
        assert (found.pairing, found.why) == (pairing, reason)


def test_rates_that_are_written_alike_are_compared(tmp_path):
    """Histories come to 9.99999e-7, as some bits are hit twice; a pattern of one rate is none of the other."""
    chosen = {
        "rates": BitFlipRates((1e-6, 1e-5)),
        "histories": Accumulation("1d", 1e-6),
        "digits": BitFlipRates(1.00001e-6),
        "beyond": BitFlipRates(1.0002e-6),
    }
    data = ftonnx.load_dataset("digits", limit=16)
    for name, faults in chosen.items():
        ftonnx.evaluate("digits", data, faults, results=tmp_path / name, repeats=3, threads=1, strategy="live")
    (level,) = ftonnx.CampaignResult.open(tmp_path / "histories").rates
    assert level.rate == pytest.approx(9.99999e-7, rel=1e-9)
    for name, why in (("histories", "the flips are drawn in different ways"), ("digits", "some rates differ behind")):
        (found,) = ftonnx.compare([tmp_path / "rates", tmp_path / name]).models
        assert [each.rate for each in found.rates] == [1e-6]
        assert found.pairing == "images"
        assert found.why.startswith(why)
        assert len(found.rates) == 1
    with pytest.raises(UsageError, match="no fault rate above 0 in common"):
        ftonnx.compare([tmp_path / "rates", tmp_path / "beyond"])


def test_int8_is_paired_by_images_only_and_says_so(folder):
    """Its fault space is another one."""
    (model,) = ftonnx.compare([folder / "plain", folder / "int8"]).models
    assert model.pairing == "images"
    assert model.why.startswith("the fault spaces differ, 1,790,784 and ")
    assert model.rates[2].outcome == "better"


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


def compared(*p_values, gain=0.1, confidence=0.95):
    """Return a comparison of one model whose differences have these p-values."""
    rates = []
    for power, p_value in enumerate(p_values):
        found = Difference(gain, 0.0, 0.2, confidence, p_value, None, 9)
        rates.append(RateComparison(rate=10.0 ** (power - 6), baseline=0.5, accuracy=0.5 + gain, difference=found))
    model = ModelComparison(
        model="m", results=Path("m"), golden=0.9, pairing="faults", why=None, rates=tuple(rates), auc=None
    )
    return Comparison(
        baseline="b",
        results=Path("b"),
        golden=0.9,
        data="d",
        question="these-images",
        confidence=confidence,
        models=(model,),
    )


def test_several_comparisons_are_judged_together():
    """Four p-values of two comparisons are one family: by hand, 4 x 0.005, 3 x 0.01, 2 x 0.03, and no less for 0.04."""
    first, second = judged_together([compared(0.01, 0.04), compared(0.03, 0.005, gain=-0.1)])
    assert [each.p_holm for each in first.models[0].rates] == pytest.approx([0.03, 0.06])
    assert [each.p_holm for each in second.models[0].rates] == pytest.approx([0.06, 0.02])
    assert [each.outcome for each in first.models[0].rates] == ["better", "no difference shown"]
    assert [each.outcome for each in second.models[0].rates] == ["no difference shown", "worse"]


def test_one_comparison_judged_together_is_as_it_was(folder):
    """What compare corrects by itself; differences without an interval stay without a verdict."""
    found = ftonnx.compare([folder / each for each in ("plain", "actmax", "int8")])
    assert judged_together([found]) == (found,)
    (unknown,) = judged_together([compared(None)])
    assert unknown == compared(None)
    assert judged_together([]) == ()


def test_comparisons_of_other_confidences_are_not_judged_together():
    """They have no common level."""
    with pytest.raises(UsageError, match=r"comparisons of one confidence were expected, got 0.95 and 0.9"):
        judged_together([compared(0.1), compared(0.1, confidence=0.9)])


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


def test_areas_are_those_of_the_mean_curves_with_the_errors_of_all_rates(folder):
    """Trapezoids over log10 of the rate; distances to the limits are added as squares."""
    (model,) = ftonnx.compare([folder / "plain", folder / "actmax"]).models
    ends = [auc(RATES, [fractions(folder / name, rate).mean() for rate in RATES]) for name in ("plain", "actmax")]
    assert [model.auc.baseline, model.auc.area] == pytest.approx(ends)
    found, weights = model.auc.difference, np.array([0.25, 0.5, 0.25])
    assert found.mean == pytest.approx(ends[1] - ends[0])
    down = [each.difference.mean - each.difference.low for each in model.rates]
    up = [each.difference.high - each.difference.mean for each in model.rates]
    assert found.low == pytest.approx(found.mean - np.linalg.norm(weights * down))
    assert found.high == pytest.approx(found.mean + np.linalg.norm(weights * up))


def test_for_new_images_both_sampling_errors_come_on_top(folder):
    """Those of 360 images for either model's accuracy, at each rate and for the area."""
    (these,) = ftonnx.compare([folder / "plain", folder / "actmax"]).models
    (new,) = ftonnx.compare([folder / "plain", folder / "actmax"], question="new-images").models
    counted = {name: np.rint(90 * golden(folder / name)).astype(int) for name in ("plain", "actmax")}
    images = {name: independent_images(right, np.full(4, 90)) for name, right in counted.items()}
    pairs = [
        (one.difference, other.difference, one.accuracy, one.baseline)
        for one, other in zip(these.rates, new.rates, strict=True)
    ]
    pairs.append((these.auc.difference, new.auc.difference, these.auc.area, these.auc.baseline))
    for one, other, mine, its in pairs:
        errors = [sampling_error(mine, images["actmax"]), sampling_error(its, images["plain"])]
        assert other.low == pytest.approx(other.mean - math.hypot(one.mean - one.low, errors[0].low, errors[1].high))
        assert other.high == pytest.approx(other.mean + math.hypot(one.high - one.mean, errors[0].high, errors[1].low))
    assert all(each.difference.p_sign_flip is None for each in new.rates)


def test_one_batch_says_nothing_of_new_images(folder, tmp_path):
    """No interval and no verdict where all images met the same patterns."""
    run = FAST | {"batch_size": 360, "rates": (1e-4,)}
    for name in ("plain", "actmax"):
        model = "digits" if name == "plain" else folder / "actmax.onnx"
        ftonnx.evaluate(model, "digits", **run, results=tmp_path / name)
    found = ftonnx.compare([tmp_path / "plain", tmp_path / "actmax"], question="new-images")
    (model,) = found.models
    assert (model.rates[0].difference.low, model.rates[0].outcome) == (None, "no difference shown")
    said = [text.split(":")[0] for text in found.warnings]
    assert said == ["digits", "digits", "actmax", "actmax"]
    assert "4 fault patterns" in found.warnings[0]
    assert "one batch of images" in found.warnings[1]


def test_other_batch_sizes_are_compared_without_pairs(folder, tmp_path):
    """The limits of both sides are combined, as squares."""
    ftonnx.evaluate(folder / "actmax.onnx", "digits", **FAST | {"batch_size": 120}, results=tmp_path / "big")
    (model,) = ftonnx.compare([folder / "plain", tmp_path / "big"]).models
    assert (model.pairing, model.why) == (
        "none",
        "90 and 120 images share a pattern; only equal numbers are compared pattern by pattern",
    )
    a, b = (ftonnx.CampaignResult.open(place).rates[2].top1 for place in (tmp_path / "big", folder / "plain"))
    found = model.rates[2].difference
    assert found.mean == pytest.approx(a.mean - b.mean)
    assert found.low == pytest.approx(found.mean - math.hypot(a.mean - a.low, b.high - b.mean))
    assert found.high == pytest.approx(min(1, found.mean + math.hypot(a.high - a.mean, b.mean - b.low)))
    assert found.p_sign_flip is None


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


def test_one_pattern_gives_differences_without_intervals(folder, tmp_path):
    """And no verdict."""
    one = FAST | {"repeats": 1, "batch_size": 360}
    ftonnx.evaluate("digits", "digits", **one, results=tmp_path / "one")
    ftonnx.evaluate(folder / "actmax.onnx", "digits", **one, results=tmp_path / "other")
    (model,) = ftonnx.compare([tmp_path / "other", tmp_path / "one"]).models
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
    ftonnx.evaluate("digits", "digits", **small | {"rates": ()}, faults=FaultCount(1), results=tmp_path / "injections")
    with pytest.raises(UsageError, match=r"at fault rates, and .* is one of injections with one flip"):
        ftonnx.compare([folder / "plain", tmp_path / "injections"])
    with pytest.raises(UsageError, match="two or more results folders were expected, got 1"):
        ftonnx.compare([folder / "plain"])
    with pytest.raises(StoreError, match="holds no campaign"):
        ftonnx.compare([folder / "plain", tmp_path / "nothing"])
    with pytest.raises(UsageError, match="use these-images or new-images"):
        ftonnx.compare([folder / "plain", folder / "int8"], question="new")


def test_a_comparison_is_short_in_a_shell_and_a_table_in_a_notebook(folder):
    """From results as well as from folders."""
    opened = [ftonnx.CampaignResult.open(folder / name) for name in ("plain", "actmax")]
    found = ftonnx.compare(opened)
    assert repr(found) == "Comparison(actmax against 'digits')"
    assert "<td>actmax</td><td>1e-05</td>" in found._repr_html_()
