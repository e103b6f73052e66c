"""From any FP32 model to one that ONNX Runtime's quantizer understands, with its CReLUs set aside."""

import fnmatch
import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnx.inliner
import onnx.version_converter
from numpy.typing import NDArray
from onnx import FunctionProto, ModelProto, NodeProto, TensorProto, numpy_helper

from ftonnx.errors import ModelError, UsageError, message_of
from ftonnx.quant.sessions import basic_optimization, elem_type

__all__ = ["Clipping", "Prepared", "digest", "prepare"]

DOMAIN: Final = "ftonnx"
LINEAR: Final = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
_QUANTIZED: Final = {"QuantizeLinear", "DequantizeLinear", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"}
_PER_CHANNEL_OPSET: Final = 13
_INTEGER_CRELU_OPSET: Final = 14  # Mul of uint8
_TARGET_OPSET: Final = 17


@dataclass(frozen=True, slots=True, kw_only=True)
class Clipping:
    """A CReLU of the original model.

    Attributes:
        node: its name.
        input: the tensor that it clips.
        output: the clipped tensor.
        parameter: name of the threshold's initializer.
        threshold: T, one value or one per channel; broadcast over the input.
    """

    node: str
    input: str
    output: str
    parameter: str
    threshold: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A model ready for calibration and quantization.

    Attributes:
        plain: the model with a Relu in the place of every CReLU whose threshold is stored.
        clippings: those CReLUs in graph order.
        functions: the CReLU function, empty without clippings.
        excluded: names of nodes that stay in floating point.
        sha256: of the original model.
    """

    plain: ModelProto = field(repr=False)
    clippings: tuple[Clipping, ...]
    functions: tuple[FunctionProto, ...] = field(repr=False)
    excluded: tuple[str, ...]
    sha256: str

    def reference(self) -> ModelProto:
        """Return the floating-point model with its CReLUs."""
        model = copy_of(self.plain)
        restore(model, self.clippings, self.functions)
        return model


def prepare(model: ModelProto, patterns: Iterable[str], *, per_channel: bool) -> Prepared:
    """Check and prepare a model; it is not changed.

    Raises:
        ModelError: the model is quantized already, is not FP32, has several inputs or nothing to quantize.
        UsageError: a pattern matches no node.
    """
    _refuse_unsuitable(model)
    plain = copy_of(model)
    _name_nodes(plain)
    plain = _inline_foreign_functions(plain)
    _constants_to_initializers(plain)
    _forget_defaults(plain)
    clippings, functions = _set_aside(plain)
    excluded = _matching(plain, patterns)
    plain = _upgraded(plain, per_channel, bool(clippings))
    plain = _folded(plain, {clipping.output for clipping in clippings}, excluded)
    if not any(_stored_weight(node, plain) for node in plain.graph.node if node.name not in excluded):
        raise ModelError("nothing to quantize: no Conv, Gemm or MatMul with stored FP32 weights is left")
    return Prepared(
        plain=onnx.shape_inference.infer_shapes(plain),
        clippings=clippings,
        functions=functions,
        excluded=excluded,
        sha256=digest(model),
    )


def digest(model: ModelProto) -> str:
    """Return the SHA-256 of a model's content."""
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()


def copy_of(model: ModelProto) -> ModelProto:
    """Return a copy."""
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy


def restore(model: ModelProto, clippings: Iterable[Clipping], functions: Iterable[FunctionProto]) -> None:
    """Turn the Relus that stand for the given CReLUs back into CReLUs, in place."""
    relus = {node.output[0]: node for node in model.graph.node if node.op_type == "Relu"}
    stored = {tensor.name for tensor in model.graph.initializer}
    used = False
    for clipping in clippings:
        relu = relus[clipping.output]
        relu.domain, relu.op_type, used = DOMAIN, "CReLU", True
        relu.input.append(clipping.parameter)
        if clipping.parameter not in stored:
            stored.add(clipping.parameter)
            model.graph.initializer.append(numpy_helper.from_array(clipping.threshold, clipping.parameter))
    if used:
        model.functions.extend(functions)
        import_domain(model)


def import_domain(model: ModelProto) -> None:
    """Make a model import the ftonnx domain, in place."""
    if all(entry.domain != DOMAIN for entry in model.opset_import):
        model.opset_import.add(domain=DOMAIN, version=1)


def opset(model: ModelProto) -> int:
    """Return the version of the standard operators that a model imports."""
    return next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def _refuse_unsuitable(model: ModelProto) -> None:
    ops = [node.op_type for node in model.graph.node]
    already = next((op for op in ops if op in _QUANTIZED or op.startswith("QLinear")), None)
    if already is not None:
        raise ModelError(f"the model is quantized already (it has {already} nodes); give the FP32 model")
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    if len(inputs) != 1:
        raise ModelError(f"a model with one input was expected, this one has {len(inputs)}")
    if elem_type(inputs[0]) != TensorProto.FLOAT:
        kind = TensorProto.DataType.Name(elem_type(inputs[0])).lower()
        raise ModelError(f"a model with FP32 input was expected, got {kind}; convert it to FP32")


def _name_nodes(model: ModelProto) -> None:
    """Give every node of the graph a name of its own; ONNX Runtime excludes nodes by name."""
    taken = Counter(node.name for node in model.graph.node)
    for index, node in enumerate(model.graph.node):
        if not node.name or taken[node.name] > 1:
            name = f"{node.name or node.op_type}_{index}"
            while name in taken:
                name += "_"
            node.name = name
            taken[name] += 1


def _inline_foreign_functions(model: ModelProto) -> ModelProto:
    kept = [(f.domain, f.name) for f in model.functions if f.domain == DOMAIN]
    if len(kept) == len(model.functions):
        return model
    inlined: ModelProto = onnx.inliner.inline_selected_functions(model, kept, exclude=True)
    _name_nodes(inlined)
    return inlined


def _constants_to_initializers(model: ModelProto) -> None:
    """Turn Constant nodes that hold a tensor into initializers, in place."""
    for node in list(model.graph.node):
        value = next((a.t for a in node.attribute if a.name == "value"), None)
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx") and value is not None:
            model.graph.initializer.add().CopyFrom(value)
            model.graph.initializer[-1].name = node.output[0]
            model.graph.node.remove(node)


def _forget_defaults(model: ModelProto) -> None:
    """Drop initializers from the inputs, in place: as overridable defaults they could not be quantized."""
    stored = {tensor.name for tensor in model.graph.initializer}
    for value in [value for value in model.graph.input if value.name in stored]:
        model.graph.input.remove(value)


def _set_aside(model: ModelProto) -> tuple[tuple[Clipping, ...], tuple[FunctionProto, ...]]:
    """Replace CReLUs by Relus in place; return what they were."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    clippings = []
    for node in model.graph.node:
        if (node.domain, node.op_type) == (DOMAIN, "CReLU") and len(node.input) == 2 and node.input[1] in stored:
            threshold = numpy_helper.to_array(stored[node.input[1]]).astype(np.float32)
            clippings.append(
                Clipping(
                    node=node.name,
                    input=node.input[0],
                    output=node.output[0],
                    parameter=node.input[1],
                    threshold=threshold,
                )
            )
            node.domain, node.op_type = "", "Relu"
            del node.input[1]
    functions: tuple[FunctionProto, ...] = ()
    if clippings:
        called = {(node.domain, node.op_type) for node in model.graph.node}
        functions = tuple(f for f in model.functions if (f.domain, f.name) == (DOMAIN, "CReLU"))
        kept = [f for f in model.functions if f not in functions or (f.domain, f.name) in called]
        del model.functions[:]
        model.functions.extend(kept)
        _drop_unused(model, {clipping.parameter for clipping in clippings})
    return tuple(clippings), functions


def _drop_unused(model: ModelProto, candidates: set[str]) -> None:
    """Remove those of the named initializers that no node reads any more, in place."""
    used = {name for node in model.graph.node for name in node.input}
    for tensor in [t for t in model.graph.initializer if t.name in candidates - used]:
        model.graph.initializer.remove(tensor)


def _matching(model: ModelProto, patterns: Iterable[str]) -> tuple[str, ...]:
    names = [node.name for node in model.graph.node]
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
            shown = ", ".join(names[:3])
            raise UsageError(f"exclude-nodes: no node matches {pattern!r}; the {len(names)} nodes are {shown}, …")
    return tuple(name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns))


def _upgraded(model: ModelProto, per_channel: bool, clipped: bool) -> ModelProto:
    """Return the model in an operator set that has what its quantized form needs."""
    needed = max(_PER_CHANNEL_OPSET if per_channel else 0, _INTEGER_CRELU_OPSET if clipped else 0, 10)
    if opset(model) >= needed:
        return model
    try:
        if model.functions:
            raise ModelError("it holds functions, which cannot be converted")
        return onnx.version_converter.convert_version(model, _TARGET_OPSET)
    except (RuntimeError, ValueError, ModelError) as error:
        raise ModelError(
            f"opset {needed} is needed, the model has {opset(model)} and cannot be converted: {message_of(error)}; "
            "export it again with a newer opset"
        ) from error


def _folded(model: ModelProto, clipped: set[str], excluded: tuple[str, ...]) -> ModelProto:
    """Fold constants and BatchNormalization, unless that would lose a CReLU, an excluded node or a function."""
    if model.functions:
        return model
    with tempfile.TemporaryDirectory(prefix="ftonnx-") as folder:
        folded = basic_optimization(model, Path(folder))
    if folded is None:
        return model
    domains = {node.domain for node in folded.graph.node}
    relus = {node.output[0] for node in folded.graph.node if node.op_type == "Relu"}
    names = {node.name for node in folded.graph.node}
    if not (clipped <= relus and names.issuperset(excluded) and domains <= {node.domain for node in model.graph.node}):
        return model
    imported = [entry for entry in folded.opset_import if entry.domain in ("", "ai.onnx") or entry.domain in domains]
    del folded.opset_import[:]
    folded.opset_import.extend(imported)
    folded.ir_version = max(model.ir_version, min(folded.ir_version, onnx.IR_VERSION))
    _name_nodes(folded)
    return folded


def _stored_weight(node: NodeProto, model: ModelProto) -> bool:
    if node.op_type not in LINEAR or node.domain not in ("", "ai.onnx"):
        return False
    floats = {tensor.name for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT}
    return not floats.isdisjoint(node.input)
