"""What campaigns cost on this machine: strategies, threads, batch sizes and processes, measured on one model."""

import itertools
import math
import platform
import statistics
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ftonnx.campaign.bench_result import BenchResult, Comparison, Configuration, StrategyTime
from ftonnx.campaign.campaign import Campaign
from ftonnx.campaign.inputs import fitted
from ftonnx.campaign.judging import judging_of
from ftonnx.campaign.plan.schedule import Schedule, Unit
from ftonnx.campaign.plan.settings import Settings
from ftonnx.campaign.provenance import header_of, identity_of
from ftonnx.campaign.run.batch import BatchRunner, golden_limit
from ftonnx.campaign.run.processes import cores
from ftonnx.campaign.store.folder import Store
from ftonnx.datasets import Dataset, as_dataset
from ftonnx.errors import DataError, UsageError
from ftonnx.files import cpu_name, scratch_folder
from ftonnx.inject import BitFlipRates, OnnxModel
from ftonnx.runtime import FaultySession, free_memory
from ftonnx.runtime.session_model import session_model
from ftonnx.samples import Samples
from ftonnx.sessions import (
    SessionOptions,
    dimension,
    fixed_batch,
    free_inputs,
    open_session,
    padded,
    resolve_providers,
    run_session,
    saturation_caution,
)

__all__ = ["bench", "machine"]

_Batch = tuple[Samples, NDArray[Any]]
_Recorder = Callable[[BatchRunner], None]
_Key = TypeVar("_Key", bound=Hashable)

_BATCH: Final = 32
_OTHER_BATCHES: Final = (8, 128, 512)
_SHARES: Final = {"strategies": 0.2, "one": 0.1, "threads": 0.15, "batches": 0.2, "jobs": 0.35}
_LEAST_ROUNDS: Final = 2
_MOST_ROUNDS: Final = 51
_LEAST_UNITS: Final = 6  # per process
_AS_FAST: Final = 0.97  # of the fastest; what lies between is noise
_HOUR: Final = 3600
_MOST_VALUES: Final = 2**28  # of one random image


def bench(
    model: OnnxModel,
    data: Dataset | None = None,
    *,
    rate: float = 1e-6,
    providers: Sequence[str] = ("cpu",),
    seconds: float = 20.0,
    step: Callable[[str], None] = lambda name: None,
) -> BenchResult:
    """Measure units of a campaign on this machine.

    Args:
        model: the model.
        data: labelled images; random ones of the model's shape by default.
        rate: bit-fault rate of the units.
        providers: execution providers in priority order, full or partial names.
        seconds: what the measurements share; opening sessions comes on top, and every case is run a few times.
        step: called with the name of each part before it starts.

    Raises:
        UsageError: the model leaves its input's shape open and there is no data; a bad rate, provider or time.
        ModelError: the model cannot run, or is no classifier.
        DataError: the data does not fit it.
    """
    if not 0 < seconds < math.inf:
        raise UsageError(f"a time above 0 seconds was expected, got {seconds}")
    data = None if data is None else fitted(data, model)
    options = SessionOptions(providers=resolve_providers(providers), threads=cores())
    with scratch_folder() as folder, golden_limit(None):
        return _Bench(model, data, rate, options, seconds, folder).run(step)


