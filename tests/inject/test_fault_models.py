"""The sampler against a coin per bit, and the random streams of units."""

import json
import tracemalloc
from collections import Counter
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from inject_kit import space_of, space_storing
from scipy import stats

from ftonnx.errors import UsageError
from ftonnx.inject import (
    FAULT_MODELS,
    Accumulation,
    AsymmetricRates,
    BitFlipRates,
    Bursts,
    EveryBit,
    FaultCount,
    FaultList,
    PerLayer,
    PublishedFaults,
    Strata,
    Stratum,
    StuckCount,
    StuckRates,
    ValueRates,
    asked_kinds,
    fault_model_from_dict,
    unit_rng,
)
from ftonnx.inject.fault_models import distinct_positions

TINY = space_of((2, np.int8), (3, ml_dtypes.int4), (1, np.int16))
"""16 + 12 + 16 bits."""

RESNET50 = space_of((25_557_032, np.float32))
"""The number of parameters of ResNet-50, as one tensor: 817,825,024 bits."""


def positions(space, faults):
    """Number the faults' bits through the whole space, by counting up."""
    starts = [0]
    for target in space.targets:
        starts.append(starts[-1] + target.elements * target.format.bits)
    return [
        starts[t] + e * space.targets[t].format.bits + b
        for t, e, b in zip(faults.target.tolist(), faults.element.tolist(), faults.bit.tolist(), strict=True)
    ]


def draws(rate, times, seed):
    """Draw patterns one after the other from one stream."""
    rng = np.random.default_rng(seed)
    return [positions(TINY, BitFlipRates(rate).draw(TINY, rng)) for _ in range(times)]


def coins(rate, times, seed):
    """Do the same the naive way: one coin per bit."""
    rng = np.random.default_rng(seed)
    return [[bit for bit in range(44) if rng.random() < rate] for _ in range(times)]


def chi_square(observed, expected):
    """Return the p-value, rare cells pooled."""
    common = np.asarray(expected) >= 5
    pooled = [np.append(np.asarray(a)[common], np.asarray(a)[~common].sum()) for a in (observed, expected)]
    if pooled[1][-1] < 1:
        pooled = [a[:-1] for a in pooled]
        pooled[1] = pooled[1] * pooled[0].sum() / pooled[1].sum()
    return stats.chisquare(*pooled).pvalue


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.8])
def test_counts_are_binomial(rate):
    """The number of flips per pattern follows Binomial(N, rate)."""
    observed = Counter(map(len, draws(rate, 4000, seed=11)))
    expected = 4000 * stats.binom.pmf(np.arange(45), 44, rate)
    assert chi_square([observed[n] for n in range(45)], expected) > 1e-3


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.8])
def test_every_bit_flips_equally_often(rate):
    """Hits per bit, across targets of different width."""
    hits = Counter(bit for pattern in draws(rate, 4000, seed=12) for bit in pattern)
    variance = 4000 * rate * (1 - rate)
    statistic = sum((hits[bit] - 4000 * rate) ** 2 for bit in range(44)) / variance
    assert 1e-3 < stats.chi2.sf(statistic, 44) < 1 - 1e-3


def test_pairs_of_bits_flip_independently():
    """Two bits hit together as often as the product of their rates says."""
    together = Counter()
    for pattern in draws(0.3, 6000, seed=13):
        together.update((a, b) for i, a in enumerate(pattern) for b in pattern[i + 1 :])
    expected, variance = 6000 * 0.09, 6000 * 0.09 * 0.91
    scores = [(together[a, b] - expected) / variance**0.5 for a in range(44) for b in range(a + 1, 44)]
    assert abs(np.mean(scores)) < 0.3
    assert np.max(np.abs(scores)) < 5


@pytest.mark.parametrize("rate", [0.05, 0.6])
def test_patterns_look_like_one_coin_per_bit(rate):
    """Two-sample chi-square on counts and on positions against the naive loop."""
    ours, naive = draws(rate, 3000, seed=14), coins(rate, 3000, seed=15)
    for measure in (len, lambda p: p[0] if p else -1, lambda p: p[-1] if p else -1):
        cells = Counter(map(measure, ours)), Counter(map(measure, naive))
        common = [key for key in cells[0] | cells[1] if cells[0][key] + cells[1][key] >= 20]
        table = np.array([[cell[key] for key in common] for cell in cells])
        assert stats.chi2_contingency(table).pvalue > 1e-3


