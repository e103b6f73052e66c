"""Killed, interrupted and terminated campaigns, as real processes."""

import os
import signal

import pytest
from campaign_kit import (
    BASE,
    cli,
    counts,
    finish,
    kill_at_random,
    one_error_line,
    process,
    recorded,
    rows,
    uninterrupted,
    wait_for_units,
)

from ftonnx.campaign.run.signals import stop_on_signals

pytestmark = pytest.mark.usefixtures("interruptible")

RATES = ("--rate", "1e-6", "--rate", "1e-5")
COMMAND = ("inject", *BASE, "--limit", "64", *RATES, "--images-per-pattern", "4", "--repeats", "100")
UNITS = 2 * 16 * 100


@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_nothing(tmp_path):
    """SIGKILL anywhere, start again, 20 times: the same bytes on stdout as an uninterrupted run in the same place."""
    command = (*COMMAND, "--results", "r", "--json")
    printed, expected = uninterrupted(command, tmp_path)
    seen = kill_at_random([command] * 20, tmp_path, units=UNITS, printed=printed, seed=1, early=0.6)
    assert len(set(seen)) > 10
    last = finish(process(*command, folder=tmp_path))
    assert last.out == printed
    assert counts(tmp_path / "r") == expected
    assert len(expected) == UNITS


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_process_with_its_code_and_keeps_the_finished_units(tmp_path, signum, code):
    """One line says how far it came and where; nothing on stdout; the same command continues."""
    command = (*COMMAND, "--results", tmp_path / "r")
    running = process(*command, "--json", folder=tmp_path)
    wait_for_units(tmp_path / "r", running)
    running.send_signal(signum)
    stopped = finish(running)
    assert stopped.code == code
    kept = counts(tmp_path / "r")
    assert f"stopped by {signal.Signals(signum).name}: {len(kept)} of {UNITS} units are recorded in" in one_error_line(
        stopped
    )
    again = process(*command, folder=tmp_path)
    wait_for_units(tmp_path / "r", again, len(kept))
    again.send_signal(signum)
    assert finish(again).code == code
    assert kept.items() < counts(tmp_path / "r").items()


def test_an_interrupted_campaign_without_a_results_folder_can_be_continued(tmp_path):
    """Its temporary folder stays and is named in the message."""
    running = process(*COMMAND, folder=tmp_path)
    found = []
    while not found:
        found = list((tmp_path / "tmp").glob("ftonnx-*/campaign.json"))
        assert running.poll() is None
    wait_for_units(found[0].parent, running)
    running.send_signal(signal.SIGINT)
    line = one_error_line(finish(running))
    folder = found[0].parent
    said, _, following = line.partition("; ")
    assert said.endswith(f" units are recorded in {folder}")
    assert following.endswith(f" --results {folder}")
    kept = counts(folder)
    assert cli(*COMMAND, "--results", folder).code == 0
    assert kept.items() < counts(folder).items()


def test_a_second_signal_ends_at_once_and_still_loses_nothing(tmp_path):
    """Ctrl-C twice: exit 130, no traceback, everything recorded stays."""
    running = process(*COMMAND, "--results", "r", folder=tmp_path)
    wait_for_units(tmp_path / "r", running)
    running.send_signal(signal.SIGINT)
    running.send_signal(signal.SIGINT)
    stopped = finish(running)
    assert stopped.code == 130
    one_error_line(stopped)
    assert len(rows(tmp_path / "r")) > 0


def ignore_sigint():
    """Start a process as a shell without job control starts what ends in ``&``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_campaign_that_was_started_to_ignore_sigint_goes_on_and_still_ends_by_sigterm(tmp_path, jobs):
    """Ctrl-C in the terminal is for what runs in the foreground."""
    command = (*COMMAND, "--results", tmp_path / "r", "--jobs", jobs)
    running = process(*command, folder=tmp_path, preexec_fn=ignore_sigint)
    wait_for_units(tmp_path / "r", running)
    running.send_signal(signal.SIGINT)
    wait_for_units(tmp_path / "r", running, recorded(tmp_path / "r") + 20)
    running.send_signal(signal.SIGTERM)
    stopped = finish(running)
    assert stopped.code == 143
    assert "stopped by SIGTERM" in one_error_line(stopped)


@pytest.mark.parametrize("ignored", [signal.SIGINT, signal.SIGTERM])
def test_an_ignored_signal_stays_ignored_inside_and_outside_the_block(ignored):
    """The other one is caught, and handled as before afterwards."""
    (other,) = {signal.SIGINT, signal.SIGTERM} - {ignored}
    before, others = signal.signal(ignored, signal.SIG_IGN), signal.getsignal(other)
    try:
        with stop_on_signals() as stop:
            os.kill(os.getpid(), ignored)
            assert not stop.asked
            os.kill(os.getpid(), other)
            assert stop.signum == other
        assert signal.getsignal(ignored) is signal.SIG_IGN
        assert signal.getsignal(other) is others
    finally:
        signal.signal(ignored, before)


def test_a_handler_from_outside_python_is_left_alone(monkeypatch):
    """A program that embeds Python has its own, which Python can neither name nor put back."""
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(signal, "getsignal", lambda signum: None)
    with stop_on_signals():
        monkeypatch.undo()
        assert signal.getsignal(signal.SIGINT) is before
