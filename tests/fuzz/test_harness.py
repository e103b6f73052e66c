"""The fuzz harness finds what it is to find, lets pass what is fine, and repeats itself."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from fuzz import command
from fuzz.children import rng_of
from fuzz.inputs import Odd, write_input
from fuzz.registry import TARGETS
from fuzz.targets.options import Goals

ROOT = Path(__file__).parents[2]

BAD_TARGETS = """
import json, logging, os, sys, tempfile, time, warnings
from pathlib import Path
from fuzz.children import Limits, run_cases
from fuzz.target import Target
from ftonnx.errors import DataError, FtonnxError


class Bad(Target):
    name = "bad"

    def write_seeds(self, folder):
        pass

    def read(self, folder):
        {"fine": self.fine, "refused": self.refused, "raises": self.raises, "long": self.long, "crashes": os.abort,
         "hangs": self.hangs, "spins": self.spins, "eats": self.eats, "prints": self.prints, "warns": self.warns,
         "logs": self.logs, "exits": sys.exit, "own log": self.own_log}[(folder / "what").read_text()]()

    def fine(self):
        pass

    def refused(self):
        raise DataError("no data; bring some")

    def raises(self):
        raise KeyError("x")

    def long(self):
        raise FtonnxError("x" * 10**5)

    def hangs(self):
        time.sleep(1000)

    def spins(self):
        while True:
            pass

    def eats(self):
        bytearray(64 << 20)[:] = b"x" * (64 << 20)

    def prints(self):
        os.write(2, b"native code says hello")

    def warns(self):
        warnings.warn("odd")

    def logs(self):
        logging.getLogger("PIL").warning("odd")

    def own_log(self):
        logging.getLogger("ftonnx.x").warning("for the user")


names = json.loads(sys.argv[1])
found = {}
for number in range(len(names)):
    place = Path(tempfile.mkdtemp())
    make = lambda number: {"what": names[number].encode()}
    limits = Limits(seconds=0.5 if names[number] == "hangs" else 600.0, memory=32 << 20, busy_seconds=2.0)
    (outcome,) = run_cases(Bad(), make, [number], place, limits, 0)
    found[names[number]] = outcome.end or outcome.finding.what
print(json.dumps(found))
"""


def child(*arguments, **options):
    """Run Python in the repository's root."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), *sys.path])}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip


def table(printed):
    """Return the numbers in the table of all targets by their names."""
    rows = [line.split() for line in printed.splitlines()]
    found = {row[0]: tuple(map(int, row[1:])) for row in rows if row and row[0] in TARGETS}
    assert found.keys() == TARGETS.keys()
    return found


def test_every_bad_end_is_found_and_every_good_one_is_not():
    """What a target can do, one case each in a child of its own."""
    expected = {
        "fine": "read", "refused": "refused", "own log": "read", "long": "refused", "raises": "KeyError",
        "crashes": "crash (SIGABRT)", "hangs": "hang", "spins": "hang", "eats": "memory", "prints": "printed",
        "warns": "warning (UserWarning)", "logs": "warning (log of PIL)", "exits": "SystemExit",
    }  # fmt: skip
    done = child("-c", BAD_TARGETS, json.dumps(list(expected)))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected


@pytest.mark.slow
def test_a_few_cases_of_every_target_find_nothing():
    """With a fixed seed, through the command line."""
    done = child("-m", "tests.fuzz", "--seed", "20261127", "--cases", "8")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    for cases, read, refused, findings in table(done.stdout).values():
        assert cases == read + refused > 0
        assert findings == 0


def test_every_target_has_its_turn_though_turns_take_longer_than_they_may(monkeypatch):
    """As on a busy machine, where a case is in the midst when its turn is over."""
    now = [0.0]
    monkeypatch.setattr(command, "time", SimpleNamespace(monotonic=lambda: now[0]))
    asked = SimpleNamespace(minutes=5.0, cases=None, case=None, again=None, sound=False, jobs=1)
    job = command._Job(asked, list(TARGETS.values()), {}, Path("nowhere"), 0)
    had = []

    def take(target, until):
        had.append(target.name)
        now[0] = until + 1.5

    monkeypatch.setattr(job, "_turn", take)
    job.run()
    assert set(had) == set(TARGETS)
    assert 300 <= now[0] <= 302


@pytest.mark.slow
def test_what_is_mutated_is_sound_before(tmp_path):
    """A target that refuses everything would find nothing."""
    done = child("-m", "tests.fuzz", "--sound", "--keep", str(tmp_path / "kept"))
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    for cases, read, refused, findings in table(done.stdout).values():
        assert cases == read > 0
        assert refused == findings == 0
    assert not (tmp_path / "kept").exists()


def test_a_case_is_the_same_wherever_it_runs():
    """Its seed, its target and its number say all of it."""
    target = Goals()
    seeds = [{"goals.txt": b"min-accuracy 1e-6:0.90\nmax-drop env:0.02"}]
    cases = [target.mutated(seeds, rng_of(3, target, number)) for number in (*range(20), *range(20))]
    assert cases[:20] == cases[20:]
    assert len({str(case) for case in cases}) > 10


@pytest.mark.parametrize("odd", Odd)
def test_odd_files_are_what_they_are_called(tmp_path, odd):
    """And lie where a file was expected."""
    write_input({"a/b": odd, "c": b"x"}, tmp_path / "case")
    place = tmp_path / "case" / "a" / "b"
    assert place.is_dir() == (odd is Odd.FOLDER)
    assert place.is_fifo() == (odd is Odd.PIPE)
    assert place.is_symlink() == (odd is Odd.OWN_LINK)
    assert (tmp_path / "case" / "c").read_bytes() == b"x"