@pytest.mark.parametrize("rate", [0.0, 1e-3, 0.5, 0.97, 1.0])
def test_a_pattern_holds_each_bit_once_and_in_order(rate):
    """Sorted and distinct at any rate, inside the space."""
    for seed in range(20):
        pattern = positions(TINY, BitFlipRates(rate).draw(TINY, np.random.default_rng(seed)))
        assert pattern == sorted(set(pattern))
        assert not pattern or (pattern[0] >= 0 and pattern[-1] < 44)


def test_rate_zero_flips_nothing_and_rate_one_flips_everything():
    """Both ends of the scale are exact."""
    rng = np.random.default_rng(0)
    assert len(BitFlipRates(0.0).draw(TINY, rng)) == 0
    assert positions(TINY, BitFlipRates(1.0).draw(TINY, rng)) == list(range(44))


def test_all_subsets_of_a_size_are_equally_likely():
    """The 15 pairs out of 6 positions, and by symmetry the 4-subsets (drawn by what is kept)."""
    rng = np.random.default_rng(16)
    for count in (2, 4):
        seen = Counter(tuple(distinct_positions(6, count, rng).tolist()) for _ in range(6000))
        assert len(seen) == 15
        assert stats.chisquare(list(seen.values())).pvalue > 1e-3


@pytest.mark.parametrize(
    ("rate", "mean", "sd"),
    [(1e-8, 8.18, 2.86), (1e-7, 81.8, 9.04), (1e-6, 817.8, 28.6), (1e-5, 8178.2, 90.4), (3e-5, 24534.8, 156.6)],
)
def test_resnet50_gets_the_published_number_of_flips(rate, mean, sd):
    """Mean and standard deviation of the number of flips in 817,825,024 bits."""
    assert RESNET50.bits == 817_825_024
    rng, times = np.random.default_rng(17), 300 if rate < 3e-6 else 60
    counts = [len(BitFlipRates(rate).draw(RESNET50, rng)) for _ in range(times)]
    assert abs(np.mean(counts) - mean) < 4 * sd / times**0.5
    assert 0.7 < np.std(counts) / sd < 1.35


