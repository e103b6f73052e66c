"""A Dask cluster: two workers against `--jobs 2`, and what tasks and units cost scheduler and client.

    python benchmarks/cluster.py [--rounds 3 | --quick] [--models resnet18] [--units 800] [--task-seconds 5]

The same campaign runs in turn in two worker processes and on a cluster of two workers on this machine, one thread each;
both must find the same counts. The ratio is that of the seconds from the first recorded unit to the last. Beside it:
processor time of the scheduler per task, that of the client per task and per unit, and the bytes of a batch. Both run
on without a task too, so what one costs is told by many short ones (``--models digits --task-seconds 0.02``), of which
``docs/cluster_plan.py`` makes a plan. A cluster needs ``ftonnx[dask]``, a network ``ftonnx[torch]`` (random weights,
fault rate 1e-6).
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil
from lines import options_of, print_line
from nets import fp32, images_for
from pairing import compared, interleaved

from ftonnx import evaluate
from ftonnx.campaign.run import on_dask
from ftonnx.campaign.run.dask_cluster import Cluster

GOAL: Final = 1 / 0.95
RATE: Final = 1e-6
IMAGES: Final = 64
PER_PATTERN: Final = 8
WORKERS: Final = 2


def main() -> None:
    """Run both campaigns for every model and print a line."""
    parser = options_of(__doc__, rounds=3, quick=1, threads=False)
    parser.add_argument("--models", nargs="+", default=["resnet18"])
    parser.add_argument("--units", type=int, default=800, help="units of a campaign")
    parser.add_argument("--task-seconds", type=float, default=on_dask.TASK_SECONDS, help="that a task is meant to take")
    options = parser.parse_args()
    on_dask.TASK_SECONDS = options.task_seconds  # type: ignore[misc]  # nobody else changes it
    for name in options.models:
        print_line(**measure(name, options.units, options.rounds))


def measure(name: str, units: int, rounds: int) -> dict[str, Any]:
    """Return the line of one model.

    Raises:
        SystemExit: the campaigns differ in a count.
    """
    with tempfile.TemporaryDirectory(prefix="ftonnx-") as folder, cluster(Path(folder)) as (address, scheduler):
        processes = _Campaign(name, units, {"jobs": WORKERS})
        dask = _Campaign(name, units, {"engine": "dask", "scheduler": address}, scheduler)
        interleaved({"processes": processes.run, "dask": dask.run}, rounds, warm_up=0)
    if processes.found != dask.found:
        raise SystemExit(f"{name}: {WORKERS} processes and {WORKERS} Dask workers disagree")
    return {
        "case": f"{name}-{WORKERS}-dask-workers",
        "figures": compared(processes.running, dask.running),
        "reference": f"the same campaign in {WORKERS} processes, one thread each, from the first unit to the last",
        "goal": round(GOAL, 3),
        "whole": compared(processes.seconds, dask.seconds)["ratio"],
        "units": dask.units,
        "tasks": dask.tasks,
        "scheduler_ms_per_task": round(1e3 * dask.scheduler_seconds / max(1, dask.tasks), 2),
        "client_ms_per_task": round(1e3 * dask.client_seconds / max(1, dask.tasks), 2),
        "client_ms_per_unit": round(1e3 * dask.client_seconds / dask.units, 3),
        "batch_mb": round(dask.batch_bytes / 1e6, 3),
    }


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Start a scheduler and its workers; yield its address and its process."""
    file = folder / "scheduler.json"
    place = ("--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0")
    scheduler = started(folder, "dask_scheduler", "--port", "0", *place, "--scheduler-file", str(file))
    workers = []
    try:
        while not file.exists():
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        workers = [started(folder, "dask_worker", address, "--nthreads", "1", *place) for _ in range(WORKERS)]
        yield address, psutil.Process(scheduler.pid)
    finally:
        for process in (*workers, scheduler):
            process.terminate()
            process.wait()


def started(folder: Path, name: str, *arguments: str) -> "subprocess.Popen[bytes]":
    """Start a process of Dask's."""
    environment = os.environ | {"DASK_TEMPORARY_DIRECTORY": str(folder)}
    command = [sys.executable, "-m", f"distributed.cli.{name}", *arguments]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=quiet, stderr=quiet)


@contextmanager
def counted_tasks() -> Iterator[list[str]]:
    """Yield the keys of all tasks that are submitted in the block."""
    keys: list[str] = []
    submit = Cluster.submit

    def counting(cluster: Cluster, function: Any, *arguments: Any) -> str:
        keys.append(submit(cluster, function, *arguments))
        return keys[-1]

    Cluster.submit = counting  # type: ignore[method-assign]
    try:
        yield keys
    finally:
        Cluster.submit = submit  # type: ignore[method-assign]


class _Campaign:
    """One of the campaigns that are compared.

    Attributes:
        units: number of its units.
        seconds: of every run.
        running: seconds of every run from the first recorded unit to the last.
        found: the last run's outcomes per rate.
        tasks: of the last run on a cluster.
        scheduler_seconds: processor time of the scheduler in the last run.
        client_seconds: processor time of this process in the last run, from the first recorded unit to the last.
        batch_bytes: of a batch of images.
    """

    def __init__(self, name: str, units: int, where: dict[str, Any], scheduler: psutil.Process | None = None) -> None:
        images = images_for(name, IMAGES)
        self._model = fp32(name)
        self._data = [(images, [index % 10 for index in range(IMAGES)])]
        self._where = where
        self._scheduler = scheduler
        batches = IMAGES // PER_PATTERN
        self._repeats = -(-units // batches)
        self.units = self._repeats * batches
        self.batch_bytes = images.nbytes // batches
        self.seconds: list[float] = []
        self.running: list[float] = []
        self.found: list[dict[str, Any]] = []
        self.tasks = 0
        self.scheduler_seconds = 0.0
        self.client_seconds = 0.0

    def run(self) -> None:
        """Run it in a new results folder."""
        moments: list[tuple[float, float]] = []
        before = self._scheduler_time()
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder, counted_tasks() as tasks:
            result = evaluate(
                self._model,
                self._data,
                rates=[RATE],
                repeats=self._repeats,
                images_per_pattern=PER_PATTERN,
                threads=1,
                strategy="live",
                results=Path(folder) / "results",
                progress=lambda done, total: moments.append((time.perf_counter(), time.process_time())),
                **self._where,
            )
        self.seconds.append(time.perf_counter() - start)
        # the first one tells of the beginning
        (first, first_cpu), (last, last_cpu) = moments[1], moments[-1]
        self.running.append(last - first)
        self.tasks = len(tasks)
        self.client_seconds = last_cpu - first_cpu
        self.scheduler_seconds = self._scheduler_time() - before
        self.found = [rate.to_dict() for rate in result.rates]

    def _scheduler_time(self) -> float:
        if self._scheduler is None:
            return 0.0
        times = self._scheduler.cpu_times()
        return float(times.user + times.system)


if __name__ == "__main__":
    main()
