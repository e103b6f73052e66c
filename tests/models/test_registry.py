"""Embedded models by name."""

import subprocess
import sys
from pathlib import Path

import pytest

import ftonnx.models
from ftonnx.errors import ModelError
from ftonnx.models import names, resolve


def test_public_names_are_the_contract():
    """The room offers what other rooms and users rely on, and every name exists."""
    expected = ["architectures", "build", "input_shape", "load_checkpoint", "names", "preprocessing"]
    assert ftonnx.models.__all__ == ["CReLU", *expected, "read_metadata", "read_state_dict", "resolve"]
    pytest.importorskip("torch")
    assert all(hasattr(ftonnx.models, name) for name in ftonnx.models.__all__)


def test_every_name_resolves_to_an_embedded_file():
    """Each is a file inside the package."""
    assert names() == ("digits",)
    for name in names():
        assert resolve(name).is_file()
        assert resolve(name).parent == Path(ftonnx.models.__file__).parent


def test_an_existing_path_is_returned_as_it_is(tmp_path):
    """Strings and paths, with any suffix."""
    path = tmp_path / "mine.onnx"
    path.touch()
    assert resolve(path) == resolve(str(path)) == path


def test_a_name_wins_over_a_file_of_that_name(tmp_path, monkeypatch):
    """The file is still there as ./digits."""
    monkeypatch.chdir(tmp_path)
    Path("digits").touch()
    assert resolve("digits").suffix == ".onnx"
    assert resolve("./digits") == Path("digits")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("digit", r"digit: .*no such file, and no model of that name; known: digits; did you mean digits\?"),
        ("resnet50", "resnet50: .*known: digits$"),
        ("", "expected a model"),
        ("a\0b", "expected a model"),
        ("x" * 5000, "expected a model"),
    ],
)
def test_anything_else_is_refused(model, message):
    """The message lists the names and guesses."""
    with pytest.raises(ModelError, match=message):
        resolve(model)


def test_a_folder_and_a_near_file_are_pointed_out(tmp_path):
    """A folder is no model, and a typing mistake in a path is guessed from the files there."""
    (tmp_path / "resnet20.onnx").touch()
    with pytest.raises(ModelError, match="got a folder"):
        resolve(tmp_path)
    with pytest.raises(ModelError, match=r"did you mean .*resnet20\.onnx\?"):
        resolve(tmp_path / "resnet2.onnx")


def test_importing_the_room_loads_no_heavy_library():
    """Finding a model needs neither torch nor ONNX Runtime."""
    code = (
        "import sys, ftonnx.models as m; m.resolve('digits');"
        "sys.exit(bool({'torch', 'onnxruntime'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