def test_positions_reach_the_ends_of_a_space_beyond_32_bits():
    """In 10**11 bits nothing wraps: the positions are uniform over the whole range."""
    space = space_of((10**11 // 32, np.float32))
    found = np.array(positions(space, BitFlipRates(1e-7).draw(space, np.random.default_rng(18))))
    assert 9_600 < len(found) < 10_400
    assert stats.kstest(found / 1e11, "uniform").pvalue > 1e-3


def test_memory_depends_on_the_number_of_faults_not_of_bits():
    """The same ~1000 faults in 10**6 and in 10**11 bits allocate the same and little."""

    def peak(bits):
        space = space_of((bits // 32, np.float32))
        rng = np.random.default_rng(19)
        tracemalloc.start()
        BitFlipRates(1000 / bits).draw(space, rng)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(10**6)  # the first call imports and caches
    small, large = peak(10**6), peak(10**11)
    assert large < 1.2 * small
    assert large < 200_000


@pytest.mark.parametrize("rate", [-0.1, 1.0001, float("nan"), float("inf"), -1e-300])
def test_a_rate_is_a_probability(rate):
    """Anything outside [0, 1] is a usage error that shows the value."""
    with pytest.raises(UsageError, match="0 to 1 was expected"):
        BitFlipRates(rate)


KNOWN = {
    (0, 1e-5, 0, 0): [
        3195058270992096819, 5204601509066293109, 280851028516287028, 7685541319109952333,
    ],
    (7, 3e-6, 2, 11): [
        8593138191803649057, 775826168221824235, 7695800264604650230, 8881840880104475018,
    ],
}  # fmt: skip


@pytest.mark.parametrize("unit", KNOWN)
def test_a_unit_has_the_same_stream_in_every_version(unit):
    """Pinned values: a change here makes recorded campaigns impossible to replay."""
    assert unit_rng(*unit).integers(2**63, size=4).tolist() == KNOWN[unit]


def test_a_units_stream_depends_on_nothing_but_its_name():
    """Other streams, other order, numpy's global state: no influence."""
    first = unit_rng(1, 1e-6, 2, 3).random(8).tolist()
    unit_rng(1, 1e-6, 2, 4).random(1000)
    assert unit_rng(1, 1e-6, 2, 3).random(8).tolist() == first


def test_a_units_stream_changes_with_each_part_of_its_name():
    """Seed, rate (to the last bit), repeat and batch, and no two of a grid overlap."""
    rates = [1e-6, np.nextafter(1e-6, 1), 1e-5]
    names = [(s, r, k, b) for s in (0, 1, 2**64 - 1) for r in rates for k in range(4) for b in range(4)]
    streams = [tuple(unit_rng(*name).integers(2**63, size=2).tolist()) for name in names]
    assert len(set(streams)) == len(names)
    assert len({value for stream in streams for value in stream}) == 2 * len(names)


@pytest.mark.parametrize("unit", [(-1, 0.1, 0, 0), (2**64, 0.1, 0, 0), (0, 0.1, -1, 0), (0, 0.1, 0, -1)])
def test_a_unit_that_cannot_be_named_in_64_bits_is_refused(unit):
    """A usage error, not an overflow."""
    with pytest.raises(UsageError, match="whole numbers from 0"):
        unit_rng(*unit)


def test_models_with_the_same_space_meet_the_same_flips():
    """Common random numbers: names do not matter, sizes and formats do."""
    other = space_of((2, np.uint8), (3, ml_dtypes.uint4), (1, np.int16))
    ours, theirs = (BitFlipRates(0.2).draw(s, unit_rng(0, 0.2, 0, 0)) for s in (TINY, other))
    assert positions(TINY, ours) == positions(other, theirs)


@pytest.mark.parametrize("count", [1, 2, 22, 43, 44])
def test_a_fixed_number_of_bits_is_exactly_that_many_and_uniform(count):
    """Distinct, and every bit of the space equally often."""
    rng = np.random.default_rng(23)
    patterns = [positions(TINY, FaultCount(count).draw(TINY, rng)) for _ in range(2000)]
    assert {len(set(pattern)) for pattern in patterns} == {count}
    hits = Counter(bit for pattern in patterns for bit in pattern)
    if count < 44:
        spread = np.array([hits[bit] for bit in range(44)]) - 2000 * count / 44
        statistic = float((spread**2).sum() / (2000 * count / 44 * (1 - count / 44))) * 43 / 44
        assert stats.chi2.sf(statistic, 43) > 1e-3


def test_a_fixed_number_of_bits_has_bounds():
    """At least one, at most N."""
    for count in (0, -1):
        with pytest.raises(UsageError, match="`faults_per_run`: a whole number from 1 to "):
            FaultCount(count)
    with pytest.raises(UsageError, match="45 distinct bits were asked for, but only 44 can flip"):
        FaultCount(45).draw(TINY, np.random.default_rng(0))


def test_every_bit_comes_once_in_order():
    """Pattern i is bit i, whatever the random stream."""
    model = EveryBit()
    assert model.patterns(TINY) == 44
    found = [positions(TINY, model.draw(TINY, np.random.default_rng(i), i)) for i in range(44)]
    assert found == [[i] for i in range(44)]


def test_per_layer_hits_each_target_equally_often_and_all_its_bits():
    """300 patterns in each of three targets; within a target uniform."""
    model = PerLayer(300)
    assert model.patterns(TINY) == 900
    rng = np.random.default_rng(29)
    found = [positions(TINY, model.draw(TINY, rng, i)) for i in range(900)]
    for target, (start, end) in enumerate([(0, 16), (16, 28), (28, 44)]):
        hits = Counter(bit for (bit,) in found[300 * target : 300 * target + 300])
        assert set(hits) <= set(range(start, end))
        assert stats.chisquare([hits[bit] for bit in range(start, end)]).pvalue > 1e-3


STRATA = Strata((Stratum("m1.weight", (3, 0), 200), Stratum("m0.weight", (7,), 100)))


def test_strata_are_drawn_one_after_the_other_and_evenly():
    """Only their bits, in the order of the strata; within a stratum every bit of every element alike."""
    space = named_space()
    assert STRATA.patterns(space) == 300
    found = []
    for number in range(300):
        drawn = STRATA.unit_pattern(space, 3, level=STRATA.levels(space)[0], repeat=number, batch=0)
        found += positions(space, drawn)
    first = Counter(found[:200])
    # elements of m1.weight have four bits each, behind the 16 of m0.weight
    assert set(first) == {16, 19, 20, 23, 24, 27}
    assert stats.chisquare(list(first.values())).pvalue > 1e-3
    assert set(found[200:]) == {7, 15}


@pytest.mark.parametrize(
    ("strata", "why"),
    [
        ([Stratum("m9.weight", (0,), 1)], "no tensor of this name can flip"),
        ([Stratum("m1.weight", (3, 4), 1)], "has no bit 4 that can flip"),
    ],
)
def test_strata_that_are_not_there_are_refused(strata, why):
    """Before anything is drawn."""
    with pytest.raises(UsageError, match=why):
        Strata(strata).levels(named_space())


@pytest.mark.parametrize("text", ["", "conv.weight", "conv.weight:3", "conv.weight:3:x", "conv.weight:99:1", "w:1:0"])
def test_a_text_that_is_no_stratum_is_refused(text):
    """One line says which form was expected."""
    with pytest.raises(UsageError, match="expected"):
        Stratum.parse(text)


def test_a_campaign_of_no_strata_is_refused():
    """There would be nothing to run."""
    with pytest.raises(UsageError, match="got none"):
        Strata(())


def listed(*faults):
    """A published list of (module, index tuple, bit)."""
    layers = tuple(dict.fromkeys(layer for layer, _, _ in faults))
    return FaultList(
        PublishedFaults(
            injection=np.arange(len(faults)),
            layers=layers,
            layer=np.array([layers.index(layer) for layer, _, _ in faults]),
            index=np.array([[index] for _, index, _ in faults]),
            bit=np.array([bit for _, _, bit in faults], np.uint8),
        )
    )


def named_space():
    """A space as the tiny one, of stored tensors that are named as those of torch modules."""
    stored = (np.array([-3, 90], np.int8), np.array([1, -5, 0], ml_dtypes.int4), np.array([-300], np.int16))
    return space_storing(*stored)


LISTED = (("m2", 0, 15), ("m0", 1, 7), ("m1", 2, 3))


def test_a_list_is_drawn_entry_by_entry():
    """Nothing is random, the order is the list's."""
    model, space = listed(*LISTED), named_space()
    assert model.patterns(space) == 3
    found = [model.draw(space, np.random.default_rng(0), i) for i in range(3)]
    assert [(*f.target.tolist(), *f.element.tolist(), *f.bit.tolist()) for f in found] == [
        (2, 0, 15),
        (0, 1, 7),
        (1, 2, 3),
    ]


def test_a_list_read_back_knows_what_it_is_and_cannot_draw():
    """By its fingerprint; equal to the list itself."""
    model = listed(*LISTED)
    known = fault_model_from_dict(model.to_dict())
    assert (known, known.sha256, known.faults) == (model, model.sha256, None)
    with pytest.raises(UsageError, match="only the fingerprint is known"):
        known.draw(named_space(), np.random.default_rng(0))


MODELS = (
    BitFlipRates((0.25, 0.1)),
    Bursts((0.25, 0.1), "1:0.5,3:0.5"),
    Bursts(0.25, "2", "words"),
    Bursts(0.25, "2", "row", "words=4,columns=8,interleave=2"),
    Accumulation("1h,6h", 1.0),
    Accumulation(2.5, 0.5, "1:0.5,3:0.5", "block", "words=4,columns=8", "90d"),
    StuckRates((0.25, 0.1)),
    StuckRates(0.25, 1),
    AsymmetricRates((0.1, 0.25), 0.01),
    AsymmetricRates(rates_0to1=0.25),
    ValueRates((0.5, 0.25), "random"),
    ValueRates(0.5, -1),
    FaultCount(5),
    FaultCount(1),
    StuckCount(9),
    StuckCount(9, 0),
    EveryBit(),
    PerLayer(2),
    STRATA,
    listed(*LISTED),
)


def read(arguments):
    """Make a fault model of arguments: flags, each but a switch with its value behind it."""
    flags = {option.flag: option for kind in FAULT_MODELS for option in kind.options}
    given = {}
    left = iter(arguments)
    for flag in left:
        option = flags[flag]
        if option.field is None:
            given[option.name] = True
        elif option.repeated:
            given.setdefault(option.name, []).append(option.type(next(left)))
        else:
            given[option.name] = option.type(next(left))
    (kind,) = asked_kinds(given)
    fields = {option.name: option.field for option in kind.options if option.field is not None}
    return kind.from_options({fields[name]: value for name, value in given.items() if name in fields})


@pytest.mark.parametrize("model", MODELS, ids=repr)
class TestEveryFaultModel:
    """What campaigns, results and the command line rely on; a new leaf is one more entry of MODELS."""

    def test_it_is_registered_under_a_name_of_its_own(self, model):
        """Once, and with options some of which nobody else has; those that are shared have one meaning."""
        assert [kind.name for kind in FAULT_MODELS].count(model.name) == 1
        others = {option.name: option for kind in FAULT_MODELS if kind is not type(model) for option in kind.options}
        own = [option.name for option in model.options if option.name not in others]
        assert own
        assert asked_kinds(own) == [type(model)]
        shared = [option for option in model.options if option.name in others]
        assert all(replace(others[option.name], optional=option.optional) == option for option in shared)

    def test_it_draws_from_a_stream_of_its_own(self, model):
        """Models that draw in different ways share no numbers; the first five have always shared theirs."""
        others = [kind.stream for kind in FAULT_MODELS if kind is not type(model)]
        assert model.stream == 0 or model.stream not in others

    def test_it_reads_back_what_it_writes(self, model):
        """Through JSON."""
        assert fault_model_from_dict(json.loads(json.dumps(model.to_dict()))) == model

    def test_it_draws_at_each_of_its_levels_what_it_says(self, model):
        """Levels ascend in [0, 1], patterns lie in the space, and single bits are single."""
        space = named_space()
        levels = model.levels(space)
        assert list(levels) == sorted(levels)
        assert all(0 <= level <= 1 for level in levels)
        for level in levels:
            for repeat in range(model.patterns(space) or 5):
                found = model.unit_pattern(space, 0, level=level, repeat=repeat, batch=0)
                space.check(found)
                assert not model.is_single_bit or len(found) == 1

    def test_a_units_pattern_depends_on_the_batch_only_where_it_says_so(self, model):
        """And is the same whenever it is asked for."""
        space, level = named_space(), model.levels(named_space())[-1]

        def pattern(batch):
            return positions(space, model.unit_pattern(space, 7, level=level, repeat=1, batch=batch))

        assert pattern(3) == pattern(3)
        assert (len({tuple(pattern(batch)) for batch in range(8)}) > 1) == model.fresh_per_batch

    def test_its_arguments_ask_for_it(self, model):
        """Read as the command line reads them, they make the same model; the name of a list's file is not known."""
        arguments = model.arguments()
        assert arguments[0] in [option.flag for option in model.options]
        if model.name != "fault-list":
            assert read(arguments) == model


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (BitFlipRates(0.25), "Every bit counted here flips with the same probability"),
        (EveryBit(), "Every bit counted here flips once"),
        (PerLayer(2), "Every tensor is hit equally often"),
        (STRATA, "each as often as its stratum says"),
        (listed(*LISTED), "Only the bits of the published list flip"),
        (
            Bursts(1e-3, "2:1"),
            "An upset begins at every bit counted here with the same probability, and flips its neig",
        ),
        (Bursts(1e-3, 1), "An upset hits every bit counted here with the same probability; nothing else flips."),
        (Accumulation("1d", 1e-3, 2), "and flips its neighbours too."),
        (StuckRates(1e-3), "is stuck at 0 or 1 with the same probability; it changes where it stores another."),
        (StuckCount(1, 0), "is stuck at 0 with the same probability"),
        (AsymmetricRates(1e-3), "Every stored one counted here flips with the same probability; nothing else does."),
        (AsymmetricRates(0.0, 1e-3), "Every stored zero counted here flips with the same probability"),
        (AsymmetricRates(1e-3, 1e-4), "Every stored one counted here flips with one probability, every stored zero wi"),
        (ValueRates(1e-3, "zero"), "Elements of these tensors become zero, each with the same probability"),
        (ValueRates(1e-3, 0.5), "Elements of these tensors become 0.5, each with"),
    ],
    ids=repr,
)
def test_models_say_what_changes_and_how_probably(model, said):
    """Not every one of them flips every bit alike, and nothing says so that does not."""
    assert said in model.chances
    assert ("Every bit counted here flips with the same" in model.chances) == (type(model) is BitFlipRates)


@pytest.mark.parametrize(
    ("model", "expected"), [(BitFlipRates(0.25), 11), (FaultCount(5), 5), (EveryBit(), 1), (PerLayer(2), 1)]
)
def test_models_know_their_mean_number_of_faults(model, expected):
    """What a forecast shows, and what an injection's level comes from."""
    assert model.levels(TINY) == (expected / TINY.bits,)
    assert model.fresh_per_batch == isinstance(model, BitFlipRates)


def test_the_level_is_needed_where_there_are_several():
    """Else a pattern would not say at which rate."""
    model, rng = BitFlipRates((0.1, 0.5)), np.random.default_rng(0)
    with pytest.raises(UsageError, match="has 2 levels"):
        model.draw(TINY, rng)
    assert len(model.draw(TINY, rng, level=0.5)) > 0
