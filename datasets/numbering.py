"""Which name becomes which class number: by a list of class names, by the numbers that they are, by their order."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from ftonnx.datasets.checks import MAX_CLASSES
from ftonnx.datasets.class_names import ClassNames
from ftonnx.datasets.labelling import Labelling
from ftonnx.errors import DataError
from ftonnx.words import some_of

__all__ = ["Numbered", "Rules", "by_name"]

_WHOLE: Final = re.compile("[0-9]{1,18}")
_NUMERIC: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|nan|NaN")
_PARTS: Final = re.compile("([0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is known of classes before their names are seen.

    Attributes:
        what: What is named: ``folder``, or ``label``. Folders 1 to K are taken for a count from 1; labels are class
            numbers, and are taken as they stand.
        root: Where they were found, for messages.
        classes: Number of classes, where the TOML beside the data says one.
        first_label: The number that stands for the first class, where the TOML says so.
        note: What the order of the names is to be said of, where it counts.
    """

    what: Literal["folder", "label"]
    root: str
    classes: int | None = None
    first_label: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Numbered:
    """The class of every name.

    Attributes:
        numbers: One per name, in their order.
        classes: Number of classes.
        labelling: Names and rule.
    """

    numbers: tuple[int, ...]
    classes: int
    labelling: Labelling


def by_name(names: Sequence[str], sources: Sequence[ClassNames], rules: Rules) -> Numbered:
    """Give every name its class number.

    The first of ``sources`` that knows the names decides. Else the number in the name does, where all names are whole
    numbers. Else names count from 0 in the order of their characters.

    >>> rules = Rules(what="folder", root="here")
    >>> by_name(["0", "1", "10", "2"], [], rules).numbers, by_name(["ant", "bee"], [], rules).numbers
    ((0, 1, 10, 2), (0, 1))

    Args:
        names: Different from each other, in the order of their characters.
        sources: Lists of class names; one that nobody asked for and that knows none of the names is left aside.
        rules: What else is known.

    Raises:
        DataError: A list does not know a name, or a number lies outside the classes.
    """
    numbers = _whole_numbers(names, rules)
    aside: list[str] = []
    for source in sources:
        found = source.find(names)
        unknown = [name for name, number in zip(names, found, strict=True) if number is None]
        if not unknown:
            return _by_source(names, found, source, rules, aside)
        knows_none = len(unknown) == len(names)
        if knows_none and numbers is not None and _long_enough(source, numbers, rules):
            # the numbers of those classes
            return _by_number(names, numbers, source, rules, aside)
        if source.asked or not knows_none:
            raise _unknown(unknown, source, rules)
        aside.append(_left_aside(source, rules))
    if numbers is not None:
        return _by_number(names, numbers, None, rules, aside)
    return _by_order(names, rules, aside)


def _by_source(
    names: Sequence[str], found: Sequence[int | None], source: ClassNames, rules: Rules, aside: Sequence[str]
) -> Numbered:
    """Names that are all known to a list."""
    _check_no_first_label(names[0], rules)
    numbers = tuple(number for number in found if number is not None)
    classes = max(len(source), rules.classes or 0)
    labelling = Labelling(
        names=_filled(source.shown, classes),
        rule=f"{rules.what}s by {source.source}",
        warnings=tuple(aside),
    )
    return Numbered(numbers, classes, labelling)


def _by_number(
    names: Sequence[str], numbers: Sequence[int], source: ClassNames | None, rules: Rules, aside: Sequence[str]
) -> Numbered:
    """Names that are whole numbers: each is its class, counted from the first label."""
    known = max(rules.classes or 0, len(source or ())) or None
    first = _first_label(numbers, known, rules)
    labels = tuple(number - first for number in numbers)
    _check_inside(labels, first, known, rules)
    classes = known or max(labels) + 1
    shown: dict[int, str] = dict(zip(labels, names, strict=True))
    if source is not None:
        shown = dict(enumerate(source.shown))
    doubts = _doubts(numbers, first, known, rules)
    labelling = Labelling(
        names=tuple(shown.get(number) for number in range(classes)),
        rule=_number_rule(names, first, rules),
        warnings=(*aside, *doubts),
    )
    return Numbered(labels, classes, labelling)


def _by_order(names: Sequence[str], rules: Rules, aside: Sequence[str]) -> Numbered:
    """Names of which nothing is known: they count from 0 as they are sorted."""
    _check_no_first_label(names[0], rules)
    count = len(names)
    # the TOML may know of classes without images here, and never takes one away
    classes = max(rules.classes or 0, count)
    doubts = []
    if classes > count:
        doubts.append(
            f"{rules.root}: the {count} {rules.what}s are numbered 0 to {count - 1} in the order of their names, of "
            f"{classes} classes; where they are others of these, give a file of all class names"
        )
    rule = f"{rules.what}s in the order of their names{rules.note}"
    odd = _first_out_of_order(names)
    labelling = Labelling(
        names=_filled(names, classes),
        rule=f"{rule} (as text: {odd})" if odd else rule,
        warnings=(*aside, *doubts),
    )
    return Numbered(tuple(range(count)), classes, labelling)


