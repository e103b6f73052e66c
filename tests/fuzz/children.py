"""Cases in children of a warm process: each has limits, and what a child dies of is a finding of its case."""

import faulthandler
import json
import logging
import os
import random
import re
import resource
import select
import shutil
import signal
import sys
import time
import traceback
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ftonnx.errors import FtonnxError
from fuzz.findings import Finding, of_exception, place_in, place_in_dump
from fuzz.inputs import write_input
from fuzz.target import NoCase

_PANIC = re.compile(r"\n?thread '[^\n]* panicked at .*?backtrace\.?\n", re.DOTALL)
"""What polars, written in Rust, prints before it raises an exception; nobody can keep it from that."""

_RESERVED = 4
"""How much more than it may use a case may reserve; what is beyond the machine's memory is not used up first."""

_PATIENCE = 60.0
"""Seconds after which a child is ended that should have ended itself."""

_START = 300.0
"""Seconds that a child may take before its first case, in which it imports what it needs; a machine may be busy."""


@dataclass(frozen=True)
class Limits:
    """What a case may take.

    Attributes:
        seconds: of time, whoever else has the processor.
        memory: bytes beyond what the process has before.
        busy_seconds: of the processor's own time; None for any.
    """

    seconds: float = 10.0
    memory: int = 2 << 30
    busy_seconds: float | None = None


@dataclass(frozen=True)
class Outcome:
    """How a case ended.

    Attributes:
        number: of the case.
        end: ``read``, ``refused`` or ``no case``; None of a finding.
        message: of a refusal.
        finding: what is no good end; None of one that is.
    """

    number: int
    end: str | None
    message: str = ""
    finding: Finding | None = None


def rng_of(seed, target, number):
    """Return the source of randomness of a case, the same wherever and whenever it runs."""
    return random.Random(f"{seed} {target.name} {number}")


def in_child(work):
    """Run a function in a child, and wait for it.

    Raises:
        RuntimeError: it failed; its traceback is on stderr.
    """
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if status:
        raise RuntimeError(f"a child ended with status {status}")


def run_cases(target, make, numbers, folder, limits, until, first=None):
    """Run cases in one child until the time is up or one is a finding; return how they ended.

    Args:
        target: what reads.
        make: a function of a case's number that returns its input.
        numbers: of the cases.
        folder: for inputs; that of a finding stays there.
        limits: of each case.
        until: when to stop, in ``time.monotonic``'s seconds.
        first: an input that is read before, so that no case pays for what is loaded at first use.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reader)
        code = 1
        try:
            _Child(target, make, Path(folder), limits, writer).run(numbers, until, first)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writer)
    return _Parent(pid, reader, Path(folder), limits).outcomes()


def _data_bytes():
    """Return what the process may write to without anybody else seeing it; what is only reserved does not count."""
    pages = Path("/proc/self/statm").read_text().split()[5]
    return int(pages) * resource.getpagesize()


def _start_peak():
    """Measure from now on how much memory is used at most; return what is used now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak():
    """Return how much memory was used at most, in bytes."""
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(peak) * 1024


class _Others(logging.Handler):
    """Takes what libraries log, which a command would print; the log of ftonnx itself is for users to read."""

    def __init__(self, warned):
        super().__init__(logging.WARNING)
        self._warned = warned

    def emit(self, record):
        if not record.name.startswith("ftonnx"):
            self._warned.append((f"log of {record.name}: {record.getMessage()}", traceback.extract_stack()))


class _Parent:
    """Listens to a child."""

    def __init__(self, pid, reader, folder, limits):
        self._pid = pid
        self._reader = reader
        self._folder = folder
        self._limits = limits
        self._running = None
        self._begun = False
        self._found = []

    def outcomes(self):
        """Return how all cases ended that the child began."""
        rest = b""
        while True:
            patience = self._limits.seconds + _PATIENCE if self._begun else _START
            ready, _, _ = select.select([self._reader], [], [], patience)
            if not ready:
                os.kill(self._pid, signal.SIGKILL)
            piece = os.read(self._reader, 1 << 16)
            if not piece:
                break
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                self._take(json.loads(line))
        os.close(self._reader)
        _, status = os.waitpid(self._pid, 0)
        if not self._begun:
            raise RuntimeError(f"no case was begun: {(self._folder / 'printed').read_text(errors='replace')}")
        if self._running is not None:
            self._found.append(Outcome(self._running, None, finding=self._death(status)))
        return self._found

    def _take(self, told):
        if told["end"] == "begun":
            self._running = told["number"]
            self._begun = True
            return
        self._running = None
        finding = told.pop("finding")
        self._found.append(Outcome(**told, finding=None if finding is None else Finding(**finding)))

    def _death(self, status):
        """Return what a child died of in the midst of a case."""
        dump = (self._folder / "dump").read_text(errors="replace")
        if "Timeout" in dump:
            return Finding("hang", place_in_dump(dump), dump)
        code = os.waitstatus_to_exitcode(status)
        if code in (-signal.SIGPROF, -signal.SIGKILL):
            return Finding("hang", place_in_dump(dump), dump)
        dump += (self._folder / "printed").read_text(errors="replace")
        name = f"crash ({signal.Signals(-code).name})" if code < 0 else f"exit ({code})"
        return Finding(name, place_in_dump(dump), dump)


