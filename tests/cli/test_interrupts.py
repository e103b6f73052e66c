"""Ctrl-C twice: every command ends within seconds with 130, whatever it is at, and its children end with it."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from campaign_kit import environment, finish
from loop_kit import FOREVER, images, loop_model

from ftonnx.cli import main

pytestmark = pytest.mark.usefixtures("interruptible")

ENDLESS = """
import atexit, signal, subprocess, sys, threading, time
import numpy as np
import ftonnx.cli.application as application
from ftonnx.cli import entry
from ftonnx.sessions import SessionOptions, open_session, run_session

def run(arguments):
    BODY

application.run = run
entry()
"""
RUNS = """session = open_session(open("loop.onnx", "rb").read(), SessionOptions())
    child = subprocess.Popen(["sleep", "60"], process_group=0)
    print(child.pid, flush=True)
    run_session(session, {"x": np.load("x.npy")})"""
ENDS = """atexit.register(lambda: (print("ending", flush=True), time.sleep(0.5)))
    raise KeyboardInterrupt"""
HANGS = """threading.Thread(target=time.sleep, args=(60,)).start()
    print("ending", flush=True)
    raise KeyboardInterrupt"""


def started(folder, body):
    """Start a process whose only command is this function body, and wait for its first line."""
    command = [sys.executable, "-c", ENDLESS.replace("BODY", body)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    running = subprocess.Popen(command, cwd=folder, env=environment(folder), text=True, **pipes)
    return running, running.stdout.readline().strip()


def is_running(number):
    """Say whether a process is there, and no zombie."""
    try:
        with open(f"/proc/{number}/stat") as status:
            return status.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_second_one_ends_a_run_that_python_cannot_and_its_children(tmp_path):
    """A loop in which ONNX Runtime looks for nothing, and a child that no signal reached."""
    (tmp_path / "loop.onnx").write_bytes(loop_model(FOREVER, has_nodes=False).SerializeToString())
    np.save(tmp_path / "x.npy", images()[0])
    running, child = started(tmp_path, RUNS)
    for _ in range(2):
        time.sleep(0.2)  # signals that come at once are one
        running.send_signal(signal.SIGINT)
    ended = finish(running)
    assert ended.code == 130
    assert ended.err.splitlines() == [
        "error: interrupted twice: what was at work could not end by itself, and was ended"
    ]
    assert not is_running(child)


def test_one_more_while_an_interrupted_command_ends_changes_nothing(tmp_path):
    """Else Python lets the signal itself end the process."""
    running, said = started(tmp_path, ENDS)
    assert said == "ending"
    running.send_signal(signal.SIGINT)
    ended = finish(running)
    assert (ended.code, ended.err) == (130, "error: interrupted\n")


@pytest.mark.slow
def test_an_interrupted_command_waits_for_no_thread(tmp_path):
    """It ends some seconds after it has said so."""
    running, said = started(tmp_path, HANGS)
    assert said == "ending"
    ended = finish(running)
    assert (ended.code, ended.err) == (130, "error: interrupted\n")


def test_a_process_that_was_started_to_ignore_sigint_is_not_ended_by_it(tmp_path):
    """Ctrl-C in the terminal is for what runs in the foreground."""
    body = 'print("ready", flush=True)\n    time.sleep(1)\n    return 0'
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        running, _ = started(tmp_path, body)
    finally:
        signal.signal(signal.SIGINT, before)
    for _ in range(3):
        running.send_signal(signal.SIGINT)
        time.sleep(0.1)
    assert finish(running).code == 0


def test_signals_are_as_before_after_a_command(tmp_path, monkeypatch):
    """Also for programs that call it as a function."""
    monkeypatch.chdir(tmp_path)
    assert main(["--version"]) == 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.set_wakeup_fd(-1) == -1
