"""SIGKILL, or Ctrl-C twice, at random moments."""

import shutil
import signal
import time
from random import Random
from typing import Final

from chaos.commands import Case
from chaos.workplace import Violation, Workplace, finished, rows_of

__all__ = ["interrupt", "kill_some"]

_ENDS_WITHIN: Final = 10.0  # seconds after the second Ctrl-C, on a busy machine
_CTRL_C: Final = 130
_OLD: Final = b"the older file\n"


def kill_some(place: Workplace, case: Case, times: int, random: Random) -> None:
    """Kill a command some times in one folder, then let it end, and look at what is there.

    Raises:
        Violation: units are lost, files are half written, or something is left behind.
    """
    seconds = place.expected(case).seconds
    folder = place.folder(case)
    older = _OLD if random.random() < 0.5 else None
    if older is not None:
        place.write_older(case, folder, older)
    for _ in range(times):
        process = place.start(case, folder)
        time.sleep(random.uniform(0, seconds))
        process.kill()
        finished(process)
        place.check_whole(case, folder, older)
    kept = rows_of(folder / case.results) if case.results else {}
    done = finished(place.start(case, folder))
    if done.code:
        raise Violation(f"{case.name} ends with {done.code} after kills: {done.err[-500:]}")
    place.check_done(case, folder, kept)
    shutil.rmtree(folder)


def interrupt(place: Workplace, case: Case, random: Random) -> None:
    """Interrupt a command twice, and look at its end; then let it end by itself.

    Raises:
        Violation: it does not end, or not with 130, or leaves something behind.
    """
    seconds = place.expected(case).seconds
    folder = place.folder(case)
    process = place.start(case, folder)
    time.sleep(random.uniform(0, seconds))
    process.send_signal(signal.SIGINT)
    time.sleep(random.choice((0.0, random.uniform(0, 0.5))))
    process.send_signal(signal.SIGINT)
    before = time.monotonic()
    ended = finished(process)
    took = time.monotonic() - before
    if took > _ENDS_WITHIN:
        raise Violation(f"{case.name} has taken {took:.1f} s to end")
    # before Python has installed its handler, the system ends the process
    if ended.code not in (0, _CTRL_C, -signal.SIGINT):
        raise Violation(f"{case.name} ends with {ended.code} when it is interrupted: {ended.err[-500:]}")
    if ended.code == -signal.SIGINT and ended.err.count("ftonnx/cli"):
        raise Violation(f"{case.name} was ended by the signal itself: {ended.err[-500:]}")
    place.check_whole(case, folder)
    kept = rows_of(folder / case.results) if case.results else {}
    done = finished(place.start(case, folder))
    if done.code:
        raise Violation(f"{case.name} ends with {done.code} after an interruption: {done.err[-500:]}")
    place.check_done(case, folder, kept)
    shutil.rmtree(folder)
