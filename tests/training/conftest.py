"""Fixtures of the tests of training."""

import pytest
from training_kit import opened, write_factory, write_squares


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An own folder with a factory."""
    monkeypatch.chdir(tmp_path)
    write_factory(tmp_path)
    return tmp_path


@pytest.fixture
def data(here):
    """Training and validation images, 48 of three classes each."""
    return opened(write_squares(here))
