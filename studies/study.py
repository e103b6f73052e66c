"""A study: what its file says, checked, and the cells that follow from it."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Self

import msgspec
from msgspec import UNSET

from ftonnx.campaign import Settings
from ftonnx.errors import UsageError
from ftonnx.inject import FAULT_MODELS, FaultModel
from ftonnx.mitigate import ClipActSettings
from ftonnx.quant import QuantSettings
from ftonnx.studies.reading import StudyFile, document_of
from ftonnx.studies.schema import DataTable, Document, Exclusion, ModelTable, Patterns
from ftonnx.tasks import Task, parse_task
from ftonnx.training import QatSettings, TrainingSettings
from ftonnx.training.qat_settings import QAT_DEFAULTS
from ftonnx.words import near

__all__ = ["Cell", "CellFaults", "Study"]


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One campaign of a study, by the names of what it is made of.

    Attributes:
        model: as in the file.
        protect: none, relu6, actmax, clipact or ranger.
        quantize: none, ptq or qat.
        data: as in the file.
        faults: as in the file.
    """

    model: str
    protect: str
    quantize: str
    data: str
    faults: str

    @property
    def name(self) -> str:
        """The cell in tables, in folders, and for ``only``.

        >>> Cell("resnet", "actmax", "ptq", "eurosat", "rates").name
        'resnet/actmax/ptq/eurosat/rates'
        """
        return f"{self.model}/{self.protect}/{self.quantize}/{self.data}/{self.faults}"

    @property
    def variant(self) -> str:
        """What was done to the model.

        >>> Cell("resnet", "actmax", "ptq", "a", "b").variant, Cell("resnet", "none", "none", "a", "b").variant
        ('actmax + ptq', 'as it is')
        """
        done = [step for step in (self.protect, self.quantize) if step != "none"]
        return " + ".join(done) or "as it is"


