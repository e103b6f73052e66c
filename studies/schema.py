"""What a study's file holds, table by table: the same definitions check a file and make the published JSON schema."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ftonnx.inject import FAULT_MODELS, Option
from ftonnx.words import option_text

__all__ = [
    "PROTECT",
    "QUANTIZE",
    "ActivationsTable",
    "CampaignTable",
    "DataTable",
    "Document",
    "Exclusion",
    "FaultsTable",
    "Images",
    "LogOddsTable",
    "Matrix",
    "ModelTable",
    "ProtectionTable",
    "QatTable",
    "QuantizationTable",
    "StudyTable",
    "checkpoints_of",
    "for_data",
    "json_schema",
    "option_value",
    "several",
]

Protect = Literal["none", "relu6", "actmax", "clipact", "ranger"]
Quantize = Literal["none", "ptq", "qat"]
PROTECT: Final[tuple[Protect, ...]] = ("none", "relu6", "actmax", "clipact", "ranger")
QUANTIZE: Final[tuple[Quantize, ...]] = ("none", "ptq", "qat")

Positive = Annotated[int, Meta(ge=1)]
Patterns: TypeAlias = tuple[str, ...] | str


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file; a key that it does not know is a mistake."""


class StudyTable(_Table, frozen=True):
    """What all campaigns have in common."""

    name: Annotated[str, Meta(min_length=1, description="Of the study, for the titles of its tables.")]
    seed: Annotated[int, Meta(ge=0, description="Of fault patterns, searches and training.")] = 0
    repeats: Annotated[
        Positive | None, Meta(description="Patterns per rate and image, or injections, of random faults.")
    ] = None
    limit: Annotated[Positive | None, Meta(description="Images of a campaign, where its data do not say.")] = None
    task: Annotated[str | None, Meta(description="What outputs are worth, as --task of ftonnx inject.")] = None
    note: Annotated[str | None, Meta(description="What a reader of its tables must know first.")] = None
    published: Annotated[str | None, Meta(description="A CSV file of numbers to put beside the measured ones.")] = None


class CampaignTable(_Table, frozen=True):
    """How campaigns run: settings of `ftonnx inject` by the names of its options; those left out are its defaults."""

    images_per_pattern: Annotated[int | str | UnsetType, Meta(description="At rates; all meet an injection's.")] = UNSET
    batch_size: Positive | UnsetType = UNSET
    output: str | UnsetType = UNSET
    format: str | UnsetType = UNSET
    roles: tuple[str, ...] | UnsetType = UNSET
    include: tuple[str, ...] | UnsetType = UNSET
    exclude: tuple[str, ...] | UnsetType = UNSET
    bits: tuple[int, ...] | UnsetType = UNSET
    activations_per: str | UnsetType = UNSET
    strategy: str | UnsetType = UNSET
    providers: tuple[str, ...] | UnsetType = UNSET
    threads: Positive | UnsetType = UNSET
    unit_timeout: float | UnsetType = UNSET


class ModelTable(_Table, frozen=True):
    """A model: an ONNX file, or an architecture that is exported."""

    file: Annotated[
        str | None, Meta(description="ONNX file, or the name of an embedded model; {data} is the data set's name.")
    ] = None
    architecture: Annotated[str | None, Meta(description="As ARCH of ftonnx export.")] = None
    weights: Annotated[
        tuple[str, ...] | dict[str, tuple[str, ...] | str],
        Meta(
            description="Checkpoints that complete each other, {data} being the data set's name; or by name, "
            "which makes a model NAME-WEIGHTS of each."
        ),
    ] = ()
    classes: Annotated[Positive | None, Meta(description="Size of the classifier.")] = None
    input_shape: Annotated[
        tuple[Positive, Positive, Positive] | None, Meta(description="Channels, height and width of an input.")
    ] = None
    keep_batchnorm: Annotated[bool, Meta(description="Leave BatchNormalization nodes as they are.")] = False


