"""From a torch module to an ONNX file's content, through torch's dynamo exporter. torch is imported when needed.

Not aware of architectures, checkpoints or data sets.
"""

import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib import import_module
from importlib import metadata as distributions
from typing import TYPE_CHECKING, Any, Final

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes

from ftonnx.errors import ModelError, UsageError
from ftonnx.export.crelu import CRELU, DOMAIN, add_crelu_function
from ftonnx.export.initializers import module_prefix, new_initializer
from ftonnx.export.norms import explicit_norms
from ftonnx.export.stored_names import name_by_module, name_transposed
from ftonnx.graphs import standard_opset

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["export_module", "one_line"]

_log = logging.getLogger(__name__)

_OUTPUT: Final = "logits"
# what the exporter writes by itself; newer ones are converted from it
_OLDEST_OPSET: Final = 18
# protobuf's limit, less room for the graph
_MAX_BYTES: Final = 2**31 - 2**24


def export_module(
    module: "nn.Module",
    *,
    input_shape: tuple[int, ...],
    input_name: str = "input",
    opset: int = 20,
    keep_batchnorm: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """Write a network as one self-contained ONNX model with a dynamic batch.

    BatchNorm is folded into the convolution before it; where there is none, it becomes an explicit scale and shift.
    With ``keep_batchnorm`` it stays as it is, and every weight under torch's name has torch's values; those of Linear
    layers that become a MatMul, as in transformers, are stored transposed under that name.
    ``ftonnx::CReLU`` nodes get a threshold of their own each. Nothing in the model tells where it was made.

    Args:
        module: Network in eval mode, from one float32 tensor ``(batch, *input_shape)`` to one ``(batch, classes)``
            or ``(batch, classes, height, width)``; not changed.
        input_shape: Shape of one input, such as ``(3, 224, 224)``.
        input_name: Name of the graph's input; its output is ``logits``.
        opset: Version of the standard operator set.
        keep_batchnorm: Leave BatchNormalization nodes as they are.
        metadata: Entries for ``metadata_props``, beside ``ftonnx.version``, ``ftonnx.torch``, ``ftonnx.classes`` and
            ``ftonnx.batchnorm``, which says ``kept``, ``folded``, or ``none`` where the network has no such module.

    Raises:
        ModelError: The module cannot run on such an input, or torch cannot export it.
        UsageError: torch is missing, the opset is out of range, or the module is in training mode.
    """
    _require_torch()
    _check_request(module, input_name, opset)
    # first: a wrong shape fails here in one line, and in the exporter in a hundred
    classes = _classes(module, input_shape)
    model = _traced(module, input_shape, input_name, opset, keep_batchnorm=keep_batchnorm)
    name_transposed(model.graph, dict(module.named_parameters()))
    name_by_module(model.graph)
    _own_thresholds(model.graph)
    # after the exporter has folded those that follow a convolution
    if not keep_batchnorm:
        explicit_norms(model.graph)
    # what fed the nodes that were replaced
    remove_unused = passes.RemoveUnusedNodesPass()
    remove_unused(model)
    proto = ir.to_proto(model)
    _clear_traces(proto)
    add_crelu_function(proto)
    _check_result(proto, opset)
    entries = dict(metadata or {})
    entries["ftonnx.batchnorm"] = _fate_of_batchnorm(module, keep_batchnorm=keep_batchnorm)
    entries["ftonnx.classes"] = str(classes)
    entries["ftonnx.torch"] = import_module("torch").__version__
    entries["ftonnx.version"] = distributions.version("ftonnx")
    # so that equal networks give equal bytes
    in_order = sorted(entries.items())
    onnx.helper.set_model_props(proto, dict(in_order))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def one_line(error: BaseException) -> str:
    """The first line of an exception that says something, for use inside a one-line message."""
    kind = type(error).__name__
    for line in str(error).splitlines():
        # not a line that only underlines another
        if any(map(str.isalnum, line)):
            words = line.split()
            text = " ".join(words)
            return f"{kind}: {text[:300]}"
    return kind


def _require_torch() -> None:
    for name in ("torch", "onnxscript"):
        try:
            import_module(name)
        except (ImportError, OSError, RuntimeError) as error:
            raise UsageError(
                f"{name} is needed to export but cannot be imported ({one_line(error)}); "
                "install it with: pip install 'ftonnx[torch]'"
            ) from error


def _check_request(module: "nn.Module", input_name: str, opset: int) -> None:
    # newer than the installed onnx, nothing can be checked
    newest = onnx.defs.onnx_opset_version()
    if not _OLDEST_OPSET <= opset <= newest:
        raise UsageError(f"opset: expected {_OLDEST_OPSET} to {newest}, got {opset}")
    if not input_name or input_name == _OUTPUT:
        raise UsageError(f"input name: expected a name other than {_OUTPUT!r}, got {input_name!r}")
    # one layer is enough to give other outputs
    if any(each.training for each in module.modules()):
        raise UsageError("a network in eval mode was expected, got one in training mode; call its eval() first")
    size = _bytes_of(module)
    if size > _MAX_BYTES:
        gibibytes = size / 2**30
        raise ModelError(f"one ONNX file holds 2 GiB, got {gibibytes:.1f} GiB of weights; use a smaller network")


def _bytes_of(module: "nn.Module") -> int:
    size = 0
    for tensor in (*module.parameters(), *module.buffers()):
        size += tensor.numel() * tensor.element_size()
    return size


def _classes(module: "nn.Module", input_shape: tuple[int, ...]) -> int:
    """Run the module once, and return the size of axis 1 of its output."""
    import torch

    sizes = ", ".join(map(str, input_shape))
    what = f"input (2, {sizes})"
    images = torch.zeros(2, *input_shape)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            output: Any = module(images)
    except Exception as error:
        # a stranger's forward fails in many ways
        raise ModelError(f"the network fails on {what}: {one_line(error)}; check the input shape") from error
    # detection networks return lists and dictionaries
    if not isinstance(output, torch.Tensor):
        got = type(output).__name__
        raise ModelError(f"one tensor of logits was expected from {what}, got {got}; return the logits")
    logits: Tensor = output
    has_batch = logits.ndim in (2, 4) and logits.shape[0] == 2
    if not has_batch or logits.dtype != torch.float32:
        dtype = str(logits.dtype).removeprefix("torch.")
        shape = tuple(logits.shape)
        expected = "float32 logits (batch, classes) or (batch, classes, h, w)"
        raise ModelError(f"{expected} were expected, got {dtype} {shape}")
    return logits.shape[1]


def _fate_of_batchnorm(module: "nn.Module", *, keep_batchnorm: bool) -> str:
    """What became of the network's batch normalizations: ``kept``, ``folded``, or ``none`` where it has none."""
    from torch import nn

    kinds = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
    if not any(isinstance(each, kinds) for each in module.modules()):
        return "none"
    if keep_batchnorm:
        return "kept"
    return "folded"


def _traced(
    module: "nn.Module", input_shape: tuple[int, ...], input_name: str, opset: int, *, keep_batchnorm: bool
) -> ir.Model:
    import torch

    # two images, since torch takes an axis of one for a fixed size
    example = torch.zeros(2, *input_shape)
    batch = torch.export.Dim("batch")
    try:
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                dynamic_shapes=({0: batch},),
                input_names=[input_name],
                output_names=[_OUTPUT],
                opset_version=opset,
                optimize=not keep_batchnorm,
                verbose=False,
            )
            if program is not None and keep_batchnorm:
                with _norms_out_of_sight(program.model.graph):
                    program.optimize()
    except Exception as error:
        # the exporter wraps what went wrong in a page of advice
        cause = error.__cause__ or error
        advice = "its forward must be free of decisions that depend on values, and of a fixed batch size"
        raise ModelError(f"torch cannot export the network: {one_line(cause)}; {advice}") from error
    if program is None:
        raise ModelError("torch's exporter returned nothing; report it to torch with this network")
    return program.model


