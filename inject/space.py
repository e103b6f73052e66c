"""The fault space of a model: every stored bit of its weights and biases, in graph order, and bits of activations."""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from ftonnx.errors import ModelError, UsageError
from ftonnx.inject.activation_scope import ActivationScope
from ftonnx.inject.activations import IMAGE, Computed, activation_target, computed, left_activation
from ftonnx.inject.choosing import chosen_sites, nothing_left, stored_target, without_bits
from ftonnx.inject.chosen_names import Names
from ftonnx.inject.faults import Faults
from ftonnx.inject.formats import AUTO, Words, format_in, parse_format
from ftonnx.inject.graph import Walk
from ftonnx.inject.left_out import Coverage, LeftOut, left_out
from ftonnx.inject.model_file import OnnxModel, load_model
from ftonnx.inject.reasons import NAME
from ftonnx.inject.roles import ACTIVATION
from ftonnx.inject.storage import stored_tensors
from ftonnx.inject.stored_words import BEHIND, StoredWords, WordsBehind, WordSource
from ftonnx.inject.target import Target

__all__ = ["FaultSpace"]

_DEFAULT_ROLES: Final = ("weight", "bias")


@dataclass(frozen=True, slots=True)
class FaultSpace:
    """All bits of a model that can flip, numbered 0 to ``bits`` - 1 target after target.

    Models with the same targets in the same order meet the same flips for the same seed.

    Attributes:
        targets: the tensors that can flip: stored ones that rules found, in graph order, then those that were added by
            name, in the order of storage; then activations, in graph order.
        left_out: everything else that the model stores, in the order of storage, and, where activations were asked for,
            computes; empty for a part of a space.
        scope: whose activations these are, if any.
    """

    targets: tuple[Target, ...]
    _sites: tuple[int, ...] = field(repr=False)
    left_out: tuple[LeftOut, ...] = field(default=(), repr=False, compare=False)
    _stored: WordSource | None = field(default=None, repr=False, compare=False)
    scope: ActivationScope = field(default=ActivationScope(), repr=False, compare=False)
    _ends: NDArray[np.int64] = field(init=False, repr=False, compare=False)
    _bits: NDArray[np.uint8] = field(init=False, repr=False, compare=False)
    _widths: NDArray[np.int64] = field(init=False, repr=False, compare=False)
    _sizes: NDArray[np.int64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Number the bits."""
        bits_per_target = []
        widths = []
        sizes = []
        for target in self.targets:
            bits_per_target.append(target.bits)
            widths.append(len(target.bit_numbers))
            # of what exists, not only of what can flip: given faults are checked by it
            size = (target.elements, target.format.bits)
            sizes.append(size)
        # one row per target: its bit numbers, zeros behind them where others have more
        # a bit number is below 64, so a byte is enough
        shape = (len(widths), max(widths))
        table = np.zeros(shape, np.uint8)
        for row, target in zip(table, self.targets, strict=True):
            numbers = target.bit_numbers
            row[: len(numbers)] = numbers
        # in 64 bits: a large model has more bits than 32 can count
        ends = np.cumsum(bits_per_target, dtype=np.int64)
        self._derive("_ends", ends)
        self._derive("_bits", table)
        self._derive("_widths", np.array(widths, np.int64))
        self._derive("_sizes", np.array(sizes, np.int64))

    def _derive(self, name: str, value: NDArray[Any]) -> None:
        """Set what follows from the targets; a frozen class allows it in this way only."""
        object.__setattr__(self, name, value)

    @classmethod
    def of(
        cls,
        model: "str | Path | onnx.ModelProto | OnnxModel",
        *,
        format: str = "auto",
        roles: Sequence[str] = _DEFAULT_ROLES,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        bits: Collection[int] = (),
        activations_per: str = IMAGE,
        batch_size: int = 1,
    ) -> "FaultSpace":
        """Find the fault space of a model.

        Args:
            model: an ONNX file, an embedded model's name, or a model in memory.
            format: ``auto``, ``ieee`` or ``qM.N``, for float tensors; integers are their own bits. ``auto`` is what the
                model's metadata say (``ftonnx.format``), else ``q15.16``.
            roles: which roles can flip, of ``ROLES``, or ``activation``: computed tensors.
            include: shell-style patterns; where given, only matching tensor names are targets. A pattern that ends
                with ``=`` and a role adds: every other stored tensor of such a name, whatever rules say of it, in
                that role; it does not keep the others out.
            exclude: shell-style patterns of tensor names that are no targets.
            bits: where given, only these bits of every element can flip, counted from the least
                significant; a tensor whose elements have none of them is no target.
            activations_per: whose activations are bits: those of one ``image``, or of a run of a ``batch``.
            batch_size: images of a run, where the model does not insist on another number.

        Raises:
            ModelError: no tensor is left, a target holds NaN or Inf, its type has no known format, or the metadata name
                a format that there is not.
            UsageError: a role or the format is not known, no tensor has one of the bits, or a pattern matches
                only tensors that no rule finds.
        """
        names = Names.of(roles, include, exclude)
        # a bad name is the user's error, a bad type the model's
        parse_format(format, np.dtype(np.float32))
        loaded = load_model(model)
        used = format_in(loaded.metadata) if format == AUTO else format
        walk = Walk(loaded.structure)
        sites = list(walk.sites())
        stored = list(walk.stored())
        made = Computed([], [], batch_size)
        if ACTIVATION in roles:
            made = computed(loaded.structure, batch_size, activations_per)
        names.check((*sites, *made.activations), stored)
        chosen = chosen_sites(names, sites, stored)
        place_of = {id(site.tensor): place for place, site in enumerate(stored)}
        targets = []
        places = {}
        for site in chosen:
            targets.append(stored_target(site, used))
            places[id(site.tensor)] = place_of[id(site.tensor)]
        numbers = list(places.values())
        rest = list(left_out(loaded.structure, walk, sites, places.keys(), roles))
        absent = list(made.left_out)
        for number, activation in enumerate(made.activations):
            if names.take(activation):
                targets.append(activation_target(activation, used))
                # what is stored has numbers from 0
                numbers.append(-1 - number)
            else:
                absent.append(left_activation(activation, NAME))
        if not targets:
            raise ModelError(nothing_left(loaded.name, (*sites, *made.activations), names, rest, made.left_out))
        scope = ActivationScope(per=activations_per, images=made.images)
        space = cls(tuple(targets), tuple(numbers), (*rest, *absent), StoredWords(loaded), scope)
        if not bits:
            return space
        return space._with_bits(bits)

    def _with_bits(self, bits: Collection[int]) -> "FaultSpace":
        """Return the part of the space that lies in the given bits of each element."""
        wanted = sorted(set(bits))
        highest = max(target.format.bits for target in self.targets) - 1
        for bit in wanted:
            if not 0 <= bit <= highest:
                raise UsageError(f"bit {bit} does not exist: the widest element has bits 0 to {highest}")
        targets = []
        sites = []
        rest = list(self.left_out)
        for target, site in self._with_sites():
            width = target.format.bits
            present = [bit for bit in wanted if bit < width]
            # an int8 tensor has no bit 31
            if present:
                part = replace(target, flippable=tuple(present))
                targets.append(part)
                sites.append(site)
            else:
                rest.append(without_bits(target))
        return FaultSpace(tuple(targets), tuple(sites), tuple(rest), self._stored, self.scope)

    @property
    def has_activations(self) -> bool:
        """Whether bits of computed tensors can flip; they come last."""
        return self.targets[-1].role == ACTIVATION

    def require_stored(self, faults: str) -> None:
        """Raise UsageError where activations can flip, for faults (by this name) of what a memory stores."""
        if self.has_activations:
            raise UsageError(f"{faults} are of what a memory stores: no activations were expected beside them")

    @property
    def stored_targets(self) -> int:
        """Number of targets that the model stores, which come first."""
        return sum(target.role != ACTIVATION for target in self.targets)

    @property
    def stored(self) -> "FaultSpace | None":
        """The part that the model stores; None where there is none."""
        count = self.stored_targets
        if not count:
            return None
        return FaultSpace(self.targets[:count], self._sites[:count], (), self._stored, self.scope)

    def for_units(self, images: int) -> "FaultSpace":
        """Return the space whose patterns tell the images of a unit apart, or its runs (see ``ActivationScope``)."""
        if not self.has_activations:
            return self
        scope = replace(self.scope, slots=self.scope.slots_of(images))
        return FaultSpace(self.targets, self._sites, self.left_out, self._stored, scope)

    @property
    def drawn(self) -> "FaultSpace":
        """What patterns are drawn from: here an activation has a slot for each image or run that is told apart.

        Element i of an activation is element i % n of slot i // n, where it has n elements in this space.
        """
        if not self.has_activations or self.scope.slots is None:
            return self
        targets = []
        for target in self.targets:
            slots = (self.scope.slots,) if target.role == ACTIVATION else ()
            targets.append(replace(target, shape=(*slots, *target.shape)))
        scope = replace(self.scope, slots=None, parts=self.scope.slots)
        return FaultSpace(tuple(targets), self._sites, (), self._stored, scope)

    def _with_sites(self) -> Iterator[tuple[Target, int]]:
        """Go through the targets, each with its place among all that the model stores."""
        return zip(self.targets, self._sites, strict=True)

    def only(self, tensors: Collection[str]) -> "FaultSpace | None":
        """Return the part of the space that lies in the named tensors; None where there is none."""
        targets = []
        sites = []
        for target, site in self._with_sites():
            if target.tensor in tensors:
                targets.append(target)
                sites.append(site)
        if not targets:
            return None
        return FaultSpace(tuple(targets), tuple(sites), (), self._stored, self.scope)

    def widen(self, faults: Faults, part: "FaultSpace") -> Faults:
        """Return faults of a part of this space (see ``only``) as faults of the whole."""
        # both know a tensor by its place among all that the model stores
        number_of = {site: number for number, site in enumerate(self._sites)}
        numbers = [number_of[site] for site in part._sites]
        number_here = np.array(numbers, np.int32)
        targets = number_here[faults.target]
        return Faults(targets, faults.element, faults.bit)

    @property
    def bits(self) -> int:
        """N, the number of bits that can flip."""
        return int(self._ends[-1])

    @property
    def starts(self) -> NDArray[np.int64]:
        """Number of each target's first bit, int64 (targets,)."""
        first = np.zeros(1, np.int64)
        others = self._ends[:-1]
        return np.concatenate((first, others))

    @property
    def elements(self) -> int:
        """Number of stored elements."""
        return sum(target.elements for target in self.targets)

    @property
    def coverage(self) -> Coverage:
        """How much of what the model stores can flip, and why the rest cannot."""
        return Coverage.of(self.elements, self.left_out)

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats that occur, sorted."""
        names = {target.format.name for target in self.targets}
        return tuple(sorted(names))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the targets: equal for models that meet the same flips."""
        targets = [target.to_dict() for target in self.targets]
        text = repr(targets)
        return hashlib.sha256(text.encode()).hexdigest()

    def locate(self, positions: NDArray[np.int64]) -> Faults:
        """Return the faults at the given distinct bit positions, ascending, each in [0, bits)."""
        target = np.searchsorted(self._ends, positions, side="right")
        first = self.starts[target]
        width = self._widths[target]
        # within a tensor the bits are numbered element by element
        element, place = np.divmod(positions - first, width)
        bit = self._bits[target, place]
        return Faults.in_order(target, element, bit)

    def check_drawn(self, faults: Faults) -> None:
        """Do as ``check`` with a pattern of ``drawn``, whatever the number of its slots.

        Raises:
            UsageError: a target, element or bit does not exist here.
        """
        if self.scope.slots is None or not (faults.target < len(self.targets)).all():
            self.check(faults)
            return
        sizes = self._sizes[faults.target, 0]
        is_stored = faults.target < self.stored_targets
        elements = np.where(is_stored, faults.element, faults.element % sizes)
        self.check(Faults.in_order(faults.target, elements, faults.bit))

    def codes(self, target: int, elements: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return the bits that the model stores in elements of a target, as its format sees them.

        Args:
            target: its number.
            elements: int64 (n,), flat C-order indices.

        Raises:
            UsageError: the space was made without a model, or nobody knows the bits before the run.
            ModelError: the model's file changed or vanished.
        """
        return self.targets[target].format.codes(self.words(target), elements)

    def words(self, target: int) -> Words:
        """Return the words that the model stores of a target; treat as read-only.

        Raises:
            UsageError: as ``codes``.
            ModelError: as ``codes``.
        """
        if self._stored is None:
            raise UsageError("this fault space was made without a model, whose stored bits were asked for")
        if self.targets[target].role == ACTIVATION:
            name = self.targets[target].tensor
            raise UsageError(f"these faults depend on stored bits, and {name!r} is computed while the model runs")
        return self._stored.of(self._sites[target])

    def reading(self, model: OnnxModel) -> "FaultSpace":
        """Return this space with its stored bits read from a copy of its model, as where the file is not."""
        return FaultSpace(self.targets, self._sites, self.left_out, StoredWords(model), self.scope)

    def with_memory(self, added: Sequence[Target], words: WordSource) -> "FaultSpace":
        """Return this space with memory behind it that the model does not hold, such as check bits.

        Args:
            added: its arrays.
            words: what knows their words, by their places among what is added.
        """
        stored = None if self._stored is None else WordsBehind(self._stored, words)
        sites = (*self._sites, *(BEHIND + place for place in range(len(added))))
        return FaultSpace((*self.targets, *added), sites, self.left_out, stored)

    def is_set(self, faults: Faults) -> NDArray[np.bool_]:
        """Say of each bit, in the order of the faults, whether the model stores a one there.

        Raises:
            UsageError: as ``codes``.
            ModelError: as ``codes``.
        """
        ones = np.empty(len(faults), np.bool_)
        for target in np.unique(faults.target):
            here = faults.target == target
            codes = self.codes(int(target), faults.element[here])
            ones[here] = (codes >> faults.bit[here].astype(np.uint64)) & np.uint64(1)
        return ones

    def check(self, faults: Faults) -> None:
        """Refuse faults in targets, elements or bits that are not there; a bit that is there but was not chosen passes.

        Raises:
            UsageError: a target, element or bit does not exist here.
        """
        if not len(faults):
            return
        # faults are sorted by target, so the last one has the largest
        last = faults.target[-1]
        count = len(self.targets)
        if last >= count:
            raise UsageError(f"target {last} does not exist, there are {count}")
        sizes = self._sizes[faults.target]
        elements = sizes[:, 0]
        bits = sizes[:, 1]
        beyond = faults.element >= elements
        too_high = faults.bit >= bits
        places = np.flatnonzero(beyond | too_high)
        if len(places):
            first = places[0]
            bit = faults.bit[first]
            element = faults.element[first]
            target = self.targets[faults.target[first]]
            raise UsageError(
                f"bit {bit} of element {element} does not exist: "
                f"{target.tensor!r} has {elements[first]} elements "
                f"of {bits[first]} bits"
            )

    def tensors(self, model: onnx.ModelProto) -> list[onnx.TensorProto]:
        """Return, for each target, the tensor of ``model`` (or of a copy of it) that stores it.

        Raises:
            UsageError: ``model`` is not the one whose space this is.
        """
        stored = list(stored_tensors(model))
        found = []
        for target, index in self._with_sites():
            if target.role == ACTIVATION:
                raise UsageError(f"{target.tensor!r} is computed while the model runs: no file holds its bits")
            # another model may have fewer tensors, or others in their place
            name, tensor = stored[index] if index < len(stored) else ("", None)
            if tensor is None or name != target.tensor or tuple(tensor.dims) != target.shape:
                raise UsageError(f"this fault space is of another model: {target.tensor!r} is not where it should be")
            found.append(tensor)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return N, the targets, the number of stored elements and what is left out of them as JSON values."""
        targets = [target.to_dict() for target in self.targets]
        rest = [each.to_dict() for each in self.left_out]
        return {"bits": self.bits, "targets": targets, "stored": self.coverage.elements, "left_out": rest}
