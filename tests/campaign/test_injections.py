"""Campaigns of injections: what flips, on which images, what is recorded fault by fault, and what is summed up."""

import itertools
import os
import signal
from collections import Counter

import ml_dtypes
import numpy as np
import pytest
from campaign_kit import COUNTS, DIGITS, counts, digits_batches, edit, naive_outcomes, rows, session
from inject_kit import space_of
from onnx_zoo import small_cnn

import ftonnx
from ftonnx.campaign import CampaignResult, Schedule, Settings
from ftonnx.campaign.plan.schedule import MOST_INJECTIONS
from ftonnx.errors import Interrupted, StoreError, UsageError
from ftonnx.inject import BitFlipRates, EveryBit, FaultCount, FaultList, FaultSpace, PerLayer, PublishedFaults
from ftonnx.stats.proportions import clopper_pearson

pytestmark = pytest.mark.usefixtures("interruptible")

FAST = {"batch_size": 16, "strategy": "live", "threads": 1, "format": "ieee"}
BIAS = {"include": ["linear.bias"]}


def inject(folder, *, data=None, **settings):
    """Run a small campaign of injections on the embedded model."""
    return ftonnx.evaluate("digits", data or digits_batches(16, 40), **(FAST | settings), results=folder)


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """Sixty single random faults on three batches."""
    folder = tmp_path_factory.mktemp("single") / "r"
    return inject(folder, faults=FaultCount(1), repeats=60)


def test_an_injection_is_drawn_once_and_met_by_every_batch(single):
    """One row in the table of faults per injection; each of its units replays to exactly this fault."""
    faults = rows_of(single, "faults")
    assert [row["injection"] for row in faults] == list(range(60))
    assert set(counts(single.results)) == {(single.rates[0].rate, i, b) for i in range(60) for b in range(3)}
    names = [tensor.tensor for tensor in single.fault_space.tensors]
    for row in faults[::7]:
        for batch in range(3):
            (listed,) = ftonnx.replay(single.results, repeat=row["injection"], batch=batch).list()
            assert (listed.tensor, listed.index, listed.bit) == (names[row["target"]], row["element"], row["bit"])


def rows_of(result, table):
    """Rows of a result's table, sorted."""
    return rows(result.results, table)


def test_recorded_outcomes_are_those_of_the_saved_faulty_model(single, tmp_path):
    """Every tenth injection in a fresh session on every batch, counted image by image."""
    batches = digits_batches(16, 40)
    golden = [session(DIGITS, live=True).run(None, {"input": images})[0] for images, _ in batches]
    recorded = counts(single.results)
    for injection, (batch, (images, labels)) in itertools.product(range(0, 60, 10), enumerate(batches)):
        ftonnx.replay(single.results, repeat=injection, batch=batch).save_model(tmp_path / "faulty.onnx")
        outputs = session(tmp_path / "faulty.onnx", live=True).run(None, {"input": images})[0]
        row = recorded[single.rates[0].rate, injection, batch]
        assert naive_outcomes(outputs, golden[batch], labels) == {name: row[name] for name in COUNTS}
        assert row["n_faults"] == 1


def test_the_level_is_the_flips_per_bit_and_the_means_are_over_all_images(single):
    """K / N, one entry, plain means; patterns are the sample, so the interval does not count batches apart."""
    (level,) = single.rates
    bits = FaultSpace.of(DIGITS, format="ieee").bits
    assert level.rate == 1 / bits
    assert (level.units, level.faults_mean, single.injections) == (60, 1, 60)
    recorded = list(counts(single.results).values())
    assert level.top1.mean == pytest.approx(sum(row["correct1"] for row in recorded) / (60 * 40))
    per_injection = np.array(
        [[sum(r["sdc1"] for (_, i, _), r in counts(single.results).items() if i == k) for k in range(60)]]
    )
    assert level.sdc1 == ftonnx.stats.stratified_mean(per_injection, np.array([40]))
    assert single.faults == FaultCount(1)
    assert single.settings.repeats == 60


