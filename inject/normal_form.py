"""Files that ONNX Runtime reads although they break a rule of form, brought into the form that the standard demands.

Converters and graph editors write such files. Nothing that is computed or stored changes; whatever is no matter of form
is left to the checks.
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from onnx import FunctionProto, GraphProto, ModelProto

from ftonnx.graphs import FREE_INITIALIZERS, copy_of, forget_stored_inputs, is_sorted, sort_nodes
from ftonnx.inject.bodies import all_bodies

__all__ = ["normal_form"]

_IMPORTED_ANYWAY: Final = {"com.microsoft": 1, "com.microsoft.nchwc": 1}
"""Operator sets that ONNX Runtime knows whether or not a file imports them, and their versions."""

_IMPORTS: Final = 3
"""IR version since which a model imports operator sets."""

_NAME: Final = "graph"


def normal_form(model: ModelProto) -> ModelProto:
    """Return a model whose nodes are sorted, with the graph name, IR version and imports that the standard demands.

    It is the same object where nothing is to be done, a copy otherwise.

    Raises:
        ModelError: nodes wait for each other in a circle.
    """
    broken = [rule for rule in _RULES if not rule.holds(model)]
    if not broken:
        return model
    mended = copy_of(model)
    for rule in broken:
        rule.mend(mended)
    return mended


def _main_bodies(model: ModelProto) -> Iterator[GraphProto | FunctionProto]:
    """Yield the graph and the functions, whose subgraphs are sorted with them."""
    yield model.graph
    yield from model.functions


def _nodes_are_sorted(model: ModelProto) -> bool:
    return all(is_sorted(body) for body in _main_bodies(model))


def _sort(model: ModelProto) -> None:
    for body in _main_bodies(model):
        if not is_sorted(body):
            sort_nodes(body)


def _ir_version_fits(model: ModelProto) -> bool:
    """Say whether the IR version knows imports, and the stored tensors that are no inputs of their graph."""
    # none at all is no old version
    if model.ir_version >= FREE_INITIALIZERS or not model.ir_version:
        return True
    if model.ir_version < _IMPORTS:
        return False
    for body in all_bodies(model):
        if isinstance(body, FunctionProto):
            continue
        listed = {value.name for value in body.input}
        if any(tensor.name not in listed for tensor in body.initializer):
            return False
    return True


def _has_a_name(model: ModelProto) -> bool:
    return bool(model.graph.name)


def _name(model: ModelProto) -> None:
    model.graph.name = _NAME


def _missing_imports(model: ModelProto) -> set[str]:
    used: set[str] = set()
    for body in all_bodies(model):
        used.update(node.domain for node in body.node)
    imported = {entry.domain for entry in model.opset_import}
    return used.intersection(_IMPORTED_ANYWAY) - imported


def _imports_what_it_uses(model: ModelProto) -> bool:
    return not _missing_imports(model)


def _import(model: ModelProto) -> None:
    for domain in sorted(_missing_imports(model)):
        model.opset_import.add(domain=domain, version=_IMPORTED_ANYWAY[domain])


class _Rule(NamedTuple):
    """A rule of form.

    Attributes:
        holds: says whether a model keeps it.
        mend: makes a model keep it, in place.
    """

    holds: Callable[[ModelProto], bool]
    mend: Callable[[ModelProto], None]


_RULES: Final = (
    _Rule(_nodes_are_sorted, _sort),
    _Rule(_ir_version_fits, forget_stored_inputs),
    _Rule(_has_a_name, _name),
    _Rule(_imports_what_it_uses, _import),
)
