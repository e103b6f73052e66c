"""Published lists of single faults: CSV files with the columns Injection, Layer, TensorIndex and Bit.

The form in which statistical fault injection on torch networks is exchanged: ``Layer`` is a torch module, whose
``weight`` is hit; ``TensorIndex`` an index tuple such as ``(3, 0, 1, 2)``; ``Bit`` counts from the least significant
bit of the IEEE float, which flips. Further columns, such as outcomes, are not read.
"""

import csv
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import DataError, ModelError, UsageError, message_of
from ftonnx.files import reason_unread, require_plain
from ftonnx.inject.model_file import OnnxModel
from ftonnx.inject.space import FaultSpace
from ftonnx.words import of_cell

__all__ = ["COLUMNS", "KEEP_HINT", "SUFFIX", "Places", "PublishedFaults", "refuse_folded"]

COLUMNS: Final = ("Injection", "Layer", "TensorIndex", "Bit")
SUFFIX: Final = ".weight"
KEEP_HINT: Final = "export the network with ftonnx export --keep-batchnorm, which keeps torch's names and weights"

_NUMBER: Final = re.compile(r"\s*([0-9]{1,18})\s*")
_INDEX: Final = re.compile(r"\s*\(\s*([0-9]{1,18}(?:\s*,\s*[0-9]{1,18})*)\s*,?\s*\)\s*")
_MOST_AXES: Final = 16
_MOST_BYTES: Final = 1 << 30
_MOST_BITS: Final = 64


