"""What the constants of a graph are made of: stored tensors, and what happens to them on the way.

Constants share what they are made of: n nodes can make one of 2^n times the same tensor, so nothing is written out.
Whoever asks something of all tensors behind a constant is led past what was asked the same before.
"""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from onnx import NodeProto, TensorProto

from ftonnx.errors import ModelError
from ftonnx.inject.scopes import Scope
from ftonnx.limits import CONSTANT_WAYS

__all__ = ["NOTHING", "Asked", "Constant", "Conversion", "Converter", "Stored", "made_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Converter:
    """A quantizer or dequantizer between a stored tensor and its use."""

    node: NodeProto
    scope: Scope


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A constant: a stored tensor, or what is made of other constants.

    Attributes:
        first: the first stored tensor behind it; None where there is none.
        name: of the tensor, where it is one itself; empty else.
        parts: what it is made of, in the order of the inputs.
        converter: that made it of its part.
        moved: whether the elements of its parts were only moved and converted, not computed with.
    """

    first: TensorProto | None
    name: str = ""
    parts: tuple["Constant", ...] = ()
    converter: Converter | None = None
    moved: bool = True


NOTHING: Final = Constant(None)
"""A constant without stored values in it, such as a shape."""


def made_of(parts: Iterable[Constant], *, converter: Converter | None = None, moved: bool = True) -> Constant:
    """Return the constant that a node makes of others; see ``Constant``."""
    known = tuple(part for part in parts if part is not NOTHING)
    if not known:
        return NOTHING
    if len(known) == 1 and converter is None and moved:
        return known[0]
    return Constant(known[0].first, "", known, converter, moved)


@dataclass(slots=True, eq=False)
class Conversion:
    """The (de)quantizers between a stored tensor and its use.

    Attributes:
        converter: the one next to the tensor.
        after: what comes after it; None next to the use.
    """

    converter: Converter
    after: "Conversion | None"
    _told: bool = False

    def untold(self) -> list[Converter]:
        """Return the converters that were not returned before, the last one first."""
        found = []
        each: Conversion | None = self
        # where one was returned, those after it were too
        while each is not None and not each._told:
            each._told = True
            found.append(each.converter)
            each = each.after
        found.reverse()
        return found


class Stored(NamedTuple):
    """A stored tensor behind a value.

    Attributes:
        name: of it.
        tensor: it.
        conversion: the (de)quantizers on the way; None without any.
        moved: whether its elements were only moved and converted on the way, not computed with.
    """

    name: str
    tensor: TensorProto
    conversion: Conversion | None
    moved: bool


class Asked:
    """What was asked of which constants."""

    def __init__(self) -> None:
        self._done: set[tuple[Hashable, ...]] = set()
        self._most = CONSTANT_WAYS.most

    def tensors(self, constant: Constant, question: Hashable) -> Iterator[Stored]:
        """Yield the stored tensors behind a constant, in order, but for what the same question was asked of before.

        A tensor that comes along two ways is the same if it is converted by the same converter first, and computed with
        on both or on neither.

        Raises:
            ModelError: there are too many ways.
        """
        waiting: list[tuple[Constant, Conversion | None, bool]] = [(constant, None, True)]
        while waiting:
            part, conversion, moved = waiting.pop()
            first = None if conversion is None else conversion.converter
            state = (part, first, moved, question)
            if state in self._done:
                continue
            self._done.add(state)
            if len(self._done) > self._most:
                raise ModelError(f"its constants are made of stored tensors in too many ways: {CONSTANT_WAYS.said}")
            if part.converter is not None:
                conversion = Conversion(part.converter, conversion)
            moved = moved and part.moved
            if part.name and part.first is not None:
                yield Stored(part.name, part.first, conversion, moved)
            for inner in reversed(part.parts):
                waiting.append((inner, conversion, moved))
