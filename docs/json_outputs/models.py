"""What is printed and kept of models: made, protected, quantized, trained, measured; and of their data."""

from msgspec import UNSET, UnsetType

from ftonnx.campaign import bench_result
from ftonnx.datasets.preprocess import Preprocess
from ftonnx.mitigate.distribution import Distribution
from ftonnx.mitigate.points import ClipActSettings, Evaluation
from ftonnx.quant import report
from ftonnx.quant.settings import QuantSettings
from ftonnx.training.records import Epoch, PretrainingEpoch
from json_outputs.base import Json, Object, Real, all_of

__all__ = [
    "Activations",
    "Bench",
    "Data",
    "Exported",
    "Finetuned",
    "FinetunedInt8",
    "OneEpoch",
    "OnePretrainingEpoch",
    "Pretrained",
    "Protected",
    "Qat",
    "Quantized",
    "Thresholds",
]

Preprocessing = all_of(Preprocess, set_only=True)
Distributed = all_of(
    Distribution,
    minimum=Real,
    maximum=Real,
    mean=Real,
    quartile1=Real,
    median=Real,
    quartile3=Real,
    edges=list[Real],
)
Tried = all_of(Evaluation, without=("images",))
Search = all_of(ClipActSettings, task=Json | None)
QuantizedActivation = all_of(report.Activation, snr_db=Real)
Clipped = all_of(report.ClippedActivation, threshold=list[Real])
Settings = all_of(QuantSettings)
OneEpoch = all_of(Epoch, loss=Real, val_loss=Real)
OnePretrainingEpoch = all_of(PretrainingEpoch, loss=Real)
Strategy = all_of(bench_result.StrategyTime)
Configuration = all_of(bench_result.Configuration)
Batches = all_of(bench_result.Comparison, strategies=list[Strategy])


class MeasuredModel(Object, frozen=True):
    """The model.

    Attributes:
        name: of it.
        sha256: of its file.
        bits: that can flip, N.
    """

    name: str
    sha256: str
    bits: int


class Machine(Object, frozen=True):
    """Where it was measured.

    Attributes:
        cpu: the processor.
        cores: that may be used.
        platform: the operating system.
        python: version.
        onnxruntime: version.
    """

    cpu: str
    cores: int
    platform: str
    python: str
    onnxruntime: str


Bench = all_of(
    bench_result.BenchResult,
    schema_version=int,
    model=MeasuredModel,
    machine=Machine,
    strategies=list[Strategy],
    one_image=Batches | None,
    configurations=list[Configuration],
    best=Configuration,
)


class Data(Object, frozen=True):
    """What a spec resolves to.

    Attributes:
        name: of the data set.
        split: of it, if any.
        samples: number of images.
        classes: number of classes; null where labels are no class numbers.
        shape: of an image, or several by the names of a model's inputs.
        preprocess: the steps, those that are none left out.
        sha256: of images and labels as the model gets them.
        counts: images per class.
        class_names: by number; null where nobody knows any.
        class_rule: how class numbers were found; null where they were there.
        unused_files: that are no images of a class.
        warnings: what a reader must know first.
        unreadable: images that cannot be read; only with --read.
    """

    name: str
    split: str | None
    samples: int
    classes: int | None
    shape: list[int] | dict[str, list[int]]
    preprocess: Preprocessing
    sha256: str
    counts: list[int]
    class_names: list[str | None] | None
    class_rule: str | None
    unused_files: list[str]
    warnings: list[str]
    unreadable: list[str] | UnsetType = UNSET


class GraphInput(Object, frozen=True):
    """The input of an exported graph.

    Attributes:
        name: of it.
        shape: its sizes; names where they are free.
    """

    name: str
    shape: list[int | str]


class Exported(Object, frozen=True):
    """An exported network.

    Attributes:
        output: the file.
        architecture: of the network.
        parameters: their number.
        classes: their number.
        input: of the graph.
        activation: relu, relu6 or crelu.
        opset: version of ONNX's operator set.
        batchnorm: folded or kept.
        parity: largest difference from torch, as a share of the largest output.
        bytes: size of the file.
    """

    output: str
    architecture: str
    parameters: int
    classes: int
    input: GraphInput
    activation: str
    opset: int
    batchnorm: str
    parity: float
    bytes: int


