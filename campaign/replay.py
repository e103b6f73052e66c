"""Replaying a recorded unit: its faults listed, or written out as a stand-alone faulty model."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ftonnx.campaign.inputs import recorded_model
from ftonnx.campaign.plan.schedule import Unit
from ftonnx.campaign.store.folder import Record, Store
from ftonnx.campaign.store.header import Header
from ftonnx.errors import StoreError, UsageError
from ftonnx.files import write_file
from ftonnx.inject import (
    FaultRecord,
    Faults,
    FaultSpace,
    GuardedMemory,
    OnnxModel,
    faulty_model,
    list_faults,
)
from ftonnx.inject.guards import Decoded
from ftonnx.tasks import Counts, Task
from ftonnx.words import parse_duration, real_number, time_text

__all__ = ["Replay", "ReplayedProtection", "replay"]

_ALIKE: Final = 1e-5  # of a rate: tables show six digits, and 1e-6 a day comes to 9.99999e-7 after a day


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A recorded unit and the faults it ran with.

    Attributes:
        record: the unit with its recorded outcomes.
        faults: the flipped bits in the model, those that guards have left where the memory was protected.
        model: the model it ran on.
        space: the fault space of the model.
        task: what the outcomes mean.
        warnings: what a reader of the recorded outcomes must know first.
        protection: what the guards did; None where there were none.
    """

    record: Record
    faults: Faults
    model: OnnxModel
    space: FaultSpace
    task: Task
    warnings: tuple[str, ...] = ()
    protection: "ReplayedProtection | None" = None

    def list(self) -> list[FaultRecord]:
        """Return every flipped bit with the element's values before and after."""
        return list_faults(self.model.structure, self.space, self.faults)

    def save_model(self, path: str | Path) -> None:
        """Write the model with the faults in it.

        Raises:
            UsageError: ``path`` is the original model, or cannot be written.
        """
        target = Path(path)
        self.model.check_not_overwritten(target)
        write_file(faulty_model(self.model.proto, self.space, self.faults).SerializeToString(), target)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``ftonnx faults --json``."""
        unit = self.record.unit._asdict() | {"n_faults": self.record.n_faults}
        faults = [
            {"tensor": f.tensor, "index": f.index, "bit": f.bit, "before": f.before, "after": f.after}
            for f in self.list()
        ]
        found = {"unit": unit, "recorded": dict(self.record.outcomes), "warnings": [*self.warnings], "faults": faults}
        return found if self.protection is None else found | {"protection": self.protection.to_dict()}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedProtection:
    """What guards did in a recorded unit.

    Attributes:
        memory: the guarded memory.
        drawn: the bits that flipped in it, check bits and copies included.
        decoded: what became of them.
    """

    memory: GuardedMemory
    drawn: Faults
    decoded: Decoded

    @property
    def flips(self) -> list[tuple[str, int, int]]:
        """Array, element and bit of every flip in the memory."""
        targets = self.memory.space.targets
        drawn = self.drawn
        places = zip(drawn.target.tolist(), drawn.element.tolist(), drawn.bit.tolist(), strict=True)
        return [(targets[target].tensor, element, bit) for target, element, bit in places]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        flips = [{"tensor": tensor, "index": element, "bit": bit} for tensor, element, bit in self.flips]
        return {"words": self.decoded.words.to_dict(), "stopped": self.decoded.stopped, "flips": flips}


def replay(
    results: str | Path,
    *,
    rate: float | None = None,
    over: str | float | None = None,
    repeat: int,
    batch: int,
    model: str | Path | None = None,
) -> Replay:
    """Find a recorded unit and its fault pattern: read where it is an injection, else drawn again.

    Args:
        results: results folder.
        rate: one of the campaign's fault rates, as tables show it; None where there is only one, as for injections.
        over: in place of the rate, the time since the memory was loaded, where upsets accumulate: hours, or ``1d``.
        repeat: 0-based repeat or injection.
        batch: 0-based batch.
        model: where the model is now, when it has moved.

    Raises:
        StoreError: no such unit is recorded.
        UsageError: ``rate`` is missing although there are several, or ``over`` is none of the campaign's times.
        ModelError: the model is not the one that ran.
    """
    with Store.open(Path(results).absolute()) as store:
        header = store.header
        units = store.units()
        unit = Unit(_level(header, rate, over), repeat, batch)
        if unit not in units:
            raise StoreError(f"{results} has no unit {_describe(unit)}; {_recorded(units)}")
        faults = store.faults(repeat)
        warnings = _warnings(store)
    loaded = recorded_model(header.model, elsewhere=model)
    space = header.settings.fault_space(loaded)
    plan = header.settings.protection
    memory = None if plan is None else GuardedMemory(plan, space)
    if header.faults.fresh_per_batch:
        space = space.for_units(header.settings.images_per_unit).drawn
    if not len(faults):  # it is no injection, whose faults are recorded, so it is drawn again
        seed, own = header.identity.origin(repeat)
        drawn_from = space if memory is None else memory.space
        faults = header.faults.unit_pattern(drawn_from, seed, level=unit.rate, repeat=own, batch=batch)
    protection = None
    if memory is not None:
        protection = ReplayedProtection(memory=memory, drawn=faults, decoded=memory.decode(faults))
        faults = protection.decoded.faults
        if protection.decoded.stopped:
            warnings += ("a guard has stopped this run: the model did not run with the faults that are left in it",)
    return Replay(
        record=units[unit],
        faults=faults,
        model=loaded,
        space=space,
        task=header.task,
        warnings=warnings,
        protection=protection,
    )


def _warnings(store: Store) -> tuple[str, ...]:
    task = store.header.task
    golden = Counts.total(store.golden().values())
    found = task.caution(task.main.of(golden), store.header.data.classes)
    return () if found is None else (found,)


def _level(header: Header, rate: float | None, over: str | float | None) -> float:
    """Return the level that is asked for.

    Raises:
        UsageError: it is asked for in two ways, or there are several and none is, or a time is none of them.
    """
    if over is not None and rate is not None:
        raise UsageError("a rate or a time was expected, got `rate` and `over`")
    if over is not None:
        return _level_at(header, over)
    return _only_level(header) if rate is None else _level_of(header, float(rate))


def _level_at(header: Header, over: str | float) -> float:
    """Return the level at a time since loading.

    Raises:
        UsageError: upsets do not accumulate in the campaign, or it has no such time.
    """
    hours = parse_duration(over) if isinstance(over, str) else real_number("over", over)
    times = header.faults.times_of(header.levels)
    if not times:
        raise UsageError("the campaign ran at rates, and not at times since loading: `rate` was expected, got `over`")
    if hours not in times:
        raise UsageError(f"one of the campaign's times was expected, {_listed(times)}; got {time_text(hours)}")
    return times[hours]


def _listed(times: Iterable[float]) -> str:
    return ", ".join(map(time_text, times))


def _only_level(header: Header) -> float:
    """Return the only rate of a campaign.

    Raises:
        UsageError: there are several.
    """
    times = header.faults.times_of(header.levels)
    if len(times) > 1:
        raise UsageError(f"the campaign ran at several times; choose one of {_listed(times)} by `over`")
    if len(header.levels) > 1:
        listed = ", ".join(f"{level:g}" for level in header.levels)
        raise UsageError(f"the campaign ran at several rates; choose one of {listed}")
    return header.levels[0]


def _level_of(header: Header, rate: float) -> float:
    """Return the level that a rate is, or else the only one that is nearly it: those computed have more digits."""
    alike = [level for level in header.levels if math.isclose(level, rate, rel_tol=_ALIKE)]
    if rate in header.levels or len(alike) != 1:
        return rate
    return alike[0]


def _describe(unit: Unit) -> str:
    return f"rate {unit.rate:g}, repeat {unit.repeat}, batch {unit.batch}"


def _recorded(units: dict[Unit, Record]) -> str:
    if not units:
        return "none is recorded yet"
    rates = ", ".join(f"{rate:g}" for rate in sorted({unit.rate for unit in units}))
    repeats = max(unit.repeat for unit in units)
    batches = max(unit.batch for unit in units)
    return f"recorded are rates {rates}, repeats 0 to {repeats}, batches 0 to {batches}"
