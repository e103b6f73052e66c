"""A long campaign: whether memory, the file and the time per unit stay what they were in its first tenth.

    python benchmarks/long_campaign.py [--units 1000000 | --quick]

Cases: the growth of the process's memory from its first tenth to its last (the reference is 20 MB), and bytes and
seconds per unit of the second half over those of the first. ``ftonnx inject`` runs in a process of its own, and is
watched from outside.
"""

import math
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
from lines import options_of, print_line

BATCHES: Final = 45  # of the embedded test images
MOST_MB: Final = 20.0
PAUSE: Final = 0.2


@dataclass(frozen=True)
class Seen:
    """What a campaign is like at some moment: units done, seconds, bytes of its folder, memory in MB."""

    units: int
    seconds: float
    size: int
    memory: float


def main() -> None:
    """Run a campaign, and print a line for memory, for bytes and for time."""
    parser = options_of(__doc__, rounds=1, quick=1, threads=False)
    parser.add_argument("--units", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ftonnx-") as name:
        seen = watched(Path(name), math.ceil(options.units / BATCHES))
    total = seen[-1].units
    early, half = (next(each for each in seen if each.units >= share * total) for share in (0.1, 0.5))
    last = seen[-1]
    growth = max(each.memory for each in seen if each.units >= early.units) - early.memory
    size = {"units": total, "seconds": round(last.seconds), "megabytes": round(last.size / 2**20, 1)}
    print_line("long-memory", figures(growth / MOST_MB), "20 MB", 1.0, megabytes_at_a_tenth=round(early.memory), **size)
    print_line(
        "long-bytes", figures(per_unit(half, last, "size") / per_unit(seen[0], half, "size")), "first half", 1.05
    )
    seconds = per_unit(half, last, "seconds") / per_unit(seen[0], half, "seconds")
    print_line("long-seconds", figures(seconds), "first half", 1.1)


def watched(folder: Path, repeats: int) -> list[Seen]:
    """Run a campaign with so many repeats; return what it was like while it ran."""
    results = folder / "results"
    command = [sys.executable, "-m", "ftonnx", "inject", "digits", "--data", "digits", "--rate", "1e-5", "--repeats"]
    command += [str(repeats), "--threads", "1", "--strategy", "live", "--results", str(results), "--json"]
    seen: list[Seen] = []
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        watch = psutil.Process(process.pid)
        start = time.perf_counter()
        while process.poll() is None:
            units = counted(results)
            if units and units < repeats * BATCHES:
                memory = watch.memory_info().rss / 2**20
                seen.append(Seen(units, time.perf_counter() - start, size_of(results), memory))
            time.sleep(PAUSE)
    if process.returncode:
        raise RuntimeError(f"ftonnx inject ended with {process.returncode}")
    return seen


def counted(results: Path) -> int:
    """Return how many units a results folder has."""
    database = results / "units.sqlite"
    if not database.exists():
        return 0
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        try:
            found = connection.execute("SELECT rows FROM totals WHERE of_table = 'units'").fetchone()
        except sqlite3.OperationalError:  # its tables are being made
            return 0
    return found[0] if found else 0


def size_of(results: Path) -> int:
    """Return the bytes of a results folder."""
    return sum(path.stat().st_size for path in results.iterdir())


def per_unit(first: Seen, last: Seen, name: str) -> float:
    """Return by how much something has grown from one moment to another, per unit."""
    return float(getattr(last, name) - getattr(first, name)) / (last.units - first.units)


def figures(ratio: float) -> dict[str, float]:
    """Return figures for ``print_line`` of what is measured once."""
    rounded = round(ratio, 3)
    return {"ratio": rounded, "low": rounded, "high": rounded, "n": 1}


if __name__ == "__main__":
    main()
