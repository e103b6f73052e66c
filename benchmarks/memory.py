"""Memory: the peak of ``ftonnx inject`` above the peak of a plain fault-free session, in sizes of the weights.

    python benchmarks/memory.py [--rounds 3 | --quick] [--model resnet50] [--batch 32] [--threads 2]

Every peak (``ru_maxrss``) is that of a fresh process on the same model and batches (64 random images). The reference is
a Python process that imports onnxruntime and numpy, opens a session with default options, and runs all batches, outputs
discarded. ``ratio`` = (peak - reference peak) / bytes of the stored weights, medians over rounds. Cases: the layout is
found anew, or read from the cache; FP32 and int8, whose weights are small beside the interpreter: 60 MB count as
reached there. Needs ``ftonnx[torch]`` to make the networks (random weights).

The resident set counts pages of files too, those that are mapped twice (packed weights, while bits in them are flipped)
twice. ``anonymous_ratio`` is the same of anonymous memory alone (``RssAnon``), looked at every 5 ms; None where the
system does not tell.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from lines import options_of, print_line
from nets import fp32, images_for, int8

from ftonnx.inject import FaultSpace

IMAGES: Final = 64
GOALS: Final = {"fp32": 1.5, "int8": 2.0}
SMALL: Final = 60_000_000
"""Bytes that int8 models may take in any case."""
_PLAIN: Final = """
import sys
import numpy as np
import onnxruntime as ort
model, data, batch, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
options = ort.SessionOptions()
options.intra_op_num_threads = threads
images = np.load(data)["images"]
session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
for start in range(0, len(images), batch):
    session.run(None, {name: images[start : start + batch]})
"""
_PEAK: Final = """
import re, resource, subprocess, sys, time
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
anonymous = 0
while child.poll() is None:
    try:
        status = open(f"/proc/{child.pid}/status").read()
    except OSError:
        status = ""
    found = re.search(r"RssAnon:\\s+(\\d+)", status)
    if found:
        anonymous = max(anonymous, int(found[1]))
    time.sleep(0.005)
if child.returncode:
    sys.exit(child.returncode)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, anonymous)
"""


class Peak(NamedTuple):
    """The most bytes that a process had in memory, and of them those that belong to no file (0: nobody knows)."""

    resident: int
    anonymous: int


def main() -> None:
    """Measure every case and print its line."""
    parser = options_of(__doc__, rounds=3, quick=1)
    parser.add_argument("--model", default="resnet50", help="network, resnet50 by default")
    parser.add_argument("--batch", type=int, default=32, help="images per batch")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ftonnx-") as name:
        folder = Path(name)
        images = images_for(options.model, IMAGES)
        np.savez(folder / "images.npz", images=images, labels=np.zeros(IMAGES, np.int64))
        for precision, path in (("fp32", fp32(options.model)), ("int8", int8(options.model))):
            measure(options.model, precision, path, folder, options)


def measure(network: str, precision: str, model: Path, folder: Path, options: Namespace) -> None:
    """Print the lines of one model."""
    name, batch, threads = f"{network}-{precision}", options.batch, options.threads
    data, size = str(folder / "images.npz"), FaultSpace.of(model).bits // 8
    goal = GOALS[precision]
    if precision == "int8":
        goal = max(goal, round(SMALL / size, 2))
    plain = [sys.executable, "-c", _PLAIN, str(model), data, str(batch), str(threads)]
    inject = [sys.executable, "-m", "ftonnx", "inject", str(model), "--data", f"npz:{data}", "--rate", "1e-6"]
    inject += ["--repeats", "2", "--batch-size", str(batch), "--threads", str(threads), "--results"]
    cache = str(folder / f"cache-{name}")
    peak_of([*inject, str(folder / f"{name}-fill")], cache)
    peaks: dict[str, list[Peak]] = {"plain": [], "first": [], "cached": []}
    for turn in range(options.rounds):
        peaks["plain"].append(peak_of(plain, "off"))
        peaks["first"].append(peak_of([*inject, str(folder / f"{name}-first-{turn}")], "off"))
        peaks["cached"].append(peak_of([*inject, str(folder / f"{name}-cached-{turn}")], cache))
    reference = statistics.median(peak.resident for peak in peaks["plain"])
    anonymous = statistics.median(peak.anonymous for peak in peaks["plain"])
    for case in ("first", "cached"):
        ratios = sorted(round((peak.resident - reference) / size, 2) for peak in peaks[case])
        own = statistics.median(peak.anonymous for peak in peaks[case])
        figures = {"ratio": statistics.median(ratios), "low": ratios[0], "high": ratios[-1], "n": options.rounds}
        print_line(
            f"memory-{name}-{case}", figures, "peak of a fault-free session", goal,
            reference_mb=round(reference / 1e6), weights_mb=round(size / 1e6), batch=batch, threads=threads,
            anonymous_ratio=round((own - anonymous) / size, 2) if anonymous else None,
        )  # fmt: skip


def peak_of(command: list[str], cache: str) -> Peak:
    """Return the peak of a command; a small process in between starts it."""
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, *command],
        env={**os.environ, "FTONNX_CACHE": cache},
        capture_output=True,
        text=True,
        check=True,
    )
    resident, anonymous = (1024 * int(number) for number in done.stdout.split())
    return Peak(resident, anonymous)


if __name__ == "__main__":
    main()
