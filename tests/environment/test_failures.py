"""Failures in time and mispredictions, against published and worked numbers."""

import math

import pytest

from ftonnx.environment.failures import coverage_for_budget, failure_rate, misprediction_rate
from ftonnx.environment.radiation import HOURS_PER_YEAR, Environment
from ftonnx.errors import UsageError

RESNET50 = 817_825_024


def test_vendors_numbers_are_reproduced():
    """TI SBOK044B: 6.4e-4 /cm2/day x 9.23e-8 cm2 = 2.46e-3 FIT = 4.6e7 years; Intel: 5000 FIT = 22.83 years."""
    device = Environment(cross_section=9.23e-8, flux=6.4e-4 / 24).device_fit(1)
    assert device == pytest.approx(2.46e-3, rel=2e-3)
    assert failure_rate(device, 1.0).mttf_hours / HOURS_PER_YEAR == pytest.approx(4.6e7, rel=0.01)
    assert failure_rate(5000, 1.0).mttf_hours == 200_000
    assert failure_rate(5000, 1.0).mttf_hours / HOURS_PER_YEAR == pytest.approx(22.83, abs=0.005)


class TestFit:
    """From a probability to failures in time."""

    @pytest.mark.parametrize(
        ("sdc", "fit", "for_10", "for_100"),
        [(0.05, 5316, 0.9981, 0.9812), (0.005, 532, 0.9812, 0.8119), (0.0005, 53, 0.8119, 0.0)],
    )
    def test_resnet50_in_new_york_is_reproduced(self, sdc, fit, for_10, for_100):
        """106,317 FIT of upsets; coverage for budgets of 10 and 100 FIT."""
        device = Environment(cross_section=1e-14, flux=13).device_fit(RESNET50)
        assert device == pytest.approx(106_317, abs=0.5)
        found = failure_rate(device, sdc, budget_fit=10)
        assert found.sdc_fit == pytest.approx(fit, abs=0.6)
        assert found.mttf_hours == pytest.approx(1e9 / found.sdc_fit)
        assert found.coverage_needed == pytest.approx(for_10, abs=6e-5)
        assert failure_rate(device, sdc, budget_fit=100).coverage_needed == pytest.approx(for_100, abs=6e-5)

    def test_the_coverage_needed_meets_the_budget_exactly(self):
        """Applied, it gives the budget."""
        needed = failure_rate(106_317, 0.05, budget_fit=10).coverage_needed
        assert failure_rate(106_317, 0.05, coverage=needed).sdc_fit == pytest.approx(10)

    def test_no_upsets_never_fail(self):
        """No division by zero."""
        found = failure_rate(0, 0.5, budget_fit=10)
        assert (found.sdc_fit, found.mttf_hours, found.coverage_needed) == (0, math.inf, 0)
        assert misprediction_rate(0, 3600).hours_between == math.inf

    def test_mispredictions_are_spaced_by_their_rate(self):
        """1e-4 of 3600 inferences per hour: one in 2.78 hours."""
        found = misprediction_rate(1e-4, 3600)
        assert (found.per_hour, found.hours_between) == pytest.approx((0.36, 1 / 0.36))

    @pytest.mark.parametrize("call", [
        lambda: failure_rate(1, 1.5), lambda: failure_rate(1, 0.5, coverage=-1), lambda: failure_rate(math.inf, 0.5),
        lambda: misprediction_rate(2, 1), lambda: misprediction_rate(0.1, -1), lambda: coverage_for_budget(1, 0),
    ])  # fmt: skip
    def test_impossible_numbers_are_refused(self, call):
        """Probabilities above 1, negative rates, no budget."""
        with pytest.raises(UsageError, match="expected"):
            call()
