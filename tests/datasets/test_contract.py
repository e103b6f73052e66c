"""What every kind of data set promises. A new kind inherits all of it by its line in ``MAKERS`` of ``kinds_kit``."""

import re
from pathlib import Path

import numpy as np
import pytest
from kinds_kit import MAKERS

from ftonnx.datasets import load_dataset
from ftonnx.datasets.digits import DigitsKind
from ftonnx.datasets.kinds import KINDS, parse_spec
from ftonnx.datasets.mask_folders import MasksKind
from ftonnx.datasets.published.cifar10 import Cifar10Kind
from ftonnx.datasets.published.cifar100 import Cifar100Kind
from ftonnx.datasets.published.cloud38 import Cloud38Kind
from ftonnx.datasets.published.dfc2020 import Dfc2020Kind
from ftonnx.datasets.published.eurosat import EurosatKind
from ftonnx.errors import DataError, FtonnxError, UsageError

OF_MAPS = {MasksKind, Cloud38Kind, Dfc2020Kind}
"""Those whose labels are a class for every pixel."""

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@pytest.fixture
def spec(kind, tmp_path, monkeypatch):
    """A relative spec of the kind; the current folder is where it means something."""
    monkeypatch.chdir(tmp_path)
    return MAKERS[kind](tmp_path)


def everything(data):
    """Images and labels of one pass, in small batches."""
    batches = list(data.batches(5))
    images = np.concatenate([images for images, _ in batches])
    labels = np.concatenate([labels for _, labels in batches])
    return images, labels


def test_every_registered_kind_is_tried_here():
    """A kind without a line in MAKERS would promise nothing."""
    assert set(MAKERS) == set(KINDS)


@every_kind
def test_a_spec_belongs_to_one_kind_only(kind, spec):
    """So the order of the registry does not matter."""
    owners = [each for each in KINDS if each.parse(spec) is not None]
    assert owners == [kind]
    assert isinstance(parse_spec(spec), kind)


@every_kind
def test_a_parsed_spec_is_a_value(kind, spec):
    """Equal specs are equal, can be kept in sets, and cannot be changed."""
    parsed = parse_spec(spec)
    assert parsed == parse_spec(spec)
    assert len({parsed, parse_spec(spec)}) == 1
    with pytest.raises((AttributeError, TypeError)):
        parsed.anything = 1


@every_kind
def test_parsing_looks_at_nothing_on_disk(kind, spec, tmp_path, monkeypatch):
    """A spec can be understood where its data is not."""
    before = parse_spec(spec)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert parse_spec(spec) == before


@every_kind
def test_the_written_form_means_the_same_in_every_folder(kind, spec, tmp_path, monkeypatch):
    """It is what a results folder keeps; it is its own written form."""
    here = load_dataset(spec)
    fingerprint = here.fingerprint
    written = parse_spec(spec).spec
    assert here.source["data"] == written
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert parse_spec(written).spec == written
    assert load_dataset(written).fingerprint == fingerprint


@every_kind
def test_the_source_of_a_data_set_opens_it_again(kind, spec):
    """With its split and limit."""
    opened = load_dataset(spec, limit=4)
    source = dict(opened.source)
    assert set(source) == {"data", "split", "limit", "preprocess"}
    again = load_dataset(source["data"], split=source["split"], limit=source["limit"])
    assert again.fingerprint == opened.fingerprint
    assert again.preprocess.as_dict() == source["preprocess"]


@every_kind
def test_batches_are_float32_images_and_int64_labels_below_the_classes(kind, spec):
    """In the shape that the data set names, as often as it is read."""
    data = load_dataset(spec)
    images, labels = everything(data)
    assert images.dtype == np.float32
    assert images.shape == (len(data), *data.sample_shape)
    if kind in OF_MAPS:
        # a byte for every pixel is enough
        assert (labels.dtype, data.classes) == (np.uint8, None)
        assert labels.shape == (len(data), *data.sample_shape[1:])
    else:
        assert labels.dtype == np.int64
        assert labels.max() < data.classes
    np.testing.assert_array_equal(labels, data.labels)
    again, _ = everything(data)
    np.testing.assert_array_equal(images, again)


