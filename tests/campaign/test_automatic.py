"""Where the work of a campaign is done: parsing, threads, and the measured choice."""

import logging

import pytest
from campaign_kit import counts

import ftonnx
from ftonnx.campaign.plan.schedule import Unit
from ftonnx.campaign.plan.settings import parse_jobs
from ftonnx.campaign.run import automatic
from ftonnx.campaign.run.automatic import Automatic
from ftonnx.campaign.run.base import Executor, never
from ftonnx.campaign.run.processes import cores, threads_per_worker
from ftonnx.campaign.store.folder import Record
from ftonnx.errors import UsageError


class Place(Executor):
    """Units that take a given time; counts those that ran."""

    def __init__(self, simulation, seconds, processes):
        self.simulation, self.seconds, self.processes, self.ran = simulation, seconds, processes, 0

    @classmethod
    def takes(cls, settings):
        """No setting means it."""
        return False

    @classmethod
    def of(cls, work):
        """It is made by hand."""
        raise NotImplementedError

    @property
    def at_once(self):
        """Number of processes."""
        return self.processes

    def run(self, enough=never):
        """Run units until all are done or it is enough."""
        while self.simulation.left:
            self.simulation.left -= 1
            self.ran += 1
            if enough(Record(Unit(0.1, 0, 0), None, 0, int(self.seconds * 1e9))):
                return False
        return True


class Simulation:
    """Units that take given times here and in workers."""

    def __init__(self, units, here, together, processes=2, *, may_end_early=False):
        self.left, self.pools = units, 0
        self.places = Place(self, here, 1), Place(self, together, processes)
        others = self.start if processes > 1 else None
        self.executor = Automatic(self.places[0], others, lambda: self.left, may_end_early=may_end_early)

    def start(self):
        """Make the workers."""
        self.pools += 1
        return self.places[1]

    def measure(self):
        """Do all of it."""
        with self.executor:
            assert self.executor.run()
        assert self.left == 0
        return self

    @property
    def ran(self):
        """How many units ran where."""
        return {"here": self.places[0].ran, "together": self.places[1].ran}


def test_workers_do_the_work_where_that_is_faster():
    """A unit takes 1.2 s in each of two workers, 1 s alone: 0.6 s against 1 s."""
    simulation = Simulation(1000, here=1, together=1.2).measure()
    assert simulation.ran == {"here": 6, "together": 994}


def test_the_work_stays_here_where_workers_are_slower():
    """A unit takes 2.2 s in each of two workers, 1 s alone; the sample is not lost."""
    simulation = Simulation(1000, here=1, together=2.2).measure()
    assert simulation.ran == {"here": 1000 - 11, "together": 11}


def test_a_short_campaign_starts_no_workers():
    """Ten seconds of work are done before workers would pay for their start."""
    simulation = Simulation(15, here=1, together=0.1).measure()
    assert simulation.ran == {"here": 15, "together": 0}
    assert simulation.pools == 0
    assert Simulation(16, here=1, together=0.1).measure().pools == 0
    assert Simulation(17, here=1, together=0.1).measure().pools == 1


def test_quick_units_are_sampled_for_half_a_second():
    """Five of them would tell little."""
    assert Simulation(10**4, here=1 / 512, together=1 / 512).measure().ran["here"] == 257


def test_a_campaign_that_may_end_early_starts_workers_after_two_seconds():
    """It may be over by then."""
    simulation = Simulation(10**5, here=1 / 512, together=1 / 512, may_end_early=True).measure()
    assert simulation.ran["here"] == 1025
    assert Simulation(1025, here=1 / 64, together=1 / 128, may_end_early=True).measure().ran["here"] == 129


def test_one_possible_worker_needs_no_measurement():
    """Where all cores are taken by the threads of one session."""
    assert Simulation(100, here=1, together=0.1, processes=1).measure().ran == {"here": 100, "together": 0}


def test_a_finished_sample_is_the_end():
    """A campaign with fewer units than the sample never asks for a median."""
    assert Simulation(1, here=1, together=1).measure().ran == {"here": 1, "together": 0}
    assert Simulation(0, here=1, together=1).measure().ran == {"here": 0, "together": 0}


