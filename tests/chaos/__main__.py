"""``python -m tests.chaos kills|interrupts|full-disk``, from the repository's root."""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest does

from chaos.commands import CASES
from chaos.full_disk import can_mount, fill, limit, needed
from chaos.kills import interrupt, kill_some
from chaos.workplace import Violation, workplace

_KILLS_AT_ONCE = 8


def main() -> int:
    """Do what was asked for, and print what went wrong; 1 where anything did."""
    asked = _parsed()
    random = Random(asked.seed)
    names = asked.only or list(CASES)
    done: Counter[str] = Counter()
    wrong: list[str] = []
    until = time.monotonic() + asked.minutes * 60
    with workplace() as place:
        mounts = asked.kind == "full-disk" and can_mount(place.root)
        turns = 0
        while done.total() < asked.count * (len(names) if asked.kind == "full-disk" else 1):
            if time.monotonic() > until:
                break
            case = CASES[names[turns % len(names)]]
            turns += 1
            try:
                if asked.kind == "kills":
                    done[case.name] += _KILLS_AT_ONCE
                    kill_some(place, case, _KILLS_AT_ONCE, random)
                elif asked.kind == "interrupts":
                    done[case.name] += 1
                    interrupt(place, case, random)
                else:
                    done[case.name] += 1
                    size = _size(place, case, random, mounts)
                    code = fill(place, case, size, random) if mounts else limit(place, case, size)
                    done[f"{case.name}: exit {code}"] += 0
            except Violation as violation:
                wrong.append(str(violation))
                print(f"VIOLATION {violation}", flush=True)
            print(f"{case.name}: {done.total()} {asked.kind}, {len(wrong)} violations", flush=True)
    for name, number in sorted(done.items()):
        print(f"{name}: {number}")
    print(f"{done.total()} {asked.kind}, {len(wrong)} violations")
    return bool(wrong)


_sizes: dict[str, int] = {}


def _size(place, case, random, mounts):
    """Return a size from nothing to a little more than the command needs."""
    if case.name not in _sizes:
        _sizes[case.name] = needed(place, case) if mounts else 2**20
    return random.randrange(0, int(1.1 * _sizes[case.name]) + 1)


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("kind", choices=("kills", "interrupts", "full-disk"))
    parser.add_argument("--count", type=int, default=100, help="kills or interruptions in all, or sizes per command")
    parser.add_argument("--minutes", type=float, default=1e6, help="at most")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and sizes")
    parser.add_argument("--only", action="append", choices=list(CASES), metavar="NAME", help="commands; repeatable")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
