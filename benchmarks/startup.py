"""Start-up: seconds of the processor until a command has done its work, in fresh processes.

    python benchmarks/startup.py [--rounds 5 | --quick] [--threads 2]

Cases: ``ftonnx --version``, ``ftonnx --help``, ``ftonnx inject --dry-run`` on the embedded model and on ResNet-50 in
FP32 and int8 (64 random images of 224 px, batch 32), each of the dry runs without and with an entry in the layout
cache. ``ratio`` is the smallest wall-clock time in seconds (the reference is one second), because other work on the
machine only adds to it; ``low`` and ``high`` are the smallest and largest, ``cpu_s`` is the smallest processor time.
Needs ``ftonnx[torch]``.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np
from lines import options_of, print_line, smallest
from nets import FILES, images_for

IMAGES: Final = 64
ONE_SECOND: Final = "1 s"


def main() -> None:
    """Measure every case and print its line."""
    options = options_of(__doc__, rounds=5, quick=2).parse_args()
    with tempfile.TemporaryDirectory(prefix="ftonnx-") as name:
        folder = Path(name)
        np.savez(folder / "images.npz", images=images_for("resnet50", IMAGES), labels=np.zeros(IMAGES, np.int64))
        data = f"npz:{folder / 'images.npz'}"
        threads = ["--threads", str(options.threads)]
        campaign = ["--data", data, "--rate", "1e-6", "--batch-size", "32", *threads]
        measure("startup-version", ["--version"], options.rounds, 0.3, "off")
        measure("startup-help", ["--help"], options.rounds, 0.3, "off")
        nets = {"digits": threads}
        for name, form in (("resnet50", "fp32"), ("resnet50-int8", "int8")):
            nets[name] = [str(FILES[form]("resnet50")), *campaign]
        for net, arguments in nets.items():
            goal = 1.0 if net == "digits" else 4.0
            for case, cache in (("first", "off"), ("cached", str(folder / "cache"))):
                measure(f"startup-{net}-{case}", ["inject", *arguments, "--dry-run"], options.rounds, goal, cache)


def measure(case: str, arguments: list[str], rounds: int, goal: float, cache: str) -> None:
    """Run a command several times and print its line; with a cache, one more run fills it first."""
    if cache != "off":
        run(arguments, cache)
    wall, cpu = zip(*(run(arguments, cache) for _ in range(rounds)), strict=True)
    print_line(case, smallest(wall), ONE_SECOND, goal, cpu_s=round(min(cpu), 3))


def run(arguments: list[str], cache: str) -> tuple[float, float]:
    """Return the seconds of wall clock and of the processor that ``ftonnx`` takes."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "ftonnx", *arguments],
        env={**os.environ, "FTONNX_CACHE": cache},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
