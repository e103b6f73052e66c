"""Which name becomes which class number."""

import pytest

from ftonnx.datasets.class_names import ClassNames
from ftonnx.datasets.numbering import Rules, by_name
from ftonnx.errors import DataError

FOLDER = Rules(what="folder", root="d")
LABEL = Rules(what="label", root="d.csv")


def names_of(*names, asked=True, source="classes.txt"):
    """Return a list of class names."""
    return ClassNames.of(names, source, asked=asked)


def numbered(names, *sources, rules=FOLDER):
    """Return what becomes of names, which are sorted first."""
    names = sorted(names)
    found = by_name(names, sources, rules)
    return dict(zip(names, found.numbers, strict=True)), found


def test_names_count_from_0_in_the_order_of_their_characters():
    """Capitals come before small letters, as in a plain sort."""
    numbers, found = numbered(["bee", "ant", "Cat"])
    assert numbers == {"Cat": 0, "ant": 1, "bee": 2}
    assert found.labelling.names == ("Cat", "ant", "bee")
    assert found.labelling.rule == "folders in the order of their names"
    assert found.labelling.warnings == ()


def test_numbers_inside_names_are_text_and_that_is_said():
    """Everyone else numbers them so too."""
    numbers, found = numbered(["class1", "class2", "class10"])
    assert numbers == {"class1": 0, "class10": 1, "class2": 2}
    assert found.labelling.rule == "folders in the order of their names (as text: class10 comes before class2)"


@pytest.mark.parametrize("rules", [FOLDER, LABEL])
def test_whole_numbers_are_the_classes(rules):
    """0 to 11, with or without zeros in front."""
    numbers, found = numbered([str(number) for number in range(12)], rules=rules)
    assert numbers == {str(number): number for number in range(12)}
    assert (found.classes, found.labelling.warnings) == (12, ())
    assert found.labelling.names == tuple(map(str, range(12)))
    assert found.labelling.rule.endswith("(not as text, where 11 comes before 2)")
    numbers, found = numbered([f"{number:03}" for number in range(12)], rules=rules)
    assert numbers["011"] == 11
    assert found.labelling.rule == f"the number that the {rules.what} is"


def test_folders_from_1_to_k_are_counted_from_1_and_that_is_said():
    """Unless the number of classes leaves no doubt."""
    names = [str(number) for number in range(1, 12)]
    numbers, found = numbered(names)
    assert (numbers["1"], numbers["11"], found.classes) == (0, 10, 11)
    (warning,) = found.labelling.warnings
    assert warning == (
        "d: folders are numbered from 1 to 11, and 1 is taken for class 0; "
        "write first_label = 0 into the TOML beside the data where 1 is class 1"
    )
    assert found.labelling.rule.startswith("the number that the folder is, less 1")
    settled = Rules(what="folder", root="d", classes=11)
    assert numbered(names, rules=settled)[1].labelling.warnings == ()
    with_background = Rules(what="folder", root="d", classes=12)
    numbers, found = numbered(names, rules=with_background)
    assert (numbers["1"], found.labelling.warnings) == (1, ())


def test_labels_from_1_are_taken_as_they_are_and_that_is_said():
    """Where the number of classes shows that they cannot be meant so, they are refused."""
    names = ["1", "2", "3"]
    numbers, found = numbered(names, rules=LABEL)
    assert (numbers, found.classes) == ({"1": 1, "2": 2, "3": 3}, 4)
    assert found.labelling.warnings == (
        "d.csv: labels are numbered from 1 to 3, and are taken for class numbers; "
        "write first_label = 1 into the TOML beside the data where 1 is the first class",
    )
    three = Rules(what="label", root="d.csv", classes=3)
    for rules, sources in ((three, ()), (LABEL, (names_of("x", "y", "z"),)), (LABEL, (names_of(*"xyz", asked=False),))):
        with pytest.raises(DataError, match=r"expected labels below 3 for 3 classes, got 3; write first_label = 1"):
            numbered(names, *sources, rules=rules)


@pytest.mark.parametrize("what", ["folder", "label"])
def test_the_first_label_can_be_said(what):
    """Then nothing is guessed."""
    for first, expected in ((0, (1, 2)), (1, (0, 1))):
        rules = Rules(what=what, root="d", first_label=first)
        numbers, found = numbered(["1", "2"], rules=rules)
        assert tuple(numbers.values()) == expected
        assert found.labelling.warnings == ()
    with pytest.raises(
        DataError, match=r"d: expected numbers from first_label=2, got (folder|label) 1; correct either"
    ):
        numbered(["1", "2"], rules=Rules(what=what, root="d", first_label=2))
    with pytest.raises(DataError, match=r"first_label only where (folder|label)s are numbers, got 'ant'"):
        numbered(["ant", "bee"], rules=Rules(what=what, root="d", first_label=1))
    with pytest.raises(DataError, match=r"first_label only where (folder|label)s are numbers, got '1'"):
        numbered(["1", "2"], names_of("1", "2"), rules=Rules(what=what, root="d", first_label=1))


