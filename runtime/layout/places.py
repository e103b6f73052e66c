"""Where ONNX Runtime's optimizer puts each stored element: found by probing, then verified.

The optimizer moves weights into blocked layouts under new names, and casts those in half precision. A twin of the
model, whose float tensors hold their own element numbers (see ``labels``), is optimized alongside the model: reading
the twin's result tells where every element went.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from ftonnx.files import scratch_folder
from ftonnx.graphs import hoist, inner_initializers, refer_to, stored_anywhere
from ftonnx.inject.formats import Words
from ftonnx.inject.tensors import byte_count, element_count, is_external, word_type, words_of
from ftonnx.runtime.layout.casts import cast_between, fits
from ftonnx.runtime.layout.half_bytes import FOUR_BIT, elements_of, joined
from ftonnx.runtime.layout.labels import LABELS, NOBODYS, Labels
from ftonnx.runtime.layout.placement import Placement, row_major
from ftonnx.runtime.session_model import rewritten_session_model, session_model
from ftonnx.sessions import SessionModel, SessionOptions, give_back, optimize_model

__all__ = ["Layout", "find_layout"]

_Tensors = Mapping[str, onnx.TensorProto]
_Positions = NDArray[np.integer[Any]]
_MOST_COPIES: Final = 256  # of one tensor; beyond, a map takes longer than a session on a flipped file


@dataclass(frozen=True, slots=True)
class Layout:
    """An optimized graph, and where it holds the tensors of the original one.

    Attributes:
        model: the optimized graph, which refers to a file with its large tensors.
        places: placements of each tensor that was asked for, by name; none where it was not found.
    """

    model: onnx.ModelProto
    places: Mapping[str, tuple[Placement, ...]]


def find_layout(model: onnx.ModelProto, names: Collection[str], options: SessionOptions, folder: Path) -> Layout:
    """Optimize ``model`` and find where some of its tensors went.

    The twin goes first, so that one model is being optimized at a time; while it is read, the other one is optimized.

    Args:
        model: the graph.
        names: of tensors that it stores.
        options: how the session will be opened; decides what the optimizer does.
        folder: gets a file with the large tensors of the optimized graph, which refers to it.
    """
    tensors = stored_anywhere(model)
    claims: dict[str, list[Placement]] = {}
    with ThreadPoolExecutor(max_workers=1) as beside:
        later = _Later(beside, lambda: _optimized(session_model(model), options, folder))
        # in the few bits of other types a number is no label
        for data_type, labels in LABELS.items():
            labelled = [name for name in names if tensors[name].data_type == data_type]
            claims |= _probe(model, labelled, labels, options, later.begin)
        optimized = later.result()
    give_back()
    held = {tensor.name: tensor for tensor in optimized.graph.initializer}
    places: dict[str, tuple[Placement, ...]] = {}
    for name in names:
        original = tensors[name]
        if name in claims:
            places[name] = _confirmed(claims[name], original, held)
        else:
            places[name] = _kept_as_is(name, original, held)
    return Layout(optimized, places)


class _Later:
    """A model that is optimized on another thread, as soon as there is memory for it."""

    def __init__(self, pool: ThreadPoolExecutor, optimize: Callable[[], onnx.ModelProto]) -> None:
        self._pool = pool
        self._optimize = optimize
        self._begun: Future[onnx.ModelProto] | None = None

    def begin(self) -> None:
        """Begin, if that was not done before."""
        if self._begun is None:
            # what one thread has freed is not there for the other
            give_back()
            self._begun = self._pool.submit(self._optimize)

    def result(self) -> onnx.ModelProto:
        """Return the optimized model.

        Raises:
            ModelError: ONNX Runtime refuses it.
        """
        return self._optimize() if self._begun is None else self._begun.result()


def _optimized(model: SessionModel, options: SessionOptions, folder: Path) -> onnx.ModelProto:
    """Optimize a model; what it leaves in subgraphs is moved to the main graph, where arrays can stand for it.

    Large tensors stay in a file in the folder: in a message of protobuf they would be written, read and copied again.
    """
    optimized = optimize_model(model, options, folder)
    hoist(optimized, inner_initializers(optimized))
    for tensor in optimized.graph.initializer:
        if is_external(tensor):
            entries = {entry.key: entry.value for entry in tensor.external_data}
            path = folder / entries["location"]
            refer_to(tensor, str(path), int(entries["offset"]), byte_count(tensor))
    return optimized


def _confirmed(claims: Sequence[Placement], original: onnx.TensorProto, held: _Tensors) -> tuple[Placement, ...]:
    """Return the placements that hold in the real model too."""
    return tuple(place for place in claims if _agrees(place, original, held))


def _agrees(place: Placement, original: onnx.TensorProto, held: _Tensors) -> bool:
    """Check the placement against the real model: same bits at the mapped positions."""
    moved = held.get(place.initializer)
    # the twin may have been optimized otherwise than the model
    if moved is None:
        return False
    if not fits(original.data_type, moved.data_type):
        return False
    cast = cast_between(original.data_type, moved.data_type)
    words = elements_of(moved, original.data_type)
    values = elements_of(original, original.data_type)
    try:
        for elements, positions in place.pieces(len(words)):
            expected = values[elements] if cast is None else cast.widened(values[elements])
            if not np.array_equal(words[positions], expected):
                return False
    except ValueError:  # it lies outside of what the real model has
        return False
    return True


def _kept_as_is(name: str, tensor: onnx.TensorProto, held: _Tensors) -> tuple[Placement, ...]:
    """Find a tensor that the optimizer left under its name with its content."""
    same = held.get(name)
    if same is None or same.data_type != tensor.data_type:
        return ()
    if list(same.dims) != list(tensor.dims):
        return ()
    if not np.array_equal(words_of(same), words_of(tensor)):
        return ()
    return (row_major(name, tuple(tensor.dims)),)


# ------------------------------------------------------------------ the twin


@dataclass(frozen=True, slots=True)
class _Numbered:
    """A tensor whose elements are numbered in the twin: ``first`` + 1 and so on, as 0 is what padding holds."""

    name: str
    shape: tuple[int, ...]
    first: int

    @property
    def end(self) -> int:
        return self.first + math.prod(self.shape)

    def numbers(self) -> NDArray[np.uint32]:
        """Return the numbers of its elements."""
        return np.arange(self.first + 1, self.end + 1, dtype=np.uint32)


def _probe(
    model: onnx.ModelProto,
    names: Sequence[str],
    labels: Labels,
    options: SessionOptions,
    optimized: Callable[[], None],
) -> dict[str, list[Placement]]:
    """Optimize twins and read where the numbered elements of the named tensors, all of one type, went.

    Args:
        model: the graph.
        names: of the tensors.
        labels: of their type.
        options: how the session will be opened.
        optimized: called when no twin is left to be optimized, if there were any.
    """
    places: dict[str, list[Placement]] = {name: [] for name in names}
    numbered = _numbered(model, names)
    # without numbers no places: the strategies that need them are not possible then
    if not numbered or numbered[-1].end >= NOBODYS:
        return places
    ends = np.array([each.end for each in numbered], np.uint32)
    for initializer, codes in _codes(model, numbered, labels, options, optimized):
        # one that was joined from several tensors has several owners
        for owner, owned in _owners(codes, numbered, ends):
            found = _placements(initializer, codes, owner, owned)
            places[owner.name] += found
    return places


def _codes(
    model: onnx.ModelProto,
    numbered: Sequence[_Numbered],
    labels: Labels,
    options: SessionOptions,
    optimized: Callable[[], None],
) -> Iterator[tuple[str, NDArray[np.uint32]]]:
    """Yield the names of the twins' initializers, and the numbers that their elements show; see ``_probe``."""
    last = labels.digits(numbered[-1].end) - 1
    lower: dict[str, NDArray[np.uint32]] = {}
    for digit in range(last + 1):
        done = optimized if digit == last else _nothing
        for name, codes in _shown(_twin(model, numbered, labels, digit), labels, options, done):
            if digit:
                before = lower.pop(name, codes[:0])
                # the twins may have been optimized otherwise
                if len(before) != len(codes):
                    continue
                codes = labels.joined(before, codes, digit)
            if digit == last:
                yield name, codes
            else:
                lower[name] = codes


