"""What a model stores, or computes, that is not in a fault space: which tensors, how much, and why."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
import onnx

from ftonnx.inject.graph import Site, Walk
from ftonnx.inject.reasons import KIND, NAME, NOT_PER_IMAGE, ROLE, SHAPELESS, is_of_computed, is_worth_a_word
from ftonnx.inject.roles import ACTIVATION
from ftonnx.inject.storage import Loose, loose_values
from ftonnx.inject.tensors import ELEMENT_BITS, element_count, type_name
from ftonnx.words import json_fields, percent

__all__ = ["Coverage", "Group", "LeftOut", "left_out"]

_NAMED: Final = 3
_WORTH_A_WORD: Final = 0.01
_Number = Annotated[int, msgspec.Meta(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Stored values that cannot flip.

    Attributes:
        tensor: name of the initializer or Constant, or of what has them in an attribute.
        shape: of the tensor.
        dtype: of its elements.
        elements: their number.
        bits: that they take in the file.
        reason: why they are left out.
        node: name of the first node that reads them; empty where none does.
        op_type: that node's operator.
    """

    tensor: str
    shape: tuple[int, ...]
    dtype: str
    elements: int
    bits: int
    reason: str
    node: str = ""
    op_type: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return json_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """All that is left out for one reason.

    Attributes:
        reason: why.
        tensors: their number.
        elements: in all of them.
        bits: that these take in the file.
        largest: names of the largest three.
    """

    reason: str
    tensors: _Number
    elements: _Number
    bits: _Number
    largest: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return json_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of what a model stores can flip.

    Attributes:
        elements: number of stored elements of any kind, and of computed ones where activations were asked for.
        groups: what is left out, by reason, the largest first.
    """

    elements: _Number
    groups: tuple[Group, ...] = ()

    def __repr__(self) -> str:
        reasons = ", ".join(f"{group.reason} {self.part(group)}" for group in self.groups)
        of = f"{percent(self.share)} of {self.elements} {self._whose()} elements"
        return f"Coverage({of}; left out: {reasons or 'nothing'})"

    @classmethod
    def of(cls, covered: int, rest: Iterable[LeftOut]) -> "Coverage":
        """Sum up.

        Args:
            covered: number of elements that can flip.
            rest: what cannot.
        """
        by_reason: dict[str, list[LeftOut]] = {}
        for each in rest:
            by_reason.setdefault(each.reason, []).append(each)
        groups = [_group(reason, members) for reason, members in by_reason.items()]
        groups.sort(key=lambda group: group.elements, reverse=True)
        without = sum(group.elements for group in groups)
        return cls(elements=covered + without, groups=tuple(groups))

    @property
    def left_out(self) -> int:
        """Number of stored elements that cannot flip."""
        return sum(group.elements for group in self.groups)

    @property
    def share(self) -> float:
        """Share of the stored elements that can flip."""
        return 1 - self.left_out / self.elements

    def words(self, roles: Iterable[str]) -> str:
        """Say how much can flip.

        Args:
            roles: of the tensors that can.

        >>> Coverage(elements=1200).words(["weight"]), Coverage(elements=1200).words(["activation"])
        ('100.00 % of the 1,200 stored elements', '100.00 % of the 1,200 stored and computed elements')
        """
        is_all = all(group.reason != SHAPELESS for group in self.groups)
        known = "" if is_all else " of known size"
        return f"{percent(self.share)} of the {self.elements:,} {self._whose(roles)} elements{known}"

    def _whose(self, roles: Iterable[str] = ()) -> str:
        """Say which elements are counted, where these are the roles of those that can flip."""
        # computed tensors may have been asked for, and none of them be left
        has_computed = ACTIVATION in roles or any(is_of_computed(group.reason) for group in self.groups)
        return "stored and computed" if has_computed else "stored"

    def part(self, group: Group) -> str:
        """Return a group's share of the stored elements in per cent."""
        return percent(group.elements / self.elements)

    @property
    def caution(self) -> str | None:
        """What a reader of N must know: that weights, or activations, may be left out."""
        found = [text for text in (self._stored_caution, self._computed_caution) if text is not None]
        return f"{'; '.join(found)}; see ftonnx inspect" if found else None

    @property
    def _stored_caution(self) -> str | None:
        """That over 1 % of what is stored may be weights that are left out.

        What is left out by choice, and what is never a weight (shapes, indices, thresholds, single numbers, what
        nothing uses), is not counted.
        """
        doubtful = [group for group in self.groups if is_worth_a_word(group.reason)]
        elements = sum(group.elements for group in doubtful)
        if elements <= _WORTH_A_WORD * self.elements:
            return None
        reasons = ", ".join(f"{group.reason} {self.part(group)}" for group in doubtful)
        largest = doubtful[0].largest[0]
        return (
            f"{percent(elements / self.elements)} of the {self._whose()} values may be weights but cannot flip "
            f"({reasons}), such as {largest!r}"
        )

    @property
    def _computed_caution(self) -> str | None:
        """That activations are left out whose size nobody knows, or that are over 1 % of all elements."""
        lost = []
        for group in self.groups:
            is_large = group.reason in (NOT_PER_IMAGE, KIND) and group.elements > _WORTH_A_WORD * self.elements
            if is_large or group.reason == SHAPELESS:
                lost.append(group)
        if not lost:
            return None
        reasons = ", ".join(f"{group.reason} {group.tensors}" for group in lost)
        return f"computed tensors are in memory but cannot flip ({reasons}), such as {lost[0].largest[0]!r}"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"elements": self.elements, "left_out": [group.to_dict() for group in self.groups]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Coverage":
        """Read back what ``to_dict`` returned.

        Raises:
            ValueError: a value is missing, of another type, or out of range; the message says which.
        """
        return msgspec.convert({"elements": values["elements"], "groups": values["left_out"]}, cls)


