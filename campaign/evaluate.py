"""Running a campaign: every unit once, batch by batch, recorded as soon as it is finished."""

import logging
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from ftonnx.campaign.interrupt import StopRequest, stop_on_signals
from ftonnx.campaign.plan import CampaignSettings, Unit
from ftonnx.campaign.result import CampaignResult
from ftonnx.campaign.runner import BatchRunner
from ftonnx.campaign.store import SCHEMA_VERSION, Store
from ftonnx.campaign.task import Classification, Task
from ftonnx.datasets import Dataset, as_dataset, load_dataset
from ftonnx.errors import DataError, ModelError, StoreError, UsageError
from ftonnx.inject import FaultSpace, OnnxModel, load_model
from ftonnx.models import resolve
from ftonnx.runtime import FaultySession, fixed_batch, padded

__all__ = ["Campaign", "Progress", "evaluate"]

Progress = Callable[[int, int], None]
"""Called with (units done, units in all) after every unit."""

_DEFAULT_BATCH: Final = 128
_logger = logging.getLogger(__name__)


def evaluate(
    model: "str | Path | onnx.ModelProto | OnnxModel",
    data: "str | Dataset | Iterable[tuple[NDArray[Any], NDArray[Any]]]",
    *,
    rates: Sequence[float],
    repeats: int = 10,
    batch_size: int | None = None,
    seed: int = 0,
    format: str = "auto",
    targets: Sequence[str] = ("weight", "bias"),
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    strategy: str = "auto",
    providers: Sequence[str] = ("cpu",),
    threads: int | None = None,
    results: str | Path | None = None,
    progress: Progress | None = None,
) -> CampaignResult:
    """Measure a model's accuracy under bit flips at several fault rates.

    Args:
        model: an ONNX file, an embedded model's name, or a model in memory.
        data: a data set's spec (see ``load_dataset``), a data set, or any iterable of
            (images float (batch, channels, height, width), labels integer (batch,)).
        rates: flips per bit, each in [0, 1].
        repeats: fault patterns per rate and batch.
        batch_size: images that share a fault pattern; 128, or what the model insists on, by default.
        seed: of the fault patterns.
        format: how float tensors are seen as bits: ``auto`` (= ``q15.16``), ``ieee``, ``qM.N``.
        targets: roles that can flip: weight, bias, scale, zero_point.
        include: patterns of tensor names; where given, only these can flip.
        exclude: patterns of tensor names that cannot flip.
        strategy: ``auto``, ``live`` or ``rebuild``.
        providers: execution providers in priority order, full or partial names.
        threads: intra-op threads; None leaves the choice to ONNX Runtime.
        results: results folder; an interrupted campaign in it is continued. A temporary one by default.
        progress: called after every unit with (done, total).

    Raises:
        FtonnxError: one of its children, for anything wrong with the arguments, the model, the data
            or the results folder; ``Interrupted`` after SIGINT or SIGTERM.
    """
    loaded = open_model(model)
    settings = CampaignSettings(
        rates=tuple(rates),
        repeats=repeats,
        batch_size=choose_batch_size(loaded, batch_size),
        seed=seed,
        format=format,
        targets=tuple(targets),
        include=tuple(include),
        exclude=tuple(exclude),
        strategy=strategy,
        providers=tuple(providers),
        threads=threads,
    )
    campaign = Campaign(loaded, open_data(data, loaded), settings, results=results)
    return campaign.run(progress=progress)


