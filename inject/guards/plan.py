"""A protection plan: which bits of which stored tensors are guarded, and by what; read from TOML and written to it."""

import fnmatch
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

from ftonnx.errors import UsageError
from ftonnx.files import read_document, reason_unread, write_file
from ftonnx.inject.guards.chosen_bits import ALL, Bits, parse_bits
from ftonnx.inject.guards.codes import CODES
from ftonnx.words import bits_text, near, of_kind, parsed_toml, some_of, texts, toml_line, whole_number

__all__ = ["RANGE", "Guard", "ProtectionPlan"]

RANGE: Final = "range"
"""The guard that is no code: values that the tensor has nowhere are found when it is read."""

_FORMAT: Final = 1
_WORD_BITS: Final = (32, 64)
_MOST_INTERLEAVE: Final = 1024
_KINDS: Final = (*CODES, RANGE)
_ACTIONS: Final = ("zero", "reload", "stop")
_RANGE_ACTIONS: Final = (*_ACTIONS, "clamp")
_KEYS: Final = ("format", "model", "word_bits", "interleave", "guard")
_GUARD_KEYS: Final = ("tensors", "by", "bits", "on_detect")
_SHA256: Final = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, init=False)
class Guard:
    """What guards some tensors.

    Attributes:
        tensors: shell-style patterns of their names.
        by: ``parity``, ``secded``, ``tmr``, ``duplication`` or ``range``.
        bits: which bits of each element are guarded: ``all``, ``sign``, ``exponent``, ``sign+exponent``, or their
            numbers; of ``range`` it is ``all``.
        on_detect: what is done where an error is only detected. ``zero``: the word's elements are set to zero;
            ``reload``: they are read again from a copy without faults; ``stop``: the run ends, a detected error; of
            ``range`` also ``clamp``: to the nearest value that the tensor has. None for ``tmr``, which detects nothing.

    Raises:
        UsageError: a value makes no sense.

    >>> Guard("conv*.weight", "secded", "28-31")
    Guard(tensors=('conv*.weight',), by='secded', bits=(28, 29, 30, 31), on_detect='zero')
    """

    tensors: tuple[str, ...]
    by: str
    bits: Bits
    on_detect: str | None

    def __init__(
        self, tensors: str | Sequence[str], by: str, bits: str | Sequence[int] = ALL, on_detect: str | None = None
    ) -> None:
        patterns = texts("tensors", tensors)
        if not patterns or not all(patterns):
            raise UsageError(f"tensors: patterns of names were expected, got {tensors!r}")
        if by not in _KINDS:
            raise UsageError(f"by: {', '.join(_KINDS)} was expected, got {by!r}{near(str(by), _KINDS)}")
        chosen = parse_bits(bits)
        if by == RANGE and chosen != ALL:
            raise UsageError(f"a range is one of whole values: no choice of bits was expected, got {bits!r}")
        object.__setattr__(self, "tensors", patterns)
        object.__setattr__(self, "by", by)
        object.__setattr__(self, "bits", chosen)
        object.__setattr__(self, "on_detect", _action(by, on_detect))

    @property
    def text(self) -> str:
        """The guard in words.

        >>> Guard(["a", "b"], "secded").text
        'secded of a, b'
        """
        bits = self.bits if isinstance(self.bits, str) else f"bits {bits_text(self.bits)}"
        which = "" if self.bits == ALL else f" ({bits})"
        return f"{self.by} of {some_of(self.tensors)}{which}"

    @property
    def reaction(self) -> str:
        """What is done where an error is only detected, as it goes on behind the guard in words.

        >>> Guard("a", "parity").reaction, Guard("a", "tmr").reaction
        (', what is detected: zero', '')
        """
        return "" if self.on_detect is None else f", what is detected: {self.on_detect}"

    def takes(self, tensor: str) -> bool:
        """Say whether a tensor's name matches."""
        return any(fnmatch.fnmatchcase(tensor, pattern) for pattern in self.tensors)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values, which TOML takes too."""
        values: dict[str, Any] = {"tensors": list(self.tensors), "by": self.by}
        if self.by != RANGE:
            values["bits"] = self.bits if isinstance(self.bits, str) else list(self.bits)
        if self.on_detect is not None:
            values["on_detect"] = self.on_detect
        return values


@dataclass(frozen=True, slots=True, init=False)
class ProtectionPlan:
    """How a memory protects a model's stored bits.

    Attributes:
        guards: what guards what; a bit has one code at most.
        word_bits: data bits of a code word, 32 or 64.
        interleave: words that take turns, so that so many neighbouring bits are in different ones; 1 for none.
        model: SHA-256 of the model that the plan was made for; None for any that has the tensors.
        file: that it was read from, which messages name; None elsewhere.

    Raises:
        UsageError: a value makes no sense.
    """

    guards: tuple[Guard, ...]
    word_bits: int
    interleave: int
    model: str | None
    file: str | None = field(compare=False, repr=False)

    def __init__(
        self,
        guards: Sequence[Guard],
        *,
        word_bits: int = 64,
        interleave: int = 1,
        model: str | None = None,
        file: str | None = None,
    ) -> None:
        of_kind("guards", guards, (list, tuple), "a list of guards")
        for guard in guards:
            of_kind("guards", guard, Guard, "Guard(...)")
        if not guards:
            raise UsageError("a plan protects something: at least one guard was expected, got none")
        if type(word_bits) is not int or word_bits not in _WORD_BITS:
            raise UsageError(f"word_bits: 32 or 64 was expected, got {word_bits!r}")
        if model is not None and not (isinstance(model, str) and _SHA256.fullmatch(model)):
            raise UsageError(f"model: the SHA-256 of a model's file, 64 digits, was expected, got {str(model)[:80]!r}")
        object.__setattr__(self, "guards", tuple(guards))
        object.__setattr__(self, "word_bits", word_bits)
        object.__setattr__(self, "interleave", whole_number("interleave", interleave, 1, _MOST_INTERLEAVE))
        object.__setattr__(self, "model", model)
        object.__setattr__(self, "file", file)

    @property
    def text(self) -> str:
        """The plan in words, and its fingerprint: words leave out names, and the model that the plan was made for.

        >>> ProtectionPlan([Guard("*bias", "tmr"), Guard("*weight", "parity", "31")]).text
        'tmr of *bias; parity of *weight (bits 31), what is detected: zero (words of 64 bits; plan d833e309)'
        """
        guards = "; ".join(f"{guard.text}{guard.reaction}" for guard in self.guards)
        interleaved = "" if self.interleave == 1 else f", {self.interleave} take turns"
        return f"{guards} (words of {self.word_bits} bits{interleaved}; plan {self.fingerprint})"

    @property
    def fingerprint(self) -> str:
        """What tells the plan from others: the first eight digits of the SHA-256 of its TOML file."""
        return hashlib.sha256(self.to_toml().encode()).hexdigest()[:8]

    @property
    def stops(self) -> bool:
        """Whether a guard ends the run where it detects an error."""
        return any(guard.on_detect == "stop" for guard in self.guards)

    def check_model(self, name: str, sha256: str) -> None:
        """Refuse a model that the plan was not made for, where it says one.

        Raises:
            UsageError: it is another one.
        """
        if self.model not in (None, sha256):
            raise self.blamed_for(
                f"the protection plan was made for another model (SHA-256 {self.model}); {name} has {sha256}: "
                "take the line model out of the plan to use it here"
            )

    def blamed_for(self, reason: str) -> UsageError:
        """Return an error that begins with the plan's file, where it was read from one."""
        return UsageError(reason if self.file is None else f"{self.file}: {reason}")

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values from which ``from_dict`` makes the same plan; they are those of the file."""
        values: dict[str, Any] = {"format": _FORMAT}
        if self.model is not None:
            values["model"] = self.model
        values["word_bits"] = self.word_bits
        values["interleave"] = self.interleave
        return values | {"guard": [guard.to_dict() for guard in self.guards]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make a plan of what ``to_dict`` returned, or of what a file holds.

        Raises:
            UsageError: it is no plan.
        """
        _check_keys(values, _KEYS, "a plan")
        version = values.get("format")
        # true is 1 for Python
        if type(version) is not int or version != _FORMAT:
            raise UsageError(f"format = {_FORMAT} was expected, got {version!r}")
        guards = values.get("guard", [])
        if not isinstance(guards, list):
            raise UsageError(f"[[guard]] tables were expected, got {str(guards)[:80]!r}")
        rest = {name: value for name, value in values.items() if name not in ("format", "guard")}
        return cls([_guard(number, guard) for number, guard in enumerate(guards, 1)], **rest)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a plan from a TOML file.

        Raises:
            UsageError: the file cannot be read, or is no plan.
        """
        try:
            found = parsed_toml(read_document(path))
        except (OSError, ValueError) as error:
            reason = reason_unread(error, Path(path))
            raise UsageError(f"{path}: a protection plan in TOML was expected: {reason}") from None
        try:
            return replace(cls.from_dict(found), file=str(path))
        except UsageError as error:
            # in a file they are keys, not parameters
            raise UsageError(f"{path}: {error}".replace("`", "")) from None

    def to_toml(self) -> str:
        """Return the plan as a TOML file has it.

        >>> print(ProtectionPlan([Guard("fc.weight", "parity", [31, 30])], word_bits=32).to_toml())
        format = 1
        word_bits = 32
        interleave = 1
        <BLANKLINE>
        [[guard]]
        tensors = ["fc.weight"]
        by = "parity"
        bits = [30, 31]
        on_detect = "zero"
        <BLANKLINE>
        """
        values = self.to_dict()
        guards = values.pop("guard")
        lines = [toml_line(key, value) for key, value in values.items()]
        for guard in guards:
            lines += ["", "[[guard]]"]
            lines += [toml_line(key, value) for key, value in guard.items()]
        return "\n".join((*lines, ""))

    def save(self, path: str | Path) -> None:
        """Write the plan to a TOML file.

        Raises:
            UsageError: the file cannot be written.
        """
        write_file(self.to_toml().encode(), Path(path))


def _action(by: str, said: str | None) -> str | None:
    """Return what is done where an error is only detected.

    Raises:
        UsageError: the guard cannot do that.
    """
    if by in CODES and not CODES[by].detects:
        if said is not None:
            raise UsageError(f"{by} corrects whatever it sees: no on_detect was expected, got {said!r}")
        return None
    known = _RANGE_ACTIONS if by == RANGE else _ACTIONS
    if said is None:
        return known[0]
    if said not in known:
        hint = near(str(said), known)
        raise UsageError(f"on_detect: {', '.join(known)} was expected of {by}, got {said!r}{hint}")
    return said


def _guard(number: int, values: Any) -> Guard:
    """Make a guard of a table.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(values, Mapping):
        raise UsageError(f"guard {number}: a table was expected, got {str(values)[:80]!r}")
    try:
        _check_keys(values, _GUARD_KEYS, "a guard")
        for key in ("tensors", "by"):
            if key not in values:
                raise UsageError(f"{key} is missing")
        return Guard(**values)
    except UsageError as error:
        raise UsageError(f"guard {number}: {error}") from None


def _check_keys(values: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    unknown = [key for key in values if key not in known]
    if unknown:
        hint = near(unknown[0], known)
        raise UsageError(f"{unknown[0]} is not known; {what} has {', '.join(known)}{hint}")
