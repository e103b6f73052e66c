"""A preset: a shipped study, with the user's data and checkpoints in their places, and without what is not there."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from ftonnx.errors import UsageError
from ftonnx.studies.schema import checkpoints_of, for_data, several
from ftonnx.studies.shipped.parts import Part, part
from ftonnx.studies.shipped.small import reduced, rehearsed
from ftonnx.studies.study import Study
from ftonnx.words import near, parsed_toml, some_of

__all__ = ["SCALES", "Preset", "PresetStudy", "presets"]

_FOLDER: Final = Path(__file__).parent
_PUBLISHED: Final = _FOLDER / "paper" / "published.csv"
_PARTS: Final = "parts"

SCALES: Final = ("paper", "small")

Tables = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetStudy:
    """A preset for somebody's data and checkpoints.

    Attributes:
        study: without the cells for which something is missing; None where none is left.
        parts: what it needs, in its order, and whether it is there.
    """

    study: Study | None
    parts: tuple[Part, ...]

    @property
    def missing(self) -> tuple[Part, ...]:
        """What was not brought."""
        return tuple(each for each in self.parts if not each.is_there)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A study that is shipped.

    Attributes:
        name: such as ``paper/table3``.
        text: its file.
    """

    name: str
    text: str

    @classmethod
    def named(cls, name: str) -> "Preset":
        """Return a preset.

        Raises:
            UsageError: there is none of that name.
        """
        known = presets()
        if name not in known:
            raise UsageError(
                f"{name}: a study's file FILE.toml or a preset was expected, "
                f"one of {', '.join(known)}{near(name, known)}"
            )
        return cls(name=name, text=(_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))

    @property
    def title(self) -> str:
        """What it is: the comment at its top."""
        top = self.text.partition("\n\n")[0]
        return " ".join(line.removeprefix("# ") for line in top.splitlines())

    @property
    def parts(self) -> tuple[Part, ...]:
        """What it needs; ``{data}`` in a name stands for that of every data set."""
        values = parsed_toml(self.text)
        data = [part("data", name, is_there=False) for name in values["data"]]
        return (*data, *_checkpoints(values["models"], ("{data}",), None))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"name": self.name, "title": self.title, "parts": [each.to_dict() for each in self.parts]}

    def study(
        self, data: Sequence[str] = (), weights: str | Path | None = None, *, scale: str = "paper"
    ) -> PresetStudy:
        """Put data and checkpoints into their places.

        Args:
            data: specs such as ``imagenet:PATH``, of the preset's data sets.
            weights: the folder of the checkpoints.
            scale: ``paper`` for the paper's size; ``small`` for few images, repeats and iterations, and for the
                embedded model and data where neither data nor weights are given.

        Raises:
            UsageError: a spec is of no data set of the preset, or the scale is not known.
        """
        if scale not in SCALES:
            raise UsageError(f"`scale`: {' or '.join(SCALES)} was expected, got {scale!r}")
        values = parsed_toml(self.text)
        values["data"] = {name: _table_of(entry) for name, entry in values["data"].items()}
        if scale == "small":
            if not data and weights is None:
                return PresetStudy(study=Study.from_dict(rehearsed(values)), parts=())
            values = reduced(values)
        brought = self._brought(data, values["data"])
        shelf = None if weights is None else Path(weights)
        parts = [part("data", name, is_there=name in brought) for name in values["data"]]
        parts += _checkpoints(values["models"], brought or values["data"], shelf)
        study = _study_of(values, brought, shelf, parts)
        return PresetStudy(study=study, parts=tuple(parts))

    def _brought(self, data: Sequence[str], known: Mapping[str, Any]) -> dict[str, str]:
        found = {}
        for spec in data:
            name = spec.partition(":")[0]
            if name not in known:
                wanted = ", ".join(f"{each}:PATH" for each in known)
                raise UsageError(f"`data`: {self.name} takes {wanted}, got {spec!r}{near(name, known)}")
            found[name] = spec
        return found


def presets() -> tuple[str, ...]:
    """Return the names of all presets: tables, then figures, by their numbers."""
    found = []
    for path in _FOLDER.glob("*/*.toml"):
        if path.stem != _PARTS:
            found.append(f"{path.parent.name}/{path.stem}")
    return tuple(sorted(found, key=_place))


def _place(name: str) -> tuple[bool, int]:
    return "figure" in name, int(re.sub(r"\D", "", name))


def _table_of(entry: Tables | str) -> Tables:
    return {"spec": entry} if isinstance(entry, str) else entry


def _checkpoints(models: Tables, sets: Iterable[str], shelf: Path | None) -> list[Part]:
    """Return the checkpoints of all models for some data sets, each once."""
    every = [checkpoints_of(name, table["weights"]) for name, table in models.items()]
    found: dict[str, Part] = {}
    for file in dict.fromkeys(file for named in every for files in named.values() for file in files):
        for data in sets if "{data}" in file else (None,):
            name = file if data is None else for_data(file, data)
            is_there = shelf is not None and (shelf / name).exists()
            found[name] = part("weights", file, data, is_there=is_there)
    return list(found.values())


def _study_of(values: Tables, brought: Mapping[str, str], shelf: Path | None, parts: Iterable[Part]) -> Study | None:
    """Return the study of what is there; None where that is nothing."""
    there = {each.name for each in parts if each.is_there}
    data = {name: _placed(entry, brought[name]) for name, entry in values["data"].items() if name in brought}
    if shelf is None or not data:
        return None
    models: Tables = {}
    left_out: list[Tables] = []
    for name, table in values["models"].items():
        for model, files in checkpoints_of(name, table["weights"]).items():
            missing = [each for each in data if not {for_data(file, each) for file in files} <= there]
            if len(missing) < len(data):
                models[model] = table | {"weights": [str(shelf.absolute() / file) for file in files]}
                left_out += [{"model": model, "data": each} for each in missing]
    if not models:
        return None
    excluded = [
        each for each in values.get("exclude", []) if _fits(each, "model", models) and _fits(each, "data", data)
    ]
    told = values["study"] | {"published": str(_PUBLISHED)}
    absent = [each.name for each in parts if not each.is_there]
    if absent:
        told["note"] = f"what needs {some_of(absent)} is left out, since that was not given"
    study = values | {"study": told, "models": models, "data": data, "exclude": [*excluded, *left_out]}
    if study.get("log_odds", {}).get("reference") not in (None, *data):
        study["log_odds"] = {}
    return Study.from_dict(study)


def _placed(entry: Tables, spec: str) -> Tables:
    """Return a data set's table with the user's spec in the place of its own, for its other purposes too."""
    found = entry | {"spec": spec}
    for purpose in ("tuning", "training"):
        if purpose in entry:
            found[purpose] = entry[purpose] | {"spec": spec}
    return found


def _fits(exclusion: Tables, key: str, names: Iterable[str]) -> bool:
    """Say whether an exclusion can still fit something."""
    patterns = several(exclusion.get(key, "*"))
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)
