"""Reading ONNX files that may be broken or hostile.

What onnx's checker and ONNX Runtime let through (negative sizes, lengths past the end of a file,
duplicate names, links, gigantic constants) is refused here first, with one line that says why.
"""

import functools
import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Final

import onnx
from google.protobuf.message import DecodeError
from onnx import FunctionProto, GraphProto, ModelProto, TensorProto, helper
from onnx.external_data_helper import load_external_data_for_model

from ftonnx.errors import ModelError, UsageError, message_of
from ftonnx.inject.tensors import element_count, is_external

__all__ = ["OnnxModel", "load_model"]

_MAX_BYTES: Final = 2**31 - 1
_MAX_CALL_DEPTH: Final = 64
_MAX_INLINED_NODES: Final = 1_000_000
_EXTERNAL_KEYS: Final = {"location", "offset", "length", "checksum", "basepath"}
_BITS: Final[dict[int, int]] = {
    TensorProto.BOOL: 8,
    TensorProto.UINT8: 8, TensorProto.UINT16: 16, TensorProto.UINT32: 32, TensorProto.UINT64: 64,
    TensorProto.INT8: 8, TensorProto.INT16: 16, TensorProto.INT32: 32, TensorProto.INT64: 64,
    TensorProto.FLOAT16: 16, TensorProto.BFLOAT16: 16, TensorProto.FLOAT: 32, TensorProto.DOUBLE: 64,
    TensorProto.COMPLEX64: 64, TensorProto.COMPLEX128: 128, TensorProto.FLOAT8E8M0: 8,
    TensorProto.FLOAT8E4M3FN: 8, TensorProto.FLOAT8E4M3FNUZ: 8,
    TensorProto.FLOAT8E5M2: 8, TensorProto.FLOAT8E5M2FNUZ: 8,
    TensorProto.FLOAT4E2M1: 4, TensorProto.UINT4: 4, TensorProto.INT4: 4,
    TensorProto.UINT2: 2, TensorProto.INT2: 2,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OnnxModel:
    """A validated ONNX model, all tensors in memory, or in its file again once it was released.

    Attributes:
        name: short name for tables and results.
        path: the file it came from; None for a model made in memory.
        sha256: of the file, or of the file's and its external data files' hashes where it has some.
        metadata: the file's ``metadata_props``.
    """

    name: str
    path: Path | None
    sha256: str
    metadata: dict[str, str] = field(repr=False)
    _beside: tuple[str, ...] = field(repr=False)
    _kept: list[ModelProto] = field(repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave out what is in the file: another process reads it when it needs it."""
        state = {name: getattr(self, name) for name in self.__slots__}
        return functools.partial(OnnxModel, **state | ({"_kept": []} if self.path else {})), ()

    @property
    def proto(self) -> ModelProto:
        """The model; treat as read-only.

        Raises:
            ModelError: it was released, and its file is no longer the one that was read.
        """
        if not self._kept and self.path is not None:
            again = load_model(self.path)
            if again.sha256 != self.sha256:
                raise self._changed()
            self._kept.append(again.proto)
        return self._kept[0]

    def release(self) -> None:
        """Give back the memory of a model that came from a file; it is read again where it is needed."""
        if self.path is not None:
            self._kept.clear()

    def with_proto(self, proto: ModelProto) -> "OnnxModel":
        """Return an edited model under the same name, as one made in memory."""
        return _in_memory(proto, self.name)

    def check_not_overwritten(self, target: Path) -> None:
        """Raise UsageError when writing to ``target`` would overwrite the model, through a link or not."""
        if self.path is not None and target.exists() and target.samefile(self.path):
            raise UsageError(f"{target} is the model itself, which is never written to; choose another name")

    def check_unchanged(self) -> None:
        """Raise ModelError when the file is no longer the one that was read."""
        if self.path is None:
            return
        try:
            same = _combined(_file_digest(self.path), self.path.parent, self._beside) == self.sha256
        except ModelError:
            same = False
        if not same:
            raise self._changed()

    def _changed(self) -> ModelError:
        return ModelError(f"{self.path} changed or vanished while it was in use; run again with the file left alone")


def load_model(source: "str | Path | ModelProto | OnnxModel", *, name: str | None = None) -> OnnxModel:
    """Read and validate an ONNX model.

    Args:
        source: path of an ``.onnx`` file, or a model in memory.
        name: name for tables; the file's stem by default.

    Raises:
        ModelError: the file is missing, broken, too large, or would read outside its folder.
    """
    if isinstance(source, OnnxModel):
        return source
    if isinstance(source, ModelProto):
        _validate(source, folder=None)
        _check_onnx(source)
        return _in_memory(source, name or source.graph.name or "model")
    path = Path(source).absolute()
    try:
        return _read(path, name or path.stem)
    except ModelError as error:
        raise ModelError(f"{source}: {error}") from error.__cause__


def _read(path: Path, name: str) -> OnnxModel:
    proto, digest = _parse(path)
    _validate(proto, folder=path.parent)
    _declare_lengths(proto)
    beside = sorted({_location(tensor) for tensor in _tensors(proto) if is_external(tensor)})
    try:
        load_external_data_for_model(proto, str(path.parent))
    except (ValueError, OSError, onnx.checker.ValidationError) as error:
        raise ModelError(f"its external data cannot be read: {message_of(error)}") from error
    _check_onnx(proto)
    return OnnxModel(
        name=name,
        path=path,
        sha256=_combined(digest, path.parent, beside),
        metadata=_metadata(proto),
        _beside=tuple(beside),
        _kept=[proto],
    )


def _in_memory(proto: ModelProto, name: str) -> OnnxModel:
    digest = hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()
    return OnnxModel(name=name, path=None, sha256=digest, metadata=_metadata(proto), _beside=(), _kept=[proto])


def _metadata(proto: ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in proto.metadata_props}


def _parse(path: Path) -> tuple[ModelProto, bytes]:
    """Return the model and the SHA-256 of exactly the bytes it was read from."""
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise ModelError(f"an ONNX file was expected, but it cannot be read: {message_of(error)}") from error
    if not data:
        raise ModelError("the file is empty; export the model again")
    try:
        return ModelProto.FromString(data), hashlib.sha256(data).digest()
    except DecodeError as error:
        raise ModelError("this is not an ONNX file, or it is cut short; export or copy it again") from error


def _file_digest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except (OSError, ValueError) as error:
        raise ModelError(f"it cannot be read: {message_of(error)}") from error


def _combined(digest: bytes, folder: Path, beside: Sequence[str]) -> str:
    """Return the model file's digest; where it has external data, hash the digests of all files."""
    if not beside:
        return digest.hex()
    return hashlib.sha256(digest + b"".join(_file_digest(folder / location) for location in beside)).hexdigest()


def _validate(proto: ModelProto, *, folder: Path | None) -> None:
    """Refuse what onnx's checker and ONNX Runtime would let through, then ask the checker."""
    if not proto.graph.node and not proto.graph.output:
        raise ModelError("it holds no graph, so it is not an ONNX model")
    _check_versions(proto)
    for tensor in _tensors(proto):
        _check_tensor(tensor, folder)
    for body in _bodies(proto):
        _check_names(body)
        _check_order(body)
        _check_shapes(body)
    _check_functions(proto)
    if proto.ByteSize() > _MAX_BYTES or _external_bytes(proto) > _MAX_BYTES:
        raise ModelError("models over 2 GiB are not supported")


def _check_versions(proto: ModelProto) -> None:
    if proto.ir_version > onnx.IR_VERSION:
        raise ModelError(f"IR version {proto.ir_version} is newer than the installed onnx knows ({onnx.IR_VERSION})")
    opsets = {entry.domain: entry.version for entry in proto.opset_import}
    if not opsets:
        raise ModelError("it imports no operator set (opset_import is empty); export the model again")
    newest = onnx.defs.onnx_opset_version()
    if opsets.get("", opsets.get("ai.onnx", 0)) > newest:
        raise ModelError(
            f"opset {opsets.get('', opsets.get('ai.onnx'))} is newer than the installed onnx knows ({newest})"
        )


def _check_names(body: GraphProto | FunctionProto) -> None:
    names = [tensor.name for tensor in _initializers(body)]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ModelError(f"initializer {twice!r} is defined twice; which one a runtime takes is not defined")


def _check_order(body: GraphProto | FunctionProto) -> None:
    waiting = {name for node in body.node for name in node.output if name}
    for node in body.node:
        if not waiting.isdisjoint(node.input):
            raise ModelError(f"node {node.name!r} ({node.op_type}) uses a value that a later node makes")
        waiting.difference_update(node.output)


def _check_functions(proto: ModelProto) -> None:
    """Refuse functions that call each other in a circle, or that grow without measure when inlined."""
    bodies = {(f.domain, f.name, f.overload): f for f in proto.functions}
    calls = {key: [(n.domain, n.op_type, n.overload) for b in _nested(f) for n in b.node] for key, f in bodies.items()}
    depth, size = dict.fromkeys(calls, 0), dict.fromkeys(calls, 0)
    try:
        order = [
            *TopologicalSorter({k: [c for c in called if c in bodies] for k, called in calls.items()}).static_order()
        ]
    except CycleError as error:
        raise ModelError(f"its functions call each other in a circle: {message_of(error)}") from error
    for key in order:
        depth[key] = 1 + max((depth.get(called, 0) for called in calls[key]), default=0)
        size[key] = sum(size.get(called, 1) for called in calls[key])
        if depth[key] > _MAX_CALL_DEPTH or size[key] > _MAX_INLINED_NODES:
            raise ModelError(f"function {key[1]!r} is {depth[key]} calls deep and {size[key]} nodes long when inlined")


def _check_shapes(body: GraphProto | FunctionProto) -> None:
    """Refuse a ConstantOfShape that would not fit into this machine's memory."""
    constants = {tensor.name: tensor for tensor in _initializers(body)}
    for node in body.node:
        if node.op_type == "Constant":
            constants |= {name: a.t for name in node.output for a in node.attribute if a.HasField("t")}
        elif node.op_type == "ConstantOfShape" and node.input and node.input[0] in constants:
            _check_shape(node.name, constants[node.input[0]])


def _check_tensor(tensor: TensorProto, folder: Path | None) -> None:
    if any(dim < 0 for dim in tensor.dims):
        raise ModelError(f"tensor {tensor.name!r} has a negative size in its shape {list(tensor.dims)}")
    if tensor.data_type == TensorProto.STRING and not is_external(tensor):
        return
    if tensor.data_type not in _BITS:
        raise ModelError(f"tensor {tensor.name!r} has the unknown element type {tensor.data_type}")
    expected = _byte_count(tensor)
    if is_external(tensor):
        _check_external(tensor, expected, folder)
    elif tensor.HasField("raw_data") and len(tensor.raw_data) != expected:
        raise ModelError(f"tensor {tensor.name!r} needs {expected} bytes but holds {len(tensor.raw_data)}")
    elif not tensor.HasField("raw_data") and _typed_values(tensor) != _typed_count(tensor):
        raise ModelError(
            f"tensor {tensor.name!r} needs {_typed_count(tensor)} values but holds {_typed_values(tensor)}"
        )


def _byte_count(tensor: TensorProto) -> int:
    return (element_count(tensor) * _BITS.get(tensor.data_type, 8) + 7) // 8


def _typed_values(tensor: TensorProto) -> int:
    values: list[float | int] = getattr(tensor, helper.tensor_dtype_to_field(tensor.data_type))
    return len(values)


def _typed_count(tensor: TensorProto) -> int:
    """Return how many entries the typed field needs: complex has two, 4- and 2-bit types share one."""
    if tensor.data_type in (TensorProto.COMPLEX64, TensorProto.COMPLEX128):
        return 2 * element_count(tensor)
    return math.ceil(element_count(tensor) / max(1, 8 // _BITS[tensor.data_type]))


def _check_external(tensor: TensorProto, expected: int, folder: Path | None) -> None:
    if folder is None:
        raise ModelError(f"tensor {tensor.name!r} lies in another file; pass the model's path, or load its data first")
    keys = [entry.key for entry in tensor.external_data]
    if len(set(keys)) < len(keys):
        raise ModelError(f"tensor {tensor.name!r} lists an external_data key twice: {', '.join(sorted(keys))}")
    unknown = set(keys) - _EXTERNAL_KEYS
    if unknown:
        raise ModelError(f"tensor {tensor.name!r} has unknown external_data keys: {', '.join(sorted(unknown))}")
    location = _location(tensor)
    path = folder / location
    if Path(location).is_absolute() or not path.resolve().is_relative_to(folder.resolve()):
        raise ModelError(f"tensor {tensor.name!r} points outside the model's folder: {location!r}")
    if not path.is_file() or path.is_symlink() or path.stat().st_nlink > 1:
        raise ModelError(
            f"external data {location!r} must be a plain file beside the model, not missing or a link; "
            "copy the folder with links followed (cp -rL)"
        )
    offset, length = (_whole_number(tensor, key) for key in ("offset", "length"))
    size = path.stat().st_size
    if (length or expected) != expected or (offset or 0) + expected > size:
        raise ModelError(
            f"tensor {tensor.name!r} needs {expected} bytes at {offset or 0} of {location!r}, "
            f"but {length or expected} are declared and the file has {size}"
        )


def _location(tensor: TensorProto) -> str:
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def _whole_number(tensor: TensorProto, key: str) -> int | None:
    value = next((entry.value for entry in tensor.external_data if entry.key == key), None)
    if value is None:
        return None
    if not value.isdecimal():
        raise ModelError(f"tensor {tensor.name!r} has the external_data {key} {value!r}, a whole number was expected")
    return int(value)


def _check_shape(node: str, shape: TensorProto) -> None:
    if shape.data_type != TensorProto.INT64 or is_external(shape):
        return
    elements = math.prod(onnx.numpy_helper.to_array(shape).ravel().tolist())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if elements * 4 > memory:
        raise ModelError(f"node {node!r} makes a constant of {elements} elements, more than this machine's memory")


def _check_onnx(proto: ModelProto) -> None:
    try:
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        raise ModelError(f"onnx's checker refuses it: {message_of(error)}") from error


def _external_bytes(proto: ModelProto) -> int:
    return sum(_byte_count(tensor) for tensor in _tensors(proto) if is_external(tensor))


def _declare_lengths(proto: ModelProto) -> None:
    """Write down the optional lengths of external tensors, else onnx reads to the end of the file."""
    for tensor in _tensors(proto):
        if is_external(tensor) and not _whole_number(tensor, "length"):
            kept = [(entry.key, entry.value) for entry in tensor.external_data if entry.key != "length"]
            del tensor.external_data[:]
            for key, value in (*kept, ("length", str(_byte_count(tensor)))):
                tensor.external_data.add(key=key, value=value)


def _bodies(proto: ModelProto) -> Iterator[GraphProto | FunctionProto]:
    """Yield the graph, the functions, and every subgraph of their nodes."""
    yield from _nested(proto.graph)
    for function in proto.functions:
        yield from _nested(function)


def _nested(body: GraphProto | FunctionProto) -> Iterator[GraphProto | FunctionProto]:
    yield body
    for node in body.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _nested(inner)


def _initializers(body: GraphProto | FunctionProto) -> Sequence[TensorProto]:
    return body.initializer if isinstance(body, GraphProto) else ()


def _tensors(proto: ModelProto) -> Iterator[TensorProto]:
    """Yield every tensor that a model holds, the parts of sparse ones included."""
    for body in _bodies(proto):
        yield from _initializers(body)
        sparse = list(body.sparse_initializer) if isinstance(body, GraphProto) else []
        for node in body.node:
            for attribute in node.attribute:
                yield from (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors)
                sparse += [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
                sparse += attribute.sparse_tensors
        for tensor in sparse:
            yield from (tensor.values, tensor.indices)
