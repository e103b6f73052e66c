"""Where commands run: inputs that are made once, a folder for each run, and what is looked for afterwards."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final, NamedTuple

from training_kit import write_factory, write_squares

from chaos.commands import CASES, Case

__all__ = ["Run", "Violation", "Workplace", "finished", "rows_of", "workplace"]

_MARK: Final = "FTONNX_CHAOS"
_SECONDS: Final = 180
_CAMPAIGN: Final = ("inject", *CASES["inject-temporary"].arguments(Path())[1:])
_ENDS: Final = {".html": "</html>", ".xml": "</testsuites>", ".svg": "</svg>", ".tex": "\\end{table}"}
_LAST_BYTES: Final = {".parquet": b"PAR1", ".pdf": b"%%EOF", ".png": b"IEND\xaeB`\x82"}
_STUDY: Final = """
[study]
name = "small"
seed = 1
repeats = 3
limit = 32

[models]
digits = "digits"

[data.digits]
spec = "digits"

[faults]
rates = {rate = [1e-6, 1e-5]}

[matrix]
protect = ["none", "actmax", "clipact"]
quantize = ["none", "ptq"]

[campaign]
threads = 1

[protection]
iterations = 1
rates = [1e-5, 1e-4]
"""
_CACHES: Final = "torchinductor_"
"""What torch keeps among temporary files, from run to run."""

_KEYS: Final = 3  # columns, such as rate, repeat, batch
_CHILDREN_SECONDS: Final = 15


class Violation(Exception):
    """Something was lost, half written, left behind, or said with the wrong exit code."""


class Run(NamedTuple):
    """What a run ended with."""

    code: int
    out: str
    err: str


@dataclass(slots=True)
class _Expected:
    """What an undisturbed run leaves.

    Attributes:
        seconds: that it took.
        names: of all files that are there.
        files: bytes by the names of those that equal runs write equally.
        counts: of its results folder, if any.
    """

    seconds: float
    names: frozenset[str] = frozenset()
    files: dict[str, bytes] = field(default_factory=dict)
    counts: dict[tuple[Any, ...], tuple[Any, ...]] = field(default_factory=dict)


class Workplace:
    """Runs commands in folders of their own.

    Attributes:
        root: the folder of all this.
        inputs: what commands read.
    """

    def __init__(self, root: Path, *, inputs: bool = True) -> None:
        """Make what commands read, unless those that run here read nothing but a study."""
        self.root = root
        self.inputs = root / "inputs"
        self._expected: dict[str, _Expected] = {}
        self.inputs.mkdir(parents=True)
        (self.inputs / "study.toml").write_text(_STUDY)
        if inputs:
            self._make_inputs()

    def _make_inputs(self) -> None:
        write_squares(self.inputs)
        write_factory(self.inputs)
        shards = [("part1", "--shard", "1/2"), ("part2", "--shard", "2/2"), ("whole",), ("other", "--seed", "1")]
        for name, *more in shards:
            self._must(*_CAMPAIGN, "--results", name, *more)
        shutil.copytree(self.inputs / "whole", self.inputs / "damaged")
        with closing(sqlite3.connect(self.inputs / "damaged" / "units.sqlite")) as database:
            database.execute("UPDATE units SET sdc1 = sdc1 + 1 WHERE repeat = 3")
            database.commit()
        self._must("export", "nets.py:small", "--classes", "3", "--input-shape", "3,8,8", "-o", "small.onnx")
        shutil.rmtree(self.inputs / "tmp", ignore_errors=True)

    def _must(self, *arguments: str) -> None:
        done = finished(start(arguments, self.inputs, self.inputs / "tmp"))
        if done.code:
            raise Violation(f"the inputs cannot be made: {done.err}")

    def folder(self, case: Case, place: Path | None = None) -> Path:
        """Return a new folder to run a command in."""
        folder = Path(tempfile.mkdtemp(prefix=f"{case.name}-", dir=place or self.root))
        if case.name == "repair":
            shutil.copytree(self.inputs / "damaged", folder / "r")
        return folder

    def start(self, case: Case, folder: Path, **options: Any) -> "subprocess.Popen[str]":
        """Start a command in a folder."""
        # a run that was killed once it had written its files is repeated too
        arguments = (*case.arguments(self.inputs), "--force")
        return start(arguments, folder, folder / "tmp", **options)

    def expected(self, case: Case) -> _Expected:
        """Return what an undisturbed run leaves, and how long it takes."""
        if case.name not in self._expected:
            folder = self.folder(case)
            before = time.monotonic()
            done = finished(self.start(case, folder))
            found = _Expected(time.monotonic() - before)
            if done.code:
                raise Violation(f"{case.name} ends with {done.code} where nothing disturbs it: {done.err}")
            found.names = _names(folder)
            found.files = {name: (folder / name).read_bytes() for name in _of(case.files, found.names)}
            if case.results:
                found.counts = counts_of(folder / case.results)
            self._expected[case.name] = found
            self.check_left_behind(case, folder)
            shutil.rmtree(folder)
        return self._expected[case.name]

    def write_older(self, case: Case, folder: Path, content: bytes) -> None:
        """Write something else under the names of all files that a command writes, but for those that it reads."""
        names = self.expected(case).names
        for name in _of((*case.files, *case.timed), names) - _of(case.read_back, names):
            path = folder / name
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            except OSError:
                path.unlink(missing_ok=True)

    def check_whole(self, case: Case, folder: Path, before: bytes | None = None) -> None:
        """Look at every file that a command writes: it is not there, or as before, or whole.

        Raises:
            Violation: it is a part.
        """
        expected = self.expected(case)
        names = _names(folder)
        grown = _of((*case.so_far, *case.timed), names)
        for name in _of(case.files, names) - grown:
            if (folder / name).read_bytes() not in (expected.files.get(name), before):
                raise Violation(f"{case.name}: {name} is half written")
        for name in grown:
            path = folder / name
            if path.read_bytes() != before and not _is_readable(path):
                raise Violation(f"{case.name}: {name} is half written")

    def check_done(self, case: Case, folder: Path, kept: dict[tuple[Any, ...], tuple[Any, ...]]) -> None:
        """Look at what a command has left that ran to its end in the folder where others were disturbed.

        Args:
            case: the command.
            folder: where it ran.
            kept: the rows that were recorded before.

        Raises:
            Violation: it is not what an undisturbed run leaves, or rows have changed.
        """
        expected = self.expected(case)
        names = _names(folder)
        if names != expected.names:
            missing = sorted(expected.names - names)
            more = sorted(names - expected.names)
            raise Violation(f"{case.name}: missing after a disturbed run: {missing}; left by it: {more}")
        for name, content in expected.files.items():
            if (folder / name).read_bytes() != content:
                raise Violation(f"{case.name}: {name} is another one after a disturbed run")
        if case.results:
            if counts_of(folder / case.results) != expected.counts:
                raise Violation(f"{case.name}: other counts after a disturbed run")
            rows = rows_of(folder / case.results)
            changed = [key for key, row in kept.items() if rows.get(key) != row]
            if changed and case.name != "repair":
                raise Violation(f"{case.name}: {len(changed)} units were lost and measured again")
        self.check_left_behind(case, folder)

    def check_left_behind(self, case: Case, folder: Path) -> None:
        """Look for temporary files, parts of files, and processes.

        Raises:
            Violation: there are some.
        """
        until = time.monotonic() + _CHILDREN_SECONDS
        while (left := _processes_of(folder)) and time.monotonic() < until:
            time.sleep(0.05)
        if left:
            for process in left:
                os.kill(process, signal.SIGKILL)
            raise Violation(f"{case.name}: {len(left)} processes are left")
        temporary = [path.name for path in (folder / "tmp").glob("*") if not path.name.startswith(_CACHES)]
        if case.temporary:
            temporary = [name for name in temporary if not (folder / "tmp" / name / "campaign.json").exists()]
        if temporary:
            raise Violation(f"{case.name}: left in the folder for temporary files: {temporary}")
        parts = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix in (".part", ".tmp")]
        if parts:
            raise Violation(f"{case.name}: parts are left: {parts}")


def start(arguments: tuple[str, ...], folder: Path, temporary: Path, **options: Any) -> "subprocess.Popen[str]":
    """Start the command line as a process of its own."""
    temporary.mkdir(exist_ok=True)
    environment = os.environ | {"TMPDIR": str(temporary), _MARK: str(folder), "FTONNX_CACHE": "off"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    command = [sys.executable, "-m", "ftonnx", *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, **(pipes | options))


def finished(process: "subprocess.Popen[str]", seconds: float = _SECONDS) -> Run:
    """Wait for a process.

    Raises:
        Violation: it does not end.
    """
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        process.kill()
        raise Violation(f"{process.args} does not end within {seconds:g} s") from error
    return Run(process.returncode, out or "", err or "")


def rows_of(results: Path) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Return the recorded units of all campaigns in a folder, by place and key; none where there is no database yet."""
    found = {}
    for path in results.rglob("units.sqlite"):
        if not (path.parent / "campaign.json").exists():
            continue
        place = str(path.parent.relative_to(results))
        with closing(sqlite3.connect(path)) as database:
            database.row_factory = sqlite3.Row
            rows = [dict(row) for row in database.execute("SELECT * FROM units")]
        found |= {(place, *list(row.values())[:_KEYS]): tuple(row.items()) for row in rows}
    return found