@contextmanager
def _norms_out_of_sight(graph: ir.Graph) -> Iterator[None]:
    """Keep optimizations from folding batch normalizations, and from merging parameters of equal value."""
    norms = _norms(graph)
    parameters = [node.inputs[1:] for node in norms]
    for node in norms:
        # under another domain they are operators that nobody knows
        node.domain = DOMAIN
        node.resize_inputs(1)
    yield
    for node, values in zip(norms, parameters, strict=True):
        node.domain = ""
        node.resize_inputs(1 + len(values))
        for place, value in enumerate(values, start=1):
            node.replace_input_with(place, value)
            # without a user, an initializer may have been dropped meanwhile
            if value is not None and value.name not in graph.initializers:
                graph.register_initializer(value)


def _norms(graph: ir.Graph) -> list[ir.Node]:
    norms = []
    for node in graph:
        is_standard = not node.domain
        if is_standard and node.op_type == "BatchNormalization":
            norms.append(node)
    return norms


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the exporter's warnings, and the graphs that it prints on its way to an error."""
    # kept for the log, where it helps whoever reports a bug
    said = io.StringIO()
    with warnings.catch_warnings(), redirect_stdout(said), redirect_stderr(said):
        warnings.simplefilter("ignore")
        try:
            yield
        except Exception:
            _log.debug("torch's exporter: %s", said.getvalue())
            raise


def _own_thresholds(graph: ir.Graph) -> None:
    """Give every CReLU a threshold initializer of its own: the exporter merges those of equal value."""
    nodes = []
    for node in graph:
        if node.domain == DOMAIN and node.op_type == CRELU:
            nodes.append(node)
    merged = [_stored_threshold(node) for node in nodes]
    for node in nodes:
        node.replace_input_with(1, None)
    # all the old ones go before the first new one comes: the names are free again then
    for value in merged:
        if not value.uses():
            graph.initializers.pop(str(value.name), None)
    for node, value in zip(nodes, merged, strict=True):
        name = f"{module_prefix(node)}threshold"
        assert value.const_value is not None
        array = value.const_value.numpy()
        own = new_initializer(graph, name, array)
        node.replace_input_with(1, own)


def _stored_threshold(node: ir.Node) -> ir.Value:
    value = node.inputs[1]
    if value is None or value.const_value is None:
        raise ModelError(f"{node.name}: a stored threshold was expected, got a computed one; make it a buffer")
    return value


def _clear_traces(model: onnx.ModelProto) -> None:
    """Clear, in place, doc strings and the exporter's metadata, which quote paths and stack traces."""
    graph = model.graph
    parts = [
        model,
        graph,
        *graph.node,
        *graph.input,
        *graph.output,
        *graph.value_info,
        *graph.initializer,
        *model.functions,
    ]
    for part in parts:
        part.ClearField("doc_string")
        part.ClearField("metadata_props")


def _check_result(proto: onnx.ModelProto, opset: int) -> None:
    """The exporter only logs when it could not convert the opset, and lets a module fix the batch size."""
    written = standard_opset(proto)
    if written != opset:
        raise UsageError(f"opset {opset}: torch can write this network with opset {written} only; ask for that")
    for value in (*proto.graph.input, *proto.graph.output):
        axes = value.type.tensor_type.shape.dim
        if not axes[0].dim_param:
            raise ModelError(f"{value.name}: a free batch size was expected, but the network fixes it; see its forward")
