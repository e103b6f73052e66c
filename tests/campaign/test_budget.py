"""Budgets of time: from where they count, and what is begun in them."""

import re
import time

import pytest
from campaign_kit import digits_batches, rows

import ftonnx
from ftonnx.campaign.plan.schedule import Unit
from ftonnx.campaign.plan.stopping import Budget
from ftonnx.campaign.run import rounds
from ftonnx.campaign.store.folder import Record
from ftonnx.tasks import Counts

pytestmark = pytest.mark.usefixtures("interruptible")


def run(folder, *, rates=(1e-5,), **settings):
    """Run a small campaign of three batches."""
    data = digits_batches(24, 24)
    return ftonnx.evaluate("digits", data, rates=rates, strategy="live", threads=1, results=folder, **settings)


class _Time:
    """A clock that only moves when told."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


def _record(seconds):
    return Record(Unit(1e-5, 0, 0), Counts(n=1), 0, int(seconds * 1e9))


def test_a_budget_counts_from_where_it_began_and_begins_no_unit_that_does_not_fit(monkeypatch):
    """A first unit is granted; then one that would take as long as the others so far has to fit."""
    time = _Time()
    monkeypatch.setattr(rounds, "time", time)
    clock = rounds._Clock(budget=Budget(seconds=10), began=time.now - 8)
    assert not clock.spent(recorded=5)
    time.now += 0.5
    clock.note(_record(0.5))
    assert not clock.spent(recorded=6)
    time.now += 0.9
    clock.note(_record(0.9))
    assert clock.spent(recorded=7)
    assert not clock.has_no_room_for(units=1, at_once=2)
    assert clock.has_no_room_for(units=2, at_once=2)


def test_the_time_before_a_campaign_is_opened_counts(tmp_path):
    """As that of the command line, which reads the model and the data: one unit is granted, and then it is over."""
    late = {"budget": "60s", "began": time.monotonic() - 61}
    run(tmp_path / "r", **late)
    assert len(rows(tmp_path / "r")) == 1
    run(tmp_path / "r", **late)
    assert len(rows(tmp_path / "r")) == 2


def test_a_round_that_does_not_fit_is_not_begun(tmp_path, monkeypatch):
    """The first one is, and ends where the budget does."""
    monkeypatch.setattr(rounds._Clock, "has_no_room_for", lambda *_, **__: True)
    found = run(tmp_path / "r", budget="1h", rates=(1e-5, 1e-4))
    assert {rate.units for rate in found.rates} == {3}
    assert found.complete


class _Listening:
    """A progress that is told what is known so far."""

    def __init__(self):
        self.said = []

    def __call__(self, done, total):
        pass

    def say(self, text):
        self.said.append(text)


def test_who_waits_is_told_what_is_known_so_far(tmp_path):
    """The half-width of the interval, and what was asked for; of a gate, the verdict or the limits of every goal."""
    data = digits_batches(24, 24)
    settings = {"strategy": "live", "threads": 1}
    progress = _Listening()
    ftonnx.evaluate("digits", data, rates=[1e-5], precision=0.3, results=tmp_path / "r", progress=progress, **settings)
    assert re.fullmatch(r"1e-05: ±\d+\.\d\d %, ±30\.00 % asked", progress.said[0])
    gate = _Listening()
    ftonnx.gate("digits", data, ["max-sdc 1e-9:0.05", "max-drop 1e-9:0.5"], budget="40units", progress=gate, **settings)
    assert re.fullmatch(r"(PASS|0\.0 to \d+\.\d %), (PASS|0\.0 to \d+\.\d %)", gate.said[0])


def test_looks_at_what_is_known_are_not_paid_for_by_who_does_not_listen(tmp_path, monkeypatch):
    """Limits have to be computed."""
    monkeypatch.setattr(rounds.PrecisionRule, "so_far", property(lambda rule: pytest.fail("nobody listens")))
    assert run(tmp_path / "r", budget="6units").complete
