"""A study: what its file says, checked, and the cells that follow from it."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Self

import msgspec
from msgspec import UNSET

from ftonnx.campaign import Settings
from ftonnx.errors import UsageError
from ftonnx.inject import FAULT_MODELS, BitFlipRates, FaultModel, asked_kinds
from ftonnx.inject.guards import ProtectionPlan
from ftonnx.mitigate import ClipActSettings
from ftonnx.quant import QuantSettings
from ftonnx.studies.published import PublishedNumber, read_published
from ftonnx.studies.reading import NAME, NAMES, StudyFile, document_of
from ftonnx.studies.schema import (
    ActivationsTable,
    DataTable,
    Document,
    Exclusion,
    ModelTable,
    Patterns,
    checkpoints_of,
    option_value,
    several,
)
from ftonnx.tasks import Task, parse_task
from ftonnx.training import QatSettings, TrainingSettings
from ftonnx.training.qat_settings import QAT_DEFAULTS
from ftonnx.words import near

__all__ = ["ACTIVATIONS", "AS_IT_IS", "Cell", "CellFaults", "Study"]

ACTIVATIONS: Final = "activations"
"""Stands for the faults in the name of a cell whose activations are measured."""
AS_IT_IS: Final = "as it is"
"""The variant to which nothing was done."""


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One campaign of a study, or the activations of one variant, by the names of what it is made of.

    Attributes:
        model: as in the file.
        protect: none, relu6, actmax, clipact or ranger.
        quantize: none, ptq or qat.
        data: as in the file.
        faults: as in the file, or ``activations``.
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
        return " + ".join(done) or AS_IT_IS

    @property
    def label(self) -> str:
        """What reports call the model.

        >>> Cell("net", "actmax", "ptq", "a", "b").label, Cell("net", "none", "none", "a", "b").label
        ('net actmax + ptq', 'net')
        """
        done = [step for step in (self.protect, self.quantize) if step != "none"]
        return " ".join([self.model, " + ".join(done)]).strip()


@dataclass(frozen=True, slots=True)
class CellFaults:
    """What flips in some campaigns.

    Attributes:
        model: the fault model.
        repeats: patterns per rate and image, or injections; None for the study's.
        protection: how the memory protects the model's bits; None for not at all.
    """

    model: FaultModel
    repeats: int | None
    protection: ProtectionPlan | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What a study's file says, every value checked; models and data are opened when they are needed.

    Attributes:
        name: of the study.
        seed: of all that is drawn.
        models: by name.
        data: by name.
        faults: by name.
        cells: campaigns, in the order of the tables: by model, data and faults, then variant by variant.
        activation_cells: variants whose activations are measured, likewise.
        activations: how that is done; None where it is not.
        reference: the data set whose accuracy is the horizontal axis of log-odds; None for the mean of all.
        task: what outputs are worth; None for what they look like.
        limit: images of a campaign where its data do not say; None for all.
        note: what a reader of its tables must know first; None where there is nothing.
        published: numbers to put beside the measured ones.
        campaign: the settings of campaigns, but for the repeats.
        protection: how thresholds are found.
        scope: of thresholds, one of ``SCOPES``.
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
    activation_cells: tuple[Cell, ...] = field(repr=False)
    activations: ActivationsTable | None = field(repr=False)
    reference: str | None
    task: Task | None
    limit: int | None
    note: str | None
    published: tuple[PublishedNumber, ...] = field(repr=False)
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
        with _at("study.published"):
            published = () if told.published is None else read_published(Path(told.published))
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
        families = {name: _family(name, each) for name, each in document.models.items()}
        data = {name: DataTable(spec=each) if isinstance(each, str) else each for name, each in document.data.items()}
        faults = {name: _faults(name, each) for name, each in document.faults.items()}
        with _at("activations.rates"):
            measured = document.activations
            if measured is not None and measured.rates:
                BitFlipRates(measured.rates)
        cells = list(_cells(document, families))
        reference = document.log_odds.reference
        measured_on = {cell.data for cell in cells if cell.faults != ACTIVATIONS}
        if reference is not None and reference not in measured_on:
            hint = near(reference, measured_on)
            raise UsageError(f"log_odds.reference: {reference} is no data set of a campaign{hint}")
        return cls(
            name=told.name,
            seed=told.seed,
            models=_models(families),
            data=data,
            faults=faults,
            cells=tuple(cell for cell in cells if cell.faults != ACTIVATIONS),
            activation_cells=tuple(cell for cell in cells if cell.faults == ACTIVATIONS),
            activations=measured,
            reference=reference,
            task=task,
            limit=told.limit,
            note=told.note,
            published=published,
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
            UsageError: a pattern fits neither a campaign nor a cell whose activations are measured.
        """
        known = [cell.name for cell in (*self.cells, *self.activation_cells)]
        for pattern in only:
            if not any(fnmatchcase(name, pattern) for name in known):
                raise UsageError(f"`only={pattern}` fits no cell; there are {known[0]} and so on{near(pattern, known)}")
        return _fitting(self.cells, only)

    def chosen_activations(self, only: Sequence[str]) -> tuple[Cell, ...]:
        """Return the cells whose activations are measured, and whose names fit likewise."""
        return _fitting(self.activation_cells, only)


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