class Places(NamedTuple):
    """Single faults as places in a fault space, n in all.

    Attributes:
        target: int64 (n,), index into ``FaultSpace.targets``.
        element: int64 (n,), flat C-order index into the stored tensor.
        bit: uint8 (n,), counted from the least significant.
    """

    target: NDArray[np.int64]
    element: NDArray[np.int64]
    bit: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PublishedFaults:
    """Single faults by torch module, n in all, in the order of their file.

    Attributes:
        injection: column ``Injection``, distinct numbers, int64 (n,).
        layers: the distinct torch modules.
        layer: index into ``layers``, int64 (n,).
        index: index tuples, int64 (n, axes); -1 behind a shorter one.
        bit: counted from the least significant, uint8 (n,).
        sha256: of all the above, whatever the file was called or had besides.
    """

    injection: NDArray[np.int64]
    layers: tuple[str, ...]
    layer: NDArray[np.int64]
    index: NDArray[np.int64]
    bit: NDArray[np.uint8]
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        """Take the fingerprint."""
        digest = hashlib.sha256(repr((self.layers, self.index.shape)).encode())
        for column in (self.injection, self.layer, self.index, self.bit):
            digest.update(np.ascontiguousarray(column).tobytes())
        object.__setattr__(self, "sha256", digest.hexdigest())

    def __len__(self) -> int:
        return len(self.injection)

    def __repr__(self) -> str:
        return f"PublishedFaults({len(self)} faults in {len(self.layers)} layers)"

    @classmethod
    def read(cls, path: str | Path) -> "PublishedFaults":
        """Read a CSV file.

        Raises:
            UsageError: there is no such file.
            DataError: the file is no such list; the message names the line.
        """
        try:
            require_plain(path, _MOST_BYTES)
            with Path(path).open(encoding="utf-8-sig", newline="") as file:
                return cls._parsed(file, str(path))
        except OSError as error:
            reason = reason_unread(error, Path(path))
            raise UsageError(f"{path} cannot be read: {reason}; a CSV file of faults was expected") from error
        except (ValueError, csv.Error) as error:
            raise DataError(f"{path} is no CSV file in UTF-8: {message_of(error)}") from error

    @classmethod
    def _parsed(cls, lines: Iterator[str], name: str) -> "PublishedFaults":
        columns = _Columns(name)
        reader = csv.reader(lines)
        places = _places(next(reader, []), name)
        for row in reader:
            if row:
                columns.add(row, places, reader.line_num)
        if not columns.injection:
            raise DataError(f"{name} lists no fault; at least one line below the header was expected")
        return cls(
            injection=np.array(columns.injection, np.int64),
            layers=tuple(columns.layers),
            layer=np.array(columns.layer, np.int64),
            index=_as_table(columns.index),
            bit=np.array(columns.bit, np.uint8),
        )

    def located(self, space: FaultSpace) -> Places:
        """Return the faults as places in a fault space.

        Raises:
            DataError: a layer's weight is not in the space, or has no such element or bit that can flip.
        """
        numbers = self._tensor_numbers(space)
        target = numbers[self.layer]
        element = self._elements(space, target)
        flippable = np.zeros((len(space.targets), _MOST_BITS), np.bool_)
        for row, each in zip(flippable, space.targets, strict=True):
            row[list(each.bit_numbers)] = True
        can_flip = flippable[target, self.bit]
        self._refuse(~can_flip, space, target, "cannot flip there")
        return Places(target, element, self.bit)

    def _tensor_numbers(self, space: FaultSpace) -> NDArray[np.int64]:
        """Return where in the space the weight of each layer is, int64 (layers,)."""
        place = {target.tensor: number for number, target in enumerate(space.targets)}
        missing = [layer for layer in self.layers if layer + SUFFIX not in place]
        if missing:
            raise DataError(
                f"the fault list names layer {missing[0]!r}, but the fault space has no tensor "
                f"{missing[0] + SUFFIX!r} ({len(missing)} of {len(self.layers)} layers are missing); "
                f"see ftonnx inspect for those it has, or {KEEP_HINT}"
            )
        return np.array([place[layer + SUFFIX] for layer in self.layers], np.int64)

    def _elements(self, space: FaultSpace, target: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the flat index of each fault in its tensor."""
        axes = max(self.index.shape[1], *(len(each.shape) for each in space.targets))
        sizes = np.ones((len(space.targets), axes), np.int64)
        for row, each in zip(sizes, space.targets, strict=True):
            row[: len(each.shape)] = each.shape
        ranks = np.array([len(each.shape) for each in space.targets])
        size = sizes[target]
        index = np.full(size.shape, -1, np.int64)
        index[:, : self.index.shape[1]] = self.index
        given_axes = (index >= 0).sum(axis=1)
        is_of_other_rank = given_axes != ranks[target]
        is_outside = (index >= size).any(axis=1)
        self._refuse(is_of_other_rank | is_outside, space, target, "is not there")
        element = np.zeros(len(self), np.int64)
        for axis in range(axes):
            element = element * size[:, axis] + np.maximum(index[:, axis], 0)
        return element

    def _refuse(self, wrong: NDArray[np.bool_], space: FaultSpace, target: NDArray[np.int64], why: str) -> None:
        """Name the first wrong fault."""
        if not wrong.any():
            return
        row = int(wrong.argmax())
        each = space.targets[target[row]]
        index = tuple(number for number in self.index[row].tolist() if number >= 0)
        raise DataError(
            f"injection {self.injection[row]}: bit {self.bit[row]} of element {index} {why}; "
            f"{each.tensor!r} has shape {each.shape} and bits {_span(each.bit_numbers)}"
        )


class _Columns:
    """What has been read so far of a file, line by line."""

    def __init__(self, name: str) -> None:
        self.injection: list[int] = []
        self.layers: dict[str, int] = {}
        self.layer: list[int] = []
        self.index: list[tuple[int, ...]] = []
        self.bit: list[int] = []
        self._name = name
        self._line_of: dict[int, int] = {}

    def add(self, row: Sequence[str], places: Sequence[int], line: int) -> None:
        """Take in a line.

        Args:
            row: its fields.
            places: where the four columns are.
            line: its number, for messages.
        """
        where = f"{self._name} line {line}"
        if len(row) <= max(places):
            raise DataError(f"{where}: {len(row)} fields, but the header names {max(places) + 1} or more")
        number, module, numbers, lowest = (row[place] for place in places)
        injection = _whole(number, COLUMNS[0], where)
        first = self._line_of.setdefault(injection, line)
        if first != line:
            raise DataError(
                f"{where}: injection {injection} is on line {first} too; "
                "single faults with a number of their own each were expected"
            )
        self.injection.append(injection)
        self.layer.append(self.layers.setdefault(of_cell(module.strip()), len(self.layers)))
        self.index.append(_tuple(numbers, where))
        self.bit.append(_whole(lowest, COLUMNS[3], where, below=_MOST_BITS))


def _as_table(index: Sequence[tuple[int, ...]]) -> NDArray[np.int64]:
    """Return index tuples as an array, with -1 behind the shorter ones.

    >>> _as_table([(3, 1), (7,)]).tolist()
    [[3, 1], [7, -1]]
    """
    axes = max(len(entry) for entry in index)
    table = np.full((len(index), axes), -1, np.int64)
    for row, entry in zip(table, index, strict=True):
        row[: len(entry)] = entry
    return table


def refuse_folded(model: OnnxModel) -> None:
    """Refuse a model whose weights are not those of its torch network.

    Raises:
        ModelError: its export folded BatchNormalization into the weights.
    """
    if model.metadata.get("ftonnx.batchnorm") == "folded":
        raise ModelError(
            f"{model.name}: BatchNormalization was folded into the weights, so they are not those that a published "
            f"fault list means; {KEEP_HINT}"
        )


def _places(header: Sequence[str], name: str) -> list[int]:
    """Return where the four columns are."""
    found = [title.strip() for title in header]
    wrong = [column for column in COLUMNS if found.count(column) != 1]
    if wrong:
        raise DataError(
            f"{name}: a first line with the columns {','.join(COLUMNS)}, each once, was expected; "
            f"{wrong[0]} is there {found.count(wrong[0])} times in {','.join(found)[:100]!r}"
        )
    return [found.index(column) for column in COLUMNS]


def _whole(text: str, column: str, where: str, below: int = 10**18) -> int:
    match = _NUMBER.fullmatch(text)
    if match is None or (value := int(match[1])) >= below:
        raise DataError(f"{where}: {column}: a whole number from 0 to {below - 1} was expected, got {text[:40]!r}")
    return value


def _tuple(text: str, where: str) -> tuple[int, ...]:
    """Read an index tuple.

    >>> _tuple("(3, 0, 1, 2)", ""), _tuple("(7,)", "")
    ((3, 0, 1, 2), (7,))
    """
    match = _INDEX.fullmatch(text)
    if match is None or match[1].count(",") >= _MOST_AXES:
        raise DataError(f"{where}: TensorIndex: an index tuple such as (3, 0, 1, 2) was expected, got {text[:40]!r}")
    # blanks between them may be some that int() does not know
    return tuple(map(int, re.findall("[0-9]+", match[1])))


def _span(bits: Sequence[int]) -> str:
    """Return bit numbers for people.

    >>> _span(range(32)), _span((3, 30))
    ('0 to 31', '3, 30')
    """
    return f"{bits[0]} to {bits[-1]}" if len(bits) == bits[-1] - bits[0] + 1 else ", ".join(map(str, bits))