@pytest.mark.parametrize("pauses", [{1}, {3, 4}, {6}, {7, 20}, set(range(1, 31))])
@pytest.mark.parametrize("together", [1.2, 2.2])
def test_pauses_of_the_caller_change_nothing_about_the_choice(pauses, together):
    """In the middle of a sample, at its end, and behind it; no unit runs after a pause was asked for."""
    simulation = Simulation(1000, here=1, together=together)
    with simulation.executor:
        while not simulation.executor.run(lambda record: 1000 - simulation.left in pauses):
            assert 1000 - simulation.left in pauses
    assert simulation.ran == Simulation(1000, here=1, together=together).measure().ran
    assert simulation.pools == 1


@pytest.mark.slow
def test_the_measured_choice_changes_no_result(tmp_path, monkeypatch, caplog):
    """Some units run here, some in workers, and the counts are those of one process."""
    monkeypatch.setattr(automatic, "_WORTH_SECONDS", 0.0)
    monkeypatch.setattr(automatic, "_SAMPLE_SECONDS", 0.01)
    common = {"rates": [1e-5, 1e-4], "repeats": 30, "batch_size": 60, "strategy": "live", "threads": 1}
    with caplog.at_level(logging.INFO, "ftonnx"):
        ftonnx.evaluate("digits", "digits", **common, jobs="auto", results=tmp_path / "auto")
    assert [record for record in caplog.records if "in one process" in record.getMessage()]
    ftonnx.evaluate("digits", "digits", **common, jobs=1, results=tmp_path / "one")
    assert counts(tmp_path / "auto") == counts(tmp_path / "one")


@pytest.mark.slow
def test_the_measured_choice_changes_no_result_of_a_campaign_that_ends_early(tmp_path, monkeypatch, caplog):
    """Rounds begin here and go on in workers."""
    monkeypatch.setattr(automatic, "_WORTH_SECONDS", 0.0)
    monkeypatch.setattr(automatic, "_UNKNOWN_SECONDS", 0.01)
    monkeypatch.setattr(automatic, "_SAMPLE_SECONDS", 0.01)
    common = {"rates": [1e-5, 1e-4], "precision": 0.05, "batch_size": 60, "strategy": "live", "threads": 1}
    with caplog.at_level(logging.INFO, "ftonnx"):
        found = ftonnx.evaluate("digits", "digits", **common, jobs="auto", results=tmp_path / "auto")
    assert [record for record in caplog.records if "in one process" in record.getMessage()]
    expected = ftonnx.evaluate("digits", "digits", **common, jobs=1, results=tmp_path / "one")
    assert found.rates == expected.rates
    assert counts(tmp_path / "auto") == counts(tmp_path / "one")


def test_threads_are_the_workers_share_of_the_cores_unless_given():
    """Never fewer than one."""
    assert threads_per_worker(None, 1) == cores()
    assert threads_per_worker(None, 10 * cores()) == 1
    assert threads_per_worker(7, 10 * cores()) == 7


@pytest.mark.parametrize("jobs", [0, -1, 1.5, "many", "0", None])
def test_another_number_of_processes_is_refused(jobs):
    """With what was expected and what came."""
    with pytest.raises(UsageError, match=r"auto, or a number of processes from 1 to 1024, was expected as `jobs`; got"):
        parse_jobs(jobs)
    with pytest.raises(UsageError):
        ftonnx.evaluate("digits", "digits", rates=[0.1], jobs=jobs)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["live", "rebuild"])
def test_threads_change_no_count(tmp_path, strategy):
    """Workers with fewer threads than a single process find the same."""
    found = []
    for threads, jobs in ((1, 1), (2, 1), (3, 1), (None, 1), (None, 2)):
        folder = tmp_path / f"{threads}-{jobs}"
        ftonnx.evaluate(
            "digits", "digits", rates=[1e-4], repeats=3, threads=threads, jobs=jobs, strategy=strategy, results=folder
        )
        found.append(counts(folder))
    assert all(each == found[0] for each in found)
