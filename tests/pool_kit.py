"""Tasks that worker processes can import, each with a mean streak."""

import hashlib
import logging
import os
import signal
import time
from pathlib import Path

from ftonnx.errors import DataError
from ftonnx.tasks import Classification


def digest(outputs):
    """Return a name for a run's outputs: its only one, or the array itself."""
    (array,) = outputs.values() if isinstance(outputs, dict) else [outputs]
    return hashlib.sha256(array.tobytes()).hexdigest()


class Counting(Classification):
    """Writes a line with the process number for every golden run."""

    def __init__(self, log):
        self.log = Path(log)

    def check(self, outputs, labels, classes):
        """Note the golden run."""
        with self.log.open("a") as file:
            file.write(f"{os.getpid()} {digest(outputs)}\n")
        super().check(outputs, labels, classes)

    def lines(self):
        """Return the lines written so far."""
        return self.log.read_text().splitlines() if self.log.exists() else []


class Together(Counting):
    """Holds worker processes at their golden runs until two of them are there, however slowly one of them starts."""

    def __init__(self, log):
        super().__init__(log)
        self.parent = os.getpid()

    def check(self, outputs, labels, classes):
        """Note the golden run, and wait for another worker's."""
        super().check(outputs, labels, classes)
        deadline = time.monotonic() + 60
        while os.getpid() != self.parent and len(self.workers()) < 2:
            assert time.monotonic() < deadline, "no second worker came within a minute"
            time.sleep(0.01)

    def workers(self):
        """Return the numbers of the worker processes that have come so far."""
        return {line.split()[0] for line in self.lines()} - {str(self.parent)}


class Talkative(Classification):
    """Logs every golden run."""

    def check(self, outputs, labels, classes):
        """Say so."""
        logging.getLogger("ftonnx.tests").info("process %d looks at %d images", os.getpid(), len(labels))
        super().check(outputs, labels, classes)


class Deadly(Counting):
    """Kills its process when it sees certain outputs, so many times in all; ``parent`` is spared."""

    def __init__(self, log, poison, times, how=signal.SIGKILL):
        super().__init__(log)
        self.poison, self.times, self.how, self.parent = frozenset(poison), times, how, os.getpid()

    def judge(self, golden, labels):
        """Look at every run."""
        return _DeadlyJudge(super().judge(golden, labels), self)

    def check(self, outputs, labels, classes):
        """Look at the golden run."""
        self.look(outputs)
        Classification.check(self, outputs, labels, classes)

    def look(self, outputs):
        """Die, if it is time to."""
        if os.getpid() == self.parent or digest(outputs) not in self.poison or len(self.lines()) >= self.times:
            return
        with self.log.open("a") as file:
            file.write(f"{digest(outputs)}\n")
        os.kill(os.getpid(), self.how)


class _DeadlyJudge:
    def __init__(self, judge, task):
        self.judge, self.task = judge, task

    def count(self, outputs):
        self.task.look(outputs)
        return self.judge.count(outputs)

    def crashed(self):
        return self.judge.crashed()


class Raising(Classification):
    """Raises in worker processes: an error of ours, or a bug."""

    def __init__(self, kind):
        self.kind, self.parent = kind, os.getpid()

    def check(self, outputs, labels, classes):
        """Raise."""
        if os.getpid() != self.parent:
            if self.kind == "data":
                raise DataError("these images are no good")
            if self.kind == "memory":
                raise MemoryError
            raise ZeroDivisionError("a bug in the task")
        super().check(outputs, labels, classes)


class Refusing(Classification):
    """Raises at one golden run, in whatever process: an error of ours, or a bug."""

    def __init__(self, golden, kind):
        self.golden, self.kind = golden, kind

    def check(self, outputs, labels, classes):
        """Raise at that run."""
        if digest(outputs) == self.golden:
            raise (
                DataError("these images are no good") if self.kind == "data" else ZeroDivisionError("a bug in the task")
            )
        super().check(outputs, labels, classes)
