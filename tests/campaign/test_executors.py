"""What every executor must do, for every executor."""

import pytest
from executor_kit import ExecutorContract

from ftonnx.campaign.run import automatic
from ftonnx.campaign.run.executors import EXECUTORS, executor_class


class TestInProcess(ExecutorContract):
    """This process."""

    jobs = 1


class TestProcesses(ExecutorContract):
    """Two others."""

    jobs = 2


class TestAutomatic(ExecutorContract):
    """Here and elsewhere, whichever is faster."""

    jobs = "auto"

    @pytest.fixture(autouse=True)
    def both(self, monkeypatch):
        """Measure in both places however short the campaign is, on two cores."""
        monkeypatch.setattr(automatic, "_WORTH_SECONDS", 0.0)
        monkeypatch.setattr(automatic, "_SAMPLE_SECONDS", 0.0)
        monkeypatch.setattr(automatic, "_UNKNOWN_SECONDS", 0.0)
        monkeypatch.setattr(automatic, "_SAMPLE_UNITS", 1)
        monkeypatch.setattr(automatic, "cores", lambda: 2)


def test_every_registered_executor_has_signed_the_contract():
    """A new one needs its line here."""
    signed = {executor_class(contract.jobs) for contract in ExecutorContract.__subclasses__()}
    assert signed == set(EXECUTORS)