class _Child:
    """Runs cases and tells of each when it begins and how it ended."""

    def __init__(self, target, make, folder, limits, writer):
        self._target = target
        self._make = make
        self._folder = folder
        self._limits = limits
        self._writer = writer
        self._warned = []

    def run(self, numbers, until, first):
        self._settle()
        if first is not None:
            self._read_before(first)
        for number in numbers:
            self._tell(number=number, end="begun")
            faulthandler.dump_traceback_later(self._limits.seconds, exit=True, file=self._dump)
            signal.setitimer(signal.ITIMER_PROF, self._limits.busy_seconds or 0)
            end, message, finding = self._case(number)
            signal.setitimer(signal.ITIMER_PROF, 0)
            faulthandler.cancel_dump_traceback_later()
            self._tell(number=number, end=end, message=message, finding=None if finding is None else vars(finding))
            if finding is not None or time.monotonic() >= until:
                break

    def _settle(self):
        """Be a process whose output is looked at, and whose memory is limited."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._dump = open(self._folder / "dump", "w+")  # noqa: SIM115  # it stays open as long as the process lives
        faulthandler.enable(self._dump)
        # it says where the time of the processor went, and ends the process as it does by itself
        faulthandler.register(signal.SIGPROF, self._dump, chain=True)
        self._printed = open(self._folder / "printed", "w+b")  # noqa: SIM115  # likewise
        nothing = os.open(os.devnull, os.O_RDONLY)
        for descriptor, own in ((0, nothing), (1, self._printed.fileno()), (2, self._printed.fileno())):
            os.dup2(own, descriptor)
        # what a command shows of the library's log is not printed by the library
        logging.getLogger().addHandler(_Others(self._warned))
        warnings.showwarning = self._warn
        most = _data_bytes() + _RESERVED * self._limits.memory
        resource.setrlimit(resource.RLIMIT_DATA, (most, resource.RLIM_INFINITY))

    def _read_before(self, files):
        place = self._folder / "first"
        shutil.rmtree(place, ignore_errors=True)
        write_input(files, place)
        os.chdir(place)
        # whether sound inputs are read is the business of --sound
        with suppress(FtonnxError):
            self._target.read(place)
        self._noise()

    def _warn(self, message, category, filename, lineno, file=None, line=None):
        self._warned.append((f"{category.__name__}: {message} ({filename}:{lineno})", traceback.extract_stack()))

    def _case(self, number):
        """Make and read an input; return how that ended."""
        place = self._folder / f"case-{number}"
        shutil.rmtree(place, ignore_errors=True)
        try:
            write_input(self._make(number), place)
        except NoCase:
            return "no case", "", None
        os.chdir(place)
        before = _start_peak()
        end, message, finding = self._read(place)
        os.chdir(self._folder)
        used = _peak() - before
        if finding is None and used > self._limits.memory:
            finding = Finding("memory", message[-80:], f"{used:,} bytes; {message}")
        finding = finding or self._noise()
        if finding is None:
            shutil.rmtree(place)
        return (None if finding else end), message, finding

    def _read(self, place):
        try:
            self._target.read(place)
        except FtonnxError as error:
            return "refused", str(error), of_exception(error)
        except BaseException as error:
            return None, "", of_exception(error)
        return "read", "", None

    def _noise(self):
        """Return the finding of what was printed, or of a warning of Python's that a user would see."""
        if self._warned:
            text, frames = self._warned.pop()
            self._warned.clear()
            return Finding(f"warning ({text.partition(':')[0]})", place_in(frames), text)
        sys.stdout.flush()
        sys.stderr.flush()
        self._printed.seek(0)
        text = _PANIC.sub("", self._printed.read().decode(errors="replace"))
        self._printed.seek(0)
        self._printed.truncate()
        return Finding("printed", text[:60], text) if text else None

    def _tell(self, *, number, end, message="", finding=None):
        line = json.dumps({"number": number, "end": end, "message": message, "finding": finding})
        os.write(self._writer, line.encode() + b"\n")
