"""What a forecast is made of: how long units take once everything that they use is open."""

from types import SimpleNamespace

import pytest

from ftonnx.campaign.forecast import measured_seconds
from ftonnx.campaign.plan.schedule import Schedule
from ftonnx.campaign.plan.settings import Settings
from ftonnx.inject import BitFlipRates, FaultCount, load_model

OPENING = 40


class Runner:
    """Takes 20 ms for each of the first units, which open something, and then so long as is said."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.runs = 0

    def run(self, unit):
        """Return what a unit took."""
        self.runs += 1
        seconds = 0.02 if self.runs <= OPENING else self.seconds(unit)
        return SimpleNamespace(wall_ns=round(seconds * 1e9))


def scheduled(faults, repeats):
    """Return the schedule of a campaign on the embedded model."""
    return Schedule.of(load_model("digits"), faults, Settings(repeats=repeats, batch_size=8))


def test_what_the_first_units_open_is_not_taken_for_what_units_take():
    """Of thousands of injections it would be counted for all."""
    found = measured_seconds(Runner(lambda unit: 0.001), scheduled(FaultCount(1), 4000))
    assert found == pytest.approx(0.001)


def test_units_of_unlike_length_are_averaged():
    """As single faults near the input take longer than those near the output."""
    found = measured_seconds(Runner(lambda unit: 0.001 * (unit.repeat % 3 + 1)), scheduled(FaultCount(1), 4000))
    assert found == pytest.approx(0.002, rel=0.02)


def test_every_rate_has_its_own_units():
    """Rare flips leave most units without any."""
    times = {1e-6: 0.001, 1e-3: 0.005}
    found = measured_seconds(Runner(lambda unit: times[unit.rate]), scheduled(BitFlipRates(times), 300))
    assert found == pytest.approx(0.003, rel=0.02)
