"""The progress of a study: what is done now, and how long what is left will take."""

import pytest
from study_kit import study

from ftonnx.campaign import Settings
from ftonnx.campaign.run.signals import StopRequest
from ftonnx.studies import run
from ftonnx.studies.campaigns import CellCampaign
from ftonnx.studies.pace import Pace
from ftonnx.studies.workshop import Workshop

TWO = {"models": {"fast": "digits", "slow": "digits"}, "matrix": {"protect": ["none", "actmax"], "quantize": ["none"]}}


class Watched:
    """A run that takes the times that it is told."""

    def __init__(self, folder, units, **tables):
        values = study(**tables)
        shop = Workshop(values, folder, StopRequest())
        self.cells = {cell.name.removesuffix("/none/digits/rates"): cell for cell in values.cells}
        campaigns = {cell: CellCampaign.of(cell, shop, Settings()) for cell in values.cells}
        self.now = 0.0
        self.told = []
        sizes = {self.cells[name]: size for name, size in units.items()}
        self.pace = Pace(campaigns, sizes, self.told.append, lambda: self.now)

    def units(self, name, done, total, *, opening, each):
        """Open a campaign, and run some of its units, each of which takes so many seconds."""
        self.pace.open(self.cells[name])
        self.now += opening
        self.pace.run(self.cells[name], 0, total)
        for number in range(1, done + 1):
            self.now += each
            self.pace.run(self.cells[name], number, total)


def test_units_count_by_what_those_of_their_model_take(tmp_path):
    """A slow model's units are worth more than a fast one's, and a variant's as much as those of its model."""
    units = {"fast/none": 10, "fast/actmax": 10, "slow/none": 10, "slow/actmax": 10}
    watched = Watched(tmp_path, units, **TWO)
    assert watched.pace._seconds_left() is None
    watched.units("fast/none", 10, 10, opening=2, each=1)
    watched.pace.end(watched.cells["fast/none"])
    # nothing is known of the slow model yet but the mean, and each of three campaigns has to be opened
    assert watched.told[-1].seconds_left == 3 * 2 + 30 * 1
    watched.units("slow/none", 4, 10, opening=4, each=100)
    found = watched.told[-1]
    assert found.seconds_left == pytest.approx(6 * 100 + 10 * 1 + 10 * 100 + 2 * 3)
    assert (found.done, found.total) == (14, 40)
    assert (found.work, found.step) == ("running", "slow/none/none/digits/rates")
    assert (found.step_done, found.step_total) == (4, 10)


def test_what_was_done_before_or_fails_takes_no_time(tmp_path):
    """Cells that are found complete, campaigns that go on after some units, cells that cannot be run."""
    units = {"fast/none": 10, "fast/actmax": 10, "slow/none": 10, "slow/actmax": 10}
    watched = Watched(tmp_path, units, **TWO)
    watched.pace.end(watched.cells["fast/none"])
    cell = watched.cells["fast/actmax"]
    watched.pace.open(cell)
    watched.pace.run(cell, 6, 10)  # recorded before
    watched.now += 3
    watched.pace.run(cell, 7, 10)
    assert watched.told[-1].seconds_left == 3 * 3 + 2 * 10 * 3
    watched.pace.fail(watched.cells["slow/none"])
    watched.pace.fail(watched.cells["slow/actmax"])
    found = watched.told[-1]
    assert found.seconds_left == 9
    assert (found.done, found.total) == (17, 20)


def test_models_that_are_made_are_named(tmp_path):
    """With what is done to them and how far that is; so is every cell."""
    told = []
    tables = {
        "matrix": {"protect": ["none", "clipact"], "quantize": ["none", "ptq"]},
        "protection": {"iterations": 1, "rates": [1e-5, 1e-4]},
    }
    run(study(**tables), tmp_path, progress=told.append)
    seen = dict.fromkeys((each.work, each.step) for each in told)
    assert list(seen) == [
        ("running", "net/none/none/digits/rates"),
        ("quantizing", "net/ptq@digits"),
        ("running", "net/none/ptq/digits/rates"),
        ("searching thresholds", "net/clipact@digits"),
        ("running", "net/clipact/none/digits/rates"),
        ("quantizing", "net/clipact+ptq@digits"),
        ("running", "net/clipact/ptq/digits/rates"),
    ]
    searching = [each for each in told if each.work == "searching thresholds"]
    assert searching[0].step_total == 0
    assert 0 < searching[-1].step_done <= searching[-1].step_total
    assert told[-1].seconds_left == 0
    assert told[-1].done == told[-1].total == 32
