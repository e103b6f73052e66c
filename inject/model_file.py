"""Reading ONNX models from files and from memory: hashed, checked, with all their tensors."""

import functools
import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import DecodeError, EncodeError
from onnx import ModelProto

from ftonnx.errors import ModelError
from ftonnx.files import check_not_overwritten, digest_of, reason_unread
from ftonnx.graphs import FREE_INITIALIZERS, forget_stored_inputs
from ftonnx.inject.external import external_bytes, external_locations, read_external, read_small_external
from ftonnx.inject.file_kinds import FileKind, folder_kind, kind_by_content, kind_by_name
from ftonnx.inject.model_checks import check_onnx, validate
from ftonnx.inject.normal_form import normal_form
from ftonnx.inject.wire import check_fields
from ftonnx.limits import MODEL_BYTES
from ftonnx.models import names, resolve

__all__ = ["OnnxModel", "load_model"]

_MOST_BYTES: Final = 2**31 - 1
"""So much one message of protobuf holds."""

_TOO_LARGE: Final = "an ONNX file holds 2 GiB at most, this one is larger: the rest must be external data"
_PIECE: Final = 2**20

_LARGE_TENSOR: Final = 2**20
"""Initializers of so many bytes stay in their files where a model is larger than one message."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OnnxModel:
    """A validated ONNX model, all tensors in memory, or in its file again once it was released.

    Of a model over 2 GiB, which is more than one message of protobuf holds, the large tensors stay in their files.

    Attributes:
        name: short name for tables and results.
        path: the file it came from; None for a model made in memory.
        sha256: of the file, or of the file's and its external data files' hashes where it has some.
        metadata: the file's ``metadata_props``.
        large: whether it is over 2 GiB.
    """

    name: str
    path: Path | None
    sha256: str
    metadata: dict[str, str] = field(repr=False)
    large: bool = field(repr=False)
    _beside: tuple[str, ...] = field(repr=False)
    _kept: list[ModelProto] = field(repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave out what is in the file: another process reads it when it needs it."""
        state = {name: getattr(self, name) for name in self.__slots__}
        if self.path is not None:
            state["_kept"] = []
        make = functools.partial(OnnxModel, **state)
        return make, ()

    @property
    def proto(self) -> ModelProto:
        """The model with all that it stores; treat as read-only.

        Raises:
            ModelError: it is over 2 GiB, or was released, and its file is no longer the one that was read.
        """
        if self.large:
            raise ModelError(
                f"{self.name} is over 2 GiB, which one ONNX message cannot hold: it can be inspected and evaluated, "
                "but not edited, quantized or written; make it smaller first, with fp16 for one"
            )
        return self.structure

    @property
    def structure(self) -> ModelProto:
        """The model; where it is over 2 GiB its large tensors are external, and ``tensors.words_of`` reads them.

        Treat as read-only.

        Raises:
            ModelError: it was released, and its file is no longer the one that was read.
        """
        if not self._kept and self.path is not None:
            again = load_model(self.path)
            if again.sha256 != self.sha256:
                raise self._changed()
            self._kept.append(again.structure)
        return self._kept[0]

    def release(self) -> None:
        """Give back the memory of a model that came from a file; it is read again where it is needed."""
        if self.path is not None:
            self._kept.clear()

    def with_proto(self, proto: ModelProto) -> "OnnxModel":
        """Return an edited model under the same name, as one made in memory."""
        return _in_memory(proto, self.name)

    def check_not_overwritten(self, target: Path) -> None:
        """Raise UsageError when writing to ``target`` would overwrite the model or its data, through a link or not."""
        if self.path is None:
            return
        check_not_overwritten(target, self.path, "the model")
        for location in self._beside:
            check_not_overwritten(target, self.path.parent / location, "the model's external data")

    def check_unchanged(self) -> None:
        """Raise ModelError when the file is no longer the one that was read."""
        if self.path is None:
            return
        try:
            digest = _file_digest(self.path)
            present = _combined(digest, self.path.parent, self._beside)
        except ModelError:
            # a file that vanished has changed too
            raise self._changed() from None
        if present != self.sha256:
            raise self._changed()

    def _changed(self) -> ModelError:
        return ModelError(f"{self.path} changed or vanished while it was in use; run again with the file left alone")


def load_model(source: "str | Path | ModelProto | OnnxModel", *, name: str | None = None) -> OnnxModel:
    """Read and validate an ONNX model.

    Args:
        source: path of an ``.onnx`` file, an embedded model's name, or a model in memory.
        name: name for tables; the file's stem by default.

    Raises:
        ModelError: the file is missing, broken, too large, or would read outside its folder.
    """
    if isinstance(source, OnnxModel):
        return source
    if isinstance(source, ModelProto):
        _require_one_message(source)
        validate(source, path=None)
        proto = normal_form(source)
        check_onnx(proto)
        chosen = name or source.graph.name or "model"
        return _in_memory(proto, chosen)
    path = _file_of(source).absolute()
    try:
        return _read(path, name or path.stem)
    except ModelError as error:
        raise ModelError(f"{source}: {error}") from error.__cause__


