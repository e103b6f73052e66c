"""Replaying a recorded unit: its faults listed, or written out as a stand-alone faulty model."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ftonnx.campaign.cautions import near_chance
from ftonnx.campaign.evaluate import open_model
from ftonnx.campaign.plan import Unit, draw
from ftonnx.campaign.store import Record, Store
from ftonnx.errors import ModelError, StoreError, UsageError
from ftonnx.inject import (
    BitFlipRate,
    FaultRecord,
    Faults,
    FaultSpace,
    OnnxModel,
    faulty_model,
    list_faults,
)

__all__ = ["Replay", "replay"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A recorded unit and the faults it ran with.

    Attributes:
        record: the unit with its recorded outcomes.
        faults: the flipped bits.
        model: the model it ran on.
        space: the fault space.
        warnings: what a reader of the recorded outcomes must know first.
    """

    record: Record
    faults: Faults
    model: OnnxModel
    space: FaultSpace
    warnings: tuple[str, ...] = ()

    def list(self) -> list[FaultRecord]:
        """Return every flipped bit with the element's values before and after."""
        return list_faults(self.model.proto, self.space, self.faults)

    def save_model(self, path: str | Path) -> None:
        """Write the model with the faults in it; beside the target first, then renamed.

        Raises:
            UsageError: ``path`` is the original model, or cannot be written.
        """
        target = Path(path)
        self.model.check_not_overwritten(target)
        beside = target.with_name(f".{target.name}.tmp")
        try:
            beside.write_bytes(faulty_model(self.model.proto, self.space, self.faults).SerializeToString())
            os.replace(beside, target)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise UsageError(f"{path} cannot be written: {error.strerror}") from error

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``ftonnx faults --json``."""
        unit = self.record.unit._asdict() | {"n_faults": self.record.n_faults}
        faults = [
            {"tensor": f.tensor, "index": f.index, "bit": f.bit, "before": f.before, "after": f.after}
            for f in self.list()
        ]
        return {"unit": unit, "recorded": asdict(self.record.outcomes), "warnings": [*self.warnings], "faults": faults}


def replay(
    results: str | Path, *, rate: float | None = None, repeat: int, batch: int, model: str | Path | None = None
) -> Replay:
    """Find a recorded unit and its fault pattern: read where it is an injection, else drawn again.

    Args:
        results: results folder.
        rate: one of the campaign's fault rates; None where there is only one, as for injections.
        repeat: 0-based repeat or injection.
        batch: 0-based batch.
        model: where the model is now, when it has moved.

    Raises:
        StoreError: no such unit is recorded.
        UsageError: ``rate`` is missing although there are several.
        ModelError: the model is not the one that ran.
    """
    with Store.open(Path(results).absolute()) as store:
        header, units = store.header, store.units()
        unit = Unit(_level(header["settings"]) if rate is None else float(rate), repeat, batch)
        if unit not in units:
            raise StoreError(f"{results} has no unit {_describe(unit)}; {_recorded(units)}")
        recorded = store.faults(repeat)
        warnings = _warnings(store)
    loaded = _same_model(header["model"], model)
    settings = header["settings"]
    space = FaultSpace.of(
        loaded,
        format=settings["format"],
        roles=settings["targets"],
        include=settings["include"],
        exclude=settings["exclude"],
        bits=settings["bits"],
    )
    faults = recorded if len(recorded) else draw(BitFlipRate(unit.rate), space, settings["seed"], unit)
    return Replay(record=units[unit], faults=faults, model=loaded, space=space, warnings=warnings)


def _warnings(store: Store) -> tuple[str, ...]:
    golden = store.golden().values()
    accuracy = sum(each.correct1 for each in golden) / sum(each.n for each in golden)
    found = near_chance(accuracy, store.header["data"].get("classes"))
    return () if found is None else (found,)


def _level(settings: Mapping[str, Any]) -> float:
    """Return the only rate of a campaign.

    Raises:
        UsageError: there are several.
    """
    rates: list[float] = settings["rates"]
    if len(rates) > 1:
        raise UsageError(f"the campaign ran at several rates; choose one of {', '.join(f'{r:g}' for r in rates)}")
    return rates[0]


def _same_model(recorded: dict[str, Any], elsewhere: str | Path | None) -> OnnxModel:
    source = elsewhere or recorded["path"]
    if source is None:
        raise UsageError("the campaign ran on a model in memory; save it and name the file with --model")
    loaded = open_model(source)
    if loaded.sha256 != recorded["sha256"]:
        raise ModelError(f"{source} is not the model that ran: SHA-256 {loaded.sha256}, recorded {recorded['sha256']}")
    return loaded


def _describe(unit: Unit) -> str:
    return f"rate {unit.rate:g}, repeat {unit.repeat}, batch {unit.batch}"


def _recorded(units: dict[Unit, Record]) -> str:
    if not units:
        return "none is recorded yet"
    rates = ", ".join(f"{rate:g}" for rate in sorted({unit.rate for unit in units}))
    repeats, batches = (max(getattr(unit, name) for unit in units) for name in ("repeat", "batch"))
    return f"recorded are rates {rates}, repeats 0 to {repeats}, batches 0 to {batches}"
