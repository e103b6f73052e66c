"""``ftonnx inject --jobs``, as real processes: same results, no orphans, nothing left behind."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from campaign_kit import (
    BASE,
    cli,
    counts,
    finish,
    kill_at_random,
    move_away,
    one_error_line,
    process,
    uninterrupted,
    wait_for_units,
)

pytestmark = pytest.mark.usefixtures("interruptible")

RATES = ("--rate", "1e-6", "--rate", "1e-5")
COMMAND = ("inject", *BASE, "--limit", "48", *RATES, "--batch-size", "12", "--repeats", "300")
UNITS = 2 * 4 * 300


def workers_of(running):
    """Return the worker processes of a campaign in another process."""
    return psutil.Process(running.pid).children()


def wait_until(holds):
    """Wait at most 20 s for something to hold."""
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def nothing_left(folder):
    """Whether the workers' temporary files are gone."""
    return not list((folder / "tmp").glob("ftonnx-scratch-*"))


@pytest.mark.slow
def test_the_output_is_the_same_for_any_number_of_jobs(tmp_path):
    """Byte for byte, one or two processes or as many as turn out well, and no word on stderr."""
    command = ("inject", *BASE, "--limit", "48", *RATES, "--repeats", "5", "--batch-size", "12", "--json")
    found = []
    for jobs in ("1", "2", "auto"):
        finished = finish(process(*command, "--results", "r", "--jobs", jobs, folder=tmp_path))
        assert finished.code == 0
        assert finished.err.splitlines() == [f"results: {tmp_path / 'r'}"]
        found.append(finished.out)
        move_away(tmp_path / "r", jobs)
    assert len(set(found)) == 1
    assert counts(tmp_path / "r-1") == counts(tmp_path / "r-2") == counts(tmp_path / "r-auto")
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("jobs", ["0", "-1", "two", "1.5", ""])
def test_another_number_of_jobs_is_refused_in_one_line(jobs, tmp_path):
    """Exit 2, before anything is written."""
    finished = cli("inject", *BASE, "--jobs", jobs, "--results", tmp_path / "r")
    assert finished.code == 2
    assert f"auto, or a number of processes from 1 to 1024, was expected as --jobs; got {jobs!r}" in one_error_line(
        finished
    )
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_for_everybody_ends_everybody_and_keeps_what_is_finished(tmp_path, signum, code):
    """Ctrl-C in a terminal, or a system that stops all processes of a service: one line, no orphans."""
    running = process(*COMMAND, "--jobs", "2", "--results", "r", folder=tmp_path, start_new_session=True)
    wait_for_units(tmp_path / "r", running)
    workers = workers_of(running)
    assert len(workers) == 2
    if signum == signal.SIGTERM:
        for worker in workers:
            worker.send_signal(signum)
    os.killpg(running.pid, signum)
    stopped = finish(running)
    assert stopped.code == code
    kept = counts(tmp_path / "r")
    name = signal.Signals(signum).name
    said = f"stopped by {name}: {len(kept)} of {UNITS} units are recorded in {tmp_path / 'r'}; go on with: ftonnx "
    assert said in one_error_line(stopped)
    assert not any(worker.is_running() for worker in workers)
    assert nothing_left(tmp_path)
    assert cli(*COMMAND, "--jobs", "1", "--results", tmp_path / "r").code == 0
    assert kept.items() < counts(tmp_path / "r").items()


def test_workers_put_their_temporary_files_into_the_folder_of_their_parent(tmp_path):
    """A worker that is killed while it opens its session leaves nothing that the parent does not remove."""
    running = process(*COMMAND, "--jobs", "2", "--results", "r", folder=tmp_path)
    wait_for_units(tmp_path / "r", running)
    roots = {Path(worker.environ()["TMPDIR"]) for worker in workers_of(running)}
    running.send_signal(signal.SIGINT)
    assert finish(running).code == 130
    (root,) = roots
    assert root.parent == tmp_path / "tmp"
    assert root.name.startswith("ftonnx-scratch-")
    assert not root.exists()


def test_a_second_signal_ends_at_once(tmp_path):
    """Ctrl-C twice: the units in work are given up, and nobody stays."""
    running = process(*COMMAND, "--jobs", "2", "--results", "r", folder=tmp_path)
    wait_for_units(tmp_path / "r", running)
    workers = workers_of(running)
    running.send_signal(signal.SIGINT)
    running.send_signal(signal.SIGINT)
    stopped = finish(running)
    assert stopped.code == 130
    one_error_line(stopped)
    assert not any(worker.is_running() for worker in workers)
    assert nothing_left(tmp_path)


@pytest.mark.slow
def test_workers_end_and_tidy_up_when_their_parent_is_killed(tmp_path):
    """SIGKILL for the parent alone."""
    running = process(*COMMAND, "--jobs", "2", "--results", "r", folder=tmp_path)
    wait_for_units(tmp_path / "r", running)
    workers = workers_of(running)
    assert not nothing_left(tmp_path)
    running.kill()
    assert finish(running).err == ""
    wait_until(lambda: not any(worker.is_running() for worker in workers))
    wait_until(lambda: nothing_left(tmp_path))


def test_workers_that_are_always_killed_end_the_campaign_with_exit_code_5(tmp_path):
    """What is recorded stays, and one line says what to do."""
    running = process(*COMMAND, "--jobs", "2", "--results", "r", folder=tmp_path)
    while running.poll() is None:
        try:
            for worker in workers_of(running):
                worker.kill()
        except psutil.NoSuchProcess:
            break
        time.sleep(0.05)
    finished = finish(running)
    assert finished.code == 5
    last = finished.err.splitlines()[-1]
    assert last.startswith("error: worker processes end while starting (SIGKILL), 3 times in a row; ")
    assert last.endswith("free some memory or lower --jobs, and run the same command again")
    assert nothing_left(tmp_path)


def kill_a_worker(running, moments):
    """Kill one of the workers there are; the campaign may just have ended."""
    with suppress(psutil.NoSuchProcess, IndexError):
        moments.choice(workers_of(running)).kill()


@pytest.mark.slow
def test_kills_of_everybody_at_random_moments_change_nothing(tmp_path):
    """SIGKILL for the parent or a worker, start again with another number of jobs: the same bytes at the end."""
    command = (*COMMAND, "--results", "r", "--json")
    printed, expected = uninterrupted(command, tmp_path)
    commands = [(*command, "--jobs", str(2 + kill % 2)) for kill in range(10)]
    seen = kill_at_random(commands, tmp_path, units=UNITS, printed=printed, seed=3, early=2, strike=kill_a_worker)
    assert len(set(seen)) >= 5
    last = finish(process(*command, "--jobs", "2", folder=tmp_path))
    assert last.out == printed
    assert counts(tmp_path / "r") == expected
    assert len(expected) == UNITS
