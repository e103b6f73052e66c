"""How many workers a campaign on Dask can feed: the table of docs/how-to/machines.md, by simulation.

    python docs/cluster_plan.py [--unit-ms 160] [--units-per-batch 80] [--batch-mb 4.8] ...

A campaign is simulated task by task, with costs that ``benchmarks/cluster.py`` measures. The client puts a task
together and sends it, its images travel over the client's network, the scheduler handles it, a worker does it,
scheduler and client take in the answer. Client, scheduler and network do one thing at a time; two tasks per worker are
on their way. Prints, for 10 to 10,000 workers, the share of the workers' time that is used, and what is busy how much
of it.
"""

import argparse
import heapq
from collections import deque
from dataclasses import dataclass
from typing import Final

WORKERS: Final = (10, 100, 1_000, 10_000)
AHEAD: Final = 2
TASKS_PER_WORKER: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What is measured, and what is planned.

    Attributes:
        unit: seconds of a worker for a unit.
        units_per_batch: of a batch, which are done one after the other.
        batch_bytes: of its images.
        task: seconds that a task is meant to take.
        scheduler_task: seconds of its processor for a task.
        scheduler_byte: likewise for each byte of images, which pass through it.
        client_task: seconds of the client's processor for a task.
        client_byte: likewise for each byte of images.
        client_unit: likewise for a unit, with its place in the results folder.
        bandwidth: bytes per second of the client's network.
    """

    unit: float
    units_per_batch: int
    batch_bytes: float
    task: float
    scheduler_task: float
    scheduler_byte: float
    client_task: float
    client_byte: float
    client_unit: float
    bandwidth: float

    @property
    def units(self) -> int:
        """Units of a task."""
        return max(1, int(self.task / self.unit))

    @property
    def batches(self) -> float:
        """Batches of a task, whole ones where it has more units than a batch."""
        return max(1.0, self.units / self.units_per_batch)

    @property
    def nbytes(self) -> float:
        """Bytes of a task's images."""
        return self.batches * self.batch_bytes


class Line:
    """Something that does one thing after the other."""

    def __init__(self) -> None:
        self.free = 0.0
        self.busy = 0.0

    def use(self, now: float, seconds: float) -> float:
        """Take it for some time as soon as it is free; return when it is done."""
        self.free = max(now, self.free) + seconds
        self.busy += seconds
        return self.free


def used(workers: int, costs: Costs) -> tuple[float, dict[str, float]]:
    """Return the share of the workers' time that is used, and the shares in which everything else is busy."""
    client, scheduler, network = Line(), Line(), Line()
    # a golden run takes as long as a unit
    work = (costs.units + costs.batches) * costs.unit
    before = (
        (client, costs.client_task / 2 + costs.nbytes * costs.client_byte),
        (network, costs.nbytes / costs.bandwidth),
        (scheduler, costs.scheduler_task / 2 + costs.nbytes * costs.scheduler_byte),
    )
    after = (
        (scheduler, costs.scheduler_task / 2),
        (client, costs.client_task / 2 + costs.units * costs.client_unit),
    )
    left = TASKS_PER_WORKER * workers
    first = min(left, AHEAD * workers)
    # (moment, number of the task, what is next of the stages before and after the work)
    events = [(0.0, number, 0) for number in range(first)]
    left -= first
    waiting: deque[int] = deque()
    idle = workers
    now = 0.0
    while events:
        now, task, stage = heapq.heappop(events)
        if stage < len(before):
            line, seconds = before[stage]
            heapq.heappush(events, (line.use(now, seconds), task, stage + 1))
        elif stage == len(before):
            waiting.append(task)
        elif stage < len(before) + 1 + len(after):
            line, seconds = after[stage - len(before) - 1]
            idle += stage == len(before) + 1
            heapq.heappush(events, (line.use(now, seconds), task, stage + 1))
        elif left:
            left -= 1
            heapq.heappush(events, (now, task, 0))
        while idle and waiting:
            idle -= 1
            heapq.heappush(events, (now + work, waiting.popleft(), len(before) + 1))
    busy = {"client": client.busy / now, "scheduler": scheduler.busy / now, "network": network.busy / now}
    return TASKS_PER_WORKER * work / now, busy


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unit-ms", type=float, default=160.0, help="of a worker for a unit")
    parser.add_argument("--units-per-batch", type=int, default=80, help="rates times repeats")
    parser.add_argument("--batch-mb", type=float, default=4.8, help="of the images of a batch")
    parser.add_argument("--task-seconds", type=float, default=5.0)
    parser.add_argument("--scheduler-ms", type=float, default=2.0, help="of the scheduler for a task")
    parser.add_argument("--scheduler-mb-ms", type=float, default=2.9, help="of the scheduler for a MB of images")
    parser.add_argument("--client-ms", type=float, default=1.6, help="of the client for a task")
    parser.add_argument("--client-mb-ms", type=float, default=1.6, help="of the client for a MB of images")
    parser.add_argument("--client-unit-ms", type=float, default=0.03, help="of the client for a unit")
    parser.add_argument("--gigabits", type=float, default=10.0, help="per second, of the client's network")
    options = parser.parse_args()
    costs = Costs(
        unit=options.unit_ms / 1e3,
        units_per_batch=options.units_per_batch,
        batch_bytes=options.batch_mb * 1e6,
        task=options.task_seconds,
        scheduler_task=options.scheduler_ms / 1e3,
        scheduler_byte=options.scheduler_mb_ms / 1e9,
        client_task=options.client_ms / 1e3,
        client_byte=options.client_mb_ms / 1e9,
        client_unit=options.client_unit_ms / 1e3,
        bandwidth=options.gigabits / 8 * 1e9,
    )
    print("| workers | used | client | scheduler | network |")
    print("|---|---|---|---|---|")
    for workers in WORKERS:
        share, busy = used(workers, costs)
        cells = " | ".join(f"{busy[name]:.0%}" for name in ("client", "scheduler", "network"))
        print(f"| {workers:,} | {share:.0%} | {cells} |")


if __name__ == "__main__":
    main()
