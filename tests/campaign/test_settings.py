"""Settings and units: what is worked on, in which order, and what a unit's fault pattern depends on."""

import itertools
import math

import numpy as np
import onnx
import pytest
from campaign_kit import DIGITS, counts, digits_batches
from inject_kit import space_of
from onnx import helper

from ftonnx.campaign import PAPER_RATES, Schedule, Settings, Unit, evaluate, replay
from ftonnx.campaign.store.folder import Store
from ftonnx.errors import UsageError
from ftonnx.inject import BitFlipRates

SPACE = space_of((5, np.int8))


def run(folder, *, model="digits", data=None, **settings):
    """Run a small campaign and return its results folder."""
    settings = {"rates": [1e-5], "repeats": 2, "batch_size": 8, "strategy": "live", "threads": 1} | settings
    evaluate(model, data or digits_batches(8, 24), results=folder, **settings)
    return folder


def faults(folder, unit, **where):
    """List a recorded unit's faults as (tensor, index, bit, before, after)."""
    rate, repeat, batch = unit
    found = replay(folder, rate=rate, repeat=repeat, batch=batch, **where).list()
    return [(f.tensor, f.index, f.bit, f.before, f.after) for f in found]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Two rates, two repeats, three batches."""
    return run(tmp_path_factory.mktemp("small") / "r", rates=[1e-5, 1e-4])


@pytest.mark.parametrize(
    "other",
    [
        {"rates": [1e-4, 3e-7, 1e-6, 1e-5]},
        {"repeats": 4},
        {"data": digits_batches(8, 40)},
        {"data": digits_batches(3, 24)},
        {"strategy": "rebuild"},
        {"threads": 2},
    ],
    ids=["other rates", "more repeats", "more images", "other cuts of the data", "rebuild", "threads"],
)
def test_a_units_pattern_and_outcome_do_not_depend_on_the_rest_of_the_campaign(small, tmp_path, other):
    """Rates in any order and number, repeats, batches and strategies: the same unit meets the same flips."""
    wider = run(tmp_path / "r", **({"rates": [1e-5, 1e-4]} | other))
    shared = counts(small).keys() & counts(wider).keys()
    assert len(shared) == 12
    for unit in shared:
        assert faults(small, unit) == faults(wider, unit)
        assert counts(small)[unit]["n_faults"] == counts(wider)[unit]["n_faults"]
        assert counts(small)[unit]["correct1"] == counts(wider)[unit]["correct1"]


@pytest.mark.parametrize("extra", ["Relu", "Clip"])
def test_a_variant_of_a_model_with_equal_fault_space_meets_the_same_flips(small, tmp_path, extra):
    """A protected twin, here with one more activation before the pooling, is compared under common random numbers."""
    twin = onnx.load(DIGITS)
    pool = next(i for i, node in enumerate(twin.graph.node) if node.op_type == "MaxPool")
    bounds = ["low", "high"] if extra == "Clip" else []
    twin.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.float32(value), name) for name, value in zip(bounds, (0, 4), strict=False)
    )
    source = twin.graph.node[pool].input[0]
    twin.graph.node[pool].input[0] = "protected"
    twin.graph.node.insert(pool, helper.make_node(extra, [source, *bounds], ["protected"], name="guard"))
    onnx.save(twin, tmp_path / "twin.onnx")
    guarded = run(tmp_path / "r", model=tmp_path / "twin.onnx", rates=[1e-5, 1e-4])
    assert all(faults(small, unit) == faults(guarded, unit) for unit in counts(small))


def test_different_units_and_seeds_have_different_patterns(small, tmp_path):
    """Rate, repeat, batch and seed all enter the pattern, and what is listed is what ran."""
    assert all(len(faults(small, unit)) == row["n_faults"] for unit, row in counts(small).items())
    patterns = [tuple(fault[:3] for fault in faults(small, unit)) for unit in counts(small)]
    assert len(set(patterns)) == len(patterns) == 12
    reseeded = run(tmp_path / "r", rates=[1e-5, 1e-4], seed=1)
    assert not set(patterns) & {tuple(fault[:3] for fault in faults(reseeded, unit)) for unit in counts(reseeded)}


def test_work_goes_batch_by_batch(tmp_path, monkeypatch):
    """All units of a batch are recorded before the next batch begins, so one batch is in memory at a time."""
    order = []

    def add(store, record, plain=Store.add):
        order.append((record.unit.batch, record.unit.rate, record.unit.repeat))
        plain(store, record)

    monkeypatch.setattr(Store, "add", add)
    run(tmp_path / "r", rates=[1e-5, 1e-4])
    assert order == list(itertools.product(range(3), (1e-5, 1e-4), range(2)))


def test_rates_are_sorted_and_doubles_are_dropped():
    """The order in which rates are named does not make another campaign."""
    assert BitFlipRates((1e-4, 1e-6, 1e-4, 0, 1)).rates == (0.0, 1e-6, 1e-4, 1.0)


def test_units_of_a_batch_are_rates_times_repeats():
    """Every rate with every repeat, once."""
    schedule = Schedule.on(SPACE, BitFlipRates((1e-6, 1e-5)), Settings(repeats=3))
    expected = [Unit(r, i, 4) for r in (1e-6, 1e-5) for i in range(3)]
    assert list(schedule.units_of_batch(4, range(6))) == expected
    assert list(schedule.units_of_batch(4, range(2, 5))) == expected[2:5]


@pytest.mark.parametrize(("samples", "expected"), [(1, 1), (127, 1), (128, 1), (129, 2), (360, 3)])
def test_the_last_batch_may_be_short(samples, expected):
    """Batches are counted rounding up."""
    assert Schedule.on(SPACE, BitFlipRates(0), Settings(batch_size=128)).batches(samples) == expected


def test_the_default_rates_are_the_papers():
    """Eight rates from 1e-8 to 3e-5, section IV-D."""
    assert PAPER_RATES == (1e-8, 3e-8, 1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"repeats": 0}, "repeats"),
        ({"batch_size": 0}, "batch_size"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**64}, "seed"),
        ({"threads": 0}, "threads"),
        ({"strategy": "fast"}, "fast"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(wrong, named):
    """The message names what is wrong with the value that came."""
    with pytest.raises(UsageError, match=named):
        Settings(**wrong)


@pytest.mark.parametrize(("rates", "named"), [((), "got none"), (-1e-9, "-1e-09"), ((0.5, 1.0000001), "1.0000001"),
                                              (math.nan, "nan"), (math.inf, "inf")])  # fmt: skip
def test_rates_out_of_range_are_refused(rates, named):
    """The message shows the value."""
    with pytest.raises(UsageError, match=named):
        BitFlipRates(rates)


@pytest.mark.parametrize("seed", [0, 1, 2**63, 2**64 - 1])
def test_every_64_bit_seed_is_accepted(seed):
    """The seed is one word of the generator's key."""
    assert Settings(seed=seed).seed == seed


