"""Which kind a spec is of."""

from pathlib import Path

import pytest

from ftonnx.datasets.folder import FolderKind
from ftonnx.datasets.kinds import parse_spec
from ftonnx.datasets.loader import LoaderKind
from ftonnx.datasets.npz import NpzKind
from ftonnx.errors import UsageError


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("npz:a b/c.npz", NpzKind(Path("a b/c.npz"))),
        ("npz:folder:x", NpzKind(Path("folder:x"))),
        ("folder:x.py:f", FolderKind(Path("x.py:f"))),
        ("/a:b/c.py:load", LoaderKind(Path("/a:b/c.py"), "load")),
    ],
)
def test_a_path_may_hold_colons_and_spaces(spec, expected):
    """The first word decides; without one of them, the last colon is the function's."""
    assert parse_spec(spec) == expected


def test_source_code_is_not_guessed_to_be_an_archive(tmp_path):
    """A file of code lacks its function."""
    path = tmp_path / "mine.py"
    path.touch()
    with pytest.raises(UsageError, match=r"did you mean .*mine\.py:function\?$") as caught:
        parse_spec(str(path))
    assert "npz:" not in str(caught.value).partition("did you mean")[2]
