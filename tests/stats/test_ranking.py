"""Which bit or tensor does most harm: intervals over injections, and no leader where there is none."""

import numpy as np
import pytest
import scipy

from ftonnx.stats.proportions import anytime_proportion
from ftonnx.stats.ranking import Hits, critical_share, rank, sampling_of

IMAGES = 360
CAMPAIGNS = 400


def hits(injections, fraction):
    """Injections that gave this fraction of their images another class on average."""
    return Hits(injections, injections * IMAGES, round(fraction * injections * IMAGES))


def names(ranking):
    """Names of those that may be the worst."""
    return [group.name for group in ranking.worst]


@pytest.mark.parametrize(("critical", "injections"), [(0, 30), (7, 30), (30, 30), (1, 1)])
def test_the_interval_counts_injections_and_not_images(critical, injections):
    """Where a flip ruins all images or none, it is scipy's exact binomial interval for the injections."""
    found = critical_share(Hits(injections, injections * IMAGES, critical * IMAGES), "random")
    exact = scipy.stats.binomtest(critical, injections).proportion_ci(0.95, method="exact")
    assert (found.mean, found.low, found.high) == pytest.approx((critical / injections, exact.low, exact.high))


def test_the_interval_covers_the_share_of_fractions_at_least_as_often_as_it_says():
    """30 injections, each with a fraction of the images that is mostly near 0 or near 1."""
    rng = np.random.default_rng(1)
    fractions = rng.beta(0.15, 0.35, (CAMPAIGNS, 30))
    found = [critical_share(Hits(30, 30 * 10**6, round(row.sum() * 10**6)), "random") for row in fractions]
    assert np.mean([each.low <= 0.3 <= each.high for each in found]) >= 0.95


def test_an_interval_of_a_campaign_that_could_end_early_holds_all_the_time():
    """Looked at after every injection of 200, it leaves the truth out in at most 5 % of the campaigns."""
    rng = np.random.default_rng(2)
    missed = 0
    for _ in range(150):
        sums = np.cumsum(rng.random(200) < 0.1)
        limits = [anytime_proportion(float(x), n) for n, x in enumerate(sums, 1)]
        missed += any(not each.low <= 0.1 <= each.high for each in limits)
    assert missed <= 0.05 * 150
    wide, exact = critical_share(hits(50, 0.2), "anytime"), critical_share(hits(50, 0.2), "random")
    assert wide.low < exact.low < exact.high < wide.high


@pytest.mark.parametrize(("groups", "share"), [(32, 0.3), (32, 0.02), (12, 0.9)])
@pytest.mark.parametrize("sampling", ["random", "anytime"])
def test_equally_bad_bits_have_a_leader_in_at_most_five_per_cent_of_the_campaigns(groups, share, sampling):
    """Although the worst of so many was picked; a flip ruins all images or none, which scatters most."""
    rng = np.random.default_rng(3)
    injections = rng.multinomial(30 * groups, np.full(groups, 1 / groups), CAMPAIGNS).clip(1)
    ruined = rng.binomial(injections, share)
    led = 0
    for row, bad in zip(injections.tolist(), ruined.tolist(), strict=True):
        found = rank({f"{i}": hits(n, x / n) for i, (n, x) in enumerate(zip(row, bad, strict=True))}, sampling)
        led += len(found.worst) == 1 and not found.harmless
    assert led <= 0.05 * CAMPAIGNS


@pytest.mark.parametrize(("first", "second"), [(30, 30), (3, 40)])
def test_of_two_equally_bad_bits_one_leads_in_at_most_five_per_cent_of_all_campaigns(first, second):
    """All outcomes of yes-or-no injections are tried, with their binomial probabilities at many shares."""
    leads = np.array(
        [
            [len(rank({"a": hits(first, x / first), "b": hits(second, y / second)}, "random").worst) == 1
             for y in range(second + 1)]
            for x in range(first + 1)
        ]
    )  # fmt: skip
    for share in np.linspace(0.02, 0.98, 49):
        chances = (scipy.stats.binom.pmf(np.arange(n + 1), n, share) for n in (first, second))
        assert np.einsum("i,ij,j", next(chances), leads, next(chances)) <= 0.05


