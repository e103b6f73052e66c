"""In which order batches and patterns are met: whole rounds, and batches drawn at random."""

from collections import Counter

import numpy as np

from ftonnx.campaign.plan.order import Draws, Place, WholeRounds
from ftonnx.inject.fault_models.sampling import unit_rng


def draws(images=60, each=2, repeats=10_000, seed=1, *, by_passes=False):
    """An order of its own."""
    return Draws(images, each, repeats, seed=seed, by_passes=by_passes)


def test_a_round_is_one_repeat_of_every_batch():
    """And there are as many as repeats."""
    order = WholeRounds(3, 2)
    assert order.portion(1) == [Place(0, 1), Place(1, 1), Place(2, 1)]
    assert not order.portion(2)
    assert (order.portion_of(Place(2, 1)), order.portion_of(Place(2, 2))) == (1, None)
    assert (list(order.repeats(1, 0)), list(order.repeats(2, 0))) == ([1], [])
    assert order.every_batch


def test_draws_are_the_same_whoever_asks_and_for_whatever_portion_first():
    """They follow from the seed; no portion is asked for twice to another answer."""
    forwards = draws()
    backwards = draws()
    numbers = range(6)
    found = [forwards.portion(number) for number in numbers]
    assert [backwards.portion(number) for number in reversed(numbers)][::-1] == found
    assert draws(seed=2).portion(0) != found[0]
    assert not forwards.every_batch


def test_a_batch_meets_its_patterns_one_after_the_other_and_no_place_comes_twice():
    """So the repeats of a batch have no gaps, whatever was drawn in between."""
    order = draws()
    places = [place for number in range(20) for place in order.portion(number)]
    assert len(set(places)) == len(places)
    for batch in range(30):
        own = [place.repeat for place in places if place.batch == batch]
        assert own == list(range(len(own)))
    for number in range(20):
        for place in order.portion(number):
            assert order.portion_of(place) == number
            assert place.repeat in order.repeats(number, place.batch)
    assert order.portion_of(Place(0, 9999)) is None


def test_batches_are_drawn_by_their_images():
    """The last one of a single image half as often as the others; chi-squared, 4 standard deviations."""
    order = draws(images=9)
    counted = Counter(place.batch for number in range(60) for place in order.portion(number))
    total = sum(counted.values())
    expected = np.array([2, 2, 2, 2, 1]) / 9 * total
    found = np.array([counted[batch] for batch in range(5)])
    assert total > 2000
    assert ((found - expected) ** 2 / expected).sum() < 4 + 4 * np.sqrt(8)


def test_portions_grow_by_an_eighth_or_double_where_each_is_a_pass_over_the_data():
    """Whoever looks after each of them runs so much too many at most."""
    assert [len(draws().portion(number)) for number in (0, 1, 7, 8, 12)] == [8, 8, 8, 8, 12]
    by_passes = draws(by_passes=True)
    assert [len(by_passes.portion(number)) for number in range(4)] == [32, 32, 64, 128]


def test_it_ends_where_a_batch_has_no_pattern_left():
    """All of one portion or nothing."""
    order = draws(images=4, repeats=10)
    lengths = [len(order.portion(number)) for number in range(5)]
    assert 0 in lengths
    assert max(place.repeat for number in range(5) for place in order.portion(number)) < 10


def test_the_stream_of_the_draws_is_that_of_no_pattern():
    """Patterns are keyed by the seed and the bits of a rate, which is a number."""
    drawn = np.random.Generator(np.random.Philox(key=np.array([1, 2**64 - 1], np.uint64))).integers(30, size=8)
    assert [place.batch for place in draws(each=1, images=30).portion(0)] == drawn.tolist()
    assert np.isnan(np.array([2**64 - 1], np.uint64).view(np.float64)[0])
    assert unit_rng(1, 1e-6, 0, 0).integers(30, size=8).tolist() != drawn.tolist()
