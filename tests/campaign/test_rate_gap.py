"""The gap between the rate in question and the tested ones."""

import pytest

from ftonnx.campaign.results.rate_gap import rate_gap, rounded_up
from ftonnx.errors import UsageError


@pytest.mark.parametrize("rate", [3.1249999674479166e-09, 2.999991000018e-06, 1e-7, 0.5, 9.9999e-5, 1 / 3])
def test_a_rounded_rate_is_never_lower_and_counts_as_the_same(rate):
    """Four digits are enough to close a gap."""
    shown = rounded_up(rate)
    assert rate <= shown <= 1.001 * rate
    assert len(f"{shown:e}".split("e")[0].rstrip("0").replace(".", "")) <= 4
    assert rate_gap(rate, [shown]).measured
    with pytest.raises(UsageError, match="from 0 to 1"):
        rounded_up(-rate)


def test_the_last_digit_of_a_computed_rate_makes_no_gap():
    """One that is a rounding error above the tested one was tested."""
    found = rate_gap(1e-6 * (1 + 1e-12), [1e-7, 1e-6])
    assert found.measured
    assert found.note is None
    assert rate_gap(1.01e-6, [1e-7, 1e-6]) is None


def test_no_upsets_at_all_are_below_every_rate_but_0():
    """A factor makes no sense then."""
    found = rate_gap(0.0, [1e-6])
    assert found.factor is None
    assert found.note.startswith("0 is below every tested rate: this is the upper limit measured at 1e-06. It is")
    assert rate_gap(0.0, [0.0, 1e-6]).measured
