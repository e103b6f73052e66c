"""The model files of a study: what each is made from, what decides its content, and how it is made.

Every step is one of the commands' functions; which of them were made already is not known here.
"""

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from ftonnx.campaign.inputs import choose_batch_size
from ftonnx.campaign.provenance import versions
from ftonnx.errors import ModelError
from ftonnx.export import check_parity, export_module, write_model
from ftonnx.files import digest_of, reason_unread
from ftonnx.inject import OnnxModel, load_model
from ftonnx.mitigate import protect, protection, quantize
from ftonnx.models import architectures, build, input_shape, resolve
from ftonnx.models.architectures import preprocess_entry
from ftonnx.models.checkpoint_about import read_about
from ftonnx.models.extras import require
from ftonnx.studies.schema import ModelTable, for_data
from ftonnx.studies.study import Cell, Study
from ftonnx.studies.workshop import Workshop, key_of

__all__ = ["ExportedFile", "GivenFile", "Int8File", "ModelFile", "ProtectedFile", "TrainedInt8File", "model_file_of"]

_logger: Final = logging.getLogger(__name__)

_FACTORY: Final = re.compile(r"(?P<path>.+\.py):\w+", re.DOTALL)
"""Chen et al. 2021: values above the largest usual one become that, which is ActMax with a clamp."""


@dataclass(frozen=True, slots=True)
class ModelFile(ABC):
    """A model of a study, which is a file or will be one.

    A leaf says what decides its content and makes it.

    Attributes:
        model: its name in the study.
    """

    model: str

    @property
    @abstractmethod
    def name(self) -> str:
        """What was done to the model, as the beginning of the file's name."""

    @property
    def source(self) -> "ModelFile | None":
        """The file that it is made from; None where that is none of the study's."""
        return None

    @property
    def chain(self) -> "tuple[ModelFile, ...]":
        """The file behind those that it is made from, the first one first."""
        before = () if self.source is None else self.source.chain
        return (*before, self)

    @property
    @abstractmethod
    def place(self) -> str | None:
        """The data set that it is for; None where it serves all."""

    @abstractmethod
    def about(self, shop: Workshop) -> dict[str, Any]:
        """Return what decides the content, as JSON values.

        Raises:
            FtonnxError: a file that it is made from cannot be read.
        """

    @abstractmethod
    def make(self, target: Path, source: OnnxModel | None, shop: Workshop) -> None:
        """Write the file, and what is worth keeping beside it.

        Raises:
            FtonnxError: it cannot be made.
        """

    def key(self, shop: Workshop) -> str:
        """Return a digest of what decides the content, which is looked at once."""
        if self not in shop.keys:
            shop.keys[self] = key_of(self.about(shop))
        return shop.keys[self]

    def path(self, shop: Workshop) -> Path:
        """Return where the file is; another content has another name, so that nothing is ever overwritten."""
        return shop.folder / "models" / self.model / f"{self.name}.{self.key(shop)[:8]}.onnx"


@dataclass(frozen=True, slots=True)
class GivenFile(ModelFile):
    """A file that is there, or an embedded model.

    Attributes:
        file: as in the study's file, with the data set's name where that decides.
        data: the data set that it is for; None where it serves all.
    """

    file: str
    data: str | None

    @property
    def name(self) -> str:
        """The model as it is."""
        return _named("given", self.data)

    @property
    def place(self) -> str | None:
        """The data set, where the name of the file has it."""
        return self.data

    def about(self, shop: Workshop) -> dict[str, Any]:
        """Return the digest of the file and of those that it reads."""
        return {"sha256": load_model(resolve(self.file)).sha256}

    def path(self, shop: Workshop) -> Path:
        """Return the file itself."""
        return resolve(self.file)

    def make(self, target: Path, source: OnnxModel | None, shop: Workshop) -> None:
        """Do nothing: it is there."""


