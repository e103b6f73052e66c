"""Worker processes: a whole campaign with N workers of one thread against one process of one thread.

    python benchmarks/workers.py [--rounds 3 | --quick] [--models resnet18 digits] [--jobs 2] [--units 40]

The two campaigns run in turn, each from opening the model to the summary, in a new results folder; they must find the
same counts. ``--units`` is the number of units for a network; the embedded model, whose units take milliseconds, gets
five hundred times as many. ``running`` is the same ratio without opening and starting: from the first recorded unit to
the last. Needs ``ftonnx[torch]`` to make a network (random weights, fault rate 1e-6).
"""

import tempfile
import time
from pathlib import Path
from typing import Any, Final

from lines import options_of, print_line
from nets import fp32, images_for
from pairing import compared, interleaved

from ftonnx import evaluate, load_dataset

GOAL: Final = 1 / 1.8
EMBEDDED: Final = "digits"
RATE: Final = 1e-6
BATCHES: Final = 2
BATCH_SIZES: Final = {EMBEDDED: 128}


def main() -> None:
    """Run both campaigns for every model and print a line."""
    parser = options_of(__doc__, rounds=3, quick=1, threads=False)
    parser.add_argument("--models", nargs="+", default=["resnet18", EMBEDDED], help="networks, or digits")
    parser.add_argument("--jobs", type=int, default=2, help="worker processes, 2 by default")
    parser.add_argument("--units", type=int, default=40, help="units of a campaign on a network")
    options = parser.parse_args()
    for name in options.models:
        print_line(**measure(name, options.jobs, options.units, options.rounds))


def measure(name: str, jobs: int, units: int, rounds: int) -> dict[str, Any]:
    """Return the line of one model.

    Raises:
        SystemExit: the campaigns differ in a count.
    """
    _Campaign(name, 1, 1).run()  # fills the cache of layouts
    alone, together = (_Campaign(name, count, units) for count in (1, jobs))
    interleaved({"alone": alone.run, "together": together.run}, rounds, warm_up=0)
    if alone.found != together.found:
        raise SystemExit(f"{name}: one process and {jobs} workers disagree")
    figures = compared(alone.seconds, together.seconds)
    return {
        "case": f"{name}-{jobs}-workers",
        "figures": figures,
        "reference": "the same campaign in one process, one thread each",
        "goal": round(GOAL, 3),
        "throughput": round(1 / figures["ratio"], 3),
        "running": compared(alone.running, together.running)["ratio"],
        "units": alone.units,
    }


class _Campaign:
    """One of the campaigns that are compared.

    Attributes:
        units: number of its units.
        seconds: of every run.
        running: seconds of every run from the first recorded unit to the last.
        found: the last run's outcomes per rate.
    """

    def __init__(self, name: str, jobs: int, units: int) -> None:
        self._model, self._jobs = fp32(name), jobs
        batch = BATCH_SIZES.get(name, 32)
        if name == EMBEDDED:
            self._data: Any = EMBEDDED
            batches, units = -(-len(load_dataset(EMBEDDED)) // batch), 500 * units
        else:
            images = images_for(name, BATCHES * batch)
            self._data, batches = [(images, [index % 1000 for index in range(len(images))])], BATCHES
        self._repeats, self._batch = -(-units // batches), batch
        self.units = self._repeats * batches
        self.seconds: list[float] = []
        self.running: list[float] = []
        self.found: list[dict[str, Any]] = []

    def run(self) -> None:
        """Run it in a new results folder."""
        moments: list[float] = []
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            result = evaluate(
                self._model,
                self._data,
                rates=[RATE],
                repeats=self._repeats,
                batch_size=self._batch,
                threads=1,
                strategy="live",
                jobs=self._jobs,
                results=Path(folder) / "results",
                progress=lambda done, total: moments.append(time.perf_counter()) if done else None,
            )
        self.seconds.append(time.perf_counter() - start)
        self.running.append(moments[-1] - moments[0])
        self.found = [rate.to_dict() for rate in result.rates]


if __name__ == "__main__":
    main()
