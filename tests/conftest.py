"""Settings of the whole test suite."""

import os
import signal

import pytest

os.environ.setdefault("FTONNX_CACHE", "off")  # a test must not depend on what an earlier run left behind


@pytest.fixture
def interruptible():
    """Let SIGINT have its usual effect in the test and in its processes, also where the suite was started without.

    A shell without job control starts what ends in ``&`` with SIGINT ignored, and children inherit that.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