def several(values: Patterns | Sequence[str]) -> tuple[str, ...]:
    """Return what may stand alone or in a list.

    >>> several("a"), several(["a", "b"])
    (('a',), ('a', 'b'))
    """
    return (values,) if isinstance(values, str) else tuple(values)


def checkpoints_of(name: str, weights: Any) -> dict[str, tuple[str, ...]]:
    """Return the checkpoints of the models of an entry, by the models' names.

    >>> checkpoints_of("net", {"swav": "a.pth", "dino": ["b.pth", "c.pth"]}), checkpoints_of("net", ["a.pth"])
    ({'net-swav': ('a.pth',), 'net-dino': ('b.pth', 'c.pth')}, {'net': ('a.pth',)})
    """
    if isinstance(weights, dict):
        return {f"{name}-{label}": several(files) for label, files in weights.items()}
    return {name: several(weights)}


def for_data(path: str, data: str) -> str:
    """Return a path with the name of a data set in the place for it, where there is one.

    >>> for_data("{data}/a.pth", "eurosat"), for_data("a.pth", "eurosat")
    ('eurosat/a.pth', 'a.pth')
    """
    return path.replace("{data}", data)


class Images(_Table, frozen=True):
    """Images, as the commands name them."""

    spec: Annotated[str, Meta(description="As SPEC of ftonnx data.")]
    split: Annotated[str | None, Meta(description="Split of the data.")] = None
    limit: Annotated[Positive | None, Meta(description="At most so many images.")] = None


class DataTable(Images, frozen=True):
    """Images that campaigns run on, and those that thresholds, ranges and weights come from."""

    splits: Annotated[str | None, Meta(description="Lists of a published data set's splits.")] = None
    class_names: Annotated[str | None, Meta(description="A file of the names of all classes.")] = None
    tuning: Annotated[
        Images | None, Meta(description="Choose thresholds, and the best epoch; by default the split val of `spec`.")
    ] = None
    training: Annotated[
        Images | None, Meta(description="Calibrate and train; by default the split train of `spec`.")
    ] = None


class ProtectionTable(_Table, frozen=True):
    """How thresholds are found; those left out are the defaults of `ftonnx protect`."""

    scope: Literal["node", "channel", "neuron", "hybrid"] = "node"
    iterations: Positive | UnsetType = UNSET
    rates: tuple[float, ...] | UnsetType = UNSET
    repeats: Positive | UnsetType = UNSET
    auc_axis: str | UnsetType = UNSET
    include_clean: float | UnsetType = UNSET
    resample: Positive | UnsetType = UNSET
    batch_size: Positive | None = None


class QuantizationTable(_Table, frozen=True):
    """How `ptq` quantizes; those left out are the defaults of `ftonnx quantize`."""

    calibration: str | UnsetType = UNSET
    percentile: float | UnsetType = UNSET
    per_channel: bool | UnsetType = UNSET
    activation_type: str | UnsetType = UNSET
    exclude_nodes: tuple[str, ...] | UnsetType = UNSET


class QatTable(_Table, frozen=True):
    """How `qat` trains; those left out are the defaults of `ftonnx qat`."""

    epochs: Annotated[int, Meta(ge=0)] | UnsetType = UNSET
    learning_rate: float | UnsetType = UNSET
    batch_size: Positive | UnsetType = UNSET
    flips: bool | UnsetType = UNSET
    patience: Positive | UnsetType = UNSET
    factor: float | UnsetType = UNSET
    stop_after: Positive | UnsetType = UNSET
    device: str | UnsetType = UNSET
    autocast: str | UnsetType = UNSET
    threads: Positive | UnsetType = UNSET
    per_channel: bool = True
    activation_type: str = "uint8"
    calibration_images: Positive | UnsetType = UNSET
    frozen_epochs: Annotated[int, Meta(ge=0)] | UnsetType = UNSET


def option_value(option: Option, value: Any) -> Any:
    """Return the value of an option of a fault model as this takes it.

    Args:
        option: of the fault model.
        value: as the file has it.

    Raises:
        UsageError: the option's reader refuses it.
    """
    if _has_reader(option):
        return [option.type(each) for each in several(value)] if option.repeated else option.type(option_text(value))
    return option.type(value) if isinstance(value, str) else value


