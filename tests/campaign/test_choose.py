"""Where the work of a campaign is done: parsing, threads, and the measured choice."""

import logging
from contextlib import contextmanager

import pytest
from campaign_kit import counts

import ftonnx
from ftonnx.campaign.plan.schedule import Unit
from ftonnx.campaign.plan.settings import parse_jobs
from ftonnx.campaign.run import choose as jobs_module
from ftonnx.campaign.run.choose import cores, threads_per_worker, work_measured
from ftonnx.campaign.store.folder import Record
from ftonnx.errors import UsageError


class Simulation:
    """Units that take given times here and in workers; counts where they ran."""

    def __init__(self, units, here, together):
        self.left, self.seconds = units, {"here": here, "together": together}
        self.ran = {"here": 0, "together": 0}
        self.warm, self.pools = True, 0

    def work(self, where, enough):
        """Run units somewhere until all are done or it is enough."""
        while self.left:
            self.left -= 1
            self.ran[where] += 1
            if enough(Record(Unit(0.1, 0, 0), None, 0, int(self.seconds[where] * 1e9))):
                return False
        return True

    def here(self, enough):
        """Run units in this process."""
        return self.work("here", enough)

    def run(self, enough=lambda record: False):
        """Run units in workers."""
        return self.work("together", enough)

    @contextmanager
    def pool(self):
        """Start workers."""
        self.pools += 1
        yield self

    def measure(self, jobs):
        """Do all of it."""
        work_measured(jobs, self.here, self.pool, lambda: self.left)
        assert self.left == 0
        return self


def test_workers_do_the_work_where_that_is_faster():
    """A unit takes 1.2 s in each of two workers, 1 s alone: 0.6 s against 1 s."""
    simulation = Simulation(1000, here=1, together=1.2).measure(2)
    assert simulation.ran == {"here": 6, "together": 994}


def test_the_work_stays_here_where_workers_are_slower():
    """A unit takes 2.2 s in each of two workers, 1 s alone; the sample is not lost."""
    simulation = Simulation(1000, here=1, together=2.2).measure(2)
    assert simulation.ran == {"here": 1000 - 11, "together": 11}


def test_a_short_campaign_starts_no_workers():
    """Ten seconds of work are done before workers would pay for their start."""
    simulation = Simulation(15, here=1, together=0.1).measure(2)
    assert simulation.ran == {"here": 15, "together": 0}
    assert simulation.pools == 0
    assert Simulation(16, here=1, together=0.1).measure(2).pools == 0
    assert Simulation(17, here=1, together=0.1).measure(2).pools == 1


def test_quick_units_are_sampled_for_half_a_second():
    """Five of them would tell little."""
    assert Simulation(10**4, here=1 / 512, together=1 / 512).measure(2).ran["here"] == 257


def test_one_possible_worker_needs_no_measurement():
    """Where all cores are taken by the threads of one session."""
    assert Simulation(100, here=1, together=0.1).measure(1).ran == {"here": 100, "together": 0}


def test_a_finished_sample_is_the_end():
    """A campaign with fewer units than the sample never asks for a median."""
    assert Simulation(1, here=1, together=1).measure(2).ran == {"here": 1, "together": 0}
    assert Simulation(0, here=1, together=1).measure(2).ran == {"here": 0, "together": 0}


def test_the_measured_choice_changes_no_result(tmp_path, monkeypatch, caplog):
    """Some units run here, some in workers, and the counts are those of one process."""
    monkeypatch.setattr(jobs_module, "_WORTH_SECONDS", 0.0)
    monkeypatch.setattr(jobs_module, "_SAMPLE_SECONDS", 0.01)
    common = {"rates": [1e-5, 1e-4], "repeats": 30, "batch_size": 60, "strategy": "live", "threads": 1}
    with caplog.at_level(logging.INFO, "ftonnx"):
        ftonnx.evaluate("digits", "digits", **common, jobs="auto", results=tmp_path / "auto")
    assert [record for record in caplog.records if "in one process" in record.getMessage()]
    ftonnx.evaluate("digits", "digits", **common, jobs=1, results=tmp_path / "one")
    assert counts(tmp_path / "auto") == counts(tmp_path / "one")


def test_threads_are_the_workers_share_of_the_cores_unless_given():
    """Never fewer than one."""
    assert threads_per_worker(None, 1) == cores()
    assert threads_per_worker(None, 10 * cores()) == 1
    assert threads_per_worker(7, 10 * cores()) == 7


@pytest.mark.parametrize("jobs", [0, -1, 1.5, "many", "0", None])
def test_another_number_of_processes_is_refused(jobs):
    """With what was expected and what came."""
    with pytest.raises(UsageError, match=r"auto, or a number of processes from 1, was expected; got"):
        parse_jobs(jobs)
    with pytest.raises(UsageError):
        ftonnx.evaluate("digits", "digits", rates=[0.1], jobs=jobs)


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