def _family(name: str, said: ModelTable | str) -> dict[str, ModelTable]:
    """Return the models of an entry by name: one, or one for every entry of its weights.

    >>> table = ModelTable(architecture="resnet50", weights={"swav": "a.pth", "dino": ("b.pth", "c.pth")})
    >>> {name: model.weights for name, model in _family("resnet50", table).items()}
    {'resnet50-swav': ('a.pth',), 'resnet50-dino': ('b.pth', 'c.pth')}
    """
    table = _model(name, said)
    if isinstance(table.weights, dict):
        if not table.weights:
            raise UsageError(f"models.{name}.weights: checkpoints were expected, got none")
        for label in table.weights:
            if not NAME.fullmatch(label):
                raise UsageError(f"models.{name}.weights: {NAMES} was expected, got {label!r}")
    found = checkpoints_of(name, table.weights)
    return {model: msgspec.structs.replace(table, weights=files) for model, files in found.items()}


def _models(families: Mapping[str, Mapping[str, ModelTable]]) -> dict[str, ModelTable]:
    found: dict[str, ModelTable] = {}
    for name, family in families.items():
        for model, table in family.items():
            if model in found:
                raise UsageError(f"models.{name}: another model is called {model} already")
            found[model] = table
    return found


def _faults(name: str, said: msgspec.Struct) -> CellFaults:
    given = _given(said)
    repeats = given.pop("repeats")
    protection = given.pop("protection")
    # a switch that is off chooses nothing
    asked = {key: value for key, value in given.items() if value is not False}
    kinds = asked_kinds(asked) if asked else []
    with _at(f"faults.{name}"):
        if len(kinds) != 1:
            known = [kind.options[0].name for kind in FAULT_MODELS]
            got = " and ".join(asked) or "none"
            raise UsageError(f"exactly one of {', '.join(known)} was expected, got {got}")
        values: dict[str, Any] = {}
        for option in kinds[0].options:
            if option.field is not None and option.name in asked:
                values[option.field] = option_value(option, asked[option.name])
        plan = None if protection is None else ProtectionPlan.read(protection)
        return CellFaults(kinds[0].from_options(values), repeats, plan)


def _cells(document: Document, families: Mapping[str, Mapping[str, ModelTable]]) -> Iterator[Cell]:
    """Yield the matrix without what is excluded.

    Args:
        document: the file.
        families: the names of models, by the entry that they come from.

    Raises:
        UsageError: a name or a pattern fits nothing, or nothing is left.
    """
    matrix = document.matrix
    if ACTIVATIONS in document.faults:
        raise UsageError(f"faults.{ACTIVATIONS}: another name was expected; cells of [{ACTIVATIONS}] have this one")
    models = _models_of("matrix", matrix.models, families)
    data = _named("matrix", "data", matrix.data, document.data)
    faults = _named("matrix", "faults", matrix.faults, document.faults)
    groups = itertools.product(models, data, faults)
    variants = list(itertools.product(dict.fromkeys(matrix.protect), dict.fromkeys(matrix.quantize)))
    whole = [Cell(m, p, q, d, f) for (m, d, f), (p, q) in itertools.product(groups, variants)]
    whole += _activation_cells(document, families)
    for number, exclusion in enumerate(document.exclude):
        if not any(_is_out(cell, exclusion) for cell in whole):
            raise UsageError(f"exclude[{number}] fits no cell of the matrix")
    left = [cell for cell in whole if not any(_is_out(cell, each) for each in document.exclude)]
    if not left:
        raise UsageError("exclude: everything is left out; a cell or several were expected")
    yield from left


def _activation_cells(document: Document, families: Mapping[str, Mapping[str, ModelTable]]) -> list[Cell]:
    """Return the variants whose activations are measured; those of int8 files are none that are known."""
    table = document.activations
    if table is None:
        return []
    matrix = document.matrix
    said_models = matrix.models if table.models is None else table.models
    models = _models_of(ACTIVATIONS, said_models, families)
    said_data = matrix.data if table.data is None else table.data
    data = _named(ACTIVATIONS, "data", said_data, document.data)
    protect = dict.fromkeys(table.protect or matrix.protect)
    return [Cell(m, p, "none", d, ACTIVATIONS) for m, d, p in itertools.product(models, data, protect)]


def _models_of(
    where: str,
    wanted: Sequence[str] | None,
    families: Mapping[str, Mapping[str, ModelTable]],
) -> list[str]:
    return [model for entry in _named(where, "models", wanted, families) for model in families[entry]]


def _named(where: str, table: str, wanted: Sequence[str] | None, known: Mapping[str, Any]) -> list[str]:
    for name in wanted or ():
        if name not in known:
            raise UsageError(f"{where}.{table}: {name} is no entry of [{table}]{near(name, known)}")
    if wanted is not None and not wanted:
        raise UsageError(f"{where}.{table}: names of entries were expected, got none")
    return list(dict.fromkeys(wanted)) if wanted else list(known)


def _is_out(cell: Cell, exclusion: Exclusion) -> bool:
    return (
        _fits(cell.model, exclusion.model)
        and _fits(cell.protect, exclusion.protect)
        and _fits(cell.quantize, exclusion.quantize)
        and _fits(cell.data, exclusion.data)
        and _fits(cell.faults, exclusion.faults)
    )


def _fitting(cells: Sequence[Cell], only: Sequence[str]) -> tuple[Cell, ...]:
    return tuple(cell for cell in cells if not only or _fits(cell.name, only))


def _fits(name: str, patterns: Patterns | Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in several(patterns))