NO_KIND = [1.5, "1", True, [1], {}, float("nan"), b"1", 10**30]


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("repeats", (1, 10**7)),
        ("batch_size", (1, 10**6)),
        ("seed", (0, 2**64 - 1)),
        ("threads", (1, 1024)),
        ("cache_memory", (0, 2**50)),
        ("jobs", (1, 1024)),
        ("images_per_pattern", (1, 10**6)),
    ],
)
def test_numbers_of_another_kind_or_out_of_range_are_refused_at_once_with_the_range(name, limits):
    """Whole numbers of Python's or numpy's only; what is at the limits is taken."""
    is_read = name in ("jobs", "images_per_pattern")  # from a text too, as the command line gives it
    least, most = limits
    for value in (least, most, np.int64(max(least, 1))):
        assert getattr(Settings(**{name: value}), name) == value
    for value in [*NO_KIND, least - 1, most + 1]:
        if is_read and value == "1":
            continue
        with pytest.raises(UsageError, match=rf"`{name}`.* got "):
            Settings(**{name: value})


@pytest.mark.parametrize("name", ["output", "format", "strategy", "engine", "scheduler", "question", "budget", "shard"])
def test_texts_of_another_kind_are_refused(name):
    """Where a text is expected."""
    for value in (3, 2.5, ["a"], {}, b"a"):
        with pytest.raises(UsageError, match=rf"^`{name}`: a text was expected, got "):
            Settings(**{name: value})


@pytest.mark.parametrize("name", ["roles", "include", "exclude", "providers"])
def test_lists_of_texts_hold_texts(name):
    """Neither numbers nor None."""
    for value in (3, [3], None, [None]):
        with pytest.raises(UsageError, match=rf"^`{name}`: (a text was|texts were) expected, got "):
            Settings(**{name: value})


@pytest.mark.parametrize("name", ["precision", "confidence"])
def test_real_numbers_are_numbers(name):
    """Of Python's or numpy's; what is out of range is refused as ever."""
    assert getattr(Settings(**{name: np.float32(0.25)}), name) == 0.25
    for value in ("0.1", [0.1], True, 1j, 10**400):
        with pytest.raises(UsageError, match=rf"^`{name}`: a number was expected, got "):
            Settings(**{name: value})


@pytest.mark.parametrize("bits", [3, (3,), np.array([3, 3])])
def test_bits_are_numbers_of_bits(bits):
    """One or several."""
    assert Settings(bits=bits).bits == (3,)
    for value in (1.5, "3", (64,), (-1,), (None,)):
        with pytest.raises(UsageError, match=r"^`bits`: a whole number from 0 to 63 was expected, got "):
            Settings(bits=value)


@pytest.mark.parametrize("rates", ["1e-6", None, [None], ["x"], [True], [[1e-6]]])
def test_rates_are_numbers(rates):
    """Of which each is a probability."""
    with pytest.raises(UsageError, match=r"^`rates`: a number was expected, got "):
        BitFlipRates(rates)
