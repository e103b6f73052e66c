"""Sets of units: what Python's own sets say, in a bit per unit."""

from hypothesis import given
from hypothesis import strategies as st

from ftonnx.campaign.plan.schedule import Unit
from ftonnx.campaign.plan.unit_set import UnitSet

UNITS = st.builds(Unit, st.sampled_from([0.0, 1e-6, 3e-5]), st.integers(0, 400), st.integers(0, 6))


@given(st.lists(UNITS), st.lists(UNITS))
def test_it_holds_what_was_put_in(units, others):
    """In any order, some of them twice."""
    found = UnitSet(7, units)
    assert len(found) == len(set(units))
    for unit in units + others:
        assert (unit in found) == (unit in set(units))


def test_many_take_little_memory():
    """Two megabits for a quarter of a megabyte."""
    found = UnitSet(1000, (Unit(1e-6, repeat, 999) for repeat in range(2000)))
    assert sum(map(len, found._bits.values())) == 250_000