def test_vulnerability_adds_up_by_tensor_and_bit(single):
    """Against a plain loop over the two tables; sorted in the order of the fault space, then by bit."""
    names = [tensor.tensor for tensor in single.fault_space.tensors]
    expected = {}
    units = counts(single.results)
    for fault in rows_of(single, "faults"):
        entry = expected.setdefault((fault["target"], fault["bit"]), Counter())
        entry["injections"] += 1
        for batch in range(3):
            row = units[single.rates[0].rate, fault["injection"], batch]
            entry.update(images=row["n"], critical=row["sdc1"], **{name: row[name] for name in COUNTS[1:]})
    found = [each.to_dict() for each in single.vulnerability]
    assert single.to_dict()["vulnerability"] == found
    for each in found:  # fractions of the injections, not images, are the sample
        sum_of_fractions = each["critical"] / 40
        exact = clopper_pearson(sum_of_fractions, each["injections"])
        assert (each.pop("low"), each.pop("high")) == pytest.approx((exact.low, exact.high))
    assert found == [
        {"tensor": names[target], "bit": bit, **{k: entry[k] for k in list(found[0])[2:]}}
        for (target, bit), entry in sorted(expected.items())
    ]
    assert sum(each["injections"] for each in found) == 60


def test_patterns_do_not_depend_on_the_batch_size_or_the_number_of_injections(single, tmp_path):
    """The first injections of another campaign with the same seed are the same faults with the same sums."""
    other = inject(tmp_path / "r", faults=FaultCount(1), repeats=20, batch_size=40)
    assert rows_of(other, "faults") == rows_of(single, "faults")[:20]
    for injection in range(20):
        whole = counts(other.results)[other.rates[0].rate, injection, 0]
        parts = [counts(single.results)[single.rates[0].rate, injection, batch] for batch in range(3)]
        assert whole["n"] == sum(part["n"] for part in parts)
        assert whole["correct1"] == sum(part["correct1"] for part in parts)
    reseeded = inject(tmp_path / "s", faults=FaultCount(1), repeats=20, seed=1)
    assert rows_of(reseeded, "faults") != rows_of(other, "faults")


def test_several_faults_per_run_are_distinct_and_not_attributed_to_bits(tmp_path):
    """K rows per injection; vulnerability stays empty, for an outcome has no single culprit."""
    result = inject(tmp_path / "r", faults=FaultCount(7), repeats=12)
    rows = rows_of(result, "faults")
    assert Counter(row["injection"] for row in rows) == dict.fromkeys(range(12), 7)
    assert len({tuple(row.values()) for row in rows}) == 84
    assert result.vulnerability == ()
    assert result.rates[0].rate == 7 / result.fault_space.bits
    assert {row["n_faults"] for row in counts(result.results).values()} == {7}


def test_exhaustive_flips_every_bit_once_and_is_exact(tmp_path):
    """Ten biases of 32 bits: 320 injections, each bit of each element once, intervals without width."""
    result = inject(tmp_path / "r", faults=EveryBit(), **BIAS)
    assert result.injections == result.fault_space.bits == 320
    assert [(row["element"], row["bit"]) for row in rows_of(result, "faults")] == [
        (element, bit) for element in range(10) for bit in range(32)
    ]
    (level,) = result.rates
    assert level.top1.low == level.top1.mean == level.top1.high
    assert [each.injections for each in result.vulnerability] == [10] * 32
    assert all(each.images == 400 for each in result.vulnerability)


def test_chosen_bits_are_all_that_flip(tmp_path):
    """The fault space counts them only, in every mode, and the listed faults lie in them."""
    modes = {
        "exhaustive": {"faults": EveryBit()},
        "count": {"faults": FaultCount(2), "repeats": 30},
        "per_layer": {"faults": PerLayer(9)},
        "rates": {"rates": [0.2]},
    }
    for name, mode in modes.items():
        folder = tmp_path / name
        result = inject(folder, bits=[31, 23, 30], **BIAS, **mode)
        assert result.fault_space.bits == 30
        assert result.settings.bits == (23, 30, 31)
        listed = ftonnx.replay(folder, repeat=1, batch=0).list()
        assert listed
        assert {fault.bit for fault in listed} <= {23, 30, 31}
    assert {row["bit"] for row in rows_of(CampaignResult.open(tmp_path / "exhaustive"), "faults")} == {23, 30, 31}


def test_per_layer_draws_equally_often_and_weights_by_bits(tmp_path):
    """M injections per tensor; the overall estimate is the mean of the tensors' means weighted by their bits."""
    result = inject(tmp_path / "r", faults=PerLayer(6))
    targets = result.fault_space.tensors
    assert Counter(row["target"] for row in rows_of(result, "faults")) == dict.fromkeys(range(len(targets)), 6)
    recorded = counts(result.results)
    means = [
        sum(recorded[result.rates[0].rate, 6 * t + i, b]["correct1"] for i in range(6) for b in range(3)) / 240
        for t in range(len(targets))
    ]
    bits = [target.bits for target in targets]
    assert result.rates[0].top1.mean == pytest.approx(np.dot(means, bits) / sum(bits))
    assert result.rates[0].top1.low <= result.rates[0].top1.mean <= result.rates[0].top1.high
    assert [layer.tensor for layer in result.layers] == [target.tensor for target in targets]
    assert [layer.top1.mean for layer in result.layers] == pytest.approx(means)
    assert [layer.weight for layer in result.layers] == pytest.approx([b / sum(bits) for b in bits])
    assert sum(layer.injections for layer in result.layers) == 6 * len(targets)


