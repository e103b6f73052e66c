"""Convolutions of few weights, each in two forms, of which a run takes the one that it needs.

A convolution whose weights can be followed runs as a product of matrices, since its bias must be no constant. With few
weights per output channel, depthwise above all, that takes up to six times as long as ONNX Runtime's own kernel for
constants. Few weights are seldom hit. So such a node becomes an ``If``: it reads constants, or the memory where faults
are; which one, says a switch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from ftonnx.inject.formats import Undo
from ftonnx.runtime.layout.memory import Memory

__all__ = ["Branch", "Switches", "branch_convolutions"]

_CONVOLUTION: Final = "QLinearConv"
_WEIGHT: Final = 3  # among a QLinearConv's inputs
_MOST_PER_CHANNEL: Final = 160  # elements; from there on products of matrices are as fast
_MARK: Final = "ftonnx_branch"


@dataclass(frozen=True, slots=True)
class Branch:
    """A convolution in two forms.

    Attributes:
        switch: the initializer, a single truth value, that says whether it reads the memory.
        arrays: names of the arrays in memory that it reads.
    """

    switch: str
    arrays: tuple[str, ...]


class Switches:
    """The truth values of branches, in an array of our own that a session reads at every run.

    Attributes:
        values: one each, by its name; views, not copies.
    """

    def __init__(self, branches: Sequence[Branch], memory: Memory) -> None:
        """Turn all of them off: nothing is flipped."""
        self._on = np.zeros(len(branches), np.bool_)
        self.values = {branch.switch: self._on[number, ...] for number, branch in enumerate(branches)}
        self._numbers: dict[int, list[int]] = {}
        for number, branch in enumerate(branches):
            for name in branch.arrays:
                # an undo names no array; its words are the memory's own
                self._numbers.setdefault(id(memory.weights.arrays[name]), []).append(number)

    def follow(self, changes: Sequence[Undo]) -> None:
        """Let convolutions read the memory where it was changed; all of them where nothing was.

        Who asks for a run without faults beside the golden one wants to know what is in memory.
        """
        if not changes:
            self._on[:] = True
        for change in changes:
            self._on[self._numbers.get(id(change.words), [])] = True

    def off(self) -> None:
        """Let every convolution read constants again."""
        self._on[:] = False


def branch_convolutions(
    model: onnx.ModelProto, original: onnx.ModelProto, held: Mapping[str, NDArray[Any]]
) -> list[Branch]:
    """Give convolutions with few weights per channel both forms, in place.

    Args:
        model: the graph whose convolutions read the memory.
        original: the graph that it was made from, whose convolutions have the biases that they were stored with.
        held: the arrays in memory, which must be the original ones now.
    """
    found: list[Branch] = []
    stored = {tensor.name: tensor for tensor in original.graph.initializer}
    before = {node.output[0]: node for node in original.graph.node}
    # what is listed as an input is no constant
    hidden = {value.name for value in model.graph.input}
    for node in model.graph.node:
        if node.op_type != _CONVOLUTION or not _is_light(held.get(node.input[_WEIGHT])):
            continue
        constant = before[node.output[0]]
        constants: list[onnx.TensorProto] = []
        for name in dict.fromkeys(constant.input):
            if name in held:
                constants.append(numpy_helper.from_array(held[name], name))
            elif name in hidden and name in stored:
                constants.append(stored[name])
        branch = Branch(
            switch=f"{node.output[0]}/{_MARK}",
            arrays=tuple(name for name in dict.fromkeys(node.input) if name in held),
        )
        _branch(node, constant, constants, branch.switch)
        off = numpy_helper.from_array(np.array(False), branch.switch)
        model.graph.initializer.append(off)
        found.append(branch)
    return found


def _is_light(weight: NDArray[Any] | None) -> bool:
    return weight is not None and weight.size <= _MOST_PER_CHANNEL * len(weight)


def _branch(node: onnx.NodeProto, constant: onnx.NodeProto, constants: Sequence[onnx.TensorProto], switch: str) -> None:
    """Make a node an ``If``: its own form where the switch is on, another one on constants where it is off."""
    outputs = list(node.output)
    as_it_is = _graph(node, [], f"{switch}/memory")
    fixed = _graph(constant, constants, f"{switch}/constant")
    node.CopyFrom(
        helper.make_node(
            "If",
            [switch],
            outputs,
            name=f"{node.name}/{_MARK}",
            then_branch=as_it_is,
            else_branch=fixed,
        )
    )


def _graph(node: onnx.NodeProto, constants: Sequence[onnx.TensorProto], name: str) -> onnx.GraphProto:
    """Return a graph of one node, with names of its own for its output and the constants."""
    graph = onnx.GraphProto(name=name)
    inner = graph.node.add()
    inner.CopyFrom(node)
    inner.output[0] = f"{name}/output"
    renamed: dict[str, str] = {}
    for tensor in constants:
        own = graph.initializer.add()
        own.CopyFrom(tensor)
        own.name = f"{name}/{tensor.name}"
        renamed[tensor.name] = own.name
    for place, given in enumerate(inner.input):
        inner.input[place] = renamed.get(given, given)
    graph.output.append(helper.make_empty_tensor_value_info(inner.output[0]))
    return graph
