"""``PATH/file.py:function``: the user's own code."""

import sys
import textwrap

import numpy as np
import pytest

from ftonnx.datasets import Preprocess, load_dataset
from ftonnx.errors import DataError, Interrupted, UsageError

LOADER = """
    import sys

    import numpy as np

    calls = []

    def _images(start):
        return np.full((4, 1, 2, 2), start, np.float32), np.arange(start, start + 4)

    def generator():
        calls.append(1)
        for start in (0, 4, 8):
            yield _images(start)

    def as_list():
        calls.append(1)
        return list(generator())

    def endless():
        while True:
            yield _images(0)

    class Batches:
        def __iter__(self):
            return generator()

    def nothing():
        return None

    def fails():
        raise KeyError("first line\\nsecond line")

    def fails_late():
        yield _images(0)
        1 / 0

    def leaves():
        raise SystemExit(0)

    def leaves_with_text():
        sys.exit("no data today")

    def odd():
        raise type("Odd", (BaseException,), {})("odd")

    def mute():
        raise type("Mute", (Exception,), {"__str__": None})()

    def stops():
        from ftonnx.errors import Interrupted
        raise Interrupted("stopped")

    def texts():
        return [(np.full((1, 2), "a"), np.zeros(1, int))]

    table = [1, 2]
"""


@pytest.fixture
def loader(tmp_path):
    """A file with good and bad loaders."""
    path = tmp_path / "my loader.py"
    path.write_text(textwrap.dedent(LOADER))
    return path


@pytest.mark.parametrize("function", ["generator", "as_list", "Batches"])
def test_what_the_function_returns_is_the_data(loader, function):
    """A generator, a list and an iterable object are all read again for every pass."""
    data = load_dataset(f"{loader}:{function}")
    assert (data.name, len(data), data.classes) == (f"my loader.py:{function}", 12, 12)
    for size in (5, 12):
        labels = np.concatenate([labels for _, labels in data.batches(size)])
        np.testing.assert_array_equal(labels, np.arange(12))


def test_images_are_fed_as_they_come(loader):
    """The model's preprocessing is not applied on top of the user's."""
    data = load_dataset(f"{loader}:generator", model_metadata={"ftonnx.preprocess": '{"scale": 0.5}'})
    images, _ = next(data.batches(12))
    np.testing.assert_array_equal(images[:, 0, 0, 0], np.repeat([0, 4, 8], 4))
    assert data.preprocess == Preprocess()


def test_a_limit_stops_reading(loader):
    """An endless loader is fine as long as there is a limit."""
    data = load_dataset(f"{loader}:endless", limit=6)
    assert len(data) == 6
    assert [len(labels) for _, labels in data.batches(4)] == [4, 2]


def test_the_file_runs_under_a_private_name(loader):
    """It shadows no module and leaves no byte code beside it."""
    before = set(sys.modules)
    load_dataset(f"{loader}:generator")
    assert all(name.startswith("_ftonnx_loader_") for name in set(sys.modules) - before)
    assert [entry.name for entry in loader.parent.iterdir()] == ["my loader.py"]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("fails", r"loader\.py:fails: .*raised KeyError: 'first line"),
        ("fails_late", r"loader\.py:fails_late: .*raised ZeroDivisionError"),
        ("leaves", r"loader\.py:leaves: .*raised SystemExit: 0"),
        ("leaves_with_text", r"loader\.py:leaves_with_text: .*raised SystemExit: no data today"),
        ("odd", r"loader\.py:odd: .*raised Odd: odd"),
        ("mute", r"loader\.py:mute: .*raised Mute$"),
        ("nothing", r"loader\.py:nothing: expected an iterable of batches, got NoneType"),
        ("texts", r"loader\.py:texts, batch 0: expected numbers, got <U1"),
    ],
)
def test_failures_of_the_users_code_are_data_errors(loader, function, message):
    """File, function and the exception's own text are in one line."""
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(f"{loader}:{function}")
    assert "\n" not in str(caught.value)


def test_the_users_exception_is_chained(loader):
    """Whoever debugs the loader finds the traceback."""
    with pytest.raises(DataError) as caught:
        load_dataset(f"{loader}:fails")
    assert isinstance(caught.value.__cause__, KeyError)


def test_an_interruption_passes_through(loader):
    """A signal that arrives while the user's code runs is not the user's mistake."""
    with pytest.raises(Interrupted):
        load_dataset(f"{loader}:stops")


@pytest.mark.parametrize("text", ["def f(:", "import no_such_module_at_all", "x = 1 / 0", "a\0b"])
def test_a_file_that_does_not_run_is_refused(tmp_path, text):
    """Syntax and import errors name the file."""
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(DataError, match=r"bad\.py:f: expected batches, but the code raised"):
        load_dataset(f"{tmp_path}/bad.py:f")


def test_a_missing_file_is_refused(tmp_path):
    """The message names the path."""
    with pytest.raises(DataError, match=r"none\.py: expected a Python file with a loader"):
        load_dataset(f"{tmp_path}/none.py:f")


def test_a_missing_function_is_refused_with_the_near_name(loader):
    """So is a name that is no function."""
    with pytest.raises(UsageError, match=r"expected a function generater\(\), got nothing.*did you mean generator\?"):
        load_dataset(f"{loader}:generater")
    with pytest.raises(UsageError, match=r"expected a function table\(\), got list"):
        load_dataset(f"{loader}:table")


def test_split_and_preprocessing_are_refused(loader):
    """A loader does both itself."""
    with pytest.raises(UsageError, match="a loader has no split 'test'"):
        load_dataset(f"{loader}:generator", split="test")
    with pytest.raises(UsageError, match="a loader preprocesses its own images; leave out scale, crop"):
        load_dataset(f"{loader}:generator", preprocess=Preprocess(scale=1.0, crop=2))


def test_class_names_make_no_sense_for_a_loader(loader, tmp_path):
    """It numbers its own classes."""
    with pytest.raises(UsageError, match="a loader numbers its own classes; leave out `class_names`"):
        load_dataset(f"{loader}:generator", class_names=tmp_path / "names.txt")
