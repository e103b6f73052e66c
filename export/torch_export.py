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

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["export_module", "one_line"]

_log = logging.getLogger(__name__)

_OUTPUT: Final = "logits"
_OLDEST_OPSET: Final = 18  # what the exporter writes by itself; newer ones are converted from it
_MAX_BYTES: Final = 2**31 - 2**24  # protobuf's limit, less room for the graph


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
    With ``keep_batchnorm`` it stays as it is, and every weight under torch's name has torch's values.
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
    classes = _classes(module, input_shape)
    model = _traced(module, input_shape, input_name, opset, keep_batchnorm=keep_batchnorm)
    _own_thresholds(model.graph)
    if not keep_batchnorm:
        explicit_norms(model.graph)
    passes.RemoveUnusedNodesPass()(model)
    proto = _without_traces(ir.to_proto(model))
    add_crelu_function(proto)
    _check_result(proto, opset)
    entries = {
        **(metadata or {}),
        "ftonnx.batchnorm": ("kept" if keep_batchnorm else "folded") if _has_batchnorm(module) else "none",
        "ftonnx.classes": str(classes),
        "ftonnx.torch": import_module("torch").__version__,
        "ftonnx.version": distributions.version("ftonnx"),
    }
    onnx.helper.set_model_props(proto, dict(sorted(entries.items())))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def one_line(error: BaseException) -> str:
    """The first line of an exception that says something, for use inside a one-line message."""
    lines = (" ".join(line.split()) for line in str(error).splitlines())
    text = next((line for line in lines if any(map(str.isalnum, line))), "")[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


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
    newest = onnx.defs.onnx_opset_version()
    if not _OLDEST_OPSET <= opset <= newest:
        raise UsageError(f"opset: expected {_OLDEST_OPSET} to {newest}, got {opset}")
    if not input_name or input_name == _OUTPUT:
        raise UsageError(f"input name: expected a name other than {_OUTPUT!r}, got {input_name!r}")
    if any(each.training for each in module.modules()):
        raise UsageError("a network in eval mode was expected, got one in training mode; call its eval() first")
    size = sum(p.numel() * p.element_size() for p in (*module.parameters(), *module.buffers()))
    if size > _MAX_BYTES:
        raise ModelError(f"one ONNX file holds 2 GiB, got {size / 2**30:.1f} GiB of weights; use a smaller network")


def _classes(module: "nn.Module", input_shape: tuple[int, ...]) -> int:
    """Run the module once, and return the size of axis 1 of its output."""
    import torch

    what = f"input (2, {', '.join(map(str, input_shape))})"
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            output: Any = module(torch.zeros(2, *input_shape))
    except Exception as error:
        raise ModelError(f"the network fails on {what}: {one_line(error)}; check the input shape") from error
    if not isinstance(output, torch.Tensor):
        raise ModelError(
            f"one tensor of logits was expected from {what}, got {type(output).__name__}; return the logits"
        )
    logits: Tensor = output
    if logits.ndim not in (2, 4) or logits.shape[0] != 2 or logits.dtype != torch.float32:
        kind = f"{str(logits.dtype).removeprefix('torch.')} {tuple(logits.shape)}"
        raise ModelError(f"float32 logits (batch, classes) or (batch, classes, h, w) were expected, got {kind}")
    return logits.shape[1]


def _has_batchnorm(module: "nn.Module") -> bool:
    from torch import nn

    return any(isinstance(each, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d) for each in module.modules())


def _traced(
    module: "nn.Module", input_shape: tuple[int, ...], input_name: str, opset: int, *, keep_batchnorm: bool
) -> ir.Model:
    import torch

    try:
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                module,
                (torch.zeros(2, *input_shape),),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
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
        cause = error.__cause__ or error
        raise ModelError(
            f"torch cannot export the network: {one_line(cause)}; its forward must be free of decisions that depend "
            "on values, and of a fixed batch size"
        ) from error
    if program is None:
        raise ModelError("torch's exporter returned nothing; report it to torch with this network")
    return program.model


@contextmanager
def _norms_out_of_sight(graph: ir.Graph) -> Iterator[None]:
    """Keep optimizations from folding batch normalizations, and from merging parameters of equal value."""
    norms = [node for node in graph if node.op_type == "BatchNormalization" and not node.domain]
    parameters = [node.inputs[1:] for node in norms]
    for node in norms:
        node.domain = DOMAIN
        node.resize_inputs(1)
    yield
    for node, values in zip(norms, parameters, strict=True):
        node.domain = ""
        node.resize_inputs(1 + len(values))
        for place, value in enumerate(values, start=1):
            node.replace_input_with(place, value)
            if value is not None and value.name not in graph.initializers:
                graph.register_initializer(value)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the exporter's warnings, and the graphs that it prints on its way to an error."""
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
    nodes = [node for node in graph if (node.domain, node.op_type) == (DOMAIN, CRELU)]
    arrays = [_threshold(node) for node in nodes]
    merged = {str(value.name): value for node in nodes if (value := node.inputs[1]) is not None}
    for node in nodes:
        node.replace_input_with(1, None)
    for name, value in merged.items():
        if name in graph.initializers and not value.uses():
            del graph.initializers[name]
    for node, array in zip(nodes, arrays, strict=True):
        node.replace_input_with(1, new_initializer(graph, f"{module_prefix(node)}threshold", array))


def _threshold(node: ir.Node) -> Any:
    value = node.inputs[1]
    if value is None or value.const_value is None:
        raise ModelError(f"{node.name}: a stored threshold was expected, got a computed one; make it a buffer")
    return value.const_value.numpy()


def _without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without doc strings and the exporter's metadata, which quote paths and stack traces."""
    graph = model.graph
    values = [*graph.input, *graph.output, *graph.value_info]
    for part in (model, graph, *graph.node, *values, *graph.initializer, *model.functions):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    return model


def _check_result(proto: onnx.ModelProto, opset: int) -> None:
    """The exporter only logs when it could not convert the opset, and lets a module fix the batch size."""
    versions = {entry.domain: entry.version for entry in proto.opset_import}
    if versions[""] != opset:
        raise UsageError(f"opset {opset}: torch can write this network with opset {versions['']} only; ask for that")
    for value in (*proto.graph.input, *proto.graph.output):
        if not value.type.tensor_type.shape.dim[0].dim_param:
            raise ModelError(f"{value.name}: a free batch size was expected, but the network fixes it; see its forward")