@dataclass(frozen=True, slots=True)
class ExportedFile(ModelFile):
    """An architecture with weights, exported from torch.

    Attributes:
        architecture: as in the study's file.
        table: likewise.
        weights: checkpoints, with the data set's name where that decides.
        data: the data set that it is for; None where it serves all.
    """

    architecture: str
    table: ModelTable
    weights: tuple[str, ...]
    data: str | None

    @property
    def name(self) -> str:
        """The model as it is."""
        return _named("exported", self.data)

    @property
    def place(self) -> str | None:
        """The data set, where the names of the checkpoints have it."""
        return self.data

    def about(self, shop: Workshop) -> dict[str, Any]:
        """Return the digests of the weights and of the user's code, and how it is exported."""
        require("torch")
        factory = _FACTORY.fullmatch(self.architecture)
        return {
            "step": "export",
            "architecture": self.architecture,
            "code": None if factory is None else _digest(factory["path"]),
            "weights": [_digest(path) for path in self.weights],
            "classes": self.table.classes,
            "input_shape": self.table.input_shape,
            "keep_batchnorm": self.table.keep_batchnorm,
            "versions": versions() | {"torch": metadata.version("torch")},
        }

    def make(self, target: Path, source: OnnxModel | None, shop: Workshop) -> None:
        """Build the network, export it, and check that the file computes the same."""
        architecture = self.architecture
        trained = read_about(self.weights)
        if not self.weights and architecture in architectures() and architecture != "digits":
            _logger.warning("models.%s: no weights, so they are random, and its accuracy says nothing", self.model)
        shape = self.table.input_shape or trained.input_shape or input_shape(architecture)
        net = build(architecture, classes=self.table.classes or trained.classes, weights=self.weights)
        said = {"ftonnx.architecture": Path(architecture).name}
        proto = export_module(
            net,
            input_shape=shape,
            keep_batchnorm=self.table.keep_batchnorm,
            metadata=said | preprocess_entry(architecture, shape) | trained.metadata,
        )
        check_parity(net, proto)
        write_model(proto, target)


@dataclass(frozen=True, slots=True)
class _MadeFromOne(ModelFile):
    """A file that is made from another one of the study, with images.

    Attributes:
        origin: the other one.
        data: whose images it takes; None where it takes none.
    """

    origin: ModelFile
    data: str | None

    @property
    @abstractmethod
    def step(self) -> str:
        """What is done, as in the study's file."""

    @property
    def name(self) -> str:
        """What was done, in order, and with which data."""
        before = [] if isinstance(self.origin, GivenFile | ExportedFile) else [self.origin.name.partition("@")[0]]
        return _named("+".join([*before, self.step]), self.place)

    @property
    def place(self) -> str | None:
        """The data set whose images it takes, or which the other file is for."""
        return self.data or self.origin.place

    @property
    def source(self) -> ModelFile:
        """The other one."""
        return self.origin

    def about(self, shop: Workshop) -> dict[str, Any]:
        """Return the step with its settings, the source's key, and the digests of the images."""
        return {
            "step": self.step,
            "source": self.origin.key(shop),
            "versions": versions(),
            **self._settings(shop),
        }

    def make(self, target: Path, source: OnnxModel | None, shop: Workshop) -> None:
        """Write the file, unless the source changed meanwhile."""
        assert source is not None  # it was made from one
        self._make_from(source, target, shop)
        source.check_unchanged()

    @abstractmethod
    def _settings(self, shop: Workshop) -> dict[str, Any]:
        """Return the settings and the digests of the images."""

    @abstractmethod
    def _make_from(self, source: OnnxModel, target: Path, shop: Workshop) -> None:
        """Write the file."""


@dataclass(frozen=True, slots=True)
class ProtectedFile(_MadeFromOne):
    """A model whose activations are clipped.

    Attributes:
        method: relu6, actmax, clipact or ranger.
    """

    method: str

    @property
    def step(self) -> str:
        """The method."""
        return self.method

    def _settings(self, shop: Workshop) -> dict[str, Any]:
        if self.data is None:
            return {}
        study = shop.study
        found: dict[str, Any] = {
            "scope": study.scope,
            "batch_size": study.tuning_batch,
            "data": shop.fingerprint(self.data, "tuning"),
        }
        if self.method == "clipact":
            found["search"] = study.protection.to_dict()
        return found

    def _make_from(self, source: OnnxModel, target: Path, shop: Workshop) -> None:
        """Find thresholds and clip; thresholds are kept beside, and so is all that a search measured."""
        study = shop.study
        batch_size = choose_batch_size(source, study.tuning_batch)
        method = protection(
            self.method,
            scope=study.scope,
            settings=replace(study.protection, batch_size=batch_size),
        )
        images = None if self.data is None else shop.images(self.data, "tuning", source)
        protected = protect(
            source,
            images,
            method,
            results=target.with_suffix(".search") if self.method == "clipact" else None,
            progress=shop.check_stop,
        )
        if protected.thresholds is not None:
            protected.thresholds.save(target.with_suffix(".thresholds.json"))
        protected.save(target)