def counts_of(results: Path) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Return the same without times and check values."""
    return {
        key: tuple(item for item in row if item[0] not in ("wall_ns", "check")) for key, row in rows_of(results).items()
    }


def _names(folder: Path) -> frozenset[str]:
    """Return the files below a folder by their relative paths, without temporary ones."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return frozenset(str(file) for file in files if file.parts[0] != "tmp")


def _of(patterns: tuple[str, ...], names: frozenset[str]) -> frozenset[str]:
    """Return the names that match a pattern."""
    return frozenset(name for name in names if any(fnmatch(name, pattern) for pattern in patterns))


def _is_readable(path: Path) -> bool:
    if path.suffix == ".pth":
        return zipfile.is_zipfile(path)
    if path.suffix in _LAST_BYTES:
        return path.read_bytes().rstrip(b"\n").endswith(_LAST_BYTES[path.suffix])
    text = path.read_text()
    if path.suffix == ".jsonl":
        lines = text.splitlines()
        # a log grows by lines; the last one may be in work
        return all(_is_json(line) for line in lines[:-1])
    if path.suffix == ".json":
        return _is_json(text)
    return text.rstrip().endswith(_ENDS.get(path.suffix, ""))


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _processes_of(folder: Path) -> list[int]:
    """Return the processes that a command in a folder has started, and that are still there."""
    wanted = f"{_MARK}={folder}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_ours = wanted in (process / "environ").read_bytes().split(b"\0")
            is_dead = (process / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            continue
        if is_ours and not is_dead:
            found.append(int(process.name))
    return found


@contextmanager
def workplace(root: Path | None = None) -> Iterator[Workplace]:
    """Yield a place to work in, which is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="ftonnx-chaos-", dir=root) as folder:
        yield Workplace(Path(folder))
