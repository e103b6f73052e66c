"""The command line: how long, from which seed, what; findings are printed, kept, and counted."""

import argparse
import functools
import itertools
import os
import re
import secrets
import shutil
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from fuzz.children import Limits, in_child, rng_of, run_cases
from fuzz.inputs import read_input
from fuzz.registry import TARGETS

_LONGEST_TURN = 30.0
"""Seconds for which a target has the processor before it is another one's turn."""

_PATIENT = Limits(seconds=60.0, busy_seconds=20.0)
"""For what seemed to hang: on a busy machine that may be somebody else's doing."""

_VALUES = re.compile(r"'[^']*'|\"[^\"]*\"|/\S+|[0-9][\w.+-]*")


@dataclass
class Tally:
    """What came of one target's cases.

    Attributes:
        ends: how many were read, refused, no case.
        refusals: messages without the values in them, and how many there were of each.
        findings: by what and where: the numbers of their cases.
    """

    ends: Counter = field(default_factory=Counter)
    refusals: Counter = field(default_factory=Counter)
    findings: dict = field(default_factory=dict)

    def add(self, outcome):
        """Count a case; return whether it is the first of its kind."""
        if outcome.finding is None:
            self.ends[outcome.end] += 1
            self.refusals[_VALUES.sub("…", outcome.message)] += outcome.end == "refused"
            return False
        key = (outcome.finding.what, outcome.finding.place)
        self.findings.setdefault(key, []).append(outcome.number)
        return len(self.findings[key]) == 1

    def __add__(self, other):
        findings = {
            key: self.findings.get(key, []) + other.findings.get(key, []) for key in self.findings | other.findings
        }
        return Tally(self.ends + other.ends, self.refusals + other.refusals, findings)