@dataclass(frozen=True, slots=True)
class Int8File(_MadeFromOne):
    """A model that is quantized after training."""

    data: str

    @property
    def step(self) -> str:
        """``ptq``."""
        return "ptq"

    def _settings(self, shop: Workshop) -> dict[str, Any]:
        return {
            "quantization": shop.study.quantization.to_dict(),
            "data": shop.fingerprint(self.data, "training"),
        }

    def _make_from(self, source: OnnxModel, target: Path, shop: Workshop) -> None:
        """Calibrate and quantize."""
        images = shop.images(self.data, "training", source)
        quantized = quantize(source, images, shop.study.quantization, progress=shop.check_stop)
        quantized.save(target)


@dataclass(frozen=True, slots=True)
class TrainedInt8File(_MadeFromOne):
    """A model that was trained as its int8 file computes."""

    data: str

    @property
    def step(self) -> str:
        """``qat``."""
        return "qat"

    def _settings(self, shop: Workshop) -> dict[str, Any]:
        require("torch")
        shop.require_validation(self.data)
        settings = shop.study.qat
        return {
            "training": asdict(settings.training),
            "quantization": settings.quant.to_dict(),
            "calibration_images": settings.calibration_images,
            "frozen_epochs": settings.frozen_epochs,
            "data": shop.fingerprint(self.data, "training"),
            "validation": shop.fingerprint(self.data, "tuning"),
            "torch": metadata.version("torch"),
        }

    def _make_from(self, source: OnnxModel, target: Path, shop: Workshop) -> None:
        """Train; an interrupted training goes on after its last epoch."""
        from ftonnx.training import train_quantized  # needs torch

        images = shop.images(self.data, "training", source)
        validation = shop.images(self.data, "tuning", source)
        settings = shop.study.qat
        train_quantized(source.proto, images, validation, target, settings=settings, progress=shop.check_stop)


def model_file_of(cell: Cell, study: Study) -> ModelFile:
    """Return the file that a cell's campaign runs on, with those that it is made from."""
    table = study.models[cell.model]
    found: ModelFile
    if table.file is not None:
        (file,), place = _for_data([table.file], cell.data)
        found = GivenFile(cell.model, file, place)
    else:
        assert table.architecture is not None  # the study has checked that one of them is said
        weights, place = _for_data(table.weights, cell.data)
        found = ExportedFile(cell.model, table.architecture, table, weights, place)
    if cell.protect != "none":
        # which clamps at 6, whatever the images
        data = None if cell.protect == "relu6" else cell.data
        found = ProtectedFile(cell.model, found, data, cell.protect)
    if cell.quantize == "ptq":
        found = Int8File(cell.model, found, cell.data)
    if cell.quantize == "qat":
        found = TrainedInt8File(cell.model, found, cell.data)
    return found


def _for_data(paths: Iterable[str], data: str) -> tuple[tuple[str, ...], str | None]:
    """Return paths with the name of a data set in its place, and that name where there was a place for it.

    >>> _for_data(["{data}/a.pth"], "eurosat"), _for_data(["a.pth"], "eurosat")
    ((('eurosat/a.pth',), 'eurosat'), (('a.pth',), None))
    """
    said = tuple(paths)
    filled = tuple(for_data(path, data) for path in said)
    return filled, None if filled == said else data


def _named(steps: str, data: str | None) -> str:
    """Return what a file is called: what was done, and for which data.

    >>> _named("actmax+ptq", "eurosat"), _named("relu6", None)
    ('actmax+ptq@eurosat', 'relu6')
    """
    return steps if data is None else f"{steps}@{data}"


def _digest(path: str) -> str:
    """Return the digest of a file.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        return digest_of(Path(path)).hex()
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {reason_unread(error, Path(path))}") from None
