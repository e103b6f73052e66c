"""A user's function is found and run, and whatever its code does becomes one line."""

import sys

import pytest

from ftonnx.errors import DataError, Interrupted, UsageError
from ftonnx.files import UserFunction


def opened(folder, code, name="load"):
    """Return the function of a file with this code."""
    path = folder / "mine.py"
    path.write_text(code)
    return UserFunction(path, name, role="loader", expected="batches", error=DataError)


def test_a_function_runs_with_the_modules_beside_its_file(tmp_path):
    """Also those that it imports only when it is called; the path is as before afterwards."""
    (tmp_path / "neighbour.py").write_text("VALUE = 7\n")
    before = list(sys.path)
    user = opened(tmp_path, "def load():\n    import neighbour\n    return neighbour.VALUE\n")
    with user.running():
        assert user.function() == 7
    assert sys.path == before
    assert not list(tmp_path.glob("__pycache__/mine*"))


def test_a_function_that_is_not_there_is_named_with_one_that_is(tmp_path):
    """Private ones are not offered."""
    with pytest.raises(UsageError, match=r"expected a function laod\(\), got nothing of that name; did you mean load"):
        opened(tmp_path, "def load(): pass\ndef _laod(): pass\n", "laod")
    with pytest.raises(UsageError, match=r"expected a function load\(\), got int"):
        opened(tmp_path, "load = 1\n")


@pytest.mark.parametrize("code", ["raise SystemExit(3)", "1 / 0", "import no_such_module", "def (", "x = '\\0"])
def test_code_that_fails_is_one_line_with_its_name(tmp_path, code):
    """A call of exit included."""
    with pytest.raises(DataError, match=r"mine\.py:load: expected batches, but the code raised"):
        opened(tmp_path, code)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Interrupted("stopped")])
def test_interrupts_pass_through_user_code(tmp_path, error):
    """They are ours, not the code's."""
    user = opened(tmp_path, "def load(): pass\n")
    with pytest.raises(type(error)), user.running():
        raise error


def test_a_missing_file_is_said_with_what_was_expected(tmp_path):
    """Of the kind that the caller asks for."""
    with pytest.raises(DataError, match=r"gone\.py: expected a Python file with a loader, got nothing there"):
        UserFunction(tmp_path / "gone.py", "load", role="loader", expected="batches", error=DataError)
