"""From any FP32 model to one that ONNX Runtime's quantizer understands, with its CReLUs set aside."""

import fnmatch
import hashlib
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import onnx
import onnx.inliner
from numpy.typing import NDArray
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from ftonnx.errors import ModelError, UsageError
from ftonnx.graphs import FREE_INITIALIZERS, copy_of, require_unoptimized, sort_nodes, subgraphs, used_by
from ftonnx.quant.dense import store_densely
from ftonnx.quant.moves import store_moved
from ftonnx.quant.names import make_way, name_nodes
from ftonnx.quant.operands import settle_operands
from ftonnx.quant.scopes import show_outer_reads
from ftonnx.quant.sessions import basic_optimization, elem_type, inferred_types, with_types
from ftonnx.quant.shares import split_shared
from ftonnx.quant.upgrade import STANDARD, opset, raise_opset
from ftonnx.sessions import free_inputs

__all__ = ["Clipping", "Prepared", "digest", "prepare", "require_work"]

DOMAIN: Final = "ftonnx"
LINEAR: Final = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
_QUANTIZED: Final = {"QuantizeLinear", "DequantizeLinear", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"}
_WHOLE: Final = {
    TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.UINT16, TensorProto.INT32, TensorProto.UINT32,
    TensorProto.INT64, TensorProto.UINT64, TensorProto.BOOL,
}  # fmt: skip
_QUANTIZING_OPSET: Final = 10
_PER_CHANNEL_OPSET: Final = 13
_INTEGER_CRELU_OPSET: Final = 14  # Mul of uint8


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
        converted: whether the operator set had to be raised.
    """

    plain: ModelProto = field(repr=False)
    clippings: tuple[Clipping, ...]
    functions: tuple[FunctionProto, ...] = field(repr=False)
    excluded: tuple[str, ...]
    sha256: str
    converted: bool

    def reference(self) -> ModelProto:
        """Return the floating-point model with its CReLUs."""
        model = copy_of(self.plain)
        restore(model, self.clippings, self.functions)
        return model


def prepare(model: ModelProto, patterns: Iterable[str], *, per_channel: bool) -> Prepared:
    """Check and prepare a model; it is not changed.

    Raises:
        ModelError: the model is quantized already, is not FP32, or has several inputs.
        UsageError: a pattern matches no node.
    """
    _refuse_unsuitable(model)
    plain = copy_of(model)
    # the quantizer of ONNX Runtime knows nodes by name, and neither functions, constants nor defaults
    sort_nodes(plain.graph)
    name_nodes(plain)
    plain = _inline_foreign_functions(plain)
    store_densely(plain)
    _constants_to_initializers(plain)
    _forget_defaults(plain)
    clippings = _set_aside(plain)
    functions = _take_crelu_functions(plain, clippings)
    excluded = _matching(plain, patterns)
    raised = raise_opset(plain, _needed_opset(per_channel, bool(clippings)))
    clipped = {clipping.output for clipping in clippings}
    plain = _folded(raised, clipped, excluded)
    clippings = _suited(plain, clippings, frozenset(excluded))
    return Prepared(
        plain=inferred_types(plain),
        clippings=clippings,
        functions=functions,
        excluded=excluded,
        sha256=digest(model),
        converted=opset(raised) > opset(model),
    )


def digest(model: ModelProto) -> str:
    """Return the SHA-256 of a model's content."""
    content = model.SerializeToString(deterministic=True)
    return hashlib.sha256(content).hexdigest()


def restore(model: ModelProto, clippings: Iterable[Clipping], functions: Iterable[FunctionProto]) -> None:
    """Turn the Relus that stand for the given CReLUs back into CReLUs, in place."""
    relus = {}
    for node in model.graph.node:
        if node.op_type == "Relu":
            relus[node.output[0]] = node
    stored = _stored(model)
    used = False
    for clipping in clippings:
        used = True
        relu = relus[clipping.output]
        relu.domain = DOMAIN
        relu.op_type = "CReLU"
        relu.input.append(clipping.parameter)
        # several CReLUs may share a threshold
        if clipping.parameter not in stored:
            stored.add(clipping.parameter)
            tensor = numpy_helper.from_array(clipping.threshold, clipping.parameter)
            model.graph.initializer.append(tensor)
    if used:
        model.functions.extend(functions)
        import_domain(model)


def import_domain(model: ModelProto) -> None:
    """Make a model import the ftonnx domain, in place."""
    imported = {entry.domain for entry in model.opset_import}
    if DOMAIN not in imported:
        model.opset_import.add(domain=DOMAIN, version=1)


def _stored(model: ModelProto) -> set[str]:
    """Return the names of the stored tensors."""
    return {tensor.name for tensor in model.graph.initializer}


def _refuse_unsuitable(model: ModelProto) -> None:
    require_unoptimized(model)
    for node in model.graph.node:
        op = node.op_type
        if op in _QUANTIZED or op.startswith("QLinear"):
            raise ModelError(f"the model is quantized already (it has {op} nodes); give the FP32 model")
    inputs = free_inputs(model)
    if len(inputs) != 1:
        raise ModelError(f"a model with one input was expected, this one has {len(inputs)}")
    element = elem_type(inputs[0])
    # whole numbers are looked up or cast, and stay as they are
    if element != TensorProto.FLOAT and element not in _WHOLE:
        kind = TensorProto.DataType.Name(element).lower()
        raise ModelError(f"a model with FP32 or integer input was expected, got {kind}; convert it to FP32")


def _inline_foreign_functions(model: ModelProto) -> ModelProto:
    kept = []
    for function in model.functions:
        if function.domain == DOMAIN:
            kept.append((function.domain, function.name))
    if len(kept) == len(model.functions):
        return model
    inlined: ModelProto = onnx.inliner.inline_selected_functions(model, kept, exclude=True)
    name_nodes(inlined)
    return inlined


def _constants_to_initializers(model: ModelProto) -> None:
    """Turn Constant nodes that hold a tensor into initializers, in place."""
    for node in list(model.graph.node):
        if node.op_type != "Constant" or node.domain not in STANDARD:
            continue
        value = _tensor_attribute(node)
        if value is not None:
            tensor = model.graph.initializer.add()
            tensor.CopyFrom(value)
            tensor.name = node.output[0]
            model.graph.node.remove(node)


def _tensor_attribute(node: NodeProto) -> TensorProto | None:
    for attribute in node.attribute:
        if attribute.name == "value":
            return attribute.t
    return None


def _forget_defaults(model: ModelProto) -> None:
    """Drop initializers from the inputs, in place: as overridable defaults they could not be quantized."""
    model.ir_version = max(model.ir_version, FREE_INITIALIZERS)
    stored = _stored(model)
    for value in list(model.graph.input):
        if value.name in stored:
            model.graph.input.remove(value)


def _set_aside(model: ModelProto) -> tuple[Clipping, ...]:
    """Replace CReLUs by Relus in place; return what they were."""
    stored = {}
    for tensor in model.graph.initializer:
        stored[tensor.name] = tensor
    clippings = []
    for node in model.graph.node:
        if not _is_crelu(node) or len(node.input) != 2:
            continue
        # a threshold that is computed cannot be made a code
        threshold = stored.get(node.input[1])
        if threshold is None:
            continue
        clippings.append(_clipping(node, threshold))
        node.domain = ""
        node.op_type = "Relu"
        del node.input[1]
    parameters = {clipping.parameter for clipping in clippings}
    _drop_unused(model, parameters)
    return tuple(clippings)


def _is_crelu(node: NodeProto) -> bool:
    return node.domain == DOMAIN and node.op_type == "CReLU"


def _clipping(node: NodeProto, tensor: TensorProto) -> Clipping:
    threshold = numpy_helper.to_array(tensor)
    return Clipping(
        node=node.name,
        input=node.input[0],
        output=node.output[0],
        parameter=node.input[1],
        threshold=threshold.astype(np.float32),
    )


def _take_crelu_functions(model: ModelProto, clippings: Sequence[Clipping]) -> tuple[FunctionProto, ...]:
    """Return the CReLU function and remove it from the model, unless another node still calls it."""
    if not clippings:
        return ()
    functions = []
    kept = []
    still_called = _calls_crelu(model.graph)
    for function in model.functions:
        is_crelu = function.domain == DOMAIN and function.name == "CReLU"
        if is_crelu:
            functions.append(function)
        if not is_crelu or still_called:
            kept.append(function)
    del model.functions[:]
    model.functions.extend(kept)
    return tuple(functions)


def _calls_crelu(graph: GraphProto) -> bool:
    """Say whether a node of a graph or of its subgraphs is a CReLU."""
    for node in graph.node:
        if _is_crelu(node):
            return True
        for attribute in node.attribute:
            if any(_calls_crelu(inner) for inner in subgraphs(attribute)):
                return True
    return False


def _drop_unused(model: ModelProto, candidates: set[str]) -> None:
    """Remove those of the named initializers that no node reads any more, in place."""
    unused = set(candidates)
    for node in model.graph.node:
        unused.difference_update(used_by(node))
    for tensor in list(model.graph.initializer):
        if tensor.name in unused:
            model.graph.initializer.remove(tensor)


def _matching(model: ModelProto, patterns: Iterable[str]) -> tuple[str, ...]:
    names = [node.name for node in model.graph.node]
    matching: set[str] = set()
    for pattern in patterns:
        found = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
        if not found:
            shown = ", ".join(names[:3])
            raise UsageError(f"exclude-nodes: no node matches {pattern!r}; the {len(names)} nodes are {shown}, …")
        matching.update(found)
    # in graph order
    return tuple(name for name in names if name in matching)


def _needed_opset(per_channel: bool, clipped: bool) -> int:
    needed = _QUANTIZING_OPSET
    if per_channel:
        needed = max(needed, _PER_CHANNEL_OPSET)
    if clipped:
        needed = max(needed, _INTEGER_CRELU_OPSET)
    return needed


def _folded(model: ModelProto, clipped: set[str], excluded: tuple[str, ...]) -> ModelProto:
    """Fold constants and BatchNormalization, unless that would lose a CReLU, an excluded node or a function."""
    # ONNX Runtime would inline them
    if model.functions:
        store_moved(model, frozenset(excluded))
        return model
    folded = basic_optimization(model)
    if folded is None:
        return model
    if not _kept_enough(folded, model, clipped, excluded):
        return model
    domains = {node.domain for node in folded.graph.node}
    domains.update(STANDARD)
    # ONNX Runtime imports all domains that it knows, and other tools refuse them
    imported = [entry for entry in folded.opset_import if entry.domain in domains]
    del folded.opset_import[:]
    folded.opset_import.extend(imported)
    newest = min(folded.ir_version, onnx.IR_VERSION)
    folded.ir_version = max(model.ir_version, newest)
    name_nodes(folded)
    return folded


def _kept_enough(folded: ModelProto, model: ModelProto, clipped: set[str], excluded: tuple[str, ...]) -> bool:
    """Say whether folding kept the CReLUs and the excluded nodes, and brought no operators of other domains."""
    relus: set[str] = set()
    names: set[str] = set()
    domains: set[str] = set()
    for node in folded.graph.node:
        names.add(node.name)
        domains.add(node.domain)
        if node.op_type == "Relu":
            relus.add(node.output[0])
    known_domains = {node.domain for node in model.graph.node}
    if not clipped <= relus or not domains <= known_domains:
        return False
    return names.issuperset(excluded)


def _suited(model: ModelProto, clippings: tuple[Clipping, ...], excluded: frozenset[str]) -> tuple[Clipping, ...]:
    """Rewrite in place what the quantizer would take for something else; return the CReLUs by their new names."""
    split_shared(model, excluded)
    settle_operands(model, excluded)
    model.CopyFrom(with_types(model))
    show_outer_reads(model)
    parameters = {clipping.parameter for clipping in clippings}
    names = make_way(model, parameters)
    renamed = []
    for clipping in clippings:
        before = names.get(clipping.input, clipping.input)
        after = names.get(clipping.output, clipping.output)
        renamed.append(replace(clipping, input=before, output=after))
    return tuple(renamed)


def require_work(model: ModelProto, excluded: Container[str]) -> None:
    """Find a linear operator with stored FP32 weights.

    Args:
        model: prepared.
        excluded: names of nodes that stay in floating point.

    Raises:
        ModelError: there is none.
    """
    floats = set()
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            floats.add(tensor.name)
    for node in model.graph.node:
        is_linear = node.op_type in LINEAR and node.domain in STANDARD
        if not is_linear or node.name in excluded:
            continue
        if not floats.isdisjoint(node.input):
            return
    raise ModelError(
        "nothing to quantize: no Conv, Gemm or MatMul is left with stored FP32 weights and, if it has a bias, a stored "
        "one per channel"
    )