@every_kind
def test_the_batch_size_changes_nothing(kind, spec):
    """One image at a time, or all at once."""
    data = load_dataset(spec, limit=9)
    images, _ = everything(data)
    for size in (1, 4, 9, 100):
        sizes = [len(labels) for _, labels in data.batches(size)]
        assert sum(sizes) == 9
        assert set(sizes[:-1]) <= {size}
        np.testing.assert_array_equal(np.concatenate([part for part, _ in data.batches(size)]), images)


@every_kind
def test_some_batches_are_those_among_all(kind, spec):
    """In their order, however they are asked for, also the short last one."""
    data = load_dataset(spec, limit=9)
    every = list(data.batches(2))
    for only in ([], [3], [4, 0, 0], range(5)):
        found = list(data.batches(2, only))
        numbers = sorted(set(only))
        assert len(found) == len(numbers)
        for number, (images, labels) in zip(numbers, found, strict=True):
            np.testing.assert_array_equal(images, every[number][0])
            np.testing.assert_array_equal(labels, every[number][1])


@every_kind
def test_batches_are_the_callers_to_write_to(kind, spec):
    """The data stays what it was."""
    data = load_dataset(spec)
    before, _ = everything(data)
    for images, labels in data.batches(4):
        images[:] = 0
        labels[:] = 0
    after, labels = everything(data)
    np.testing.assert_array_equal(after, before)
    np.testing.assert_array_equal(labels, data.labels)


@every_kind
def test_a_limit_is_the_first_images_of_the_same_order(kind, spec):
    """And another fingerprint."""
    whole = load_dataset(spec)
    part = load_dataset(spec, limit=5)
    assert len(part) == 5
    np.testing.assert_array_equal(everything(part)[0], everything(whole)[0][:5])
    assert part.fingerprint != whole.fingerprint
    assert load_dataset(spec, limit=10**6).fingerprint == whole.fingerprint


@every_kind
def test_opening_it_twice_gives_one_fingerprint(kind, spec):
    """It is of the content."""
    assert load_dataset(spec).fingerprint == load_dataset(spec).fingerprint


@every_kind
def test_a_model_that_says_nothing_changes_nothing(kind, spec):
    """The data set itself is returned."""
    data = load_dataset(spec)
    assert data.completed(None) is data
    assert data.completed({"something": "else"}) is data


@every_kind
def test_a_split_that_is_not_there_is_refused_in_one_line(kind, spec):
    """As the usage error that it is."""
    with pytest.raises(UsageError) as caught:
        load_dataset(spec, split="no-such-split")
    assert "\n" not in str(caught.value)


@every_kind
def test_a_kind_says_whether_it_has_splits(kind, spec):
    """Where it has none, any name is refused."""
    with_splits = (DigitsKind, Cifar10Kind, Cifar100Kind, EurosatKind, Dfc2020Kind)
    assert parse_spec(spec).has_splits == (kind in with_splits)
    assert parse_spec("npz:some").has_splits


@every_kind
def test_everything_can_be_read(kind, spec):
    """Nothing is found that cannot."""
    assert load_dataset(spec).unreadable() == []


@every_kind
def test_data_that_is_not_there_is_a_data_error(kind, spec, tmp_path, monkeypatch):
    """In one line that names it; a kind without files, such as the digits, opens everywhere."""
    has_files = any(tmp_path.iterdir())
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    if not has_files:
        assert len(load_dataset(spec)) > 0
        return
    with pytest.raises(DataError) as caught:
        load_dataset(spec)
    assert "\n" not in str(caught.value)
    assert Path(spec.removeprefix(f"{kind.keyword}:")).stem in str(caught.value)


@every_kind
def test_what_a_kind_guesses_is_a_spec_of_its_own(kind, spec, tmp_path):
    """Whatever the argument was."""
    for argument in ("", "\0", "mine.py", "some.npz", "images", str(tmp_path)):
        guess = kind.guess(argument)
        assert guess is None or kind.parse(guess) is not None


@every_kind
def test_its_form_is_in_messages_and_in_the_documentation(kind):
    """Whoever mistypes a spec learns of every kind."""
    with pytest.raises(FtonnxError, match=re.escape(kind.form)):
        load_dataset("nothing of the kind")
    assert f"``{kind.form}``" in load_dataset.__doc__
    commands = Path(__file__).parents[2] / "docs" / "commands.md"
    assert f"`{kind.form}`" in commands.read_text(encoding="utf-8")
