"""``load_dataset``: specs that make no sense."""

import re

import pytest

from ftonnx.datasets import load_dataset
from ftonnx.datasets.kinds import FORMS
from ftonnx.errors import UsageError

KINDS = f"expected one of {re.escape(FORMS)}"


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("", ""),
        ("digit", r"; did you mean digits\?"),
        ("Digits", r"; did you mean digits\?"),
        ("npy:x", r"; did you mean npz\?"),
        ("folders:x", r"; did you mean folder\?"),
        ("cvs:x", r"; did you mean csv\?"),
        ("npz:", r"; did you mean npz\?"),
        ("folder:", r"; did you mean folder\?"),
        ("imagenet", r"; did you mean imagenet\?"),
        ("load.py", r"; did you mean load\.py:function\?"),
        ("load.py:", ""),
        ("load.py:not-a-name", ""),
        ("\0", ""),
    ],
)
def test_an_unknown_spec_is_refused_with_the_kinds(spec, hint):
    """The message lists the kinds and guesses what was meant."""
    with pytest.raises(UsageError, match=f"{KINDS}, got .*{hint}$"):
        load_dataset(spec)


def test_a_bare_path_is_refused_with_the_spec_that_was_meant(tmp_path):
    """A text file is a list, another one is probably npz:PATH, a folder is either kind."""
    (tmp_path / "x.npz").touch()
    for name in ("val.csv", "val_map.TXT", "list.tsv"):
        (tmp_path / name).touch()
        with pytest.raises(UsageError, match=rf"did you mean csv:[^ ]*{name}\?$"):
            load_dataset(f"{tmp_path}/{name}")
    with pytest.raises(UsageError, match=r"did you mean npz:.*x\.npz\?"):
        load_dataset(f"{tmp_path}/x.npz")
    with pytest.raises(UsageError, match=r"did you mean folder:.* or npz:.*\?"):
        load_dataset(str(tmp_path))


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(limit):
    """No data set is empty."""
    with pytest.raises(UsageError, match=f"limit: expected at least 1 image, got {limit}"):
        load_dataset("digits", limit=limit)


@pytest.mark.parametrize("split", ["", "..", "a/b", "../test", "a\0"])
def test_a_split_that_is_no_plain_name_is_refused(split):
    """A split cannot lead out of its folder."""
    with pytest.raises(UsageError, match="split: expected a plain name"):
        load_dataset("digits", split=split)


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000])
@pytest.mark.parametrize("kind", ["npz:{}", "folder:{}", "csv:{}", "{}.py:f"])
def test_a_path_that_no_file_can_have_is_refused(kind, path):
    """Null bytes and endless names end in the same errors as any missing file."""
    with pytest.raises(Exception, match="expected") as caught:
        load_dataset(kind.format(path))
    assert caught.type.__module__ == "ftonnx.errors"