def _whole_numbers(names: Sequence[str], rules: Rules) -> list[int] | None:
    """The numbers that the names are; None where one of them is no whole number.

    Raises:
        DataError: Two names are the same number, or labels are numbers of another kind.
    """
    if not all(map(_WHOLE.fullmatch, names)):
        if rules.what == "label":
            _check_no_other_numbers(names, rules)
        return None
    by_number: dict[int, str] = {}
    for name in names:
        number = int(name)
        if number in by_number:
            both = f"{by_number[number]!r} and {name!r}"
            raise DataError(f"{rules.root}: expected one {rules.what} per number, got {both}; keep one form")
        by_number[number] = name
    return list(by_number)


def _check_no_other_numbers(names: Sequence[str], rules: Rules) -> None:
    # sorted as text, 10.0 would come before 2.0
    if not all(map(_NUMERIC.fullmatch, names)):
        return
    wrong = next(name for name in names if not _WHOLE.fullmatch(name))
    expected = "class names, or whole numbers from 0, as labels"
    raise DataError(f"{rules.root}: expected {expected}, got {wrong!r}; write them so")


def _first_label(numbers: Sequence[int], known: int | None, rules: Rules) -> int:
    """The number of the first class."""
    if rules.first_label is not None:
        return rules.first_label
    count = len(numbers)
    counts_from_one = count > 1 and sorted(numbers) == list(range(1, count + 1))
    has_a_class_more = known is not None and known > count
    # a label is written by somebody who meant a class number, a folder may just be counted
    if rules.what == "folder" and counts_from_one and not has_a_class_more:
        return 1
    return 0


def _check_inside(labels: Sequence[int], first: int, known: int | None, rules: Rules) -> None:
    lowest = min(labels)
    highest = max(labels)
    if lowest < 0:
        expected = f"numbers from first_label={first}"
        raise DataError(f"{rules.root}: expected {expected}, got {rules.what} {lowest + first}; correct either")
    if highest >= MAX_CLASSES:
        expected = f"{rules.what}s named by class numbers below {MAX_CLASSES}"
        raise DataError(f"{rules.root}: expected {expected}, got {highest + first}; list the names in `class_names`")
    if known is None or highest < known:
        return
    expected = f"{rules.what}s below {known + first} for {known} classes"
    advice = "correct either"
    if lowest == 1 and highest == known:
        advice = f"{_say_first(1)} where 1 is the first class"
    raise DataError(f"{rules.root}: expected {expected}, got {highest + first}; {advice}")


def _doubts(numbers: Sequence[int], first: int, known: int | None, rules: Rules) -> list[str]:
    """What a reader should look at, where nobody has said how classes are counted."""
    if known is not None or rules.first_label is not None:
        return []
    lowest = min(numbers)
    highest = max(numbers)
    where = f"{rules.root}: {rules.what}s are numbered from {lowest} to {highest}"
    if first:
        return [f"{where}, and 1 is taken for class 0; {_say_first(0)} where 1 is class 1"]
    if rules.what == "label":
        if lowest != 1:
            return []
        return [f"{where}, and are taken for class numbers; {_say_first(1)} where 1 is the first class"]
    if len(numbers) == highest + 1:
        return []
    advice = "give a file of class names where they are not"
    return [f"{where} with gaps, and the numbers are taken for class numbers; {advice}"]


def _say_first(number: int) -> str:
    return f"write first_label = {number} into the TOML beside the data"


def _number_rule(names: Sequence[str], first: int, rules: Rules) -> str:
    rule = f"the number that the {rules.what} is"
    if first:
        rule += f", less {first}"
    odd = _first_out_of_order(names)
    return f"{rule} (not as text, where {odd})" if odd else rule


def _first_out_of_order(names: Sequence[str]) -> str:
    """Say which of two sorted names comes first though its number is higher; empty where none does.

    >>> _first_out_of_order(["class1", "class10", "class2"]), _first_out_of_order(["class01", "class02"])
    ('class10 comes before class2', '')
    """
    for one, other in itertools.pairwise(names):
        if _by_parts(one) > _by_parts(other):
            return f"{one} comes before {other}"
    return ""


def _by_parts(name: str) -> list[tuple[int, str]]:
    """A key by which numbers in names are compared as numbers."""
    key = []
    for part in _PARTS.split(name):
        number = int(part) if _WHOLE.fullmatch(part) else -1
        key.append((number, part))
    return key


def _filled(names: Sequence[str], classes: int) -> tuple[str | None, ...]:
    """The names, and None for the classes that have none."""
    missing = classes - len(names)
    return (*names, *[None] * missing)


def _long_enough(source: ClassNames, numbers: Sequence[int], rules: Rules) -> bool:
    """Whether a list can be that of numbered classes; one that somebody asked for is."""
    # a class short: they may count from 1, which is said then
    return source.asked or len(source) >= max(numbers) - (rules.first_label or 0)


def _check_no_first_label(name: str, rules: Rules) -> None:
    if rules.first_label is not None:
        expected = f"first_label only where {rules.what}s are numbers"
        raise DataError(f"{rules.root}: expected {expected}, got {name!r}; take it out of the TOML")


def _unknown(unknown: Sequence[str], source: ClassNames, rules: Rules) -> DataError:
    expected = f"{rules.what}s named like the {len(source)} classes of {source.source}"
    advice = source.meant(unknown[0]) or "; rename them, or list the right names in `class_names`"
    return DataError(f"{rules.root}: expected {expected}, got {some_of(unknown)}{advice}")


def _left_aside(source: ClassNames, rules: Rules) -> str:
    named = f"{source.source} ({some_of(source.shown)})"
    return f"{rules.root}: none of the {rules.what}s is named in {named}, which is left aside"