def _nothing() -> None:
    """Do nothing."""


def _shown(
    twin: SessionModel, labels: Labels, options: SessionOptions, done: Callable[[], None]
) -> Iterator[tuple[str, NDArray[np.uint32]]]:
    """Optimize a twin, and say so; yield the names of its initializers, and the digits that their elements show."""
    with scratch_folder() as folder:
        read = _optimized(twin, options, folder)
        del twin
        done()
        for tensor in read.graph.initializer:
            codes = labels.shown(tensor) if element_count(tensor) else None
            if codes is not None:
                yield tensor.name, codes


def _numbered(model: onnx.ModelProto, names: Sequence[str]) -> list[_Numbered]:
    """Give every element of the named tensors a number of its own."""
    tensors = stored_anywhere(model)
    numbered = []
    first = 0
    for name in names:
        shape = tuple(tensors[name].dims)
        each = _Numbered(name, shape, first)
        numbered.append(each)
        first = each.end
    return numbered


def _twin(model: onnx.ModelProto, numbered: Sequence[_Numbered], labels: Labels, digit: int) -> SessionModel:
    """Return a twin, in which each element's bits are a digit of its number."""
    tensors = stored_anywhere(model)
    words: dict[str, Callable[[], Words]] = {}
    for each in numbered:
        words[each.name] = partial(_digit_words, each, tensors[each.name], labels, digit)
    return rewritten_session_model(model, words)


