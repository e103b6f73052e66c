"""``PATH/file.py:factory``: the user's own network."""

import sys

import pytest

from ftonnx.errors import ModelError, UsageError
from ftonnx.models import build, input_shape, preprocessing

torch = pytest.importorskip("torch")


FACTORIES = """
import sys
from dataclasses import dataclass
from torch import nn
from beside import WIDTH

@dataclass
class Config:
    width: int = WIDTH

def good(num_classes=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(Config().width, num_classes), nn.Dropout())

def plain():
    return nn.Linear(4, 2)

def raises():
    raise ValueError("not\\ntoday")

def leaves():
    sys.exit(0)

def leaves_with_text():
    sys.exit("no network today")

def odd():
    raise type("Odd", (BaseException,), {})("odd")

def number():
    return 3

nothing = None
"""


@pytest.fixture
def factories(tmp_path):
    """A file of the user with factories, and a module beside it."""
    (tmp_path / "beside.py").write_text("WIDTH = 12\n")
    path = tmp_path / "nets.py"
    path.write_text(FACTORIES)
    return path


def test_a_factory_of_the_user_is_called_and_may_import_what_lies_beside_it(factories):
    """With its own classes, or with those that were asked for; sys.path is as before."""
    before = list(sys.path)
    net = build(f"{factories}:good")
    assert net(torch.zeros(1, 3, 2, 2)).shape == (1, 3)
    assert not net.training
    assert build(f"{factories}:good", classes=8)(torch.zeros(1, 3, 2, 2)).shape == (1, 8)
    assert isinstance(build(f"{factories}:plain", classes=2), torch.nn.Linear)
    assert sys.path == before
    assert preprocessing(f"{factories}:good") == {}
    sys.modules.pop("beside", None)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        ("raises", ModelError, "nets.py:raises: .*ValueError: not today"),
        ("leaves", ModelError, "nets.py:leaves: .*SystemExit: 0"),
        ("leaves_with_text", ModelError, "nets.py:leaves_with_text: .*SystemExit: no network today"),
        ("odd", ModelError, "nets.py:odd: .*Odd: odd"),
        ("number", ModelError, "nets.py:number: expected a torch.nn.Module, got int"),
        ("goood", UsageError, r"expected a function goood\(\), got nothing of that name; did you mean good"),
        ("nothing", UsageError, r"expected a function nothing\(\)"),
    ],
)
def test_a_factory_that_fails_is_named_in_one_line(factories, function, error, message):
    """Whatever its code does."""
    with pytest.raises(error, match=message) as caught:
        build(f"{factories}:{function}")
    assert "\n" not in str(caught.value)
    sys.modules.pop("beside", None)


@pytest.mark.parametrize("content", ["def f(:", "import no_such_module_here", "\0"])
def test_a_factory_file_that_cannot_run_is_refused(tmp_path, content):
    """A syntax error, a missing import, a zero byte."""
    path = tmp_path / "broken.py"
    path.write_text(content)
    with pytest.raises(ModelError, match=r"broken\.py:f: expected a network, but the code raised"):
        build(f"{path}:f")
    with pytest.raises(ModelError, match="nothing there"):
        build(f"{tmp_path}/missing.py:f")


def test_the_input_shape_of_a_factory_must_be_said(factories):
    """Only its author knows it."""
    with pytest.raises(UsageError, match=r"`input_shape=\(3, 224, 224\)`"):
        input_shape(f"{factories}:good")