def _file_of(source: str | Path) -> Path:
    """Return the file that a source means: an embedded model's, or what lies at a path.

    Raises:
        ModelError: nothing does.
    """
    is_path = source not in names() and os.path.exists(source)
    return Path(source) if is_path else resolve(source)


def _read(path: Path, name: str) -> OnnxModel:
    data = _read_bytes(path)
    proto = _parse(path, data)
    validate(proto, path=path)
    proto = normal_form(proto)
    # of exactly the bytes that were read: the file may change meanwhile
    digest = hashlib.sha256(data).digest()
    # reading moves the tensors into the model, and with it forgets where they were
    beside = external_locations(proto)
    whole = len(data) + external_bytes(proto)
    if whole > MODEL_BYTES.most:
        raise ModelError(f"its tensors have {whole:,} bytes: {MODEL_BYTES.said}")
    large = whole > _MOST_BYTES
    if large:
        _read_small(proto, path)
    else:
        read_external(proto, path)
    check_onnx(proto)
    return OnnxModel(
        name=name,
        path=path,
        sha256=_combined(digest, path.parent, beside),
        metadata=_metadata(proto),
        large=large,
        _beside=tuple(beside),
        _kept=[proto],
    )


def _read_small(proto: ModelProto, path: Path) -> None:
    """Read the small tensors of a model over 2 GiB, in place.

    Raises:
        ModelError: what is not in large initializers of the graph is too much for one message.
    """
    read_small_external(proto, path, smallest=_LARGE_TENSOR)
    # old versions list the large tensors as inputs, which is put right here where they need not be copied
    if proto.ir_version < FREE_INITIALIZERS:
        forget_stored_inputs(proto)
    _require_one_message(proto)


def _require_one_message(proto: ModelProto) -> None:
    try:
        size = proto.ByteSize()
    except EncodeError:
        size = _MOST_BYTES + 1
    if size > _MOST_BYTES:
        raise ModelError(
            "over 2 GiB, a model must be a file whose large initializers are external data: "
            "write it with onnx.save(..., save_as_external_data=True), and give its path"
        )


def _in_memory(proto: ModelProto, name: str) -> OnnxModel:
    content = proto.SerializeToString(deterministic=True)
    return OnnxModel(
        name=name,
        path=None,
        sha256=hashlib.sha256(content).hexdigest(),
        metadata=_metadata(proto),
        large=False,
        _beside=(),
        _kept=[proto],
    )


def _metadata(proto: ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in proto.metadata_props}


def _read_bytes(path: Path) -> bytes:
    try:
        other = _other_kind(path)
        if other is not None:
            raise ModelError(other.message)
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            return _read_pipe(path, state.st_mode)
        if state.st_size > _MOST_BYTES:
            raise ModelError(_TOO_LARGE)
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise ModelError(f"an ONNX file was expected, but it cannot be read: {reason_unread(error, path)}") from error


def _read_pipe(path: Path, mode: int) -> bytes:
    """Return what comes through a pipe, whose size nobody knows before; a device may have no end.

    Raises:
        ModelError: it is no pipe, or more comes than a file may hold.
        OSError: it cannot be read.
    """
    if not stat.S_ISFIFO(mode):
        raise ModelError("an ONNX file was expected, this is a device or a socket; give the path of the file")
    content = bytearray()
    with path.open("rb") as pipe:
        while piece := pipe.read(_PIECE):
            content += piece
            if len(content) > _MOST_BYTES:
                raise ModelError(_TOO_LARGE)
    return bytes(content)


def _other_kind(path: Path) -> FileKind | None:
    """Return what a path leads to where that is seen to be no ONNX file."""
    if path.is_dir():
        return folder_kind(path)
    # what comes through a pipe can be looked at only once
    return kind_by_content(path) if path.is_file() else None


def _parse(path: Path, data: bytes) -> ModelProto:
    check_fields(data)
    try:
        proto = ModelProto.FromString(data)
    except DecodeError as error:
        raise ModelError(_no_model(path)) from error
    # files of other formats that use protobuf too
    if not proto.HasField("graph"):
        raise ModelError(_no_model(path))
    return proto


def _no_model(path: Path) -> str:
    kind = kind_by_name(path)
    if kind is not None:
        return kind.guess
    return "this is not an ONNX file, or it is cut short; export or copy it again"


def _file_digest(path: Path) -> bytes:
    try:
        return digest_of(path)
    except (OSError, ValueError) as error:
        raise ModelError(f"it cannot be read: {reason_unread(error, path)}") from error


def _combined(digest: bytes, folder: Path, beside: Sequence[str]) -> str:
    """Return the model file's digest; where it has external data, hash the digests of all files."""
    if not beside:
        return digest.hex()
    all_files = hashlib.sha256(digest)
    for location in beside:
        all_files.update(_file_digest(folder / location))
    return all_files.hexdigest()