@dataclass(frozen=True, slots=True)
class CellFaults:
    """What flips in some campaigns.

    Attributes:
        model: the fault model.
        repeats: patterns per rate and image, or injections; None for the study's.
    """

    model: FaultModel
    repeats: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What a study's file says, every value checked; models and data are opened when they are needed.

    Attributes:
        name: of the study.
        seed: of all that is drawn.
        models: by name.
        data: by name.
        faults: by name.
        cells: in the order of the tables: by model, data and faults, then variant by variant.
        task: what outputs are worth; None for what they look like.
        limit: images of a campaign where its data do not say; None for all.
        campaign: the settings of campaigns, but for the repeats.
        protection: how thresholds are found.
        scope: of thresholds, ``node`` or ``channel``.
        tuning_batch: images per run while thresholds are found; None for the usual number.
        quantization: how ``ptq`` quantizes.
        qat: how ``qat`` trains.
    """

    name: str
    seed: int
    models: Mapping[str, ModelTable] = field(repr=False)
    data: Mapping[str, DataTable] = field(repr=False)
    faults: Mapping[str, CellFaults] = field(repr=False)
    cells: tuple[Cell, ...] = field(repr=False)
    task: Task | None
    limit: int | None
    campaign: Settings = field(repr=False)
    protection: ClipActSettings = field(repr=False)
    scope: str = field(repr=False)
    tuning_batch: int | None = field(repr=False)
    quantization: QuantSettings = field(repr=False)
    qat: QatSettings = field(repr=False)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a study from a TOML file; paths in it are those of the current folder, as on the command line.

        Raises:
            UsageError: the file cannot be read, or does not describe a study; the message names the line and the place.
            DataError: a list of faults cannot be read.
        """
        file = StudyFile.read(Path(path))
        with file.naming_lines():
            return cls._of(document_of(file.values))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return a study from the tables of such a file as Python's values.

        Raises:
            UsageError: they do not describe a study; the message names the place.
            DataError: a list of faults cannot be read.
        """
        return cls._of(document_of(values))

    @classmethod
    def _of(cls, document: Document) -> Self:
        told = document.study
        with _at("study.task"):
            task = None if told.task is None else parse_task(told.task)
        with _at("campaign"):
            campaign = Settings(seed=told.seed, repeats=told.repeats, **_given(document.campaign))
        with _at("protection"):
            search = _given(document.protection)
            scope = search.pop("scope")
            tuning_batch = search.pop("batch_size")
            output = campaign.output
            protection = ClipActSettings(**search, seed=told.seed, task=task, output=output)
        with _at("quantization"):
            quantization = QuantSettings(**_given(document.quantization))
        with _at("qat"):
            qat = _qat_settings(_given(document.qat), told.seed)
        models = {name: _model(name, each) for name, each in document.models.items()}
        data = {name: DataTable(spec=each) if isinstance(each, str) else each for name, each in document.data.items()}
        faults = {name: _faults(name, each) for name, each in document.faults.items()}
        return cls(
            name=told.name,
            seed=told.seed,
            models=models,
            data=data,
            faults=faults,
            cells=tuple(_cells(document)),
            task=task,
            limit=told.limit,
            campaign=campaign,
            protection=protection,
            scope=scope,
            tuning_batch=tuning_batch,
            quantization=quantization,
            qat=qat,
        )

    def chosen(self, only: Sequence[str]) -> tuple[Cell, ...]:
        """Return the cells whose names fit one of some patterns; all of them where there is no pattern.

        Raises:
            UsageError: a pattern fits none.
        """
        for pattern in only:
            if not any(fnmatchcase(cell.name, pattern) for cell in self.cells):
                known = [cell.name for cell in self.cells]
                raise UsageError(f"`only={pattern}` fits no cell; there are {known[0]} and so on{near(pattern, known)}")
        return tuple(cell for cell in self.cells if not only or _fits(cell.name, only))


@contextmanager
def _at(where: str) -> Iterator[None]:
    """Put the place in the file before the message of a UsageError in the block."""
    try:
        yield
    except UsageError as error:
        # what the library calls a parameter is a key of the file
        raise UsageError(f"{where}: {error}".replace("`", "")) from None


def _given(table: msgspec.Struct) -> dict[str, Any]:
    """Return the keys of a table that stand in the file."""
    return {name: value for name, value in msgspec.structs.asdict(table).items() if value is not UNSET}


def _qat_settings(given: dict[str, Any], seed: int) -> QatSettings:
    quant = QuantSettings(per_channel=given.pop("per_channel"), activation_type=given.pop("activation_type"))
    own = {name: given.pop(name) for name in ("calibration_images", "frozen_epochs") if name in given}
    usual = {"epochs": QAT_DEFAULTS.epochs, "learning_rate": QAT_DEFAULTS.learning_rate}
    training = TrainingSettings(**(usual | given), seed=seed)
    return QatSettings(training=training, quant=quant, **own)


def _model(name: str, said: ModelTable | str) -> ModelTable:
    table = ModelTable(file=said) if isinstance(said, str) else said
    if (table.file is None) == (table.architecture is None):
        raise UsageError(f"models.{name}: either a file or an architecture was expected")
    if table.file is not None and table != ModelTable(file=table.file):
        raise UsageError(f"models.{name}: {table.file} is a model already; what stands beside it is for architectures")
    return table


def _faults(name: str, said: msgspec.Struct) -> CellFaults:
    given = _given(said)
    repeats = given.pop("repeats")
    # a switch that is off chooses nothing
    asked = {key: value for key, value in given.items() if value is not False}
    kinds = [kind for kind in FAULT_MODELS if any(option.name in asked for option in kind.options)]
    with _at(f"faults.{name}"):
        if len(kinds) != 1:
            known = [option.name for kind in FAULT_MODELS for option in kind.options]
            got = " and ".join(asked) or "none"
            raise UsageError(f"exactly one of {', '.join(known)} was expected, got {got}")
        values: dict[str, Any] = {}
        for option in kinds[0].options:
            if option.field is not None and option.name in asked:
                value = asked[option.name]
                values[option.field] = option.type(value) if isinstance(value, str) else value
        return CellFaults(kinds[0].from_options(values), repeats)


def _cells(document: Document) -> Iterator[Cell]:
    """Yield the matrix without what is excluded.

    Raises:
        UsageError: a name or a pattern fits nothing, or nothing is left.
    """
    matrix = document.matrix
    models = _named("models", matrix.models, document.models)
    data = _named("data", matrix.data, document.data)
    faults = _named("faults", matrix.faults, document.faults)
    groups = itertools.product(models, data, faults)
    variants = list(itertools.product(dict.fromkeys(matrix.protect), dict.fromkeys(matrix.quantize)))
    whole = [Cell(m, p, q, d, f) for (m, d, f), (p, q) in itertools.product(groups, variants)]
    for number, exclusion in enumerate(document.exclude):
        if not any(_is_out(cell, exclusion) for cell in whole):
            raise UsageError(f"exclude[{number}] fits no cell of the matrix")
    left = [cell for cell in whole if not any(_is_out(cell, each) for each in document.exclude)]
    if not left:
        raise UsageError("exclude: everything is left out; a cell or several were expected")
    yield from left


def _named(table: str, wanted: Sequence[str] | None, known: Mapping[str, Any]) -> list[str]:
    for name in wanted or ():
        if name not in known:
            raise UsageError(f"matrix.{table}: {name} is no entry of [{table}]{near(name, known)}")
    if wanted is not None and not wanted:
        raise UsageError(f"matrix.{table}: names of entries were expected, got none")
    return list(dict.fromkeys(wanted)) if wanted else list(known)


def _is_out(cell: Cell, exclusion: Exclusion) -> bool:
    return (
        _fits(cell.model, exclusion.model)
        and _fits(cell.protect, exclusion.protect)
        and _fits(cell.quantize, exclusion.quantize)
        and _fits(cell.data, exclusion.data)
        and _fits(cell.faults, exclusion.faults)
    )


def _fits(name: str, patterns: Patterns | Sequence[str]) -> bool:
    several = (patterns,) if isinstance(patterns, str) else patterns
    return any(fnmatchcase(name, pattern) for pattern in several)