class Campaign:
    """A campaign whose model, data and settings have been found to fit together.

    Attributes:
        model: the model.
        data: the data set.
        settings: the settings.
        space: the model's fault space.
        session: the session that runs with faults.
        units: number of units in all.
    """

    def __init__(
        self,
        model: OnnxModel,
        data: Dataset,
        settings: CampaignSettings,
        *,
        results: str | Path | None = None,
        task: Task | None = None,
    ) -> None:
        """Validate everything and open the session; nothing is written yet.

        Raises:
            FtonnxError: one of its children, see ``evaluate``.
        """
        self.model, self.data, self.settings = model, data, settings
        self._task: Task = task or Classification()
        self._results = None if results is None else Path(results).absolute()
        self.space = FaultSpace.of(
            model,
            format=settings.format,
            roles=settings.targets,
            include=settings.include,
            exclude=settings.exclude,
        )
        recorded = None if self._results is None else Store.recorded_header(self._results, self._identity())
        images, labels = next(data.batches(settings.batch_size))
        self.session = FaultySession(
            model,
            self.space,
            providers=settings.providers,
            threads=settings.threads,
            strategy=recorded["engine"]["strategy"] if recorded else settings.strategy,
            sample=padded(images, fixed_batch(model.proto)),
        )
        self._runner(images, labels)  # refuses data and models that do not fit the task
        self.units = settings.batches(len(data)) * len(settings.rates) * settings.repeats

    def run(self, *, progress: Progress | None = None) -> CampaignResult:
        """Run every unit that is not recorded yet and sum up.

        Raises:
            Interrupted: SIGINT or SIGTERM came; every finished unit is recorded.
            StoreError: the results folder is damaged, full, in use, or another campaign's.
            ModelError: the model file changed meanwhile.
        """
        folder = self._results or Path(tempfile.mkdtemp(prefix="ftonnx-"))
        try:
            with Store.create_or_resume(folder, self._header()) as store, stop_on_signals() as stop:
                self._work(store, stop, progress or (lambda done, total: None))
                self.model.check_unchanged()
                return CampaignResult.of(store)
        except (ModelError, DataError, UsageError):  # after a signal or a full disk, what is recorded stays
            if self._results is None:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        except StoreError:
            if self._results is None:
                with suppress(OSError):
                    folder.rmdir()  # fails where something is recorded in it
            raise

    def forecast(self) -> dict[str, Any]:
        """Return what a run would do: units, expected faults per unit, seconds by a measurement of one unit."""
        images, labels = next(self.data.batches(self.settings.batch_size))
        start = time.perf_counter()
        runner = self._runner(images, labels)
        golden_seconds = time.perf_counter() - start
        record = runner.run(Unit(self.settings.rates[-1], 0, 0))
        batches = self.settings.batches(len(self.data))
        return {
            "bits": self.space.bits,
            "units": self.units,
            "batches": batches,
            "strategy": self.session.strategy,
            "expected_faults": {rate: rate * self.space.bits for rate in self.settings.rates},
            "seconds": batches * golden_seconds + self.units * record.wall_ns * 1e-9,
        }

    def _work(self, store: Store, stop: StopRequest, progress: Progress) -> None:
        done, goldens = set(store.units()), store.golden()
        count = len(done)
        progress(count, self.units)
        for batch, (images, labels) in enumerate(self.data.batches(self.settings.batch_size)):
            todo = [unit for unit in self.settings.units_of_batch(batch) if unit not in done]
            if not todo and batch in goldens:
                continue
            runner = self._runner(images, labels)
            if batch not in goldens:
                store.add_golden(batch, runner.golden)
            for unit in todo:
                stop.raise_if_asked(f"{count} of {self.units} units are recorded in {store.path}")
                store.add(runner.run(unit))
                count += 1
                progress(count, self.units)

    def _runner(self, images: NDArray[np.float32], labels: NDArray[np.int64]) -> BatchRunner:
        return BatchRunner(
            self.session, self.space, self.settings, self._task, images, labels, classes=self.data.classes
        )

    def _identity(self) -> dict[str, Any]:
        """Return what decides the counts; a folder holds one identity."""
        return {
            "model": self.model.sha256,
            "data": self.data.fingerprint,
            "fault_space": self.space.fingerprint,
            "settings": self.settings.to_dict(),
            "versions": versions(),
        }

    def _header(self) -> dict[str, Any]:
        """Return the content of ``campaign.json``."""
        path = self.model.path
        return {
            "schema_version": SCHEMA_VERSION,
            "identity": self._identity(),
            "model": {"name": self.model.name, "path": path and str(path), "sha256": self.model.sha256},
            "data": {
                "name": self.data.name,
                "split": self.data.split,
                "samples": len(self.data),
                "sha256": self.data.fingerprint,
            },
            "fault_space": {
                "bits": self.space.bits,
                "elements": self.space.elements,
                "targets": len(self.space.targets),
                "formats": list(self.space.formats),
            },
            "settings": self.settings.to_dict(),
            "engine": {
                "strategy": self.session.strategy,
                "fallback": self.session.fallback,
                "providers": list(self.session.options.providers),
                "threads": self.settings.threads,
                "onnxruntime": onnxruntime.__version__,
            },
            "machine": {
                "python": platform.python_version(),
                "onnx": onnx.__version__,
                "platform": platform.platform(),
                "cpu": _cpu(),
            },
        }


def versions() -> dict[str, str]:
    """Return the versions of what decides results; onnxruntime's own, whichever of its wheels is installed."""
    return {
        "ftonnx": metadata.version("ftonnx"),
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
    }


def open_model(model: "str | Path | onnx.ModelProto | OnnxModel") -> OnnxModel:
    """Load a model by path or by the name of an embedded one."""
    if isinstance(model, str | Path):
        return load_model(resolve(model), name=Path(model).stem)
    return load_model(model)


def open_data(data: "str | Dataset | Iterable[tuple[NDArray[Any], NDArray[Any]]]", model: OnnxModel) -> Dataset:
    """Load a data set by its spec, preprocessed as the model's metadata asks; or wrap given batches."""
    if isinstance(data, str):
        return load_dataset(data, model_metadata=model.metadata)
    return as_dataset(data)


def choose_batch_size(model: OnnxModel, wanted: int | None) -> int:
    """Return the batch size to use.

    Raises:
        UsageError: the model insists on another one than ``wanted``.
    """
    fixed = fixed_batch(model.proto)
    if wanted is not None and fixed not in (None, wanted):
        raise UsageError(f"{model.name} takes batches of exactly {fixed} images, got --batch-size {wanted}")
    return (fixed or _DEFAULT_BATCH) if wanted is None else wanted


def _cpu() -> str:
    """Return the processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