def test_numbers_with_gaps_are_the_classes_and_that_is_said():
    """3, 7 and 12 of a thousand, or of thirteen."""
    numbers, found = numbered(["12", "3", "7"])
    assert numbers == {"12": 12, "3": 3, "7": 7}
    assert (found.classes, found.labelling.names[3], found.labelling.names[4]) == (13, "3", None)
    assert "numbered from 3 to 12 with gaps, and the numbers are taken for class numbers" in found.labelling.warnings[0]
    said = Rules(what="folder", root="d", classes=1000)
    numbers, found = numbered(["12", "3", "7"], rules=said)
    assert (numbers["12"], found.classes, found.labelling.warnings) == (12, 1000, ())
    assert numbered(["0", "7"], rules=LABEL)[1].labelling.warnings == ()


@pytest.mark.parametrize(
    ("names", "rules", "message"),
    [
        (["1", "01", "0"], FOLDER, "expected one folder per number, got '01' and '1'; keep one form"),
        (["0", "99999999999"], FOLDER, "folders named by class numbers below 1048576, got 99999999999"),
        (["0", "10"], Rules(what="folder", root="d", classes=10), "folders below 10 for 10 classes, got 10"),
        (["0", "1", "-1"], LABEL, "expected class names, or whole numbers from 0, as labels, got '-1'"),
        (["0.0", "1.0", "10.0"], LABEL, "whole numbers from 0, as labels, got '0.0'"),
        (["0", "nan"], LABEL, "whole numbers from 0, as labels, got 'nan'"),
    ],
)
def test_numbers_that_cannot_be_classes_are_refused(names, rules, message):
    """Doubles, huge ones, and labels that are numbers of another kind."""
    with pytest.raises(DataError, match=message):
        numbered(names, rules=rules)


def test_folders_named_by_other_numbers_are_text():
    """A year and a half are names."""
    assert numbered(["1.5", "0.5", "10.0"])[0] == {"0.5": 0, "1.5": 1, "10.0": 2}


def test_a_list_of_names_says_the_number():
    """Also of a few of its classes, in whatever order it has them."""
    numbers, found = numbered(["bee", "ant"], names_of("cat", "bee", "dog", "ant"))
    assert numbers == {"bee": 1, "ant": 3}
    assert (found.classes, found.labelling.names) == (4, ("cat", "bee", "dog", "ant"))
    assert found.labelling.rule == "folders by classes.txt"


def test_numeric_names_can_be_in_a_list_too():
    """A training that sorted them as text is said by a list in that order."""
    assert numbered(["0", "1", "10", "2"], names_of("0", "1", "10", "2"))[0] == {"0": 0, "1": 1, "10": 2, "2": 3}


def test_numbers_are_those_of_a_list_that_names_something_else():
    """Folders 0 and 2 of classes with names."""
    numbers, found = numbered(["0", "2"], names_of("cat", "dog", "bee"))
    assert (numbers, found.classes) == ({"0": 0, "2": 2}, 3)
    assert found.labelling.names == ("cat", "dog", "bee")
    assert found.labelling.warnings == ()


def test_a_name_that_a_list_does_not_know_is_refused_with_a_near_one():
    """Whoever made the list."""
    for asked in (True, False):
        with pytest.raises(DataError, match=r"like the 2 classes of classes\.txt, got beee; did you mean bee\?"):
            numbered(["ant", "beee"], names_of("bee", "ant", asked=asked))
    with pytest.raises(DataError, match=r"got q1, q2, q3 and 1 more; rename them"):
        numbered(["q1", "q2", "q3", "q4"], names_of("bee", "ant"))


def test_a_list_that_nobody_asked_for_and_that_knows_no_name_is_left_aside():
    """And that is said; the next list is tried."""
    foreign = names_of("katze", "hund", asked=False, source="labels.txt")
    numbers, found = numbered(["ant", "bee"], foreign)
    assert numbers == {"ant": 0, "bee": 1}
    assert found.labelling.warnings == (
        "d: none of the folders is named in labels.txt (katze, hund), which is left aside",
    )
    of_model = names_of("bee", "ant", asked=False, source="the model's metadata (names)")
    numbers, found = numbered(["ant", "bee"], foreign, of_model)
    assert numbers == {"ant": 1, "bee": 0}
    assert (found.labelling.rule, len(found.labelling.warnings)) == ("folders by the model's metadata (names)", 1)


def test_a_short_list_that_nobody_asked_for_is_not_that_of_numbered_folders():
    """Five names cannot be those of eleven classes; a list that somebody named is believed, and refused."""
    folders = [str(number) for number in range(11)]
    _, found = numbered(folders, names_of(*"abcde", asked=False))
    assert found.classes == 11
    assert "left aside" in found.labelling.warnings[0]
    with pytest.raises(DataError, match="expected folders below 5 for 5 classes, got 10"):
        numbered(folders, names_of(*"abcde"))


def test_fewer_folders_than_classes_are_doubtful():
    """They may be others than the first ones."""
    numbers, found = numbered(["ant", "bee"], rules=Rules(what="folder", root="d", classes=10))
    assert (numbers, found.classes) == ({"ant": 0, "bee": 1}, 10)
    assert found.labelling.names == ("ant", "bee", *[None] * 8)
    assert found.labelling.warnings == (
        "d: the 2 folders are numbered 0 to 1 in the order of their names, of 10 classes; "
        "where they are others of these, give a file of all class names",
    )