def main(arguments):
    """Run cases and return the exit code: 1 where anything was found."""
    asked = _parsed(arguments)
    # of one machine only: what is found is reproduced by the same line elsewhere
    targets = [TARGETS[name] for name in asked.target or sorted(TARGETS)]
    print(f"seed {asked.seed}, {len(targets)} targets", flush=True)
    scratch = Path(tempfile.mkdtemp(prefix="ftonnx-fuzz-"))
    try:
        tallies = _all_jobs(asked, targets, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return _told(asked, tallies)


def _parsed(arguments):
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Feed mutated inputs to every reader.")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=1.0, help="time for all targets together (default: 1)")
    length.add_argument("--cases", type=int, help="number of cases of each target, in place of a time")
    length.add_argument("--case", type=int, help="run one case, by its number")
    length.add_argument("--sound", action="store_true", help="run all inputs as they are before they are mutated")
    length.add_argument("--again", type=Path, metavar="DIR", help="run an input that was kept")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**9), help="default: another one each time")
    parser.add_argument(
        "--target", action="append", choices=sorted(TARGETS), metavar="NAME", help=", ".join(sorted(TARGETS))
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes that run cases at a time (default: 1)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the inputs of findings there")
    parser.add_argument("--refusals", action="store_true", help="list the messages of all refusals, for people to read")
    asked = parser.parse_args(arguments)
    if (asked.case is not None or asked.again is not None) and len(asked.target or ()) != 1:
        parser.error("one case needs one --target")
    return asked


def _all_jobs(asked, targets, scratch):
    """Run the cases of all jobs; job j of n has every n-th case, beginning with j."""
    in_child(lambda: _write_seeds(targets, scratch / "seeds"))
    seeds = {target.name: target.seeds(scratch / "seeds" / target.name) for target in targets}
    if asked.jobs == 1:
        return _Job(asked, targets, seeds, scratch, 0).run()
    with ProcessPoolExecutor(asked.jobs, mp_context=get_context("fork")) as pool:
        parts = pool.map(
            _run_job, [(asked, [each.name for each in targets], seeds, scratch, job) for job in range(asked.jobs)]
        )
        totals = {target.name: Tally() for target in targets}
        for part in parts:
            for name, tally in part.items():
                totals[name] += tally
        return totals


def _write_seeds(targets, place):
    for target in targets:
        folder = place / target.name
        folder.mkdir(parents=True)
        os.chdir(folder)
        target.write_seeds(folder)


def _run_job(given):
    asked, names, seeds, scratch, job = given
    return _Job(asked, [TARGETS[name] for name in names], seeds, scratch, job).run()


class _Job:
    """One process' share of the cases, in turns over the targets."""

    def __init__(self, asked, targets, seeds, scratch, job):
        self._asked = asked
        self._targets = targets
        self._seeds = seeds
        self._is_counted = asked.sound or any(each is not None for each in (asked.cases, asked.case, asked.again))
        self._scratch = scratch / f"job-{job}"
        self._next = dict.fromkeys([target.name for target in targets], job if asked.case is None else asked.case)
        self._tallies = {target.name: Tally() for target in targets}

    def run(self):
        """Return what came of every target's cases."""
        end = time.monotonic() + 60 * self._asked.minutes
        waiting = list(self._targets)
        while waiting and (self._is_counted or time.monotonic() < end):
            for place, target in enumerate(list(waiting), -len(waiting)):
                if not self._is_counted and time.monotonic() >= end:
                    break
                self._turn(target, time.monotonic() + self._seconds(end, -place))
                if not self._left(target):
                    waiting.remove(target)
        return self._tallies

    def _seconds(self, end, targets):
        """Return how long a turn is: they take longer on a busy machine, and the last target is to have one."""
        if self._is_counted:
            return _LONGEST_TURN
        return min(_LONGEST_TURN, (end - time.monotonic()) / targets)

    def _left(self, target):
        """Return the numbers of the cases that a target still has."""
        if self._asked.case is not None or self._asked.again is not None:
            begun = bool(self._tallies[target.name].ends or self._tallies[target.name].findings)
            return [] if begun else [self._next[target.name]]
        if self._asked.sound:
            return range(self._next[target.name], len(self._seeds[target.name]), self._asked.jobs)
        if self._asked.cases is not None:
            return range(self._next[target.name], self._asked.cases, self._asked.jobs)
        return itertools.count(self._next[target.name], self._asked.jobs)

    def _turn(self, target, until):
        for outcome in self._outcomes(target, self._left(target), Limits(), until):
            self._next[target.name] = outcome.number + self._asked.jobs
            if outcome.finding is not None and outcome.finding.what == "hang":
                # another process may have had the processor
                (outcome,) = self._outcomes(target, [outcome.number], _PATIENT, until)
            if self._tallies[target.name].add(outcome):
                _tell(outcome, target, self._asked)
            if outcome.finding is not None:
                self._keep(outcome, target, self._scratch / target.name / f"case-{outcome.number}")

    def _outcomes(self, target, numbers, limits, until):
        folder = self._scratch / target.name
        make = functools.partial(self._input, target)
        # few cases are not worth another one before them
        first = None if self._is_counted else self._seeds[target.name][0]
        return run_cases(target, make, numbers, folder, limits, until, first)

    def _input(self, target, number):
        if self._asked.again is not None:
            return read_input(self._asked.again)
        if self._asked.sound:
            return self._seeds[target.name][number]
        return target.mutated(self._seeds[target.name], rng_of(self._asked.seed, target, number))

    def _keep(self, outcome, target, folder):
        if self._asked.keep is not None:
            kept = self._asked.keep / f"{target.name}-{self._asked.seed}-{outcome.number}"
            shutil.rmtree(kept, ignore_errors=True)
            (kept / "input").mkdir(parents=True)
            for name, content in read_input(folder).items():
                (kept / "input" / name).parent.mkdir(parents=True, exist_ok=True)
                (kept / "input" / name).write_bytes(content)
            (kept / "finding.txt").write_text(f"{_line(outcome, target, self._asked)}\n\n{outcome.finding.text}")
        shutil.rmtree(folder, ignore_errors=True)


def _line(outcome, target, asked):
    return f"python -m tests.fuzz --seed {asked.seed} --target {target.name} --case {outcome.number}"


def _tell(outcome, target, asked):
    found = outcome.finding
    print(
        f"\n{found.what} in {found.place}\n    {_line(outcome, target, asked)}\n{found.text[-2500:].rstrip()}",
        flush=True,
    )


def _told(asked, tallies):
    """Print what came of all cases; return the exit code."""
    print(f"\n{'target':24}{'cases':>9}{'read':>9}{'refused':>9}{'findings':>10}")
    for name, tally in sorted(tallies.items()):
        found = sum(map(len, tally.findings.values()))
        cases = found + tally.ends["read"] + tally.ends["refused"]
        print(f"{name:24}{cases:>9}{tally.ends['read']:>9}{tally.ends['refused']:>9}{found:>10}")
    if asked.refusals:
        for name, tally in sorted(tallies.items()):
            for message, count in tally.refusals.most_common():
                print(f"{name} {count} {message}")
    kinds = [
        (name, *key, numbers) for name, tally in sorted(tallies.items()) for key, numbers in tally.findings.items()
    ]
    for name, what, place, numbers in sorted(kinds):
        print(f"{len(numbers):>6} {name}: {what} in {place}, such as --case {numbers[0]}")
    print(f"seed {asked.seed}: {len(kinds)} kinds of findings", flush=True)
    return 1 if kinds else 0
