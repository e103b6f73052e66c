"""What is to be optimized, and how: a model, its targets and the session's options."""

import hashlib
import json
import platform
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

import onnx
import onnxruntime as ort

from ftonnx.errors import message_of
from ftonnx.inject import FaultSpace, OnnxModel
from ftonnx.runtime.batch_norm import ExplicitNorm, has_batch_norms
from ftonnx.runtime.blueprint import Blueprint, Contents, NotPossibleError, draw_blueprint
from ftonnx.runtime.layout import Placement, find_layout, stored_tensors
from ftonnx.runtime.onnx_session import SessionOptions

__all__ = ["Draft", "prepared"]

_IR_WITH_OPTIONAL_INPUTS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What is to be optimized, and how.

    Attributes:
        model: the original.
        space: its targets, which need a place in the result.
        options: how sessions will be opened.
        explicit_norms: make stand-alone batch normalizations explicit first.
    """

    model: OnnxModel
    space: FaultSpace
    options: SessionOptions
    explicit_norms: bool

    @property
    def key(self) -> str:
        """64 hexadecimal digits, equal for drafts that become the same blueprint on the same machine.

        Threads, packing and number formats are no part of it: the optimizer does not know them.
        """
        parts = {
            "ftonnx": metadata.version("ftonnx"),
            "onnxruntime": [ort.__version__, ort.get_build_info()],
            "processor": _processor(),
            "model": [self.model.sha256, _structure(self.model.proto)],
            "targets": [target.tensor for target in self.space.targets],
            "options": [self.options.providers, self.options.disabled, self.options.optimize],
            "explicit_norms": self.explicit_norms and has_batch_norms(self.model.proto),
        }
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def draw(self) -> Blueprint:
        """Optimize the model and find every target.

        Raises:
            NotPossibleError: a target has no place in the optimized graph.
        """
        scratch, norms = prepared(self.model.proto, explicit_norms=self.explicit_norms)
        by_name = stored_tensors(scratch.graph)
        names = _reachable(self.space, by_name) + [name for norm in norms for name in (norm.scale, norm.shift)]
        layout = find_layout(scratch, names, self.options)
        _require_found(layout.places, normed={name for norm in norms for name in norm.inputs})
        return draw_blueprint(layout, norms, by_name)

    def fill(self, blueprint: Blueprint) -> Contents:
        """Put the model's stored values into a blueprint.

        Raises:
            ValueError: the blueprint does not fit the model.
        """
        return blueprint.fill(stored_tensors(self.model.proto.graph))


def prepared(proto: onnx.ModelProto, *, explicit_norms: bool) -> tuple[onnx.ModelProto, tuple[ExplicitNorm, ...]]:
    """Return a model as it is given to the optimizer, and what was made explicit in it.

    Raises:
        NotPossibleError: the graph cannot be edited.
    """
    if proto.ir_version < _IR_WITH_OPTIONAL_INPUTS:
        proto = _without_stored_inputs(proto)
    if not (explicit_norms and has_batch_norms(proto)):
        return proto, ()
    from ftonnx.runtime.explicit_norms import explicit_batch_norms  # onnx-ir takes long to import

    try:
        return explicit_batch_norms(proto)
    except ValueError as error:
        raise NotPossibleError(f"onnx-ir cannot edit the graph: {message_of(error)}") from error


def _without_stored_inputs(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Bring a file of IR version 3 to version 4, where stored tensors are not listed as inputs.

    ONNX Runtime takes them for constants in both, but its optimizer would leave the inputs of
    folded ones behind, and a session on the optimized graph would ask for them.
    """
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    stored = {tensor.name for tensor in model.graph.initializer}
    free = [value for value in model.graph.input if value.name not in stored]
    del model.graph.input[:]
    model.graph.input.extend(free)
    model.ir_version = _IR_WITH_OPTIONAL_INPUTS
    return model


def _reachable(space: FaultSpace, stored: Mapping[str, onnx.TensorProto]) -> list[str]:
    """Return the names of all targets, provided that our arrays can hold them."""
    for target in space.targets:
        if target.tensor not in stored:
            raise NotPossibleError(f"{target.tensor!r} lies in a subgraph or function")
        if not target.format.known_to_numpy:
            raise NotPossibleError(f"{target.tensor!r} has the type {target.format.dtype.name}, which numpy lacks")
    return [target.tensor for target in space.targets]


def _require_found(places: Mapping[str, Sequence[Placement]], normed: set[str]) -> None:
    lost = [name for name, found in places.items() if not found and name not in normed]
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        raise NotPossibleError(f"the optimizer left no place for {lost[0]!r}{more}")


def _structure(model: onnx.ModelProto) -> str:
    """Hash the nodes and signatures, which may have been edited since the file was hashed."""
    digest = hashlib.sha256()
    for part in (*model.opset_import, *model.functions, *model.graph.node, *model.graph.input, *model.graph.output):
        digest.update(part.SerializeToString(deterministic=True))
    return digest.hexdigest()


def _processor() -> list[str]:
    """Return what tells processors apart; the optimizer's blocked layout depends on their vector units."""
    known = [platform.machine()]
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text()
        found = re.findall(r"^(?:model name|flags|Features|CPU part)\s*:\s*(.*)$", text, re.MULTILINE)
        known += dict.fromkeys(found)
    return known
