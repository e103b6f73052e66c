"""Names of classes: from a file, from a list in the side file, or from what a model says of itself.

A file is text, one class per line, or JSON: a list, ``{"0": "tench"}``, ``{"0": ["n01440764", "tench"]}`` or
``{"tench": 0}``. Lines may begin with their number (``0 tench``) or a WordNet id (``n01440764 tench, Tinca tinca``).
"""

import ast
import itertools
import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from ftonnx.datasets.checks import MAX_CLASSES
from ftonnx.datasets.text_file import read_text
from ftonnx.errors import DataError, describe
from ftonnx.words import near, parsed_json

__all__ = ["CLASS_NAME_FILES", "ClassNames", "find_class_names", "names_in_metadata", "read_class_names"]

CLASS_NAME_FILES: Final = (
    "class_names.txt", "classes.txt", "labels.txt", "names.txt", "class_names.json", "classes.json", "labels.json",
    "id2label.json", "class_indices.json", "imagenet_class_index.json", "synset_words.txt", "synsets.txt",
    "LOC_synset_mapping.txt",
)  # fmt: skip
"""What a file of class names beside the data is called; the first one that is there counts."""

_METADATA_KEYS: Final = ("class_names", "names", "classes", "labels", "id2label", "label_names", "categories")
"""Under what a model's ``metadata_props`` name its classes; the first one that holds a list of names counts."""

_LARGEST_FILE: Final = 1 << 26
_LONGEST_METADATA: Final = 1 << 22
_NOT_THAT_FORM: Final = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)
_NUMBERED: Final = re.compile(r"(?P<number>[0-9]{1,9})[\s:;,.)]+(?P<name>.+)")
_WORDNET: Final = re.compile(r"(?P<id>n[0-9]{8})(?:[\s:;,]+(?P<name>.+))?")
_FORMS: Final = 'one name per line, a JSON list of names, {"0": "name"} or {"name": 0}'


@dataclass(frozen=True, slots=True)
class ClassNames:
    """The names of all classes, in the order of their numbers.

    Attributes:
        shown: One name per class, for people.
        aliases: For each class, all names by which it is known.
        source: Where they come from, for messages.
        asked: Whether somebody named the source; one that was merely found may name something else.
        of_model: Whether a model said them.
    """

    shown: tuple[str, ...]
    aliases: tuple[tuple[str, ...], ...]
    source: str
    asked: bool
    of_model: bool = False

    @classmethod
    def of(cls, entries: Iterable[object], source: str, *, asked: bool, of_model: bool = False) -> Self:
        """Names from a list of texts, or of lists of texts that name the same class.

        >>> ClassNames.of(["n01440764 tench, Tinca tinca"], "a list", asked=True).aliases[0][1:]
        ('n01440764', 'tench, Tinca tinca', 'tench', 'Tinca tinca')

        Raises:
            DataError: There is no class, an entry is empty or no text, or there are more than can be.
        """
        shown = []
        aliases = []
        for number, entry in enumerate(entries):
            texts = _texts(entry, f"{source}: class {number}")
            shown.append(" ".join(texts))
            aliases.append(_aliases(texts))
        if not 1 <= len(shown) <= MAX_CLASSES:
            raise DataError(f"{source}: expected from 1 to {MAX_CLASSES} class names, got {len(shown)}")
        return cls(tuple(shown), tuple(aliases), source, asked, of_model)

    def __len__(self) -> int:
        return len(self.shown)

    def find(self, names: Sequence[str]) -> list[int | None]:
        """The class of each name; None for one that is no class. Case, ``_`` and ``-`` count only where they must.

        >>> ClassNames.of(["traffic light", "cat"], "a list", asked=True).find(["cat", "Traffic_Light", "dog"])
        [1, 0, None]

        Raises:
            DataError: A name is that of several classes.
        """
        exact = self._index(str)
        loose = self._index(_loosely)
        found = []
        for name in names:
            numbers = exact.get(name) or loose.get(_loosely(name)) or set()
            if len(numbers) > 1:
                several = ", ".join(map(str, sorted(numbers)))
                raise DataError(f"{self.source}: expected one class named {name!r}, got classes {several}")
            number = next(iter(numbers), None)
            found.append(number)
        return found

    def meant(self, name: str) -> str:
        """Return the end of a message that offers the nearest name."""
        known = itertools.chain.from_iterable(self.aliases)
        return near(name, known)

    def _index(self, key: Callable[[str], str]) -> dict[str, set[int]]:
        """The classes that go by a name, for every name."""
        found: dict[str, set[int]] = {}
        for number, aliases in enumerate(self.aliases):
            for alias in aliases:
                found.setdefault(key(alias), set()).add(number)
        return found


def read_class_names(path: Path, *, asked: bool = True) -> ClassNames:
    """The names in a file.

    Raises:
        DataError: The file is missing or unreadable, or holds no names.
    """
    text = read_text(path, "a file of class names", _LARGEST_FILE)
    if path.suffix.lower() == ".json":
        try:
            entries = _entries(parsed_json(text))
        except ValueError as error:
            raise DataError(f"{path}: expected JSON, got {describe(error)}; correct it") from error
    else:
        entries = _lines(text, path)
    if entries is None:
        raise DataError(f"{path}: expected class names as {_FORMS}, numbered from 0 without gaps; correct it")
    return ClassNames.of(entries, str(path), asked=asked)