def _digit_words(numbered: _Numbered, tensor: onnx.TensorProto, labels: Labels, digit: int) -> Words:
    """Return a digit of the numbers of a tensor's elements, as its words."""
    words: Words = labels.words(numbered.numbers(), digit).astype(word_type(tensor), copy=False)
    return joined(words) if tensor.data_type in FOUR_BIT else words


def _owners(
    codes: NDArray[np.uint32], numbered: Sequence[_Numbered], ends: NDArray[np.uint32]
) -> Iterator[tuple[_Numbered, NDArray[np.intp]]]:
    """Yield which tensors have elements among ``codes``, and where; 0 is padding, other numbers are nobody's.

    Args:
        codes: numbers of elements.
        numbered: the tensors.
        ends: of each.

    >>> three = [_Numbered("a", (3,), 0), _Numbered("b", (3,), 3), _Numbered("c", (2,), 6)]
    >>> for owner, owned in _owners(np.array([7, 0, 1, 2, 99], np.uint32), three, np.array([3, 6, 8], np.uint32)):
    ...     print(owner.name, owned.tolist())
    a [2, 3]
    c [0]
    """
    places = np.flatnonzero((codes > 0) & (codes <= ends[-1]))
    if not len(places):
        return
    elements = codes[places] - np.uint32(1)
    outermost = np.array([elements.min(), elements.max()])
    lowest, highest = np.searchsorted(ends, outermost, side="right")
    # by far the most frequent case, and no sorting
    if lowest == highest:
        yield numbered[lowest], places
        return
    owners = np.searchsorted(ends, elements, side="right")
    # stable: each owner's places stay in order
    order = np.argsort(owners, kind="stable")
    owners = owners[order]
    borders = np.flatnonzero(np.diff(owners)) + 1
    firsts = owners[np.concatenate(([0], borders))]
    for number, owned in zip(firsts, np.split(places[order], borders), strict=True):
        yield numbered[number], owned


def _placements(name: str, codes: NDArray[np.uint32], owner: _Numbered, owned: NDArray[np.intp]) -> list[Placement]:
    """Describe where the owner's elements lie: once, or several times where they were repeated; never in part."""
    # by far the most frequent case, and the cheapest
    if len(codes) == owner.end - owner.first and np.array_equal(codes, owner.numbers()):
        return [row_major(name, owner.shape)]
    found = []
    for position in _positions(codes, owner, owned):
        placement = _separable(name, position, owner.shape)
        # one copy that nobody flips is one too many
        if placement is None:
            return []
        found.append(placement)
    return found


def _separable(name: str, position: _Positions, shape: tuple[int, ...]) -> Placement | None:
    """Describe positions axis by axis, or return None."""
    grid = position.reshape(shape)
    base = position[0]
    tables = []
    for axis in range(grid.ndim):
        line = _along(grid, axis)
        tables.append(line - base)
    # the axes were looked at one by one: do they explain the elements in between as well?
    explained = _sum_of_tables(base, tables)
    if not np.array_equal(explained, grid):
        return None
    wide = tuple(table.astype(np.int64) for table in tables)
    return Placement(name, shape, int(base), wide)


def _positions(codes: NDArray[np.uint32], owner: _Numbered, owned: NDArray[np.intp]) -> Iterator[_Positions]:
    """Yield the flat positions of all of the owner's elements, copy by copy; none where they are not equally many.

    >>> codes = np.array([5, 6, 0, 6, 5], np.uint32)
    >>> [each.tolist() for each in _positions(codes, _Numbered("w", (2,), 4), np.array([0, 1, 3, 4]))]
    [[0, 1], [4, 3]]
    """
    count = owner.end - owner.first
    copies, rest = divmod(len(owned), count)
    if rest or copies > _MOST_COPIES:
        return
    mine: _Positions = owned.astype(_position_type(len(codes)))
    elements = codes[mine] - np.uint32(owner.first + 1)
    # by far the most frequent case, and no sorting
    if copies == 1:
        position = np.full(count, -1, mine.dtype)
        position[elements] = mine
        if position.min() >= 0:
            yield position
        return
    # stable: what comes first of an element belongs to the first copy
    order = np.argsort(elements, kind="stable")
    expected = np.repeat(np.arange(count), copies)
    if not np.array_equal(elements[order], expected):
        return
    positions = mine[order].reshape(count, copies)
    for copy in range(copies):
        yield positions[:, copy]


def _position_type(size: int) -> type[np.int32] | type[np.int64]:
    """Return the smallest type for positions among so many words: half the memory is half the time."""
    return np.int32 if size <= np.iinfo(np.int32).max else np.int64


def _along(grid: _Positions, axis: int) -> _Positions:
    """Return the line through the origin along one axis."""
    whole = slice(None)
    index = [whole if other == axis else 0 for other in range(grid.ndim)]
    line: _Positions = grid[tuple(index)]
    return line


def _sum_of_tables(base: np.integer[Any], tables: Sequence[_Positions]) -> _Positions:
    total = np.array(base)
    for table in tables:
        total = total[..., np.newaxis] + table
    return total
