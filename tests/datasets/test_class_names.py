"""Names of classes from files and from metadata."""

import json

import pytest

from ftonnx.datasets.class_names import ClassNames, find_class_names, names_in_metadata, read_class_names
from ftonnx.errors import DataError


def written(tmp_path, text, name="classes.txt"):
    """Write a file and read it."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_class_names(path)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cat\ndog\n", ("cat", "dog")),
        ("\ufeffcat\r\ndog\r\n\r\n", ("cat", "dog")),
        ("0 cat\n1 dog\n2 sea lion", ("cat", "dog", "sea lion")),
        ("1: cat\n2: dog", ("cat", "dog")),
        ("0,cat\n1,dog", ("cat", "dog")),
        ("1 001.Albatross\n2 002.Auk", ("001.Albatross", "002.Auk")),
        ("1 euro\n2 euro", ("1 euro", "2 euro")),
        ("2 cat\n1 dog", ("2 cat", "1 dog")),
        ("n01440764 tench, Tinca tinca\nn01443537 goldfish", ("n01440764 tench, Tinca tinca", "n01443537 goldfish")),
        ("Österreich\nÅland", ("Österreich", "Åland")),
    ],
    ids=["plain", "windows", "counted", "from one", "commas", "birds", "coins", "not in order", "wordnet", "unicode"],
)
def test_a_text_file_has_one_class_per_line(tmp_path, text, shown):
    """With numbers in front that count the lines, with a mark of Windows, with a blank end."""
    assert written(tmp_path, text).shown == shown


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (["cat", "dog"], ("cat", "dog")),
        ({"1": "dog", "0": "cat"}, ("cat", "dog")),
        ({"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}, ("n01440764 tench", "n01443537 goldfish")),
        ({"dog": 1, "cat": 0}, ("cat", "dog")),
        ([["cat", "kitten"], ["dog"]], ("cat kitten", "dog")),
        ([7, 8], ("7", "8")),
        (["sea\n lion ", "dog"], ("sea lion", "dog")),
    ],
    ids=["list", "numbers to names", "imagenet's index", "names to numbers", "lists", "numbers", "spaces"],
)
def test_a_json_file_is_a_list_or_an_object_either_way_round(tmp_path, content, shown):
    """As frameworks write them."""
    assert written(tmp_path, json.dumps(content), "classes.json").shown == shown


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.txt", "", "expected from 1 to 1048576 class names, got 0"),
        ("c.txt", "cat\n\ndog", "got an empty line 2; remove it"),
        ("c.json", "{", "expected JSON, got JSONDecodeError"),
        ("c.json", "3", "expected class names as one name per line, a JSON list"),
        ("c.json", '{"1": "cat", "2": "dog"}', "numbered from 0 without gaps"),
        ("c.json", '{"cat": 0, "dog": 2}', "numbered from 0 without gaps"),
        ("c.json", '["cat", null]', "class 1: expected a name, got None"),
        ("c.json", '["cat", []]', "class 1: expected a name, got none"),
        ("c.json", '["cat", {"a": 1}]', r"class 1: expected a name, got \{'a': 1\}"),
        ("c.json", "[" * 100_000, "expected JSON, got ValueError: it is nested too deeply"),
        ("c.json", "{}", "expected class names as"),
    ],
)
def test_a_file_that_lists_no_classes_is_refused_in_one_line(tmp_path, name, text, message):
    """The file is named, and what it should hold."""
    with pytest.raises(DataError, match=message) as caught:
        written(tmp_path, text, name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    """Missing, a folder, no text."""
    with pytest.raises(DataError, match=r"no\.txt: expected a file of class names in UTF-8, got No such file"):
        read_class_names(tmp_path / "no.txt")
    with pytest.raises(DataError, match="Is a directory"):
        read_class_names(tmp_path)
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="UnicodeDecodeError"):
        read_class_names(tmp_path / "bytes.txt")


def test_a_class_is_found_by_any_of_its_names():
    """By its id, by each word, whatever the case and the signs between."""
    names = ClassNames.of(["n01440764 tench, Tinca tinca", ["n01622779", "great grey owl"]], "a list", asked=True)
    asked = ["tench", "n01622779", "Great_Grey_Owl", "tinca-tinca", "n01440764", "owl"]
    assert names.find(asked) == [0, 1, 1, 0, 0, None]


def test_what_is_written_exactly_so_comes_before_what_is_only_alike():
    """Names that differ by their case only are two classes."""
    names = ClassNames.of(["Polish", "polish"], "a list", asked=True)
    assert names.find(["polish", "Polish"]) == [1, 0]
    with pytest.raises(DataError, match="a list: expected one class named 'POLISH', got classes 0, 1"):
        names.find(["POLISH"])


def test_a_name_of_two_classes_is_refused():
    """ImageNet has two cranes."""
    names = ClassNames.of([["n02012849", "crane"], ["n03126707", "crane"]], "a list", asked=True)
    assert names.find(["n03126707"]) == [1]
    with pytest.raises(DataError, match="one class named 'crane', got classes 0, 1"):
        names.find(["crane"])


@pytest.mark.parametrize(
    ("metadata", "shown"),
    [
        ({"names": "{0: 'cat', 1: 'dog'}"}, ("cat", "dog")),
        ({"classes": '["cat", "dog"]'}, ("cat", "dog")),
        ({"labels": "cat,dog, sea lion"}, ("cat", "dog", "sea lion")),
        ({"class_names": "cat\ndog\n"}, ("cat", "dog")),
        ({"id2label": '{"0": "tench, Tinca tinca", "1": "goldfish"}'}, ("tench, Tinca tinca", "goldfish")),
        ({"names": "resnet", "classes": "('cat', 'dog')"}, ("cat", "dog")),
    ],
    ids=["python", "json", "commas", "lines", "id to label", "second key"],
)
def test_a_model_names_its_classes_in_its_metadata(metadata, shown):
    """As Python or JSON, between commas, or on lines."""
    found = names_in_metadata(metadata)
    assert (found.shown, found.asked, found.of_model) == (shown, False, True)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {},
        {"author": "cat,dog"},
        {"classes": "10"},
        {"labels": "true"},
        {"names": ""},
        {"names": "{1: 'cat', 2: 'dog'}"},
        {"names": "{0: {'deep': 1}, 1: None}"},
        {"names": "cat,,dog"},
        {"classes": "(" * 5000},
        {"labels": r"'\d'"},
    ],
)
def test_metadata_of_another_kind_is_no_list_of_names(metadata):
    """The keys are anybody's."""
    assert names_in_metadata(metadata) is None


def test_a_file_beside_the_data_is_found_by_its_name(tmp_path):
    """In the first folder that has one; a file can be left out."""
    near, far = tmp_path / "near", tmp_path
    near.mkdir()
    assert find_class_names([near, far]) is None
    (far / "labels.txt").touch()
    (far / "classes.txt").touch()
    assert find_class_names([near, far]) == far / "classes.txt"
    assert find_class_names([near, far], apart_from=far / "classes.txt") == far / "labels.txt"
    (near / "synset_words.txt").touch()
    assert find_class_names([near, far]) == near / "synset_words.txt"
