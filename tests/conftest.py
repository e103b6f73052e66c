"""Settings of the whole test suite."""

import logging
import os
import signal

import hypothesis
import pytest

os.environ.setdefault("FTONNX_CACHE", "off")  # a test must not depend on what an earlier run left behind

# Tests run in several processes at a time: one that also starts a thread per core waits for the others' threads.
# Set before numpy and torch are loaded, and inherited by every process that a test starts.
for _library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

# Timings are no assertions: an example may be slow because another process has the core.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")


@pytest.fixture
def interruptible():
    """Let SIGINT have its usual effect in the test and in its processes, also where the suite was started without.

    A shell without job control starts what ends in ``&`` with SIGINT ignored, and children inherit that.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def temporary_folder(tmp_path, monkeypatch):
    """Let temporary results folders end in the test's own folder."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))


@pytest.fixture(autouse=True)
def plain_logger():
    """Undo what a command that ran in this process before said about verbosity."""
    logging.getLogger("ftonnx").setLevel(logging.NOTSET)