class ThresholdValues(Object, frozen=True):
    """The thresholds of an activation.

    Attributes:
        shape: empty for one value, or (1, channels, 1, ...).
        values: in C order.
    """

    shape: list[int]
    values: list[Real]


class HowFound(Object, frozen=True):
    """How thresholds were found.

    Attributes:
        data: SHA-256 of the images.
        samples: number of images.
        settings: of the search, of clipact.
        evaluations: every threshold that was tried, of clipact.
    """

    data: str | UnsetType = UNSET
    samples: int | UnsetType = UNSET
    settings: Search | UnsetType = UNSET
    evaluations: list[Tried] | UnsetType = UNSET


class Thresholds(Object, frozen=True):
    """The thresholds of a model.

    Attributes:
        schema_version: of this object.
        method: actmax, ranger or clipact.
        scope: node (one value per activation), channel, neuron, or hybrid (neuron in the last activation).
        on_exceed: what a value above its threshold becomes: zero, or the threshold (clamp).
        model: SHA-256 of the unprotected model.
        thresholds: by activation.
        search: how they were found.
    """

    schema_version: int
    method: str
    scope: str
    on_exceed: str
    model: str
    thresholds: dict[str, ThresholdValues]
    search: HowFound


class JudgedImages(Object, frozen=True):
    """Images that an accuracy was measured on.

    Attributes:
        name: of the data set.
        split: of it, if any.
        samples: number of images.
        unseen: whether the model was made without them.
    """

    name: str
    split: str | None
    samples: int
    unseen: bool


class Accuracy(Object, frozen=True):
    """Accuracy without faults.

    Attributes:
        before: the task's fractions of the model as it was; null where it has none.
        after: those of the protected or quantized one.
        note: why there are none; left out where there are.
        data: the images; left out by older versions.
    """

    before: dict[str, float] | None
    after: dict[str, float] | None
    note: str | UnsetType = UNSET
    data: JudgedImages | UnsetType = UNSET


class Protected(Object, frozen=True):
    """A protected model.

    Attributes:
        output: its file.
        activations: that are clipped.
        warnings: what a reader must know first.
        on_exceed: what a value above its threshold becomes: zero, or the threshold (clamp).
        method: relu6, actmax, ranger or clipact.
        model: SHA-256 of the unprotected model.
        schema_version: of thresholds; left out for relu6, as all that follows.
        scope: node, channel, neuron or hybrid.
        thresholds: by activation.
        search: how they were found.
        fault_free: accuracy before and after; left out where no images were given.
    """

    output: str
    activations: list[str]
    warnings: list[str]
    on_exceed: str
    method: str
    model: str
    schema_version: int | UnsetType = UNSET
    scope: str | UnsetType = UNSET
    thresholds: dict[str, ThresholdValues] | UnsetType = UNSET
    search: HowFound | UnsetType = UNSET
    fault_free: Accuracy | UnsetType = UNSET


class ModelFile(Object, frozen=True):
    """A model.

    Attributes:
        name: of it.
        path: of its file; null where it was in memory.
    """

    name: str
    path: str | None


class Images(Object, frozen=True):
    """Images that a model was made with.

    Attributes:
        name: of the data set.
        split: of it, if any.
        samples: number of images.
    """

    name: str
    split: str | None
    samples: int


class CalibrationImages(Object, frozen=True):
    """Images that ranges were measured on.

    Attributes:
        name: of the data set.
        split: of it, if any.
        samples: number of images.
        sha256: of images and labels.
    """

    name: str
    split: str | None
    samples: int
    sha256: str


class Sizes(Object, frozen=True):
    """Sizes of files in bytes.

    Attributes:
        before: of the floating-point model.
        after: of the quantized one.
    """

    before: int
    after: int


