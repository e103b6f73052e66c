"""A worker process whose parent is gone, or ends it."""

import os
import socket
import subprocess
import sys
import time

import pytest

from ftonnx.campaign.run.worker_process import WorkerProcess

BROKEN = "worker.Setup.load = lambda folder: (_ for _ in ()).throw(FileNotFoundError(folder))"
LOGGING = "worker._serve = lambda connection, *_: worker._ToParent(connection).handle(logging.makeLogRecord({}))"


@pytest.mark.parametrize("what", [BROKEN, LOGGING], ids=["error", "log record"])
def test_what_can_no_longer_be_sent_is_not_printed(tmp_path, what):
    """It waits for the end of the connection, tidies up, and says nothing."""
    folder = tmp_path / "jobs"
    folder.mkdir()
    parent, child = socket.socketpair()
    parent.shutdown(socket.SHUT_RD)  # sending fails from now on, while receiving still waits
    code = f"import logging; from ftonnx.campaign.run import worker; {what}; print(flush=True); "
    running = subprocess.Popen(
        [sys.executable, "-c", code + f"worker.main({child.fileno()}, {str(folder)!r}, 'progress')"],
        pass_fds=[child.fileno()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    child.close()
    running.stdout.readline()
    time.sleep(0.5)  # time to fail in
    parent.close()
    assert running.communicate(timeout=20)[1] == ""
    assert running.returncode == 1
    assert not folder.exists()


def test_a_worker_that_is_ended_leaves_the_folder_to_the_others(tmp_path, monkeypatch):
    """However late it is killed: with a parent that lives, it has nothing to tidy up."""
    kill = subprocess.Popen.kill

    def late(process):
        time.sleep(0.5)
        kill(process)

    monkeypatch.setattr(subprocess.Popen, "kill", late)
    folder = tmp_path / "jobs"
    folder.mkdir()
    os.mkfifo(folder / "setup.pickle")  # the worker listens to its parent, and waits for what it is to read
    worker = WorkerProcess(folder)
    with (folder / "setup.pickle").open("wb"):
        assert worker.end() == "SIGKILL"
    assert folder.exists()
