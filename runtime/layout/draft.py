"""What is to be optimized, and how: a model, its targets and the session's options."""

import hashlib
import json
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import onnx
import onnxruntime as ort

from ftonnx.errors import message_of
from ftonnx.files import processor_facts
from ftonnx.graphs import FREE_INITIALIZERS, ExplicitNorm, copy_of, forget_stored_inputs, has_inner_bodies, name_apart
from ftonnx.inject import FaultSpace, OnnxModel
from ftonnx.sessions import SessionOptions

__all__ = ["Draft", "Named", "NotPossibleError"]


class NotPossibleError(Exception):
    """A strategy cannot run this model; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A model in which every target has a name of its own; in a file, tensors of two bodies may share one.

    Attributes:
        model: it.
        names: of the targets' tensors there, in the order of the targets.
    """

    model: onnx.ModelProto
    names: tuple[str, ...]


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
        proto = self.model.structure
        options = self.options
        parts = {
            "ftonnx": metadata.version("ftonnx"),
            "onnxruntime": [ort.__version__, ort.get_build_info()],
            "processor": processor_facts(),
            "model": [self.model.sha256, _structure(proto)],
            "targets": self.named(proto).names,
            "options": [options.providers, options.disabled, options.optimize],
            # a model without normalizations becomes the same either way
            "explicit_norms": self.explicit_norms and _has_batch_norms(proto),
        }
        text = json.dumps(parts)
        return hashlib.sha256(text.encode()).hexdigest()

    def named(self, proto: onnx.ModelProto) -> Named:
        """Return a model with names for the targets of subgraphs and functions; it is the same where none are.

        Args:
            proto: the draft's model, or its structure.

        Raises:
            NotPossibleError: a target cannot be renamed.
        """
        if not has_inner_bodies(proto):
            return Named(model=proto, names=tuple(target.tensor for target in self.space.targets))
        model = copy_of(proto)
        try:
            names = name_apart(model, self.space.tensors(model))
        except ValueError as error:
            raise NotPossibleError(message_of(error)) from error
        return Named(model=model, names=tuple(names))

    def prepared(self, proto: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[ExplicitNorm, ...]]:
        """Return a model as it is given to the optimizer, and what was made explicit in it.

        Args:
            proto: the draft's model, named or not, or one with flipped bits.

        Raises:
            NotPossibleError: the graph cannot be edited.
        """
        if proto.ir_version < FREE_INITIALIZERS:
            proto = _without_stored_inputs(proto)
        if not self.explicit_norms or not _has_batch_norms(proto):
            return proto, ()
        from ftonnx.runtime.layout.explicit_norms import explicit_batch_norms  # onnx-ir takes long to import

        try:
            return explicit_batch_norms(proto)
        except ValueError as error:
            raise NotPossibleError(f"onnx-ir cannot edit the graph: {message_of(error)}") from error


def _has_batch_norms(model: onnx.ModelProto) -> bool:
    """Say whether a model's top level has BatchNormalization nodes."""
    return any(node.op_type == "BatchNormalization" for node in model.graph.node)


def _without_stored_inputs(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a file of IR version 3 in version 4, where stored tensors are not listed as inputs.

    ONNX Runtime's optimizer would leave the inputs of folded ones behind, and a session on the optimized graph would
    ask for them.
    """
    model = copy_of(proto)
    forget_stored_inputs(model)
    return model


def _structure(model: onnx.ModelProto) -> str:
    """Hash the nodes and signatures, which may have been edited since the file was hashed."""
    graph = model.graph
    groups: tuple[Any, ...] = (
        model.opset_import,
        model.functions,
        graph.node,
        graph.input,
        graph.output,
    )
    digest = hashlib.sha256()
    for group in groups:
        for part in group:
            content = part.SerializeToString(deterministic=True)
            digest.update(content)
    return digest.hexdigest()
