"""Merging: what putting many shards together takes, in fresh processes.

    python benchmarks/merging.py [--rounds 3 | --quick] [--shards 1000] [--units 1000000]

Cases: seconds of ``ftonnx merge`` (the smallest; the reference is a minute) and its peak memory (the reference is
500 MB). The shards' folders are made up: their headers are those of a real campaign, and every unit has the outcomes of
its first one.
"""

import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from lines import options_of, print_line, smallest

import ftonnx
from ftonnx.campaign.plan.schedule import Unit
from ftonnx.campaign.store.folder import Record, Store

RATE: Final = 1e-5
BATCHES: Final = 45  # of the embedded test images
MINUTE: Final = 60.0
MOST_MB: Final = 500.0


def main() -> None:
    """Make the shards, merge them, and print a line for time and one for memory."""
    parser = options_of(__doc__, rounds=3, quick=1, threads=False)
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--units", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ftonnx-") as name:
        folder = Path(name)
        shards = made(folder, options.shards, options.units)
        wall, peaks = zip(*(merged(shards, folder / f"all{each}") for each in range(options.rounds)), strict=True)
    size = {"shards": options.shards, "units": options.units}
    print_line("merging-seconds", smallest([each / MINUTE for each in wall]), "1 min", 1.0, **size)
    print_line("merging-memory", smallest([each / MOST_MB for each in peaks]), "500 MB", 1.0, **size)


def made(folder: Path, count: int, units: int) -> list[Path]:
    """Make the folders of a campaign's shards, with so many units in all."""
    repeats = math.ceil(units / BATCHES)
    settings = {"repeats": repeats, "strategy": "live", "threads": 1, "shard": f"1/{BATCHES * repeats}"}
    ftonnx.evaluate("digits", "digits", rates=[RATE], results=folder / "first", **settings)
    with Store.open(folder / "first") as store:
        header = store.header
        golden = store.golden_runs()[0]
        (record,) = store.units().values()
    shards = [folder / f"{number}" for number in range(count)]
    for number, shard in enumerate(shards):
        own = [divmod(unit, repeats) for unit in range(number * units // count, (number + 1) * units // count)]
        with Store.create_or_resume(shard, header) as store:
            for batch in sorted({batch for batch, _ in own}):
                store.add_golden(batch, golden)
            for batch, repeat in own:
                store.add(Record(Unit(RATE, repeat, batch), record.outcomes, record.n_faults, record.wall_ns))
    return shards


def merged(shards: list[Path], output: Path) -> tuple[float, float]:
    """Return the seconds that a merge takes, and its peak memory in MB."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "ftonnx", "merge", *map(str, shards), "-o", str(output), "--partial"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"ftonnx merge ended with {status}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
