"""Who gets which of the waiting items."""

from ftonnx.campaign.plan.schedule import Unit
from ftonnx.campaign.run.shares import Shares


def units(batch, count, first=0):
    """Return units of one batch."""
    return [Unit(0.1, first + repeat, batch) for repeat in range(count)]


def shares(*workers):
    """Return shares of some workers."""
    made = Shares()
    for worker in workers:
        made.join(worker)
    return made


def test_a_batch_stays_with_the_first_who_takes_of_it():
    """Others get free ones; later units of the batch wait for the same worker."""
    found = shares("a", "b")
    found.add(units(0, 3) + units(1, 3))
    assert found.take("a", 2, batches=9) == units(0, 2)
    assert found.take("b", 2, batches=9) == units(1, 2)
    found.add(units(0, 2, first=3) + units(1, 2, first=3))
    assert found.take("a", 9, batches=9) == units(0, 3, first=2)
    assert found.take("b", 9, batches=9) == units(1, 3, first=2)
    assert len(found) == 0


def test_nobody_takes_more_than_a_share_of_the_free_batches_unless_it_has_nothing_else():
    """Four batches for two workers, of which the first is alone at first."""
    found = shares("a", "b")
    for batch in range(4):
        found.add(units(batch, 1))
    assert [unit.batch for unit in found.take("a", 9, batches=2)] == [0, 1]
    assert [unit.batch for unit in found.take("a", 9, batches=2)] == [2]
    assert [unit.batch for unit in found.take("b", 9, batches=2)] == [3]


def test_whoever_has_nothing_to_do_takes_of_one_batch_from_the_fullest_and_shares_it_from_then_on():
    """Without a batch that it holds, the first that waits; what comes next goes to the one with less to do."""
    found = shares("a", "b", "c")
    found.add(units(0, 4) + units(1, 4))
    assert found.take("a", 1, batches=9) == units(0, 1)
    assert found.take("a", 4, batches=9) == units(0, 3, first=1) + units(1, 1)
    assert found.take_from_others("b", 2) == units(1, 2, first=1)
    assert found.take_from_others("c", 2) == []
    found.add(units(1, 3, first=4))
    assert len(found.take("b", 9, batches=9)) == 2
    assert len(found.take("a", 9, batches=9)) == 2


def test_a_batch_that_is_held_is_preferred_when_work_is_taken_from_others():
    """It needs no golden run."""
    found = shares("a", "b")
    found.add(units(0, 3) + units(1, 3))
    found.take("a", 4, batches=9)
    found.add(units(0, 3, first=3))
    found.hold("b", 0)
    assert found.take_from_others("b", 9) == units(0, 3, first=3)


def test_what_waited_for_a_worker_that_is_gone_waits_for_the_others():
    """Free again, in order; a batch that another one holds goes there."""
    found = shares("a", "b")
    found.add(units(0, 3) + units(1, 3))
    found.take("a", 4, batches=9)
    found.hold("b", 1)
    found.leave("a")
    assert found.take("b", 9, batches=9) == units(1, 2, first=1)
    assert not found.has_free


def test_unwanted_items_are_handed_back():
    """Those that wait for somebody, and free ones."""
    found = shares("a")
    found.add(units(0, 3))
    found.take("a", 1, batches=1)
    found.add([*units(1, 2), 2])
    removed = found.remove(lambda item: isinstance(item, Unit) and item.repeat == 1)
    assert removed == [Unit(0.1, 1, 0), Unit(0.1, 1, 1)]
    assert len(found) == 3
    assert found.take("a", 9, batches=9) == [Unit(0.1, 2, 0), Unit(0.1, 0, 1), 2]


def test_a_dropped_batch_has_no_holder():
    """Its next units are anybody's."""
    found = shares("a", "b")
    found.add(units(0, 1))
    found.take("a", 1, batches=1)
    found.drop("a", 0)
    found.add(units(0, 1, first=1))
    assert found.has_free
    assert found.take("b", 1, batches=1) == units(0, 1, first=1)
