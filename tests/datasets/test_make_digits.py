"""The script that makes the embedded digits."""

import zipfile

import numpy as np
import pytest

from ftonnx.datasets.digits import DIGITS
from ftonnx.datasets.make_digits import make_digits, stratified_split


@pytest.mark.filterwarnings("default")
def test_the_script_writes_the_committed_bytes(tmp_path):
    """Making the file again gives the same bytes."""
    pytest.importorskip("sklearn")
    make_digits(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == DIGITS.read_bytes()


def test_the_committed_file_is_not_compressed():
    """Compressed bytes would depend on the machine's zlib."""
    with zipfile.ZipFile(DIGITS) as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}


def test_a_split_takes_fifths_of_every_class():
    """Two classes of five images each give one test and one val image each."""
    split = stratified_split(np.repeat(np.array([0, 1], np.uint8), 5))
    assert split.tolist() == [2, 1, 0, 0, 0, 2, 1, 0, 0, 0]
