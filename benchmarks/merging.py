"""Seconds and memory of a merge of many shards: ``python benchmarks/merging.py [--shards 1000] [--units 1000000]``.

The shards' folders are made up: their headers are a real campaign's, their counts are not.
"""

import argparse
import json
import resource
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

import ftonnx
from ftonnx.campaign.plan.schedule import Unit
from ftonnx.campaign.store.folder import Record, Store
from ftonnx.tasks import Counts

_IMAGES_PER_BATCH: Final = 8
_BATCHES: Final = 45  # of the embedded test images
_RATE: Final = 1e-5


def main() -> None:
    """Make the shards, merge them, and print what that took as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--units", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        folders = shards(place, options.shards, options.units)
        # a process of its own would be measured without what making them took; its peak is far above the merge's
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        merged = ftonnx.merge(folders, place / "all", partial=True)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {"shards": len(folders), "units": merged.units, "seconds": round(seconds, 1)}
    print(json.dumps(found | {"peak_mb": round(peak / 1024), "peak_before_mb": round(before / 1024)}))


def shards(place: Path, count: int, units: int) -> list[Path]:
    """Make folders of one campaign that hold so many units in all."""
    first = place / "first"
    repeats = units // (count * 2)  # two batches each
    settings = {"repeats": repeats, "strategy": "live", "threads": 1, "shard": f"1/{_BATCHES * repeats}"}
    ftonnx.evaluate("digits", "digits", rates=[_RATE], results=first, **settings)
    with Store.open(first) as store:
        header = store.header
        (golden, *_) = store.golden_runs().values()
        (some, *_) = store.units().values()
    folders = []
    for number in range(count):
        path = place / f"{number}"
        with Store.create_or_resume(path, header) as store:
            for batch in (2 * number, 2 * number + 1):
                store.add_golden(batch, golden)
                for repeat in range(repeats):
                    counts = Counts({name: value % _IMAGES_PER_BATCH for name, value in some.outcomes.items()})
                    store.add(Record(Unit(_RATE, repeat, batch), counts, 20, 1_000_000))
        folders.append(path)
    shutil.rmtree(first)
    return folders


if __name__ == "__main__":
    main()
