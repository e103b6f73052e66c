"""Fixtures of the tests of data sets."""

import numpy as np
import pytest


@pytest.fixture
def save(tmp_path):
    """A function that writes arrays to ``x.npz`` and gives the spec."""

    def write(name="x", **arrays):
        np.savez(tmp_path / f"{name}.npz", **arrays)
        return f"npz:{tmp_path / name}.npz"

    return write