def _group(reason: str, members: list[LeftOut]) -> Group:
    ordered = sorted(members, key=lambda each: each.elements, reverse=True)
    return Group(
        reason=reason,
        tensors=len(members),
        elements=sum(each.elements for each in members),
        bits=sum(each.bits for each in members),
        largest=tuple(each.tensor for each in ordered[:_NAMED]),
    )


def left_out(
    model: onnx.ModelProto, walk: Walk, sites: Iterable[Site], chosen: Collection[int], roles: Collection[str]
) -> tuple[LeftOut, ...]:
    """Return what a model stores that is not chosen, in the order of storage; empty tensors aside.

    Args:
        model: it.
        walk: over the model, finished.
        sites: what the walk found.
        chosen: ids of the tensors that can flip.
        roles: that were asked for.
    """
    site_of = {id(site.tensor): site for site in sites}
    rest = []
    for stored in walk.stored():
        tensor = stored.tensor
        if id(tensor) in chosen or not element_count(tensor):
            continue
        site = site_of.get(id(tensor))
        if site is None:
            rest.append(_left(stored, walk.reason(tensor)))
        else:
            rest.append(_left(site, NAME if site.role in roles else ROLE))
    for loose in loose_values(model):
        # one number is a setting of its operator
        if loose.elements > 1:
            rest.append(_left_loose(loose))
    return tuple(rest)


def _left(site: Site, reason: str) -> LeftOut:
    tensor = site.tensor
    count = element_count(tensor)
    return LeftOut(
        # in a broken file names may be no text
        tensor=str(site.name),
        shape=tuple(tensor.dims),
        dtype=type_name(tensor),
        elements=count,
        # strings have no fixed size
        bits=count * ELEMENT_BITS.get(tensor.data_type, 0),
        reason=reason,
        node=str(site.node),
        op_type=str(site.op_type),
    )


def _left_loose(loose: Loose) -> LeftOut:
    return LeftOut(
        tensor=loose.name,
        shape=(loose.elements,),
        dtype=loose.dtype,
        elements=loose.elements,
        bits=loose.bits,
        reason=loose.reason,
        op_type=loose.op_type,
    )
