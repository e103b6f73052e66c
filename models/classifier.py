"""Which layer of a network is the classifier: needs torch."""

import logging
from collections.abc import Iterable
from typing import Final

from torch import Tensor, fx, nn

from ftonnx.errors import describe
from ftonnx.words import some_of

__all__ = ["classifier_names"]

_logger: Final = logging.getLogger(__name__)


def classifier_names(net: nn.Module) -> frozenset[str]:
    """Names, in the state dict of a network, of the weights that its outputs come from, its classifier.

    These are the last weight matrix (or kernels) on the way to the outputs and whatever has weights behind it, such as
    a batch normalization of the logits. Of several outputs, as of a network in training mode with auxiliary
    classifiers, each has one. Where layers were registered does not matter, unless how the network computes cannot be
    traced, since it depends on the input's values or shape: then it is the layer with a weight matrix that was
    registered last, as a logged warning says. A network without weights has none.
    """
    try:
        graph = fx.Tracer().trace(net)
    except Exception as error:
        # somebody's network fails in many ways
        found = _last_registered(net)
        _logger.warning(
            "how %s computes cannot be traced (%s): its last layer is taken for the classifier: %s",
            type(net).__name__,
            describe(error),
            some_of(sorted(found)),
        )
        return found
    return _before_the_end(net, graph)


def _before_the_end(net: nn.Module, graph: fx.Graph) -> frozenset[str]:
    """Go back from the outputs, on every way to the first weight matrix."""
    found: set[str] = set()
    waiting = list(_outputs(graph))
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        names = _weights_at(net, node)
        found |= names
        if _has_matrix(net, names):
            continue
        for before in node.all_input_nodes:
            if before not in seen:
                seen.add(before)
                waiting.append(before)
    return frozenset(found)


def _outputs(graph: fx.Graph) -> Iterable[fx.Node]:
    output: fx.Node = next(node for node in reversed(graph.nodes) if node.op == "output")
    return output.all_input_nodes


def _weights_at(net: nn.Module, node: fx.Node) -> frozenset[str]:
    """Names of what a node computes with: a layer's own, or a function's operands."""
    if node.op == "call_module":
        return _below(net, str(node.target))
    known = net.state_dict().keys()
    operands = [str(each.target) for each in node.all_input_nodes if each.op == "get_attr"]
    return frozenset(name for name in operands if name in known)


def _has_matrix(net: nn.Module, names: Iterable[str]) -> bool:
    tensors: dict[str, Tensor] = net.state_dict()
    return any(tensors[name].ndim > 1 for name in names)


def _below(net: nn.Module, layer: str) -> frozenset[str]:
    prefix = f"{layer}." if layer else ""
    return frozenset(name for name in net.state_dict() if name.startswith(prefix))


def _last_registered(net: nn.Module) -> frozenset[str]:
    """The last layer that has a weight matrix, else the last that has weights."""
    names = [name for name, _ in net.named_parameters()]
    if not names:
        return frozenset()
    matrices = [name for name in names if _has_matrix(net, [name])]
    layer = (matrices or names)[-1].rpartition(".")[0]
    return _below(net, layer)