def _has_reader(option: Option) -> bool:
    """Whether an option has a reader of its own, which takes the text of a command line."""
    return option.type not in (int, float, str, Path)


def _option_type(option: Option) -> Any:
    """Return what stands for an option's value in TOML; what has a reader of its own may be a number, or several."""
    if option.field is None:
        return bool
    if _has_reader(option) and not option.repeated:
        return tuple[str | int | float, ...] | str | int | float
    one = option.type if option.type in (int, float) else str
    return tuple[one, ...] | one if option.repeated else one  # type: ignore[valid-type]


def _faults_table() -> Any:
    """Return the table of a fault model, with a key for every option of every one."""
    fields: dict[str, tuple[str, Any, Any]] = {}
    for kind in FAULT_MODELS:
        for option in kind.options:
            described: Any = Annotated[_option_type(option) | UnsetType, Meta(description=option.help)]
            fields.setdefault(option.name, (option.name, described, UNSET))
    repeats: Any = Annotated[Positive | None, Meta(description="In place of the study's.")]
    protection: Any = Annotated[str | None, Meta(description="A TOML file: how the memory protects the model's bits.")]
    others = [("repeats", repeats, None), ("protection", protection, None)]
    return msgspec.defstruct("FaultsTable", [*fields.values(), *others], bases=(_Table,), frozen=True)


FaultsTable: Any = _faults_table()


class Matrix(_Table, frozen=True):
    """Which cells there are: all combinations; of models, data and faults all where they are left out."""

    models: tuple[str, ...] | None = None
    protect: Annotated[tuple[Protect, ...], Meta(min_length=1)] = ("none",)
    quantize: Annotated[tuple[Quantize, ...], Meta(min_length=1)] = ("none",)
    data: tuple[str, ...] | None = None
    faults: tuple[str, ...] | None = None


class ActivationsTable(_Table, frozen=True):
    """Whose activations are measured: of every variant that is not quantized, or of some of them."""

    rates: Annotated[
        tuple[Annotated[float, Meta(ge=0, le=1)], ...], Meta(description="Bit-fault rates, besides 0.")
    ] = ()
    images: Annotated[Positive, Meta(description="At most so many images.")] = 128
    batch_size: Annotated[Positive | None, Meta(description="Images per run and fault pattern.")] = None
    models: tuple[str, ...] | None = None
    protect: Annotated[
        Annotated[tuple[Protect, ...], Meta(min_length=1)] | None, Meta(description="By default those of the matrix.")
    ] = None
    data: tuple[str, ...] | None = None
    histograms: Annotated[
        tuple[str, ...], Meta(description="Patterns of activations whose histograms are drawn; by default the first.")
    ] = ()


class LogOddsTable(_Table, frozen=True):
    """How the figure of log-odds is drawn."""

    reference: Annotated[
        str | None, Meta(description="The data set whose accuracy is the horizontal axis; by default the mean of all.")
    ] = None


class Exclusion(_Table, frozen=True):
    """Cells that are left out: those that fit all the patterns."""

    model: Patterns = "*"
    protect: Patterns = "*"
    quantize: Patterns = "*"
    data: Patterns = "*"
    faults: Patterns = "*"


class Document(_Table, frozen=True):
    """The whole file."""

    study: StudyTable
    models: dict[str, ModelTable | str]
    data: dict[str, DataTable | str]
    faults: dict[str, FaultsTable] = {}
    activations: ActivationsTable | None = None
    log_odds: LogOddsTable = LogOddsTable()
    matrix: Matrix = Matrix()
    exclude: tuple[Exclusion, ...] = ()
    campaign: CampaignTable = CampaignTable()
    protection: ProtectionTable = ProtectionTable()
    quantization: QuantizationTable = QuantizationTable()
    qat: QatTable = QatTable()


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a study's file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(Document)}