def find_class_names(folders: Iterable[Path], *, apart_from: Path | None = None) -> Path | None:
    """The file of class names that lies in the first of ``folders`` that has one; None where none has."""
    for folder in folders:
        for name in CLASS_NAME_FILES:
            file = folder / name
            if file != apart_from and os.path.isfile(file):
                return file
    return None


def names_in_metadata(metadata: Mapping[str, str] | None) -> ClassNames | None:
    """What a model says of its classes; None where nothing in its metadata is a list of names.

    The keys are anybody's, so that a value of another form is another thing, and no mistake.

    >>> names_in_metadata({"names": "{0: 'cat', 1: 'dog'}"}).shown, names_in_metadata({"classes": "10"})
    (('cat', 'dog'), None)
    """
    for key in _METADATA_KEYS:
        text = (metadata or {}).get(key, "")
        if len(text) > _LONGEST_METADATA:
            continue
        value = _value_of(text)
        entries = _entries(value) or []
        # one name says nothing about an order
        if len(entries) > 1 and all(map(_is_entry, entries)):
            return ClassNames.of(entries, f"the model's metadata ({key})", asked=False, of_model=True)
    return None


def _lines(text: str, path: Path) -> list[object]:
    lines = [line.strip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, start=1):
        # left out, it would shift all that follow
        if not line:
            raise DataError(f"{path}: expected one class name per line, got an empty line {number}; remove it")
    return _unnumbered(lines)


def _unnumbered(lines: list[str]) -> list[object]:
    """Lines that count themselves, from 0 or 1, without their numbers.

    >>> _unnumbered(["0 cat", "1 dog"]), _unnumbered(["3 pins", "1 pin"])
    (['cat', 'dog'], ['3 pins', '1 pin'])
    """
    names: list[object] = []
    numbers = []
    for line in lines:
        match = _NUMBERED.fullmatch(line)
        if match is None:
            return list(lines)
        numbers.append(int(match["number"]))
        names.append(match["name"])
    count = len(lines)
    in_order = numbers in (list(range(count)), list(range(1, count + 1)))
    # "1 euro", "2 euro": the numbers are what tells them apart
    tell_apart = len(set(map(str, names))) == count
    return names if in_order and tell_apart else list(lines)


def _value_of(text: str) -> object:
    """JSON, a value as Python writes it, or names between commas or on lines of their own."""
    for read in (parsed_json, ast.literal_eval):
        with suppress(*_NOT_THAT_FORM), warnings.catch_warnings():
            # Python warns of what is written oddly in a text that was not written for it
            warnings.simplefilter("ignore")
            return read(text)
    stripped = text.strip()
    separator = "\n" if "\n" in stripped else ","
    return [part.strip() for part in stripped.split(separator)]


def _entries(value: object) -> list[Any] | None:
    """Entries in the order of their numbers, from a list or from an object; None where it is neither.

    >>> _entries({"1": "dog", "0": ["n1", "cat"]}), _entries({"dog": 1, "cat": 0}), _entries({"7": "x"})
    ([['n1', 'cat'], 'dog'], [['cat'], ['dog']], None)
    """
    if isinstance(value, list | tuple):
        return list(value)
    if not isinstance(value, dict) or not value:
        return None
    if all(type(number) is int for number in value.values()):
        by_number: dict[int, Any] = {}
        for name, number in value.items():
            by_number.setdefault(number, []).append(name)
    else:
        keys = [str(key) for key in value]
        if not all(re.fullmatch("[0-9]{1,9}", key) for key in keys):
            return None
        by_number = dict(zip(map(int, keys), value.values(), strict=True))
    if sorted(by_number) != list(range(len(by_number))):
        return None
    return [by_number[number] for number in range(len(by_number))]


def _is_entry(entry: object) -> bool:
    try:
        _texts(entry, "")
    except DataError:
        return False
    return True


def _texts(entry: object, where: str) -> list[str]:
    """The texts of one entry, which is a text or a list of them."""
    parts = list(entry) if isinstance(entry, list | tuple) else [entry]
    texts = []
    for part in parts:
        # names such as 0 and 1, where they are written without quotation marks
        is_name = isinstance(part, str) or type(part) is int
        # on one line, whatever spaces are in it
        text = " ".join(str(part).split()) if is_name else ""
        if not text:
            raise DataError(f"{where}: expected a name, got {part!r}")
        texts.append(text)
    if not texts:
        raise DataError(f"{where}: expected a name, got none")
    return texts


def _aliases(texts: list[str]) -> tuple[str, ...]:
    """Every name that stands in the texts of one class."""
    names = []
    for text in texts:
        names.append(text)
        match = _WORDNET.fullmatch(text)
        words = text
        if match is not None and match["name"]:
            words = match["name"]
            names += [match["id"], words]
        for part in words.split(","):
            names.append(part.strip())
    distinct = dict.fromkeys(names)
    return tuple(name for name in distinct if name)


def _loosely(name: str) -> str:
    """A name without what people write differently.

    >>> _loosely("Great_Grey-owl")
    'great grey owl'
    """
    spaced = re.sub(r"[\s_-]+", " ", name)
    return spaced.strip().casefold()