class Quantized(Object, frozen=True):
    """A quantized model.

    Attributes:
        model: that was quantized.
        output: its file.
        data: the calibration images.
        accuracy: before and after.
        warnings: what a reader must know first.
        settings: as asked.
        images: calibration images; 0 where the ranges came from a cache.
        error_images: images behind every snr_db.
        from_cache: whether the ranges came from a cache.
        size: of both files.
        weights: quantized weight tensors.
        biases: that became int32.
        excluded_nodes: that stay in floating point.
        worst: the activation with the largest error; null where none is quantized.
        activations: in graph order.
        clipped: the CReLUs in graph order.
    """

    model: ModelFile
    output: str
    data: CalibrationImages
    accuracy: Accuracy
    warnings: list[str]
    settings: Settings
    images: int
    error_images: int
    from_cache: bool
    size: Sizes
    weights: int
    biases: int
    excluded_nodes: list[str]
    worst: QuantizedActivation | None
    activations: list[QuantizedActivation]
    clipped: list[Clipped]


class Activations(Object, frozen=True):
    """How a model's activations are distributed.

    Attributes:
        model: its name.
        data: SHA-256 of the images.
        warnings: what a reader must know first.
        activations: one entry per activation and rate.
    """

    model: str
    data: str
    warnings: list[str]
    activations: list[Distributed]


class Pretrained(Object, frozen=True):
    """A pretrained backbone.

    Attributes:
        output: its file.
        log: of its training.
        architecture: of the network.
        method: of the pretraining.
        data: the images.
        epochs: one by one.
    """

    output: str
    log: str
    architecture: str
    method: str
    data: Images
    epochs: list[OnePretrainingEpoch]


class Finetuned(Object, frozen=True):
    """A fine-tuned network.

    Attributes:
        output: its checkpoint.
        log: of its training.
        architecture: of the network.
        classes: their number.
        data: the training images.
        validation: the images that say which epoch is best.
        best_epoch: its number; null where there is none.
        epochs: one by one.
    """

    output: str
    log: str
    architecture: str
    classes: int
    data: Images
    validation: Images
    best_epoch: int | None
    epochs: list[OneEpoch]


class Int8Accuracy(Object, frozen=True):
    """Accuracy on the validation images.

    Attributes:
        float: of the network in floating point.
        static: quantized without training.
        int8: of the file.
    """

    float: float
    static: float
    int8: float


class Checkpoint(Object, frozen=True):
    """The checkpoint between fine-tuning and quantization-aware training.

    Attributes:
        output: its file.
        log: of its training.
        was_there: whether it was made before.
    """

    output: str
    log: str
    was_there: bool


class QatTraining(Object, frozen=True):
    """The training of an int8 file.

    Attributes:
        is_trained: whether an epoch was better than quantizing without training.
        accuracy: before and after.
        best_epoch: its number; null where there is none.
        epochs: one by one.
    """

    is_trained: bool
    accuracy: Int8Accuracy
    best_epoch: int | None
    epochs: list[OneEpoch]


class FinetunedInt8(Object, frozen=True):
    """A fine-tuned network, and its int8 file.

    Attributes:
        output: the int8 file.
        log: of its training.
        checkpoint: of the fine-tuning.
        architecture: of the network.
        classes: their number.
        data: the training images.
        validation: the images that say which epoch is best.
        best_epoch: of the fine-tuning; null where there is none.
        epochs: of the fine-tuning.
        qat: the training of the int8 file.
    """

    output: str
    log: str
    checkpoint: Checkpoint
    architecture: str
    classes: int
    data: Images
    validation: Images
    best_epoch: int | None
    epochs: list[OneEpoch]
    qat: QatTraining


class Qat(Object, frozen=True):
    """A model that was trained as its int8 file computes.

    Attributes:
        model: its name.
        output: the int8 file.
        log: of its training.
        data: the training images.
        validation: the images that say which epoch is best.
        is_trained: whether an epoch was better than quantizing without training.
        accuracy: before and after.
        epochs: one by one.
    """

    model: str
    output: str
    log: str
    data: Images
    validation: Images
    is_trained: bool
    accuracy: Int8Accuracy
    epochs: list[OneEpoch]
