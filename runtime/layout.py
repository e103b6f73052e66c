"""Where ONNX Runtime's optimizer puts each stored element: found by probing, then verified.

The optimizer moves weights into blocked layouts under new names. A twin of the model, whose float
tensors hold their own element numbers as raw bits, is optimized alongside the model: reading the
twin's result tells where every element went. The moves are separable per axis (transposes, blocks,
padding), so a position is a sum of one small table per axis.
"""

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ftonnx.inject.tensors import element_count, words_of, write_words
from ftonnx.runtime.onnx_session import SessionOptions, open_session

__all__ = ["Layout", "Placement", "find_layout"]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one tensor's elements lie in one initializer of the optimized graph.

    Attributes:
        initializer: its name there.
        shape: of the original tensor.
        base: flat position of element 0.
        tables: per axis of ``shape``, what each coordinate adds to the flat position.
    """

    initializer: str
    shape: tuple[int, ...]
    base: int
    tables: tuple[NDArray[np.int64], ...]

    def positions(self, elements: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the flat positions of the given flat elements.

        >>> transposed = Placement("w", (2, 3), 0, (np.array([0, 1]), np.array([0, 2, 4])))
        >>> transposed.positions(np.arange(6)).tolist()
        [0, 2, 4, 1, 3, 5]
        """
        coordinates = np.unravel_index(elements, self.shape) if self.shape else ()
        total = np.full(len(elements), self.base, np.int64)
        for table, coordinate in zip(self.tables, coordinates, strict=True):
            total += table[coordinate]
        return total


@dataclass(frozen=True, slots=True)
class Layout:
    """An optimized graph, and where it holds the tensors of the original one.

    Attributes:
        model: the optimized graph, ready for a session that does not optimize again.
        places: placements of each tensor that was asked for, by name; none where it was not found.
    """

    model: onnx.ModelProto
    places: Mapping[str, tuple[Placement, ...]]


def find_layout(model: onnx.ModelProto, tensors: Mapping[str, onnx.TensorProto], options: SessionOptions) -> Layout:
    """Optimize ``model`` and find where some of its tensors went.

    Args:
        model: the graph; used as scratch space, unchanged on return.
        tensors: by name, parts of ``model``.
        options: how the session will be opened; decides what the optimizer does.
    """
    optimized = _optimize(model, options)
    held = {tensor.name: tensor for tensor in optimized.graph.initializer}
    floats = {name: tensor for name, tensor in tensors.items() if tensor.data_type == onnx.TensorProto.FLOAT}
    others = {name: _kept_as_is(name, tensors[name], held) for name in tensors.keys() - floats.keys()}
    found = _probe(model, list(floats.values()), held, options) if floats else []
    return Layout(optimized, others | dict(zip(floats, found, strict=True)))


def _optimize(model: onnx.ModelProto, options: SessionOptions) -> onnx.ModelProto:
    """Return what ONNX Runtime's optimizer makes of ``model``."""
    with tempfile.TemporaryDirectory(prefix="ftonnx-") as folder:
        path = Path(folder) / "optimized.onnx"
        open_session(model.SerializeToString(), options, options.to_ort(save_to=path))
        return onnx.load(path)


def _kept_as_is(name: str, tensor: onnx.TensorProto, held: Mapping[str, onnx.TensorProto]) -> tuple[Placement, ...]:
    """Find a tensor that the optimizer left under its name with its content."""
    same = held.get(name)
    if same is None or same.data_type != tensor.data_type or list(same.dims) != list(tensor.dims):
        return ()
    if not np.array_equal(words_of(same), words_of(tensor)):
        return ()
    return (_row_major(name, tuple(tensor.dims)),)


def _row_major(name: str, shape: tuple[int, ...]) -> Placement:
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    tables = tuple(np.arange(size, dtype=np.int64) * stride for size, stride in zip(shape, strides, strict=True))
    return Placement(name, shape, 0, tables)


def _probe(
    model: onnx.ModelProto,
    tensors: Sequence[onnx.TensorProto],
    held: Mapping[str, onnx.TensorProto],
    options: SessionOptions,
) -> list[tuple[Placement, ...]]:
    """Optimize the twin and read where the numbered elements of ``tensors`` went."""
    ends = np.cumsum([element_count(tensor) for tensor in tensors], dtype=np.int64)
    if ends[-1] >= 2**32:  # the numbers would not fit into a float's bits
        return [()] * len(tensors)
    originals = [words_of(tensor) for tensor in tensors]
    for tensor, end in zip(tensors, ends, strict=True):
        write_words(tensor, np.arange(end - element_count(tensor) + 1, end + 1, dtype=np.uint32))
    try:
        twin = _optimize(model, options)
    finally:
        for tensor, words in zip(tensors, originals, strict=True):
            write_words(tensor, words)
    places: list[list[Placement]] = [[] for _ in tensors]
    for coded in twin.graph.initializer:
        if coded.data_type == onnx.TensorProto.FLOAT and coded.name in held and element_count(coded):
            for owner in _owners(words_of(coded), ends):
                shape, first = tuple(tensors[owner].dims), int(ends[owner] - element_count(tensors[owner]))
                placement = _separable(coded.name, words_of(coded), first, shape)
                if placement and _agrees(placement, originals[owner], held[coded.name]):
                    places[owner].append(placement)
    return [tuple(placements) for placements in places]


def _owners(codes: NDArray[Any], ends: NDArray[np.int64]) -> list[int]:
    """Return which tensors have elements among ``codes``; 0 is padding, other numbers are nobody's."""
    numbers = codes[(codes > 0) & (codes <= ends[-1])].astype(np.int64)
    owners: list[int] = np.unique(np.searchsorted(ends, numbers - 1, side="right")).tolist()
    return owners


def _separable(name: str, codes: NDArray[Any], first: int, shape: tuple[int, ...]) -> Placement | None:
    """Describe where the elements numbered ``first`` + 1 onwards lie, or return None."""
    count = math.prod(shape)
    if np.array_equal(codes, np.arange(first + 1, first + count + 1, dtype=codes.dtype)):
        return _row_major(name, shape)
    mine = np.flatnonzero((codes > first) & (codes <= first + count))
    position = np.full(count, -1, np.int64)
    position[codes[mine].astype(np.int64) - first - 1] = mine
    if len(mine) != count or (position < 0).any():
        return None
    grid = position.reshape(shape)
    base = int(position[0])
    axes = range(len(shape))
    tables = tuple(grid[tuple(slice(None) if a == axis else 0 for a in axes)] - base for axis in axes)
    rebuilt: NDArray[np.int64] = np.full((), base, np.int64)
    for axis, table in enumerate(tables):
        rebuilt = rebuilt + table.reshape([-1 if a == axis else 1 for a in axes])
    return Placement(name, shape, base, tables) if np.array_equal(rebuilt, grid) else None


def _agrees(placement: Placement, original: NDArray[Any], optimized: onnx.TensorProto) -> bool:
    """Check the placement against the real model: same bits at the mapped positions."""
    words = words_of(optimized)
    positions = placement.positions(np.arange(len(original)))
    return bool(positions.max() < len(words)) and np.array_equal(words[positions], original)
