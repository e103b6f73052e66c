"""The same work in other tools: ResNet-50, batch 32, 224 px, one random weight flip per batch, and rate 1e-6.

    python benchmarks/peers.py [--rounds 7 | --quick] [--env DIR] [--threads 2]

PyTorchFI 0.6.0 and MRFI 2.1.0 get an environment of their own, made at the first run (a download of some gigabytes,
kept in the user's cache, or in ``--env``). Each peer is a process that waits for its turn, so rounds are interleaved
with ours. glibc's malloc thresholds are raised for the peers, which saves torch about half of its time on a batch;
their values stand in every line. ``ratio`` is our time over theirs, ``faster`` its inverse. Nobody else flips bits of
int8 models, so our int8 is compared with the peers' FP32.
"""

import itertools
import os
import subprocess
import sys
import venv
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from lines import options_of, print_line
from nets import cache_folder, fp32, images_for, int8
from numpy.typing import NDArray
from pairing import compared, interleaved

from ftonnx.inject import BitFlipRates, FaultCount, FaultModel, FaultSpace, load_model, unit_rng
from ftonnx.models import input_shape
from ftonnx.runtime import FaultySession

REQUIREMENTS: Final = ("torch", "torchvision", "numpy", "scipy", "pyyaml", "setuptools")
PEERS: Final = ("pytorchfi==0.6.0", "mrfi==2.1.0")
"""Installed without their own requirements, which name packages that they do not use."""
MALLOC: Final = {"MALLOC_TRIM_THRESHOLD_": str(2**33), "MALLOC_MMAP_THRESHOLD_": str(2**33)}
RATE: Final = 1e-6
SINGLE: Final = {"pytorchfi": "PyTorchFI 0.6.0", "mrfi": "MRFI 2.1.0"}
WITH_RATE: Final = {"mrfi-rate": "MRFI 2.1.0, Q15.16", "naive-rate": "a naive loop, whole tensors to Q15.16 and back"}
FAULT_FREE: Final = {"torch": "torch, no faults"}
GOALS: Final = {"fp32": round(1 / 1.5, 3), "int8": 1 / 4}


def main() -> None:
    """Interleave all peers and ours, print one line per pair."""
    parser = options_of(__doc__, rounds=7, quick=3)
    parser.add_argument("--env", type=Path, default=cache_folder() / "peers", help="folder of the peers' environment")
    parser.add_argument("--model", default="resnet50", help="network, resnet50 by default")
    parser.add_argument("--batch", type=int, default=32, help="images per batch")
    options = parser.parse_args()
    python = environment(options.env)
    with ExitStack() as stack:
        peers = {name: stack.enter_context(peer(python, name, options)) for name in (*SINGLE, *WITH_RATE, *FAULT_FREE)}
        installed = {name: work for name, work in peers.items() if work is not None}
        if not installed.keys() & SINGLE.keys():
            raise SystemExit("no peer runs here; see the messages above")
        seconds = interleaved(installed | ours(options), options.rounds)
    malloc = " ".join(f"{name}={value}" for name, value in MALLOC.items())
    facts = {"batch": options.batch, "threads": options.threads, "malloc": malloc}
    for mine, theirs in pairs(installed):
        precision = mine.split("-")[0]
        goal = GOALS[precision] if theirs in SINGLE else None
        figures = compared(seconds[theirs], seconds[mine])
        reference = {**SINGLE, **WITH_RATE, **FAULT_FREE}[theirs]
        case = f"{options.model}-{mine}-vs-{theirs}"
        print_line(case, figures, reference, goal, faster=round(1 / figures["ratio"], 2), **facts)


def pairs(installed: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield which work of ours is compared with which of theirs."""
    yield from (("fp32-single", name) for name in (*SINGLE, *FAULT_FREE) if name in installed)
    yield from (("int8-single", name) for name in (*SINGLE, *FAULT_FREE) if name in installed)
    yield from (("fp32-rate", name) for name in WITH_RATE if name in installed)


def ours(options: Namespace) -> dict[str, Callable[[], object]]:
    """Return our own work: a fresh pattern on the whole network, batch by batch, nothing reused."""
    images = images_for(options.model, options.batch)
    sessions = {name: open_on(path, images, options.threads) for name, path in files(options.model).items()}
    patterns: dict[str, tuple[str, FaultModel]] = {
        "fp32-single": ("fp32", FaultCount(1)),
        "int8-single": ("int8", FaultCount(1)),
        "fp32-rate": ("fp32", BitFlipRates(RATE)),
    }
    return {name: faulty_run(*sessions[kind], model, images) for name, (kind, model) in patterns.items()}


def files(model: str) -> dict[str, Path]:
    """Return our files of a network."""
    return {"fp32": fp32(model), "int8": int8(model)}


def open_on(path: Path, images: NDArray[np.float32], threads: int) -> tuple[FaultySession, FaultSpace]:
    """Open a session whose strategy is chosen by measuring."""
    model = load_model(path)
    space = FaultSpace.of(model)
    return FaultySession(model, space, threads=threads, sample=images), space


def faulty_run(
    session: FaultySession, space: FaultSpace, model: FaultModel, images: NDArray[np.float32]
) -> Callable[[], object]:
    """Return a run with a fresh pattern each time."""
    numbers = itertools.count()

    def run() -> object:
        number = next(numbers)
        return session.run(images, model.draw(space, unit_rng(0, RATE, number, 0), number))

    return run


@contextmanager
def peer(python: Path, name: str, options: Namespace) -> Iterator[Callable[[], object] | None]:
    """Start a peer; yield what makes it run one batch, or None where it does not run here."""
    script = Path(__file__).with_name("peer_worker.py")
    given = [name, options.model, options.batch, input_shape(options.model)[-1], options.threads]
    command = [str(python), str(script), *map(str, given)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | MALLOC, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            print(f"{name} does not run here, see above; it is left out", file=sys.stderr)
            yield None
            return
        yield lambda: _one_batch(process)
        process.stdin.close()


def _one_batch(process: "subprocess.Popen[str]") -> None:
    """Let the peer run one batch and wait until it has."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    if not process.stdout.readline():
        raise SystemExit(f"a peer ended in the middle, exit code {process.wait()}")


def environment(folder: Path) -> Path:
    """Return the Python of the peers' environment, made where it is missing."""
    python, complete = folder / "bin" / "python", folder / "complete"
    wanted = "\n".join((*REQUIREMENTS, *PEERS))
    if not complete.exists() or complete.read_text() != wanted:
        print(f"installing {', '.join((*PEERS, *REQUIREMENTS))} into {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        for arguments in (REQUIREMENTS, ("--no-deps", *PEERS)):
            subprocess.run([python, "-m", "pip", "install", "--quiet", *arguments], check=True, stdout=sys.stderr)
        complete.write_text(wanted)
    return python


if __name__ == "__main__":
    main()