def stop_after(units):
    """Ask for an end after this many units."""
    return lambda done, _: done == units and os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(("stop", "images", "patterns"), [(7, 16, 7), (25, 16, 20), (43, 32, 20)])
def test_an_unfinished_campaign_of_injections_sums_up_what_it_has(tmp_path, stop, images, patterns):
    """The batches that met most injections; continuing gives what one go gives."""
    mode = {"faults": FaultCount(1), "repeats": 20}
    with pytest.raises(Interrupted):
        inject(tmp_path / "r", **mode, progress=stop_after(stop))
    so_far = CampaignResult.open(tmp_path / "r")
    assert not so_far.complete
    assert so_far.rates[0].units == patterns
    used = [row for (_, i, b), row in counts(tmp_path / "r").items() if i < patterns and b < images // 16]
    assert so_far.rates[0].top1.mean == pytest.approx(sum(row["correct1"] for row in used) / (patterns * images))
    resumed, whole = inject(tmp_path / "r", **mode), inject(tmp_path / "w", **mode)
    assert resumed.complete
    assert resumed.rates == whole.rates
    assert resumed.vulnerability == whole.vulnerability
    assert rows_of(resumed, "faults") == rows_of(whole, "faults")


def test_an_unfinished_campaign_at_rates_sums_up_what_it_has(tmp_path):
    """Two of three batches are finished at both rates."""
    with pytest.raises(Interrupted):
        inject(tmp_path / "r", rates=[1e-6, 1e-5], repeats=3, progress=stop_after(14))
    so_far = CampaignResult.open(tmp_path / "r")
    assert [rate.units for rate in so_far.rates] == [6, 6]
    assert not so_far.complete


def test_an_unfinished_exhaustive_campaign_has_no_interval(tmp_path):
    """The first bits are no random sample of all."""
    with pytest.raises(Interrupted):
        inject(tmp_path / "r", faults=EveryBit(), **BIAS, progress=stop_after(9))
    result = CampaignResult.open(tmp_path / "r")
    estimate = result.rates[0].top1
    assert (estimate.low, estimate.high) == (None, None)
    assert {(each.low, each.high) for each in result.vulnerability} == {(None, None)}
    assert "no random sample" in result.ranking("bit").words("bit")


def test_a_folder_without_a_unit_has_no_result(tmp_path):
    """One line that says so."""
    with pytest.raises(Interrupted):
        inject(tmp_path / "r", faults=FaultCount(1), repeats=3, progress=stop_after(0))
    with pytest.raises(StoreError, match="no recorded unit"):
        CampaignResult.open(tmp_path / "r")


def test_faults_are_recorded_with_the_first_unit_in_any_order(tmp_path):
    """Without the first batch's units, the faults come with those of another batch."""
    whole = inject(tmp_path / "r", faults=FaultCount(2), repeats=5)
    before = rows_of(whole, "faults")
    edit(tmp_path / "r", "DELETE FROM units WHERE batch = 1", "DELETE FROM faults WHERE injection > 2")
    again = inject(tmp_path / "r", faults=FaultCount(2), repeats=5)
    assert rows_of(again, "faults") == before
    assert again.rates == whole.rates


@pytest.mark.parametrize("strategy", ["live", "rebuild"])
def test_both_strategies_run_injections(tmp_path, strategy):
    """On another model, without a fallback."""
    rng = np.random.default_rng(0)
    data = [(rng.standard_normal((6, 3, 8, 8)).astype(np.float32), rng.integers(5, size=6))]
    result = ftonnx.evaluate(
        small_cnn(), data, faults=FaultCount(3), repeats=8, threads=1, strategy=strategy, results=tmp_path / "r"
    )
    assert result.engine.strategy == strategy
    assert {row["n_faults"] for row in counts(tmp_path / "r").values()} == {3}


ONE = {"faults": FaultCount(1)}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({}, "exactly one of faults and rates"),
        ({"rates": (1e-5,), "faults": FaultCount(1)}, "got faults and rates"),
        ({"faults": FaultCount(1), "repeats": 0}, "repeats"),
        ({"faults": FaultCount(1), "repeat": 3}, "repeat is no setting; did you mean repeats"),
        ({"faults": FaultCount(1), "colour": 3}, "colour is no setting; there are repeats, images_per_pattern"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(tmp_path, wrong, named):
    """Every message says what was expected."""
    with pytest.raises(UsageError, match=named):
        inject(tmp_path / "r", **wrong)


@pytest.mark.parametrize(
    ("model", "count", "named"),
    [
        (FaultCount, 0, "`faults_per_run`: a whole number from 1 to .* was expected, got 0"),
        (FaultCount, -3, "got -3"),
        (PerLayer, 0, "`per_layer`: a whole number from 1 to .* was expected, got 0"),
    ],
)
def test_fault_models_that_make_no_sense_are_refused(model, count, named):
    """By the value itself, before there is a campaign."""
    with pytest.raises(UsageError, match=named):
        model(count)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"faults": FaultCount(321), **BIAS}, "321 distinct bits were asked for, but only 320 can flip"),
        ({"faults": FaultCount(1), "bits": [32]}, "bit 32 does not exist: the widest element has bits 0 to 31"),
        ({"faults": FaultCount(1), "bits": [-1]}, "`bits`: a whole number from 0 to 63 was expected, got -1"),
        ({"faults": EveryBit(), "repeats": 3}, "follows from"),
        ({"faults": PerLayer(2), "repeats": 3}, "follows from"),
    ],
)
def test_more_than_there_is_cannot_be_injected(tmp_path, wrong, named):
    """Refused before anything is written."""
    with pytest.raises(UsageError, match=named):
        inject(tmp_path / "r", **wrong)
    assert not (tmp_path / "r").exists()


