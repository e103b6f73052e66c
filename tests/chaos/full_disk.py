"""Disks of all sizes that become full: as root on file systems in memory, else with a limit on the sizes of files."""

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Final

from chaos.commands import Case
from chaos.workplace import Violation, Workplace, finished, rows_of

__all__ = ["can_mount", "fill", "needed"]

_PAGE: Final = 4096
_LARGE: Final = 2**29
_REFUSED: Final = 4
_OLD: Final = b"the older file\n"


def can_mount(folder: Path) -> bool:
    """Say whether this process may mount file systems."""
    if os.geteuid() != 0:
        return False
    probe = folder / "probe"
    probe.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", probe], capture_output=True)
    if done.returncode == 0:
        subprocess.run(["umount", probe], check=True)
    probe.rmdir()
    return done.returncode == 0


@contextmanager
def _disk(root: Path, size: int) -> Iterator[Path]:
    """Yield the folder of a file system of so many bytes."""
    folder = root / "disk"
    folder.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", folder], check=True)
    finally:
        folder.rmdir()


def needed(place: Workplace, case: Case) -> int:
    """Return about how many bytes of disk a command takes, at its end and at its most."""
    with _disk(place.root, _LARGE) as disk:
        folder = place.folder(case, disk)
        process = place.start(case, folder)
        most = 0
        while process.poll() is None:
            state = os.statvfs(disk)
            most = max(most, (state.f_blocks - state.f_bfree) * state.f_frsize)
            try:
                process.wait(0.005)
            except subprocess.TimeoutExpired:
                continue
        finished(process)
        return max(most, _PAGE)


def fill(place: Workplace, case: Case, size: int, random: Random) -> int:
    """Run a command on a disk of so many bytes, then again with room enough; return its first exit code.

    Raises:
        Violation: another exit code than that of success or a full disk, half-written files, lost units, leftovers.
    """
    with _disk(place.root, size + _PAGE) as disk:
        folder = place.folder(case, place.root) if case.name == "repair" else place.folder(case, disk)
        (folder / "tmp").mkdir(exist_ok=True)
        older = _OLD if random.random() < 0.5 else None
        if older is not None:
            place.write_older(case, folder, older)
        code = _run_full(place, case, folder, older)
        subprocess.run(["mount", "-o", f"remount,size={_LARGE}", disk], check=True)
        _run_again(place, case, folder)
        shutil.rmtree(folder)
    return code


def limit(place: Workplace, case: Case, size: int) -> int:
    """Do the same with a limit on the size of files, for whoever may not mount file systems."""
    folder = place.folder(case)
    code = _run_full(place, case, folder, None, size)
    _run_again(place, case, folder)
    shutil.rmtree(folder)
    return code


def _run_full(place: Workplace, case: Case, folder: Path, older: bytes | None, size: int | None = None) -> int:
    options = {} if size is None else {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))}
    done = finished(place.start(case, folder, **options))
    if done.code not in (0, _REFUSED):
        raise Violation(f"{case.name} ends with {done.code} on a full disk: {done.err[-700:]}")
    if "Traceback" in done.err:
        raise Violation(f"{case.name} shows a traceback on a full disk: {done.err[-700:]}")
    if done.code and not any(line.startswith("error: ") for line in done.err.splitlines()):
        raise Violation(f"{case.name} does not say what is wrong with a full disk: {done.err[-700:]}")
    place.check_whole(case, folder, older)
    return done.code


def _run_again(place: Workplace, case: Case, folder: Path) -> None:
    kept = rows_of(folder / case.results) if case.results else {}
    done = finished(place.start(case, folder))
    if done.code:
        raise Violation(f"{case.name} ends with {done.code} after a full disk: {done.err[-500:]}")
    place.check_done(case, folder, kept)
