"""Where ONNX Runtime's optimizer puts each stored element: found by probing, then verified.

The optimizer moves weights into blocked layouts under new names. A twin of the model, whose float
tensors hold their own element numbers as raw bits, is optimized alongside the model: reading the
twin's result tells where every element went. The moves are separable per axis (transposes, blocks,
padding), so a position is a sum of one small table per axis.
"""

import math
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from ftonnx.inject.tensors import element_count, words_of, write_words
from ftonnx.runtime.onnx_session import SessionOptions, give_back, open_session

__all__ = ["Layout", "Placement", "find_layout", "stored_tensors"]

_ELEMENTS_AT_ONCE: Final = 1 << 20


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

    def pieces(self, size: int) -> Iterator[tuple[slice, NDArray[np.int64] | slice]]:
        """Yield (elements, their flat positions) until all elements are covered, without large temporaries.

        Raises:
            ValueError: an element lies outside an initializer of ``size`` elements.

        >>> [(e.start, e.stop, p) for e, p in Placement("w", (2, 3), 4, _row_major_tables((2, 3))).pieces(10)]
        [(0, 6, slice(4, 10, None))]
        """
        count = math.prod(self.shape)
        ends = [self.base + sum(int(pick(table)) for table in self.tables) for pick in (np.min, np.max)]
        if ends[0] < 0 or ends[1] >= size:
            raise ValueError(f"{self.initializer!r} has {size} elements, not one at {ends[ends[0] >= 0]}")
        if all(map(np.array_equal, self.tables, _row_major_tables(self.shape))):
            yield slice(0, count), slice(self.base, self.base + count)
            return
        first, *others = self.tables
        below = np.zeros((), np.int64)
        for table in others:
            below = below[..., np.newaxis] + table
        rows = max(1, _ELEMENTS_AT_ONCE // below.size)
        for start in range(0, len(first), rows):
            grid = self.base + np.add.outer(first[start : start + rows], below).ravel()
            yield slice(start * below.size, start * below.size + grid.size), grid


@dataclass(frozen=True, slots=True)
class Layout:
    """An optimized graph, and where it holds the tensors of the original one.

    Attributes:
        model: the optimized graph, ready for a session that does not optimize again.
        places: placements of each tensor that was asked for, by name; none where it was not found.
    """

    model: onnx.ModelProto
    places: Mapping[str, tuple[Placement, ...]]


def find_layout(model: onnx.ModelProto, names: Collection[str], options: SessionOptions) -> Layout:
    """Optimize ``model`` and find where some of its tensors went.

    The twin goes first, so that only one optimized graph with its values is in memory at a time.

    Args:
        model: the graph.
        names: of tensors that it stores.
        options: how the session will be opened; decides what the optimizer does.
    """
    tensors = stored_tensors(model.graph)
    floats = [name for name in names if tensors[name].data_type == onnx.TensorProto.FLOAT]
    claims = dict(zip(floats, _probe(model, floats, options), strict=True))
    give_back()
    optimized = _optimize(model.SerializeToString(), options)
    held = {tensor.name: tensor for tensor in optimized.graph.initializer}
    places = {
        name: tuple(place for place in claims[name] if _agrees(place, tensors[name], held))
        if name in claims
        else _kept_as_is(name, tensors[name], held)
        for name in names
    }
    return Layout(optimized, places)


def stored_tensors(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """Return the tensors that the top level of a graph stores, in initializers and Constant nodes."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].HasField("t"):
            stored[node.output[0]] = node.attribute[0].t
    return stored


def _optimize(model: bytes, options: SessionOptions) -> onnx.ModelProto:
    """Return what ONNX Runtime's optimizer makes of a serialized model."""
    with tempfile.TemporaryDirectory(prefix="ftonnx-") as folder:
        path = Path(folder) / "optimized.onnx"
        open_session(model, options, options.to_ort(save_to=path))
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
    return Placement(name, shape, 0, _row_major_tables(shape))


def _row_major_tables(shape: tuple[int, ...]) -> tuple[NDArray[np.int64], ...]:
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return tuple(np.arange(size, dtype=np.int64) * stride for size, stride in zip(shape, strides, strict=True))


def _probe(model: onnx.ModelProto, names: Sequence[str], options: SessionOptions) -> list[list[Placement]]:
    """Optimize the twin and read where the numbered elements of the named tensors went."""
    tensors = stored_tensors(model.graph)
    shapes = [tuple(tensors[name].dims) for name in names]
    ends = np.cumsum([math.prod(shape) for shape in shapes], dtype=np.int64)
    places: list[list[Placement]] = [[] for _ in names]
    if not names or ends[-1] >= 2**32:  # the numbers would not fit into a float's bits
        return places
    twin = _optimize(_numbered(model, dict(zip(names, ends.tolist(), strict=True))), options)
    for coded in twin.graph.initializer:
        if coded.data_type == onnx.TensorProto.FLOAT and element_count(coded):
            codes = words_of(coded)
            for owner in _owners(codes, ends):
                first = int(ends[owner]) - math.prod(shapes[owner])
                if placement := _separable(coded.name, codes, first, shapes[owner]):
                    places[owner].append(placement)
    return places


def _numbered(model: onnx.ModelProto, ends: Mapping[str, int]) -> bytes:
    """Serialize the twin, in which the elements of each named tensor have the numbers up to its end."""
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    tensors = stored_tensors(twin.graph)
    for name, end in ends.items():
        write_words(tensors[name], np.arange(end - element_count(tensors[name]) + 1, end + 1, dtype=np.uint32))
    serialized: bytes = twin.SerializeToString()
    return serialized


def _owners(codes: NDArray[Any], ends: NDArray[np.int64]) -> Iterator[int]:
    """Yield which tensors have elements among ``codes``; 0 is padding, other numbers are nobody's.

    >>> list(_owners(np.array([7, 0, 1, 2, 99], np.uint32), np.array([3, 6, 8])))
    [2, 0]
    """
    left = codes[(codes > 0) & (codes <= ends[-1])]
    while len(left):
        owner = int(np.searchsorted(ends, int(left[0]) - 1, side="right"))
        yield owner
        first = ends[owner - 1] if owner else 0
        left = left[(left <= first) | (left > ends[owner])]


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


def _agrees(place: Placement, original: onnx.TensorProto, held: Mapping[str, onnx.TensorProto]) -> bool:
    """Check the placement against the real model: same bits at the mapped positions."""
    if place.initializer not in held or held[place.initializer].data_type != original.data_type:
        return False
    words, values = words_of(held[place.initializer]), words_of(original)
    try:
        pieces = place.pieces(len(words))
        return all(np.array_equal(words[positions], values[elements]) for elements, positions in pieces)
    except ValueError:
        return False