class _Bench:
    """One measurement: its model and images, and the folder that its parts share."""

    def __init__(
        self, model: OnnxModel, data: Dataset | None, rate: float, options: SessionOptions, seconds: float, folder: Path
    ) -> None:
        self._model = model
        self._data = data
        self._options = options
        self._folder = folder
        self._shares = {part: share * seconds for part, share in _SHARES.items()}
        self._rate = rate
        self._faults = BitFlipRates(rate)
        self._shape = () if data else _image_shape(model)
        base = fixed_batch(model.structure) or _BATCH
        self._batch = self._images(min(base, len(data)) if data else base)
        measured = as_dataset([self._batch], name="bench")
        self._task, output = judging_of(model.structure, measured, len(self._batch[1]))
        self._classes = measured.classes
        self._settings = Settings(providers=options.providers, output=output)
        self._schedule = Schedule.of(model, self._faults, self._settings)
        self._space = self._schedule.model_space
        self._session = self._opened("auto", self._batch)
        self._sessions = {self._session.strategy: self._session}
        self._left_out: list[str] = []

    def run(self, step: Callable[[str], None]) -> BenchResult:
        """Measure everything."""
        with self._recording() as record:
            step("strategies")
            usual = self._compared(self._session, self._batch, self._shares["strategies"], record)
            one = self._one_image(record)
            self._session.share(self._folder / "shared")
            step("threads")
            found = self._threads(record)
            step("batch sizes")
            found += self._batch_sizes(record, _best(found))
        step("processes")
        found += self._jobs(_best(found))
        return BenchResult(
            model={"name": self._model.name, "sha256": self._model.sha256, "bits": self._space.bits},
            data=self._data.name if self._data else "random images",
            machine=machine(),
            rate=self._rate,
            expected_faults=self._rate * self._space.bits,
            batch_size=usual.batch_size,
            threads=cores(),
            ordinary_ms=usual.ordinary_ms,
            strategies=usual.strategies,
            why=_why(usual.strategies),
            one_image=one,
            configurations=tuple(found),
            left_out=tuple(self._left_out),
            best=_best(found),
            warnings=self._warnings(),
        )

    def _warnings(self) -> tuple[str, ...]:
        """Say whether the batch is classified no better than by guessing, and whether the processor is exact."""
        found = [saturation_caution(self._session.saturating)]
        if self._data is not None:
            found.append(self._runner(self._session, self._batch).caution(self._data.classes))
        return tuple(text for text in found if text is not None)

    def _one_image(self, record: _Recorder) -> Comparison | None:
        """Compare strategies on single images, as a deployed model mostly gets them; what is chosen may differ."""
        if self._session.batch_size or len(self._batch[1]) == 1:
            return None
        batch = self._images(1)
        chosen = self._opened("auto", batch)
        return self._compared(chosen, batch, self._shares["one"], record)

    def _compared(self, chosen: FaultySession, batch: _Batch, share: float, record: _Recorder) -> Comparison:
        """Measure a fault-free ordinary run and the strategies, the chosen one first, on one batch."""
        for other in chosen.others:
            if other not in self._sessions:
                self._sessions[other] = self._opened(other, batch)
        sessions = {chosen.strategy: chosen}
        for name in chosen.others:
            sessions[name] = self._sessions[name]
        images = padded(batch[0], chosen.batch_size)
        plain = open_session(session_model(self._model.structure), self._options)
        works: dict[tuple[str, str], Callable[[], object]] = {
            ("ordinary", ""): partial(run_session, plain, chosen.feeds(images))
        }
        for name, session in sessions.items():
            works["golden", name] = partial(session.golden, images)
            works["faulty", name] = self._unit(session, batch, record)
        seconds = _timed(works, share)
        ordinary = seconds["ordinary", ""]
        strategies = []
        for name, session in sessions.items():
            faulty = seconds["faulty", name]
            each = StrategyTime(
                name=name,
                chosen=session is chosen,
                fault_free_ms=1e3 * seconds["golden", name],
                faulty_ms=1e3 * faulty,
                ratio=faulty / ordinary,
                note=session.fallback,
            )
            strategies.append(each)
        return Comparison(
            batch_size=len(batch[1]),
            ordinary_ms=1e3 * ordinary,
            strategies=tuple(strategies),
        )

    def _opened(self, strategy: str, batch: _Batch) -> FaultySession:
        return FaultySession(
            self._model,
            self._space,
            providers=self._options.providers,
            threads=cores(),
            strategy=strategy,
            sample=batch[0],
        )

    def _threads(self, record: _Recorder) -> list[Configuration]:
        """Measure units with all cores, half and a quarter of them, and one."""
        counts = sorted({max(1, cores() // part) for part in (1, 2, 4)} | {1}, reverse=True)
        works = {threads: self._unit(self._open(threads), self._batch, record) for threads in counts}
        seconds = _timed(works, self._shares["threads"])
        return [_configuration(1, threads, len(self._batch[1]), seconds[threads]) for threads in counts]

    def _batch_sizes(self, record: _Recorder, known: Configuration) -> list[Configuration]:
        """Measure units of other batch sizes; those that would take too long are left out."""
        session, found = self._open(known.threads), []
        sizes = () if session.batch_size else _OTHER_BATCHES
        share = self._shares["batches"] / len(_OTHER_BATCHES)
        for size in (size for size in sizes if self._data is None or size <= len(self._data)):
            expected = size / known.images_per_second
            if (1 + _LEAST_ROUNDS) * expected > 4 * share:
                self._left_out.append(f"batches of {size} images: a unit would take about {expected:.2g} s")
                continue
            seconds = _timed({size: self._unit(session, self._images(size), record)}, share)[size]
            found.append(_configuration(1, known.threads, size, seconds))
        return found

    def _jobs(self, known: Configuration) -> list[Configuration]:
        """Measure campaigns in several processes, on all cores together."""
        counts, found = sorted({cores(), cores() // 4} - {0, 1}), []
        for jobs in counts:
            needed, free = jobs * _own_memory(), free_memory()
            if needed > free:
                self._left_out.append(f"{jobs} processes: about {needed >> 20} MiB, {free >> 20} MiB are free")
                continue
            units = max(_LEAST_UNITS * jobs, int(self._shares["jobs"] / len(counts) * known.units_per_hour / _HOUR))
            threads = cores() // jobs
            seconds = self._seconds_per_unit(jobs, threads, known.batch_size, units)
            found.append(_configuration(jobs, threads, known.batch_size, seconds))
        return found

    def _seconds_per_unit(self, jobs: int, threads: int, batch_size: int, units: int) -> float:
        """Run a campaign and return the time per unit over its second half, when all processes are at work."""
        settings = replace(
            self._settings,
            repeats=units,
            images_per_pattern=batch_size,
            batch_size=batch_size,
            threads=threads,
            strategy=self._session.strategy,
            jobs=jobs,
        )
        data = as_dataset([self._images(batch_size)], name="bench")
        campaign = Campaign(self._model, data, self._faults, settings=settings, results=self._folder / f"jobs-{jobs}")
        times: list[float] = []
        campaign.run(progress=lambda done, total: times.append(time.perf_counter()))
        half = len(times) // 2
        return (times[-1] - times[half]) / (len(times) - 1 - half)

    def _open(self, threads: int) -> FaultySession:
        """Open the chosen strategy again, with its own number of threads."""
        shared = self._folder / "shared"
        return FaultySession.from_shared(
            shared, self._model, self._space, providers=self._options.providers, threads=threads
        )

    def _unit(self, session: FaultySession, batch: _Batch, record: _Recorder) -> Callable[[], None]:
        """Return what runs and records a fresh unit."""
        return partial(record, self._runner(session, batch))

    def _runner(self, session: FaultySession, batch: _Batch) -> BatchRunner:
        images, labels = batch
        size = len(labels)
        settings = replace(self._schedule.settings, images_per_pattern=size, batch_size=size)
        schedule = replace(self._schedule, settings=settings)
        return BatchRunner(session, schedule, self._task, images, labels, classes=self._classes)

    @contextmanager
    def _recording(self) -> Iterator[_Recorder]:
        """Yield what runs a fresh unit and records it, as a campaign does."""
        numbers = itertools.count()
        data = as_dataset([self._batch], name="bench")
        identity = identity_of(self._model, data, self._schedule, self._task)
        header = header_of(self._model, data, self._schedule, identity, self._session)
        with Store.create_or_resume(self._folder / "units", header) as store:
            yield lambda runner: store.add(runner.run(Unit(self._rate, next(numbers), 0)))

    def _images(self, count: int) -> _Batch:
        """Return the first images of the data, or random ones."""
        if self._data is not None:
            return next(self._data.batches(count))
        images = np.random.default_rng(0).standard_normal((count, *self._shape), np.float32)
        return images, np.zeros(count, np.int64)


def _timed(works: Mapping[_Key, Callable[[], object]], seconds: float) -> dict[_Key, float]:
    """Run the works in turn, in changing order, until the time is up; return each one's median seconds.

    The first round does not count. Two rounds are run at least.
    """
    taken: dict[_Key, list[float]] = {key: [] for key in works}
    start = time.perf_counter()
    for turn in range(_MOST_ROUNDS + 1):
        if turn > _LEAST_ROUNDS and time.perf_counter() - start > seconds:
            break
        for key in works if turn % 2 else reversed(list(works)):
            before = time.perf_counter()
            works[key]()
            taken[key].append(time.perf_counter() - before)
    return {key: statistics.median(each[1:]) for key, each in taken.items()}


def _configuration(jobs: int, threads: int, batch_size: int, seconds: float) -> Configuration:
    return Configuration(
        jobs=jobs,
        threads=threads,
        batch_size=batch_size,
        units_per_hour=_HOUR / seconds,
        images_per_second=batch_size / seconds,
    )


def _best(found: Sequence[Configuration]) -> Configuration:
    """Return the first of those that are as fast as the fastest."""
    fastest = max(each.images_per_second for each in found)
    return next(each for each in found if each.images_per_second >= _AS_FAST * fastest)


def _why(strategies: Sequence[StrategyTime]) -> str:
    """Say why the first strategy is in use."""
    first, *others = (f"{each.name} {each.ratio:.2f}" for each in strategies)
    times = f"a unit's time over a fault-free run of an ordinary session: {', '.join((first, *others))}"
    return "; ".join(filter(None, (strategies[0].note, times)))


def _image_shape(model: OnnxModel) -> tuple[int, ...]:
    """Return the shape of one image.

    Raises:
        UsageError: the model leaves it open.
        DataError: it is too large for random images.
    """
    inputs = free_inputs(model.structure)
    if not inputs:
        raise UsageError(f"{model.name} has no input, so there is nothing to measure")
    images = inputs[0]
    sizes = [dimension(images, axis) for axis in range(1, len(images.type.tensor_type.shape.dim))]
    shape = tuple(size for size in sizes if size is not None)
    if len(shape) < len(sizes) or not shape:
        raise UsageError(f"{model.name} leaves the shape of {images.name!r} open; give `data` with its images")
    if math.prod(shape) > _MOST_VALUES:
        raise DataError(f"{model.name} wants images of shape {shape}, too large for random ones; give `data`")
    return shape


def _own_memory() -> int:
    """Return the bytes that this process holds."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def machine() -> dict[str, Any]:
    """Return what times depend on: processor, cores that may be used, system, versions."""
    return {
        "cpu": cpu_name(),
        "cores": cores(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
    }
