"""Dask clusters for tests: a scheduler and workers as processes of their own, which may be killed."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager

import psutil

NO_PAGES = ("--no-dashboard", "--dashboard-address", "127.0.0.1:0")


class Cluster:
    """A scheduler and its workers.

    Attributes:
        file: the scheduler file.
        scheduler: the process.
        workers: the processes, as they were started.
    """

    def __init__(self, folder, *, host="127.0.0.1", within=(), allowed_failures=3):
        self.folder = folder
        self.file = folder / "scheduler.json"
        self.workers = []
        self.allowed_failures = allowed_failures
        self._host = host
        self._within = within
        self.scheduler = self.start_scheduler()

    def _start(self, *arguments, within=()):
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(self.allowed_failures),
            "DASK_TEMPORARY_DIRECTORY": str(self.folder),
        }
        with (self.folder / "log.txt").open("ab") as log:
            return subprocess.Popen(
                [*within, sys.executable, "-m", *arguments], stdout=log, stderr=log, env=environment, cwd=self.folder
            )

    def start_scheduler(self, port=0):
        """Start the scheduler, and wait until it listens."""
        self.file.unlink(missing_ok=True)
        where = ("--host", self._host, "--port", str(port), *NO_PAGES, "--scheduler-file", str(self.file))
        started = self._start("distributed.cli.dask_scheduler", *where, within=self._within)
        # the file is there before its content is
        waited(lambda: self.file.exists() and self.file.read_text().endswith("}"))
        return started

    @property
    def address(self):
        """The scheduler's address."""
        return json.loads(self.file.read_text())["address"]

    def start_worker(self, *, nanny=False, within=(), threads=1, host=None):
        """Start a worker; with a nanny it is started again when it dies."""
        more = () if nanny else ("--no-nanny",)
        more += () if host is None else ("--host", host)
        size = ("--nthreads", str(threads), *NO_PAGES)
        started = self._start("distributed.cli.dask_worker", self.address, *size, *more, within=within)
        self.workers.append(started)
        return started

    def end(self):
        """Kill all of it, with what it has started."""
        for process in (*self.workers, self.scheduler):
            if process.poll() is None:
                children = psutil.Process(process.pid).children(recursive=True)
                for each in (process, *children):
                    each.kill()
            process.wait()


@contextmanager
def cluster(folder, workers=2, **options):
    """Start a scheduler and workers, and end them after the block."""
    found = Cluster(folder, **options)
    try:
        for _ in range(workers):
            found.start_worker()
        yield found
    finally:
        found.end()


def waited(condition, seconds=60):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.02)
