"""An optimized graph without the values it stores, and the map that says where they belong.

A blueprint and the original model's tensors give the optimized graph's arrays: every stored element
is put where its placement says, so an element's place can be wrong only if its value is too.
"""

import hashlib
import itertools
import json
import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime as ort
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from ftonnx.inject.formats import Words
from ftonnx.inject.tensors import element_count, is_external, numpy_type, words_of
from ftonnx.runtime.batch_norm import ExplicitNorm, scale_and_shift
from ftonnx.runtime.layout import Layout, Placement

__all__ = [
    "LOCATION",
    "Blueprint",
    "Contents",
    "NotPossibleError",
    "aligned",
    "draw_blueprint",
    "read_blueprint",
    "stand_in",
]

_ALIGNMENT: Final = 64  # bytes; unaligned weights cost up to 6 % per run
LOCATION: Final = "memory"
"""Name of the file that a blueprint's initializers claim to lie in; there is no such file."""

_MAGIC: Final = b"ftonnx blueprint 1\n"
_DIGEST_BYTES: Final = 32


class NotPossibleError(Exception):
    """A strategy cannot run this model; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """Everything about an optimized graph but the values that faults can reach.

    Attributes:
        model: the optimized graph; the initializers that hold targets are declared as external, without bytes.
        places: placements of each of the original graph's tensors that was asked for, by name.
        norms: the batch normalizations that were made explicit before.
        rest: per initializer, positions and words that belong to no original element and are not zero.
    """

    model: onnx.ModelProto
    places: Mapping[str, tuple[Placement, ...]]
    norms: tuple[ExplicitNorm, ...]
    rest: Mapping[str, tuple[NDArray[np.int64], Words]]

    @property
    def held(self) -> dict[str, onnx.TensorProto]:
        """The initializers without bytes, by name."""
        names = {place.initializer for places in self.places.values() for place in places}
        return {tensor.name: tensor for tensor in self.model.graph.initializer if tensor.name in names}

    def fill(self, tensors: Mapping[str, onnx.TensorProto]) -> "Contents":
        """Return the words of every held initializer, in aligned memory.

        Args:
            tensors: the original model's, by name.

        Raises:
            ValueError: a placement leaves its initializer, or two elements share a place.
        """
        parameters = {name: words_of(tensors[name]) for norm in self.norms for name in norm.inputs}
        made = {name: words for norm in self.norms for name, words in _scale_and_shift(norm, parameters).items()}
        arrays = {name: aligned(_word_type(tensor), element_count(tensor)) for name, tensor in self.held.items()}
        free = {name: np.ones(len(words), bool) for name, words in arrays.items()}
        for name, places in self.places.items():
            words = (made[name] if name in made else words_of(tensors[name])) if places else None
            for place in places:
                _put(place, words, arrays[place.initializer], free[place.initializer])
        self._require_distinct(free)
        for name, (positions, words) in self.rest.items():
            if not free[name][positions].all():
                raise ValueError(f"a word of {name!r} is given twice")
            arrays[name][positions] = words
        return Contents(blueprint=self, arrays=arrays, parameters=parameters)

    def _require_distinct(self, free: Mapping[str, NDArray[np.bool_]]) -> None:
        """Refuse a map by which two elements share a place."""
        expected = dict.fromkeys(free, 0)
        for place in itertools.chain.from_iterable(self.places.values()):
            expected[place.initializer] += math.prod(place.shape)
        for name, words in free.items():
            if len(words) - np.count_nonzero(words) != expected[name]:
                raise ValueError(f"a place in {name!r} is given twice")

    def to_bytes(self) -> bytes:
        """Return the blueprint as a file that ``read_blueprint`` reads: a digest, an index, plain numbers."""
        tables = [table for places in self.places.values() for place in places for table in place.tables]
        graph = self.model.SerializeToString()
        index = {
            "graph": len(graph),
            "places": {name: [[p.initializer, p.shape, p.base] for p in found] for name, found in self.places.items()},
            "norms": [asdict(norm) for norm in self.norms],
            "rest": {name: len(positions) for name, (positions, _) in self.rest.items()},
        }
        head = json.dumps(index).encode()
        pieces = [len(head).to_bytes(8, "little"), head, graph, *(table.astype("<i8").tobytes() for table in tables)]
        for positions, words in self.rest.values():
            pieces += [positions.astype("<i8").tobytes(), words.tobytes()]
        body = b"".join(pieces)
        return _MAGIC + hashlib.sha256(body).digest() + body


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """An optimized graph with its values.

    Attributes:
        blueprint: the graph, and where things lie.
        arrays: the words of every held initializer, by name.
        parameters: the words of gamma, beta, mean and variance of the normalizations, by name.
    """

    blueprint: Blueprint
    arrays: Mapping[str, Words]
    parameters: Mapping[str, Words]


def draw_blueprint(layout: Layout, norms: Iterable[ExplicitNorm], tensors: Mapping[str, onnx.TensorProto]) -> Blueprint:
    """Return the blueprint of an optimized graph.

    Args:
        layout: the graph and where its tensors went; its model gives up its bytes.
        norms: what was made explicit before it was optimized.
        tensors: the original model's, by name.
    """
    bare = Blueprint(model=layout.model, places=layout.places, norms=tuple(norms), rest={})
    arrays, rest = dict(bare.fill(tensors).arrays), {}
    for name, tensor in bare.held.items():
        words = words_of(tensor)
        positions = np.flatnonzero(words != arrays.pop(name))
        if len(positions):
            rest[name] = (positions, words[positions])
        _take_bytes(tensor)
    light = onnx.ModelProto.FromString(bare.model.SerializeToString())  # cleared bytes stay with the old message
    return Blueprint(model=light, places=bare.places, norms=bare.norms, rest=rest)


def read_blueprint(data: bytes) -> Blueprint:
    """Read what ``to_bytes`` wrote.

    Raises:
        ValueError: the bytes are damaged, of another version, or not such a file.
    """
    body = data[len(_MAGIC) + _DIGEST_BYTES :]
    if not data.startswith(_MAGIC) or data[len(_MAGIC) : -len(body) or None] != hashlib.sha256(body).digest():
        raise ValueError("not a blueprint, of another version, or damaged")
    try:
        return _parsed(_Reader(body))
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError, DecodeError) as error:
        raise ValueError(f"not a blueprint: {error!r}") from error


class _Reader:
    """Takes pieces off the front of a byte string."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def bytes(self, count: int) -> bytes:
        if not 0 <= count <= len(self._data) - self._at:
            raise ValueError(f"{count} bytes were expected, {len(self._data) - self._at} are left")
        self._at += count
        return self._data[self._at - count : self._at]

    def numbers(self, count: int, dtype: "np.dtype[Any] | str" = "<i8") -> NDArray[Any]:
        return np.frombuffer(self.bytes(count * np.dtype(dtype).itemsize), dtype)


