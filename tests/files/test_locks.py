"""A lock is held by one process, and ends with it."""

import subprocess
import sys

from ftonnx.files import try_lock

HOLDER = """
import sys, time
from ftonnx.files import try_lock
file = open(sys.argv[1], "a")
print(try_lock(file), flush=True)
time.sleep(60)
"""


def test_a_lock_is_refused_while_another_process_holds_it_and_free_after_a_kill(tmp_path):
    """Nothing has to be cleaned up."""
    path = tmp_path / "lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "True\n"
    with path.open("a") as file:
        assert not try_lock(file)
        assert not try_lock(file.fileno())
        holder.kill()
        holder.wait()
        holder.stdout.close()
        assert try_lock(file)
