"""Looking at a model and data before a campaign: what would make its numbers say something else than one thinks."""

import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from ftonnx.campaign.inputs import DataLike, ModelLike, choose_batch_size, fitted, insisted_batch, open_data, open_model
from ftonnx.campaign.judging import judging_of
from ftonnx.campaign.plan.feeds import arrays_of_feeds
from ftonnx.campaign.plan.schedule import Schedule, Unit
from ftonnx.campaign.plan.settings import Settings
from ftonnx.campaign.plan.sharing import sized, usual_images_of
from ftonnx.campaign.readiness.golden import GoldenLook
from ftonnx.campaign.readiness.remarks import remarks_on
from ftonnx.campaign.readiness.result import Readiness, Units
from ftonnx.campaign.run.batch import GOLDEN_SECONDS, BatchRunner, golden_limit
from ftonnx.datasets import Dataset
from ftonnx.errors import UsageError
from ftonnx.inject import BitFlipRates, OnnxModel, has_loops
from ftonnx.inject.activations import BATCH
from ftonnx.runtime import FaultySession, ModelInputs, PlainSession, require_end
from ftonnx.samples import Samples, part_of
from ftonnx.sessions import Declared, free_inputs, padded, saturation_caution
from ftonnx.tasks import Task

__all__ = ["check"]

_BATCH: Final = 32  # images per run without faults, so that slow models are not run for long
_UNITS: Final = 3  # are timed
_USUAL_RATE: Final = 1e-6
_FLIPS: Final = 4  # of a unit at least: one without any is not run


def check(
    model: ModelLike,
    data: DataLike,
    *,
    task: Task | None = None,
    settings: Settings | None = None,
    seconds: float = 30.0,
    step: Callable[[str], None] = lambda name: None,
    **options: Any,
) -> Readiness:
    """Look at everything that would make a campaign say something else than one thinks.

    Args:
        model: as in ``evaluate``.
        data: as in ``evaluate``.
        task: as in ``evaluate``.
        settings: how the campaign would be run, see ``Settings``.
        seconds: for fault-free runs, on images from all over the data, and of some images read in other ways; opening
            the model comes on top.
        step: called with the name of each part before it starts.
        **options: fields of ``Settings``, in place of those in ``settings``.

    Raises:
        FtonnxError: one of its children, as ``evaluate``.

    >>> check("digits", "digits", threads=1, strategy="live")
    Readiness(data=Dataset('digits', split='test', images=360, shape=(1, 8, 8), classes=10), ..., look_at=())
    """
    if not seconds > 0:
        raise UsageError(f"a time above 0 seconds was expected, got {seconds}")
    used = Settings.of(settings, options)
    loaded = open_model(model)
    constants = [feed.name for feed in used.constants]
    opened = fitted(open_data(data, loaded), loaded, constants)
    return _Check(loaded, opened, task, used).run(seconds, step)


class _Check:
    """One look: a model, data, and how a campaign on them would be run."""

    def __init__(self, model: OnnxModel, data: Dataset, task: Task | None, settings: Settings) -> None:
        self._model = model
        self._data = data
        self._settings = settings
        self._space = settings.fault_space(model)
        feeds = settings.constants
        wanted = settings.batch_size or insisted_batch(model, feeds) or _BATCH
        self._batch_size = choose_batch_size(model, wanted, feeds)
        structure = model.structure
        if has_loops(structure):
            self._require_end()
        extra = arrays_of_feeds(feeds, structure, self._batch_size, data.sample_shape)
        self._judging = judging_of(structure, data, self._batch_size, task, settings.output, extra)
        session = PlainSession(structure, extra=extra)
        self._look = GoldenLook(session, self._judging, data, self._batch_size)

    def run(self, seconds: float, step: Callable[[str], None]) -> Readiness:
        """Look at everything."""
        with golden_limit(self._settings.unit_timeout):
            step("fault-free runs")
            self._look.run(seconds)
            step("other readings of images and labels")
            readings = self._look.readings()
            step("units")
            units, saturation = self._units()
        structure = self._model.structure
        golden = self._look.outcome
        remarks = remarks_on(
            self._data,
            self._judging.task,
            golden,
            pixels=self._look.pixels,
            readings=readings,
            more=(*self._look.repeats.remarks, self._space.coverage.caution, saturation),
        )
        return Readiness(
            model=self._model,
            data=self._data,
            task=self._judging.task,
            inputs=tuple(Declared.of(value) for value in free_inputs(structure)),
            outputs=tuple(Declared.of(value) for value in structure.graph.output),
            golden=golden,
            counts=tuple(self._data.counts().tolist()),
            channels=self._look.pixels.channels,
            readings=tuple(readings),
            space=self._space,
            units=units,
            look_at=remarks,
        )

    def _require_end(self) -> None:
        """Refuse a model with loops that does not end, in another process."""
        timeout = self._settings.unit_timeout or GOLDEN_SECONDS
        images, _ = next(self._data.batches(self._batch_size))
        opening = self._opening(images, self._batch_size)
        require_end(self._model, self._space, timeout, opening)

    def _opening(self, images: Samples, batch_size: int) -> dict[str, Any]:
        """Return how a session with faults is opened for runs of such images."""
        settings = self._settings
        structure = self._model.structure
        extra = arrays_of_feeds(settings.constants, structure, batch_size, self._data.sample_shape)
        return {
            "providers": settings.providers,
            "threads": settings.threads,
            "strategy": settings.strategy,
            "sample": padded(images, ModelInputs.of(structure, besides=extra).batch_size),
            "extra": extra,
            "cache_memory": settings.cache_memory,
        }

    def _units(self) -> tuple[Units, str | None]:
        """Run some units; return how they run, and whether the processor is exact."""
        rate = min(1.0, max(_USUAL_RATE, _FLIPS / self._space.bits))
        usual = usual_images_of(self._judging.task)
        sizes = sized(self._settings, self._model, pooled=False, usual=usual)
        sizes = replace(sizes, repeats=_UNITS, output=self._judging.output)
        if sizes.activations_per == BATCH:
            # N is that of a run of so many images
            self._space = sizes.fault_space(self._model)
        schedule = Schedule.on(self._space, BitFlipRates(rate), sizes)
        images, labels = next(self._data.batches(schedule.images_per_unit))
        run_size = sizes.batch_size or 1
        opening = self._opening(part_of(images, slice(run_size)), run_size)
        session = FaultySession(self._model, schedule.space, **opening)
        runner = BatchRunner(session, schedule, self._judging.task, images, labels, classes=self._data.classes)
        seconds = [runner.run(Unit(rate, repeat, 0)).wall_ns * 1e-9 for repeat in range(_UNITS)]
        units = Units(
            strategy=session.strategy,
            others=tuple(session.others),
            note=session.fallback,
            images=len(labels),
            milliseconds=1e3 * statistics.median(seconds),
        )
        return units, saturation_caution(session.saturating)
