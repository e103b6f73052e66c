"""Blueprints as files: a digest, an index in JSON, the graph, and plain numbers. Nothing in them is run."""

import json
from dataclasses import asdict, replace
from typing import Any, Final

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from ftonnx.graphs import ExplicitNorm
from ftonnx.inject.tensors import is_external, word_type
from ftonnx.runtime.layout.blueprint import Blueprint, Rest
from ftonnx.runtime.layout.placement import Placement
from ftonnx.runtime.layout.sealed import LENGTH_BYTES, sealed, unsealed

__all__ = ["blueprint_bytes", "read_blueprint"]

_MAGIC: Final = b"ftonnx blueprint 1\n"
_NUMBER: Final = "<i8"
_DAMAGE: Final = (KeyError, TypeError, AttributeError, OverflowError, RecursionError, DecodeError)


def blueprint_bytes(blueprint: Blueprint) -> bytes:
    """Return a blueprint as a file that ``read_blueprint`` reads."""
    graph = blueprint.model.SerializeToString()
    index = _index(blueprint, len(graph))
    pieces = [graph]
    for place in blueprint.all_places():
        for table in place.tables:
            pieces.append(_number_bytes(table))
    for positions, words in blueprint.rest.values():
        pieces.append(_number_bytes(positions))
        pieces.append(words.tobytes())
    return sealed(_MAGIC, index, pieces)


def _number_bytes(numbers: NDArray[np.int64]) -> bytes:
    """Return numbers in the order of bytes that every machine reads."""
    return numbers.astype(_NUMBER).tobytes()


def _index(blueprint: Blueprint, graph_bytes: int) -> dict[str, Any]:
    """Return what says how the numbers behind it are to be read."""
    places: dict[str, list[Any]] = {}
    for name, found in blueprint.places.items():
        places[name] = []
        for place in found:
            entry = [place.initializer, place.shape, place.base]
            places[name].append(entry)
    rest: dict[str, int] = {}
    for name, (positions, _) in blueprint.rest.items():
        rest[name] = len(positions)
    return {
        "graph": graph_bytes,
        "places": places,
        "norms": [asdict(norm) for norm in blueprint.norms],
        "rest": rest,
    }


def read_blueprint(data: bytes) -> Blueprint:
    """Read what ``blueprint_bytes`` wrote.

    Raises:
        ValueError: the bytes are damaged, of another version, or not such a file.
    """
    body = unsealed(_MAGIC, data, "a blueprint")
    try:
        return _parsed(_Reader(body))
    except _DAMAGE as error:
        raise ValueError(f"not a blueprint: {error!r}") from error


class _Reader:
    """Takes pieces off the front of a byte string."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def bytes(self, count: int) -> bytes:
        left = len(self._data) - self._at
        if not 0 <= count <= left:
            raise ValueError(f"{count} bytes were expected, {left} are left")
        start = self._at
        self._at += count
        return self._data[start : self._at]

    def numbers(self, count: int, dtype: "np.dtype[Any] | str" = _NUMBER) -> NDArray[Any]:
        size = count * np.dtype(dtype).itemsize
        return np.frombuffer(self.bytes(size), dtype)


def _parsed(reader: _Reader) -> Blueprint:
    length = reader.bytes(LENGTH_BYTES)
    head = reader.bytes(int.from_bytes(length, "little"))
    index = json.loads(head)
    graph = reader.bytes(index["graph"])
    # the order is that of the file: every step reads on where the one before has ended
    blueprint = Blueprint(
        model=onnx.ModelProto.FromString(graph),
        places=_places(index["places"], reader),
        norms=tuple(_norm(entry) for entry in index["norms"]),
        rest={},
    )
    _require_self_contained(blueprint)
    rest = _rest(index["rest"], blueprint.held, reader)
    return replace(blueprint, rest=rest)


def _places(entries: dict[str, Any], reader: _Reader) -> dict[str, tuple[Placement, ...]]:
    places: dict[str, tuple[Placement, ...]] = {}
    for name, found in entries.items():
        placements = [_placement(entry, reader) for entry in found]
        places[name] = tuple(placements)
    return places


def _placement(entry: list[Any], reader: _Reader) -> Placement:
    initializer, shape, base = entry
    tables = [reader.numbers(size) for size in shape]
    return Placement(
        initializer=initializer,
        shape=tuple(shape),
        base=base,
        tables=tuple(tables),
    )


def _norm(entry: dict[str, Any]) -> ExplicitNorm:
    # JSON knows no tuples, and normalizations must be hashable
    gamma, beta, mean, variance = entry["inputs"]
    return ExplicitNorm(**{**entry, "inputs": (gamma, beta, mean, variance)})


def _rest(counts: dict[str, int], held: dict[str, onnx.TensorProto], reader: _Reader) -> dict[str, Rest]:
    rest: dict[str, Rest] = {}
    for name, count in counts.items():
        positions = reader.numbers(count)
        words = reader.numbers(count, word_type(held[name]))
        rest[name] = (positions, words)
    return rest


def _require_self_contained(blueprint: Blueprint) -> None:
    """Refuse a graph that would make ONNX Runtime read files."""
    held = blueprint.held
    for tensor in blueprint.model.graph.initializer:
        if is_external(tensor) != (tensor.name in held):
            raise ValueError("it refers to other files")
