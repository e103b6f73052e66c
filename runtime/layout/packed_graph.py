"""A graph with the packed weights of its kernels, as ONNX Runtime saves them to a file."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from ftonnx.graphs import copy_of, hide_constants, take_bytes
from ftonnx.inject.tensors import NUMPY_TYPES, byte_count, write_words
from ftonnx.sessions import SessionModel, SessionOptions, give_back, open_session

__all__ = ["PackedBlock", "PackedGraph", "packed_graph"]

_GRAPH: Final = "packed.onnx"
_WEIGHTS: Final = "packed.bin"
_LEAST_BYTES: Final = 1024  # the least that ONNX Runtime takes; smaller tensors stay in the graph
_SAVING: Final = {
    "session.optimized_model_external_initializers_file_name": _WEIGHTS,
    "session.optimized_model_external_initializers_min_size_in_bytes": str(_LEAST_BYTES),
    "session.save_external_prepacked_constant_initializers": "1",
}
_ENTRY: Final = "prepacked_"
_CONVOLUTION: Final = "QLinearConv"
_WEIGHT: Final = 3  # among a QLinearConv's inputs
_BIAS: Final = 8


@dataclass(frozen=True, slots=True)
class PackedBlock:
    """A block of packed weights in the file.

    Attributes:
        content: what ONNX Runtime knows it by; of blocks with equal content one is used for all.
        offset: where it begins, in bytes.
        size: in bytes.
    """

    content: str
    offset: int
    size: int

    def of(self, memory: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return its bytes in the file's, as a view."""
        end = self.offset + self.size
        return memory[self.offset : end]

    def read(self, path: Path) -> NDArray[np.uint8]:
        """Return its bytes from the file."""
        return np.fromfile(path, np.uint8, self.size, offset=self.offset)


@dataclass(frozen=True, slots=True)
class PackedGraph:
    """What was saved.

    Attributes:
        model: the graph; its larger initializers lie in the file.
        path: the file.
        blocks: those of each initializer that was packed whole, once for each kind of kernel, by name.
    """

    model: onnx.ModelProto
    path: Path
    blocks: Mapping[str, tuple[PackedBlock, ...]]

    def keep_blocks(self, names: Collection[str]) -> None:
        """Let a session pack all but the named initializers by itself, in place."""
        for tensor in self.model.graph.initializer:
            if tensor.name in names:
                continue
            kept = [entry for entry in tensor.external_data if not entry.key.startswith(_ENTRY)]
            # assigned one by one: protobuf deletes no single entries
            entries = [(entry.key, entry.value) for entry in kept]
            del tensor.external_data[:]
            for key, value in entries:
                tensor.external_data.add(key=key, value=value)


def packed_graph(
    model: onnx.ModelProto,
    held: Mapping[str, NDArray[Any]],
    weights: Collection[str],
    options: SessionOptions,
    folder: Path,
) -> PackedGraph:
    """Let ONNX Runtime pack an optimized graph and save it.

    Args:
        model: the graph; it is not changed.
        held: initializers for which it carries no bytes, in memory.
        weights: those whose packed form is wanted; convolutions that read them get a bias that is no constant,
            since ONNX Runtime packs them otherwise, and saves nothing, where it knows the bias.
        options: how the session will be opened.
        folder: gets the files.

    Raises:
        ModelError: ONNX Runtime refuses the model.
    """
    bare = copy_of(model)
    apart: dict[str, NDArray[Any]] = {}
    for tensor in bare.graph.initializer:
        if tensor.name in held:
            array = held[tensor.name]
            size = byte_count(tensor)
            # two elements of four bits share a byte, and their array has more
            if tensor.data_type in NUMPY_TYPES and array.nbytes == size:
                apart[tensor.name] = array
                take_bytes(tensor, size)
            else:
                write_words(tensor, array.reshape(-1).view(np.uint8)[:size])
    biases = _biases(bare.graph, weights)
    hide_constants(bare, biases)
    plain = replace(options.for_one_run(), optimize=False)
    ort_options = plain.to_ort(save_to=folder / _GRAPH)
    for key, value in _SAVING.items():
        ort_options.add_session_config_entry(key, value)
    # given as arrays they are copied once
    whole = SessionModel(content=bare.SerializeToString(), apart=apart)
    open_session(whole, plain, ort_options)
    give_back()
    saved = onnx.load(folder / _GRAPH, load_external_data=False)
    return PackedGraph(saved, folder / _WEIGHTS, _blocks(saved))


def _biases(graph: onnx.GraphProto, weights: Collection[str]) -> set[str]:
    """Return the stored biases of convolutions that read some weights; those that have none get zeros, in place."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    biases: set[str] = set()
    for node in graph.node:
        if node.op_type != _CONVOLUTION or node.input[_WEIGHT] not in weights:
            continue
        inputs = list(node.input)
        bias = inputs[_BIAS] if len(inputs) > _BIAS else ""
        if not bias:
            bias = f"{node.output[0]}/ftonnx_bias"
            channels = stored[node.input[_WEIGHT]].dims[0]
            zeros = np.zeros(channels, np.int32)
            graph.initializer.append(numpy_helper.from_array(zeros, bias))
            del node.input[:]
            node.input.extend([*inputs[:_BIAS], bias])
            biases.add(bias)
        elif bias in stored:
            biases.add(bias)
    return biases


def _blocks(model: onnx.ModelProto) -> dict[str, tuple[PackedBlock, ...]]:
    found: dict[str, tuple[PackedBlock, ...]] = {}
    for tensor in model.graph.initializer:
        blocks: list[PackedBlock | None] = []
        for entry in tensor.external_data:
            if entry.key.startswith(_ENTRY):
                blocks.append(_block(entry.value))
        whole = [block for block in blocks if block is not None]
        # a weight of which one kernel keeps something else cannot be followed
        if blocks and len(whole) == len(blocks):
            found[tensor.name] = tuple(whole)
    return found


def _block(entry: str) -> PackedBlock | None:
    """Read ``kernel+hash|offset;size;checksum``; None where a kernel keeps no block, or several.

    >>> _block("QGemm+15220836528203565728|22886400;520128;0")
    PackedBlock(content='15220836528203565728', offset=22886400, size=520128)
    >>> _block("QLinearConv+134386|17920;0;0|17920;1296;0")
    """
    kernel, *places = entry.split("|")
    if len(places) != 1:
        return None
    offset, size, *_ = places[0].split(";")
    content = kernel.rpartition("+")[2]
    return PackedBlock(content, int(offset), int(size)) if int(size) else None
