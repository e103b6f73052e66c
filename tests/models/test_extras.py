"""What the ``torch`` extra brings, and one line where it is missing."""

import subprocess
import sys

import pytest

from ftonnx.errors import UsageError
from ftonnx.models.extras import require


def test_what_is_there_is_imported_and_what_is_not_is_named():
    """The first module that is missing, with the command that brings it."""
    require("json", "zipfile")
    with pytest.raises(UsageError, match=r"no_such_thing is needed here .*pip install 'ftonnx\[torch\]'$"):
        require("json", "no_such_thing")


def test_without_torch_one_line_says_how_to_install_it():
    """The names are still there; building and CReLU ask for the extra."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import ftonnx.models as m\n"
        "from ftonnx.errors import UsageError\n"
        "assert m.input_shape('resnet50') == (3, 224, 224)\n"
        "for wanted in (lambda: m.build('digits'), lambda: m.CReLU, lambda: m.build('mobilenet_v2')):\n"
        "    try: wanted()\n"
        "    except UsageError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all(line.endswith("install it with: pip install 'ftonnx[torch]'") for line in lines)