def _parsed(reader: _Reader) -> Blueprint:
    index = json.loads(reader.bytes(int.from_bytes(reader.bytes(8), "little")))
    model = onnx.ModelProto.FromString(reader.bytes(index["graph"]))
    places = {
        name: tuple(
            Placement(initializer, tuple(shape), base, tuple(reader.numbers(size) for size in shape))
            for initializer, shape, base in found
        )
        for name, found in index["places"].items()
    }
    norms = tuple(ExplicitNorm(**{**norm, "inputs": tuple(norm["inputs"])}) for norm in index["norms"])
    blueprint = Blueprint(model=model, places=places, norms=norms, rest={})
    held = blueprint.held
    outside = [t.name for t in model.graph.initializer if is_external(t) and t.name not in held]
    if outside or not all(is_external(tensor) for tensor in held.values()):
        raise ValueError("it refers to other files")
    rest = {
        name: (reader.numbers(count), reader.numbers(count, _word_type(held[name])))
        for name, count in index["rest"].items()
    }
    return Blueprint(model=model, places=places, norms=norms, rest=rest)


def _scale_and_shift(norm: ExplicitNorm, parameters: Mapping[str, Words]) -> dict[str, Words]:
    """Return the words of a normalization's two new initializers, by name."""
    gamma, beta, mean, variance = (parameters[name].view(np.float32) for name in norm.inputs)
    scale, shift = scale_and_shift(gamma, beta, mean, variance, norm.epsilon)
    return {norm.scale: scale.view(np.uint32), norm.shift: shift.view(np.uint32)}


def _put(place: Placement, values: Words | None, words: Words, free: NDArray[np.bool_]) -> None:
    """Write a tensor's elements to their places, which are then no longer free."""
    if values is None or values.dtype != words.dtype or len(values) != math.prod(place.shape):
        raise ValueError(f"{place.initializer!r} does not fit its placement")
    for elements, positions in place.pieces(len(words)):
        free[positions] = False
        words[positions] = values[elements]


def aligned(dtype: np.dtype[Any], count: int) -> Words:
    """Return zeros that start at a multiple of 64 bytes."""
    buffer = np.zeros(count * dtype.itemsize + _ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % _ALIGNMENT
    words: Words = buffer[start : start + count * dtype.itemsize].view(dtype)
    return words


@contextmanager
def stand_in(options: ort.SessionOptions, size: int) -> Iterator[None]:
    """Let a session open on a graph whose arrays are given by ``add_initializer``.

    ONNX Runtime insists on a file that is long enough for every external tensor, and does not
    read it where an array is given. This one has no content (a hole of ``size`` bytes).
    """
    with tempfile.TemporaryDirectory(prefix="ftonnx-") as folder:
        with (Path(folder) / LOCATION).open("wb") as file:
            file.truncate(size)
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
        yield


def _word_type(tensor: onnx.TensorProto) -> np.dtype[Any]:
    return np.dtype(f"u{numpy_type(tensor).itemsize}")


def _take_bytes(tensor: onnx.TensorProto) -> None:
    """Declare a tensor as external and drop its bytes."""
    dims, data_type, name = list(tensor.dims), tensor.data_type, tensor.name
    size = element_count(tensor) * numpy_type(tensor).itemsize
    tensor.Clear()
    tensor.dims.extend(dims)
    tensor.data_type, tensor.name, tensor.data_location = data_type, name, onnx.TensorProto.EXTERNAL
    for key, value in (("location", LOCATION), ("offset", "0"), ("length", str(size))):
        tensor.external_data.add(key=key, value=value)