def test_a_space_too_large_to_be_searched_is_refused_with_its_size():
    """The message names the number of bits and the options that reduce it."""
    large = space_of((MOST_INJECTIONS // 4 + 1, ml_dtypes.int4))
    with pytest.raises(UsageError, match="got 10,000,004: choose fewer bits with `bits` or `include`"):
        Schedule.on(large, EveryBit(), Settings())
    assert Schedule.on(space_of((5, np.int8)), EveryBit(), Settings()).repeats == 40


@pytest.mark.parametrize(
    ("wanted", "faults", "expected"),
    [
        (None, BitFlipRates(1e-5), 10),
        (None, FaultCount(1), 1000),
        (3, BitFlipRates(1e-5), 3),
        (3, FaultCount(1), 3),
    ],
)
def test_the_number_of_repeats_has_a_default_per_mode(wanted, faults, expected):
    """Ten patterns per rate and batch, a thousand injections."""
    assert Schedule.on(space_of((5, np.int8)), faults, Settings(repeats=wanted)).repeats == expected


def test_the_identity_names_the_mode(tmp_path):
    """A folder of single faults is not continued with two faults per run, with other bits, or with fewer of them."""
    inject(tmp_path / "r", **ONE, repeats=4)
    for changed in ({"faults": FaultCount(2)}, {"bits": [3]}, {"repeats": 3}):
        with pytest.raises(StoreError, match="another campaign"):
            inject(tmp_path / "r", **(ONE | {"repeats": 4} | changed))


def test_a_published_list_enters_the_identity_by_content(tmp_path):
    """The same faults from two files are one campaign; one bit more is another."""
    text = 'Injection,Layer,TensorIndex,Bit\n0,linear,"(0, 1)",30\n1,conv,"(0, 0, 1, 1)",3\n'
    (tmp_path / "a.csv").write_text(text)
    other = 'Injection,Layer,TensorIndex,Bit,masked\r\n0,linear,"(0,1)",30,5\r\n1,conv,"( 0, 0, 1, 1 )",3,5\r\n'
    (tmp_path / "b.csv").write_bytes(other.encode("utf-8-sig"))
    (tmp_path / "c.csv").write_text(text.replace(",3\n", ",4\n"))
    digests = [PublishedFaults.read(tmp_path / f"{name}.csv").sha256 for name in "abc"]
    assert digests[0] == digests[1] != digests[2]
    first = inject(tmp_path / "r", faults=FaultList.read(tmp_path / "a.csv"))
    assert first.faults.sha256 == digests[0]
    assert inject(tmp_path / "r", faults=FaultList.read(tmp_path / "b.csv")).rates == first.rates
    with pytest.raises(StoreError, match="another campaign"):
        inject(tmp_path / "r", faults=FaultList.read(tmp_path / "c.csv"))