def test_the_worst_of_tensors_of_very_different_sizes_is_almost_never_left_out():
    """Of 40 tensors, two are equally the worst; one of them is hit rarely, the other one often."""
    rng = np.random.default_rng(4)
    sizes = np.array([3, 200] + [2, 5, 20, 100] * 9 + [50, 50])
    shares = np.array([0.4, 0.4] + [0.35] * 38)
    lost = alone = 0
    for _ in range(200):
        bad = rng.binomial(sizes, shares)
        found = names(
            rank({f"t{i}": hits(int(n), x / n) for i, (n, x) in enumerate(zip(sizes, bad, strict=True))}, "random")
        )
        lost += not {"t0", "t1"} & set(found)
        alone += len(found) == 1
    assert lost <= 0.05 * 200
    assert alone <= 0.05 * 200


def test_one_bit_that_is_much_worse_is_named():
    """Nine flips in ten do harm, against two in ten of the others, with 40 injections each."""
    rng = np.random.default_rng(5)
    shares = np.array([0.9] + [0.2] * 31)
    named = 0
    for bad in rng.binomial(40, shares, (100, 32)).tolist():
        named += names(rank({f"{i}": hits(40, x / 40) for i, x in enumerate(bad)}, "random")) == ["0"]
    assert named >= 90


def test_a_rarely_hit_tensor_is_not_the_worst_by_chance_and_not_ruled_out_either():
    """Two injections that did harm lead the order, and tell nothing."""
    found = rank({"rare": hits(2, 1.0), "large": hits(500, 0.3), "safe": hits(500, 0.0)}, "random")
    assert [group.name for group in found.groups] == ["rare", "large", "safe"]
    assert names(found) == ["rare", "large"]
    assert found.words("tensor") == "tensors rare and large cannot be told apart"


def test_the_order_of_every_bit_is_exact():
    """Where nothing is random the smallest difference counts, and only an exact tie is one."""
    found = rank({"31": Hits(3, 30, 9), "30": Hits(3, 30, 8)}, "every")
    assert (names(found), found.groups[0].share.low, found.groups[0].share.high) == (["31"], 0.3, 0.3)
    assert found.words("bit") == "bit 31 does more harm than any other"
    tied = rank({"31": Hits(3, 30, 9), "30": Hits(1, 10, 3), "0": Hits(3, 30, 1)}, "every")
    assert tied.words("bit") == "bits 30 and 31 do equal harm, and more than any other"


def test_what_is_said_fits_what_is_known():
    """Many candidates are counted, bits as ranges; without harm, or with the first bits only, there is no order."""
    many = {f"{bit}": hits(30, 0.4 if bit > 19 else 0.0) for bit in range(32)}
    assert rank(many, "random").words("bit") == (
        "the ranking of bits is not separable: 12 of the 32 that were hit may be the worst: 20 to 31"
    )
    alike = {f"{bit}": hits(30, 0.4) for bit in range(4)}
    assert rank(alike, "random").words("bit").endswith("not separable: any of the 4 that were hit may be the worst")
    assert rank({"a": hits(3, 0.4)}, "random").words("tensor") == "only tensor a was hit"
    assert "no image got another class" in rank({"a": hits(3, 0), "b": hits(3, 0)}, "random").words("tensor")
    assert "no random sample" in rank(many, "some").words("bit")
    assert rank(many, "some").groups[0].share.low is None


def test_how_injections_were_chosen_follows_from_the_campaign():
    """Every bit with every image is exact; fewer bits, or fewer images, are not."""
    space = {"bits": 8, "samples": 10}
    assert sampling_of(covers_all=False, early=False, found=[Hits(5, 50, 0)], **space) == "random"
    assert sampling_of(covers_all=False, early=True, found=[Hits(5, 50, 0)], **space) == "anytime"
    assert sampling_of(covers_all=True, early=False, found=[Hits(5, 50, 0), Hits(3, 30, 1)], **space) == "every"
    assert sampling_of(covers_all=True, early=False, found=[Hits(5, 50, 0), Hits(2, 20, 1)], **space) == "some"
    assert sampling_of(covers_all=True, early=True, found=[Hits(8, 70, 0)], **space) == "some"
